//! A lab as text: one table of nodes, one of groups.
//!
//! Shows what the daemons say; judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use vippy_client::Status;
use vippy_client::status::GroupStatus;

use crate::cli::word;
use crate::cluster::{Cluster, chain};
use crate::lan::{Lan, Port};

/// Nodes, groups and cuts.
pub(crate) fn cluster(cluster: &Cluster) -> String {
    let mut text = String::new();
    let mut seen = BTreeMap::new();
    let running = cluster.running().unwrap_or_default();
    for node in 1..=cluster.lan().nodes() {
        let name = Port::Node(node).to_string();
        let state = if running.contains(&node) {
            match cluster.status(node) {
                Ok(status) => {
                    let state = words(&status);
                    seen.insert(node, status);
                    state
                }
                Err(error) => chain(&error),
            }
        } else {
            cluster.life(node).map_or_else(|error| error.to_string(), |life| word(life).into())
        };
        let _ = writeln!(text, "  {name:<8} {state}");
    }
    text.push_str(&groups(&seen));
    let cuts = cuts(cluster.lan());
    if !cluster.lan().cuts().is_empty() {
        text.push_str(&cuts);
    }
    text
}

fn words(status: &Status) -> String {
    let alive: Vec<&str> =
        status.peers.iter().filter(|peer| peer.alive).map(|peer| peer.name.as_str()).collect();
    let state = format!("{:?}", status.node.state).to_lowercase();
    let hears = if alive.is_empty() { "nobody".into() } else { alive.join(", ") };
    let reason = status.state.inactive_reason.as_deref().map(|reason| format!(" ({reason})"));
    format!("{state}{}, hears {hears}", reason.unwrap_or_default())
}

/// Every group once, with everybody who says to hold it: in a partition that
/// may be several.
fn groups(seen: &BTreeMap<usize, Status>) -> String {
    let mut holders: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut order: Vec<&GroupStatus> = Vec::new();
    for status in seen.values() {
        for group in &status.groups {
            let id = group.id.as_str();
            if !holders.contains_key(id) {
                order.push(group);
            }
            let held = holders.entry(id).or_default();
            if matches!(group.here, vippy_client::status::Holding::Held) {
                held.insert(status.identity.to_string());
            }
        }
    }
    let mut text = String::new();
    for group in order {
        let addresses: Vec<String> = group.addresses.iter().map(ToString::to_string).collect();
        let held = holders.remove(group.id.as_str()).unwrap_or_default();
        let held = if held.is_empty() {
            "nobody".into()
        } else {
            held.into_iter().collect::<Vec<_>>().join(" and ")
        };
        let prefer = group.prefer.as_ref().map(|node| format!("  (prefers {node})"));
        let (addresses, prefer) = (addresses.join(" "), prefer.unwrap_or_default());
        let _ = writeln!(text, "  {addresses:<34} {held}{prefer}");
    }
    text
}

/// Who does not hear whom.
pub(crate) fn cuts(lan: &Lan) -> String {
    let mut deaf: BTreeMap<Port, Vec<String>> = BTreeMap::new();
    for (from, to) in lan.cuts() {
        deaf.entry(to).or_default().push(from.to_string());
    }
    if deaf.is_empty() {
        return "everybody hears everybody\n".into();
    }
    deaf.iter().fold(String::new(), |mut text, (port, unheard)| {
        let _ = writeln!(text, "  {port:<8} does not hear {}", unheard.join(", "));
        text
    })
}
