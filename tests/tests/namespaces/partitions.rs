//! Broken networks: partitions, pairs that do not hear each other, one-way
//! links.

use std::time::{Duration, Instant};

use vippy_client::status::{HeardBy, Status};
use vippy_lab::options::vip4;
use vippy_lab::{Cluster, Port};

use crate::support::{
    PATIENCE, addresses, ask, assert_unnoticed, await_status, calm, calm_cluster, eventually,
    holders, owners, settled,
};

#[test]
fn both_sides_of_a_partition_serve_and_healing_leaves_one_holder() {
    let cluster = calm_cluster();
    let before = owners(&cluster, 1);
    cluster.lan().partition(&[1], &[2, 3]).unwrap();
    for ip in addresses() {
        eventually("both sides hold it", || match holders(&cluster, ip) {
            both if both.contains(&1) && both.len() == 2 => Ok(()),
            other => Err(format!("{ip} on {other:?}")),
        });
    }
    let probe = ask(&cluster, &addresses());
    let healed = Instant::now();
    cluster.lan().heal().unwrap();
    eventually("one holder each", || {
        let all = addresses().into_iter().map(|ip| (ip, holders(&cluster, ip)));
        let wrong: Vec<_> = all.filter(|(_, nodes)| nodes.len() != 1).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:?}")) }
    });
    // Two intervals by the rules; a busy machine may take several.
    let limit = cluster.options().interval * 2 + Duration::from_millis(1500);
    assert!(healed.elapsed() < limit, "healing took {:?}", healed.elapsed());
    cluster.wait_settled(PATIENCE).unwrap();
    assert_eq!(owners(&cluster, 1), before);
    std::thread::sleep(Duration::from_millis(700));
    let report = probe.finish();
    for (ip, series) in &report.series {
        let holder = Port::Node(holders(&cluster, *ip)[0]);
        assert_unnoticed(ip, series);
        assert_eq!(series.reigns().last().unwrap().by, holder, "{ip}: {series}");
        // A fresh client has nothing to remember; the old one was told.
        let client = cluster.lan().machine(Port::Client(0)).unwrap();
        let known = client.neighbours().unwrap();
        let mac = known.iter().find(|(known, _)| known == ip).and_then(|(_, mac)| *mac);
        assert_eq!(mac, Some(holder.hardware_address()), "{ip}");
    }
}

/// Each is the only one left on its side, and hears the other before it is
/// answered.
#[test]
fn a_pair_that_finds_together_again_never_stops_answering() {
    let cluster = settled(calm().with_nodes(2));
    for _ in 0..3 {
        cluster.lan().partition(&[1], &[2]).unwrap();
        eventually("both hold everything", || match cluster.status(1).unwrap() {
            status if status.peers.iter().any(|peer| peer.alive) => Err("still a pair".into()),
            _ => {
                let missing = addresses().into_iter().find(|ip| holders(&cluster, *ip).len() != 2);
                missing.map_or(Ok(()), |ip| Err(format!("{ip} is not on both")))
            }
        });
        let probe = ask(&cluster, &addresses());
        cluster.lan().heal().unwrap();
        eventually("one holder each", || {
            let wrong = addresses().into_iter().find(|ip| holders(&cluster, *ip).len() != 1);
            wrong.map_or_else(|| cluster.settled(), |ip| Err(format!("{ip}: {wrong:?}")))
        });
        std::thread::sleep(Duration::from_millis(300));
        for (ip, series) in &probe.finish().series {
            assert_unnoticed(ip, series);
            let holder = Port::Node(holders(&cluster, *ip)[0]);
            assert_eq!(series.reigns().last().unwrap().by, holder, "{ip}: {series}");
        }
    }
}

/// The paths on which a node says that it hears another, as a third one knows.
pub(crate) fn hears(status: &Status, node: &str, other: &str) -> Vec<HeardBy> {
    let peer = status.peers.iter().find(|peer| peer.name.as_str() == node).unwrap();
    let entry = peer.hears.iter().find(|(name, _)| name.as_str() == other);
    entry.map(|(_, paths)| paths.clone()).unwrap_or_default()
}

