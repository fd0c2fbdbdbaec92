//! Networks in which not everybody hears everybody: chains, and holders that
//! hear nobody or that nobody hears.

use std::time::Duration;

use vippy_client::status::HeardBy;
use vippy_lab::options::vip4;
use vippy_lab::{Cluster, Options, Port};

use crate::partitions::{heard, hears};
use crate::support::{
    addresses, ask, await_status, calm, eventually, holder, holders, owners, settled,
    virtual_addresses,
};

fn state_changes(cluster: &Cluster) -> Vec<u64> {
    let nodes = 1..=cluster.lan().nodes();
    nodes.map(|node| cluster.status(node).unwrap().stats.state_changes).collect()
}

#[test]
fn a_chain_of_four_is_one_cluster_and_nothing_moves() {
    let cluster = settled(calm().with_nodes(4));
    let before = owners(&cluster, 1);
    let changes = state_changes(&cluster);
    let probe = ask(&cluster, &addresses());
    let broken = [(1, 3), (1, 4), (2, 4)];
    let both = broken.iter().flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
    let cuts: Vec<_> = both.map(|(from, to)| (Port::Node(from), Port::Node(to))).collect();
    cluster.lan().cut_all(&cuts).unwrap();
    for (node, other) in broken {
        let name = format!("node{other}");
        await_status(&cluster, node, "it hears the other through others", |status| {
            heard(status, &name) == [HeardBy::Relayed]
        });
    }
    // Everybody knows who hears whom and how, the ends of the chain too.
    for node in 1..=4 {
        await_status(&cluster, node, "the matrix shows the chain", |status| {
            let all = (1..=4).flat_map(|one| (1..=4).map(move |other| (one, other)));
            let others = all.filter(|(one, other)| one != other && *one != node);
            others.into_iter().all(|(one, other)| {
                let paths = hears(status, &format!("node{one}"), &format!("node{other}"));
                let neighbours = usize::abs_diff(one, other) == 1;
                if neighbours {
                    paths.contains(&HeardBy::Multicast)
                } else {
                    paths == [HeardBy::Relayed]
                }
            })
        });
    }
    std::thread::sleep(cluster.options().stale * 2);
    cluster.settled().unwrap();
    assert_eq!(state_changes(&cluster), changes);
    for node in 1..=4 {
        assert_eq!(owners(&cluster, node), before, "as node{node} sees it");
    }
    assert_eq!(probe.finish().lost(), 0);
}

/// Which direction of a holder's port is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It hears nobody.
    Deaf,
    /// Nobody hears it.
    Mute,
}

#[test]
fn a_deaf_owner_of_three_is_replaced_and_returns() {
    cut_off_and_back(3, Cut::Deaf);
}

#[test]
fn a_mute_owner_of_three_is_replaced_and_returns() {
    cut_off_and_back(3, Cut::Mute);
}

#[test]
fn a_deaf_owner_of_two_is_replaced_and_returns() {
    cut_off_and_back(2, Cut::Deaf);
}

#[test]
fn a_mute_owner_of_two_is_replaced_and_returns() {
    cut_off_and_back(2, Cut::Mute);
}

fn cut_off_and_back(nodes: usize, cut: Cut) {
    let cluster = settled(Options { nodes, ..calm() });
    let victim = holder(&cluster, vip4(1));
    let witness = if victim == 1 { 2 } else { 1 };
    let before = owners(&cluster, witness);
    let held = virtual_addresses(&cluster, victim);
    let others = cluster.lan().ports().filter(|port| *port != Port::Node(victim));
    let pair = |other| match cut {
        Cut::Deaf => (other, Port::Node(victim)),
        Cut::Mute => (Port::Node(victim), other),
    };
    let pairs: Vec<_> = others.map(pair).collect();
    cluster.lan().cut_all(&pairs).unwrap();
    eventually("another node has it", || {
        let others = holders(&cluster, vip4(1)).into_iter().filter(|node| *node != victim);
        if others.count() == 1 { Ok(()) } else { Err("nobody has it".into()) }
    });
    // Whatever clients remembered, they were told, and nobody tells otherwise.
    std::thread::sleep(Duration::from_millis(300));
    let probe = ask(&cluster, &[vip4(1)]);
    std::thread::sleep(Duration::from_millis(1_500));
    let series = &probe.finish().series[&vip4(1)];
    let by = series.machines();
    assert_eq!(series.lost(), 0, "{cut:?}: {series}");
    assert!(!by.contains(&Port::Node(victim)), "{cut:?}: {series}");
    // It may keep what it had (O7), and must not if it knows better (O6).
    let has = virtual_addresses(&cluster, victim);
    match cut {
        // With nobody else to ask it cannot tell deafness from the others' death.
        Cut::Deaf => assert!(held.iter().all(|ip| has.contains(ip)), "it lost some of {held:?}"),
        Cut::Mute => assert!(has.is_empty(), "it still has {has:?}"),
    }
    cluster.lan().heal().unwrap();
    eventually("everything is back", || match owners(&cluster, witness) {
        now if now == before => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
    for ip in addresses() {
        eventually("one holder in the kernels", || match holders(&cluster, ip) {
            nodes if nodes.len() == 1 => Ok(()),
            nodes => Err(format!("{ip} on {nodes:?}")),
        });
    }
    assert_eq!(holder(&cluster, vip4(1)), victim);
}
