//! The other nodes: who is heard, how, and how lately.

use std::fmt;

use vippy_client::Status;
use vippy_client::status::{HeardBy, PeerStatus};
use vippy_core::identity::NodeName;

use super::kebab;
use super::node::seconds;
use super::page::{Labels, Page, one, yes};

pub(super) fn write(page: &mut Page<'_>, status: &Status) -> fmt::Result {
    let nodes = &status.config.nodes;
    // Of several processes of one name the first is the one it belongs to.
    let of_node =
        |node: &NodeName| status.peers.iter().find(|peer| peer.configured && peer.name == *node);
    let peers: Vec<&PeerStatus> = nodes.iter().filter_map(of_node).collect();
    let others = status.peers.len() - peers.len();
    page.gauge(
        "vippy_peer_alive",
        "1 for a peer that is heard and hears this node.",
        peers.iter().map(|peer| (of(peer), yes(peer.alive))),
    )?;
    page.gauge(
        "vippy_peer_age_seconds",
        "Time since a peer's last fresh frame.",
        peers.iter().filter_map(|peer| Some((of(peer), seconds(peer.age_ms?)))),
    )?;
    page.gauge(
        "vippy_peer_uptime_seconds",
        "Time since a peer's daemon started, as it said last.",
        peers.iter().filter_map(|peer| Some((of(peer), seconds(peer.uptime_ms?)))),
    )?;
    page.gauge(
        "vippy_peer_config_version",
        "Version of a peer's configuration.",
        peers.iter().filter_map(|peer| Some((of(peer), peer.version?))),
    )?;
    paths(page, &peers)?;
    page.gauge(
        "vippy_strangers",
        "Processes that are heard and are no node's, or not the one that its name belongs to.",
        one(others as u64),
    )?;
    page.gauge(
        "vippy_neighbours",
        "Stations known here of those that a node shares.",
        status.neighbours.iter().map(|(node, known)| ([("node", node.as_str())], *known as u64)),
    )
}

fn paths(page: &mut Page<'_>, peers: &[&PeerStatus]) -> fmt::Result {
    let paths = [HeardBy::Multicast, HeardBy::Unicast, HeardBy::Relayed];
    let paths = paths.map(|path| (kebab(&path), path));
    let samples = peers.iter().flat_map(|peer| {
        paths.iter().map(|(name, path)| {
            let labels = [("peer", peer.name.as_str()), ("path", name.as_str())];
            (labels, yes(peer.hears_by.contains(path)))
        })
    });
    page.gauge("vippy_peer_heard_by", "1 for each way by which a peer was heard lately.", samples)
}

fn of(peer: &PeerStatus) -> Labels<'_, 1> {
    [("peer", peer.name.as_str())]
}
