//! Secrets change on running nodes, and nobody notices but who lacks the new one.

use std::collections::BTreeMap;

use serde_json::json;
use vippy_client::Status;
use vippy_client::status::{NodeState, RejectReason};
use vippy_lab::options::vip4;
use vippy_lab::{Cluster, Options};

use crate::operators::vippyctl;
use crate::support::{
    addresses, ask, assert_unnoticed, await_status, calm, eventually, holder, holders, settled,
    watch,
};

const OLD: &str = "hunter2-the-secret-of-yesterday";
const NEW: &str = "hunter2-the-secret-of-tomorrow";

/// Three nodes of which a majority must agree: whoever is out lets go.
fn options() -> Options {
    let mut options = calm();
    options.more.insert("quorum".into(), json!("majority"));
    options
}

fn with(secrets: &[&str]) -> String {
    let mut options = options();
    options.more.insert("secret".into(), json!(secrets));
    options.config_text()
}

/// Gives a node other secrets, as an operator does; the ids of its keys.
fn give(cluster: &Cluster, node: usize, secrets: &[&str]) -> Vec<String> {
    cluster.rewrite_node_config(node, &with(secrets)).unwrap();
    vippyctl(cluster, node, "reload");
    let keys = cluster.status(node).unwrap().node.keys;
    assert_eq!(keys.len(), secrets.len());
    keys
}

fn hears(status: &Status, node: usize, key: &str) -> bool {
    let name = format!("node{node}");
    let peer = status.peers.iter().find(|peer| peer.name.as_str() == name);
    peer.is_some_and(|peer| peer.alive && peer.key.as_deref() == Some(key))
}

/// The three steps of docs/OPERATIONS.md, node by node.
#[test]
fn keys_change_in_three_steps_without_a_lost_packet_and_a_revoked_node_is_out() {
    let first = Options { config: Some(with(&[OLD])), ..options() };
    let cluster = settled(first);
    let held: BTreeMap<_, _> =
        addresses().into_iter().map(|ip| (ip, holder(&cluster, ip))).collect();
    let changes = |node| cluster.status(node).unwrap().stats.state_changes;
    let before: Vec<u64> = (1..=3).map(changes).collect();
    let probe = ask(&cluster, &addresses());
    for step in [&[OLD, NEW][..], &[NEW, OLD], &[NEW]] {
        for node in 1..=3 {
            let keys = give(&cluster, node, step);
            for other in (1..=3).filter(|other| *other != node) {
                await_status(&cluster, other, "it hears the new key", |status| {
                    hears(status, node, &keys[0])
                });
            }
            // Whom somebody no longer heard would be lost by now.
            std::thread::sleep(cluster.options().stale + cluster.options().interval * 2);
            cluster.settled().unwrap();
        }
    }
    let report = probe.finish();
    for (ip, series) in &report.series {
        assert_unnoticed(ip, series);
    }
    for (ip, node) in &held {
        assert_eq!(holder(&cluster, *ip), *node, "{ip} stays where it is");
    }
    assert_eq!((1..=3).map(changes).collect::<Vec<_>>(), before, "nothing moved");
    for node in 1..=3 {
        let log = cluster.log(node).unwrap();
        assert!(!log.contains("hunter2"), "{log}");
        let rejected = cluster.status(node).unwrap().stats.rejects;
        assert_eq!(rejected.get(&RejectReason::UnknownKey), None, "{rejected:?}");
    }
    revoked_node_is_out(&cluster, holder(&cluster, vip4(1)));
}

/// A node goes back to the old key, which the others no longer know.
fn revoked_node_is_out(cluster: &Cluster, node: usize) {
    let held = addresses().into_iter().map(|ip| (ip, holder(cluster, ip)));
    let kept: Vec<_> = held.filter(|(_, holder)| *holder != node).collect();
    let ((), record) = watch(cluster, || {
        cluster.rewrite_node_config(node, &with(&[OLD])).unwrap();
        vippyctl(cluster, node, "reload");
        eventually("it let go, and the others have everything", || {
            let elsewhere = |ip| matches!(holders(cluster, ip)[..], [holder] if holder != node);
            match addresses().into_iter().find(|ip| !elsewhere(*ip)) {
                None => Ok(()),
                Some(ip) => Err(format!("{ip} is on {:?}", holders(cluster, ip))),
            }
        });
    });
    for (ip, holder) in kept {
        assert_eq!(record.spans[&(ip, holder)].len(), 1, "{ip} was gone for a moment");
    }
    let log = cluster.log(node).unwrap();
    assert!(log.contains("which this node does not know any more: it is not heard"), "{log}");
    let out = await_status(cluster, node, "it sees nobody", |status| {
        status.peers.iter().all(|peer| !peer.alive) && status.node.state != NodeState::Active
    });
    assert!(out.stats.rejects[&RejectReason::UnknownKey] > 0, "{:?}", out.stats);
    for other in (1..=3).filter(|other| *other != node) {
        let status = cluster.status(other).unwrap();
        assert_eq!(status.node.state, NodeState::Active);
        assert_eq!(status.peers.iter().filter(|peer| peer.alive).count(), 1);
        assert!(status.stats.rejects[&RejectReason::UnknownKey] > 0, "{:?}", status.stats);
        let told = |text: &String| text.contains("signs with another secret or cluster name");
        assert!(status.node.warnings.iter().any(told), "{:?}", status.node.warnings);
    }
}
