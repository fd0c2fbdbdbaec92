//! Whom this node hears, how, and whom they hear.

use vippy_client::Status;
use vippy_client::identity::NodeName;
use vippy_client::status::{HeardBy, NodeState, PeerStatus};

use super::table::{Cell, Row, table};
use super::{Style, Tone, judge, list, state_tone};
use crate::words::{self, printable};

pub(super) fn section(status: &Status, style: Style, width: usize) -> String {
    if status.peers.is_empty() {
        return "no peers are configured and none is heard\n".to_owned();
    }
    let rows: Vec<_> = status.peers.iter().map(|peer| row(status, peer)).collect();
    let heading = ["", "PEER", "STATE", "AGE", "HEARD BY", "GROUPS", "HEARS"];
    table(heading, &rows, style, width)
}

fn row(status: &Status, peer: &PeerStatus) -> Row<7> {
    let heard: Vec<&str> = peer.hears_by.iter().map(|path| words::heard_by(*path)).collect();
    let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let cells = [
        // Under the groups' mark, so that both tables line up.
        Cell::plain(" "),
        Cell::plain(printable(peer.name.as_str())),
        state(peer),
        Cell::plain(peer.age_ms.map_or("-".to_owned(), words::span)),
        Cell::plain(dash(heard.join(", "))),
        Cell::plain(if peer.alive { peer.holding.to_string() } else { "-".to_owned() }),
        Cell::plain(dash(hears(status, peer))),
    ];
    Row { cells, notes: notes(status, peer) }
}

fn state(peer: &PeerStatus) -> Cell {
    match (peer.alive, peer.state) {
        (true, Some(state)) => Cell::new(state_tone(state), words::state(state)),
        (true, None) => Cell::new(Tone::Careful, "heard"),
        (false, Some(NodeState::Leaving)) => Cell::new(Tone::Careful, "left"),
        // It is heard, but has not shown that it hears this node.
        (false, _) if !peer.hears_by.is_empty() => Cell::new(Tone::Bad, "one-way"),
        (false, Some(_)) => Cell::new(Tone::Bad, "lost"),
        (false, None) => Cell::new(Tone::Bad, "never heard"),
    }
}

/// Whom the peer says it hears, in as few words as tell everything.
fn hears(status: &Status, peer: &PeerStatus) -> String {
    if !peer.alive {
        return String::new();
    }
    let others = status.config.nodes.iter().filter(|node| **node != peer.name);
    let (heard, missing): (Vec<_>, Vec<_>) = others.partition(|node| peer.hears.contains_key(node));
    let strangers = peer.hears.keys().filter(|node| !status.config.nodes.contains(node));
    let heard: Vec<(&NodeName, Option<String>)> =
        heard.into_iter().chain(strangers).map(|node| (node, indirect(peer, node))).collect();
    let ordinary = heard
        .iter()
        .all(|(node, indirect)| indirect.is_none() && status.config.nodes.contains(node));
    if heard.is_empty() {
        "nobody".to_owned()
    } else if !ordinary || missing.len() > heard.len() {
        list(&heard.into_iter().map(|(node, indirect)| name(node, indirect)).collect::<Vec<_>>())
    } else if missing.is_empty() {
        "everybody".to_owned()
    } else {
        let missing: Vec<String> = missing.into_iter().map(|node| name(node, None)).collect();
        format!("everybody but {}", list(&missing))
    }
}

fn name(node: &NodeName, remark: Option<String>) -> String {
    let node = printable(node.as_str());
    remark.map_or(node.clone(), |remark| format!("{node} ({remark})"))
}

/// How the peer hears a node, if not by multicast.
fn indirect(peer: &PeerStatus, node: &NodeName) -> Option<String> {
    let paths = peer.hears.get(node)?;
    if paths.is_empty() || paths.contains(&HeardBy::Multicast) {
        return None;
    }
    let words: Vec<&str> = paths.iter().map(|path| words::heard_by(*path)).collect();
    Some(words.join(", "))
}

fn notes(status: &Status, peer: &PeerStatus) -> Vec<Cell> {
    let mut notes = Vec::new();
    if !peer.configured {
        notes.push(Cell::new(Tone::Careful, "not in this node's configuration"));
    }
    if peer.alive && !peer.counts {
        let text = "another process has this name: this one does not count";
        notes.push(Cell::new(Tone::Bad, text));
    }
    if peer.alive {
        let reason = peer.reason.and_then(words::reason).unwrap_or_default();
        let said = if peer.detail.is_empty() { reason } else { &peer.detail };
        if !said.is_empty() {
            notes.push(Cell::new(Tone::Careful, printable(said)));
        }
        notes.extend(key(status, peer));
        notes.extend(configuration(status, peer));
    }
    notes
}

/// Its key, if it is another one.
fn key(status: &Status, peer: &PeerStatus) -> Option<Cell> {
    let (theirs, ours) = (peer.key.as_deref()?, status.node.key.as_str());
    let text = format!("signs with key {}, this node with {ours}", printable(theirs));
    (theirs != ours).then(|| Cell::new(Tone::Careful, text))
}

/// Its configuration, if it is another one and not told already.
fn configuration(status: &Status, peer: &PeerStatus) -> Option<Cell> {
    if judge::of(status).is_some_and(|judge| judge.is_of(peer)) {
        return None;
    }
    let (version, digest) = (peer.version?, peer.digest.as_deref()?);
    let ours = &status.config;
    if (version, digest) == (ours.version, ours.digest.as_str()) {
        return None;
    }
    let theirs = words::configuration(version, digest);
    let ours = words::configuration(ours.version, &ours.digest);
    Some(Cell::new(Tone::Careful, format!("has configuration {theirs}, this node {ours}")))
}