/// How a node itself hears another.
pub(crate) fn heard(status: &Status, other: &str) -> Vec<HeardBy> {
    let peer = status.peers.iter().find(|peer| peer.name.as_str() == other);
    peer.map(|peer| peer.hears_by.clone()).unwrap_or_default()
}

/// For a while nothing moves and everybody agrees.
fn stays_as_it_is(cluster: &Cluster, changes: &[u64]) {
    let end = Instant::now() + cluster.options().stale * 2;
    while Instant::now() < end {
        cluster.settled().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(state_changes(cluster), changes);
}

fn state_changes(cluster: &Cluster) -> Vec<u64> {
    (1..=3).map(|node| cluster.status(node).unwrap().stats.state_changes).collect()
}

#[test]
fn two_nodes_that_hear_each_other_only_through_a_third_are_one_cluster() {
    let cluster = calm_cluster();
    let before = owners(&cluster, 2);
    let changes = state_changes(&cluster);
    let probe = ask(&cluster, &addresses());
    cluster.lan().partition(&[1], &[3]).unwrap();
    await_status(&cluster, 1, "node3 comes relayed", |s| heard(s, "node3") == [HeardBy::Relayed]);
    await_status(&cluster, 3, "node1 comes relayed", |s| heard(s, "node1") == [HeardBy::Relayed]);
    await_status(&cluster, 2, "the matrix shows the broken pair", |status| {
        hears(status, "node1", "node3") == [HeardBy::Relayed]
            && hears(status, "node3", "node1") == [HeardBy::Relayed]
            && hears(status, "node1", "node2").contains(&HeardBy::Multicast)
            && hears(status, "node3", "node2").contains(&HeardBy::Multicast)
    });
    stays_as_it_is(&cluster, &changes);
    assert_eq!(owners(&cluster, 1), before);
    assert_eq!(owners(&cluster, 3), before);
    assert!(cluster.status(2).unwrap().stats.relayed > 0);
    let report = probe.finish();
    assert_eq!(report.lost(), 0);
}

#[test]
fn a_death_behind_a_broken_pair_is_noticed_and_replaced() {
    let cluster = calm_cluster();
    cluster.lan().partition(&[1], &[3]).unwrap();
    await_status(&cluster, 1, "node3 comes relayed", |s| heard(s, "node3") == [HeardBy::Relayed]);
    cluster.crash_node(3).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    assert!(owners(&cluster, 1).values().all(|owner| owner != "node3"));
}

#[test]
fn one_deaf_direction_changes_nothing_and_is_seen() {
    let cluster = calm_cluster();
    let before = owners(&cluster, 1);
    let changes = state_changes(&cluster);
    let probe = ask(&cluster, &addresses());
    cluster.lan().cut(1, 3).unwrap();
    await_status(&cluster, 3, "node1 comes relayed", |s| heard(s, "node1") == [HeardBy::Relayed]);
    await_status(&cluster, 2, "the matrix shows one direction", |status| {
        hears(status, "node3", "node1") == [HeardBy::Relayed]
            && hears(status, "node1", "node3").iter().any(|path| *path != HeardBy::Relayed)
    });
    stays_as_it_is(&cluster, &changes);
    assert_eq!(owners(&cluster, 3), before);
    assert_eq!(probe.finish().lost(), 0);
}

#[test]
fn a_node_that_is_heard_by_nobody_is_replaced_and_returns() {
    let cluster = calm_cluster();
    let before = owners(&cluster, 2);
    for other in [2, 3] {
        cluster.lan().cut(1, other).unwrap();
    }
    await_status(&cluster, 2, "node1 is gone", |s| {
        s.groups.iter().all(|group| group.owner.as_ref().is_none_or(|o| o.as_str() != "node1"))
    });
    for ip in addresses() {
        eventually("one holder in the kernels of the others", || {
            let others = holders(&cluster, ip).into_iter().filter(|node| *node != 1).count();
            if others == 1 { Ok(()) } else { Err(format!("{ip}: {:?}", holders(&cluster, ip))) }
        });
    }
    cluster.lan().heal().unwrap();
    eventually("everything is back", || match owners(&cluster, 1) {
        now if now == before => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
    assert_eq!(holders(&cluster, vip4(3)), [2]);
}
