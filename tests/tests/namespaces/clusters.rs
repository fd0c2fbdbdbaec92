//! Other ways to form a cluster: by unicast, by IPv6, several on one LAN; and
//! two daemons under one name.

use std::net::IpAddr;

use serde_json::{Value, json};
use vippy_client::status::{HeardBy, NodeReason};
use vippy_lab::options::{vip, vip4};
use vippy_lab::{Lan, LanOptions, Options, Port};

use crate::support::{
    Daemon, PATIENCE, addresses, await_status, calm, eventually, has_address, holder, owners,
    settled,
};

/// A death is noticed and replaced; a start after it restores everything.
fn survives_a_death(cluster: &vippy_lab::Cluster) {
    let before = owners(cluster, 1);
    let victim = if holder(cluster, vip4(3)) == 2 { 2 } else { 3 };
    cluster.crash_node(victim).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    assert_ne!(owners(cluster, 1), before);
    cluster.start_node(victim).unwrap();
    eventually("everything is back", || match owners(cluster, 1) {
        now if now == before => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
}

#[test]
fn nodes_that_know_each_other_s_addresses_need_no_multicast() {
    let peers: Value = (1..=3)
        .map(|node| (format!("node{node}"), json!(format!("{}:5007", Port::Node(node).ipv4()))))
        .collect();
    let text = calm().config_text();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let keys = config.as_object_mut().unwrap();
    keys.remove("chat");
    keys.remove("chat_interface");
    keys.insert("peers".into(), peers);
    let cluster = settled(Options { config: Some(config.to_string()), ..calm() });
    await_status(&cluster, 1, "all by unicast", |status| {
        status.peers.iter().all(|peer| peer.alive && peer.hears_by == [HeardBy::Unicast])
    });
    survives_a_death(&cluster);
}

#[test]
fn a_cluster_chats_by_ipv6() {
    let mut options = calm();
    options.more.insert("chat".into(), json!("[ff02::7]:5007"));
    let cluster = settled(options);
    let status = await_status(&cluster, 1, "all by multicast", |status| {
        status.peers.iter().all(|p| p.alive && p.hears_by.contains(&HeardBy::Multicast))
    });
    let address = status.peers[0].address.as_ref().unwrap();
    assert!(address.starts_with("[fe80::"), "{address}");
    survives_a_death(&cluster);
}

/// A configuration of two nodes with one group.
fn pair(nodes: [usize; 2], secret: &str, address: IpAddr) -> String {
    let options = Options { groups: json!([[vip(address)]]), ..calm() };
    let mut config: Value = serde_json::from_str(&options.config_text()).unwrap();
    config["nodes"] = nodes.map(|node| format!("node{node}")).to_vec().into();
    config["secret"] = secret.into();
    config.to_string()
}

#[test]
fn two_clusters_with_different_secrets_share_a_lan() {
    let lan = Lan::new(LanOptions { nodes: 4, clients: 0 }).unwrap();
    let first = pair([1, 2], "the secret of the first cluster", vip4(1));
    let second = pair([3, 4], "the secret of the second cluster", vip4(2));
    let daemon = |node: usize| {
        let config = if node <= 2 { &first } else { &second };
        Daemon::start(lan.machine(node).unwrap(), &format!("node{node}"), config)
    };
    let daemons: Vec<Daemon> = (1..=4).map(daemon).collect();
    for (index, daemon) in daemons.iter().enumerate() {
        let status = daemon.await_status("it has one peer and one held group", |status| {
            status.peers.iter().filter(|peer| peer.alive).count() == 1
                && status.groups[0].holders.len() == 1
        });
        let partner = format!("node{}", [2, 1, 4, 3][index]);
        let peers: Vec<&str> = status.peers.iter().map(|peer| peer.name.as_str()).collect();
        assert_eq!(peers, [partner]);
        eventually("the others are refused and counted", || {
            let rejects = daemon.status()?.stats.rejects;
            let text = format!("{rejects:?}");
            if text.contains("UnknownKey") { Ok(()) } else { Err(text) }
        });
        let told = daemon.log().matches("datagram refused").count();
        assert!((1..=4).contains(&told), "{told} lines about it: {}", daemon.log());
    }
    for (ip, nodes) in [(vip4(1), [1, 2]), (vip4(2), [3, 4])] {
        let on: Vec<usize> =
            (1..=4).filter(|n| has_address(lan.machine(*n).unwrap(), ip)).collect();
        assert!(on.len() == 1 && nodes.contains(&on[0]), "{ip} is on {on:?}");
    }
}

#[test]
fn a_second_daemon_under_a_name_in_use_takes_nothing_and_says_so() {
    let cluster = settled(Options { clients: 2, ..calm() });
    let before = owners(&cluster, 2);
    let changes = |node| cluster.status(node).unwrap().stats.state_changes;
    let counts = [1, 2, 3].map(changes);
    let host = cluster.lan().machine(Port::Client(1)).unwrap();
    let twin = Daemon::start(host, "node1", &cluster.options().config_text());
    let status = twin.await_status("it knows that it is a twin", |status| {
        status.node.reason == NodeReason::Twin
    });
    assert!(status.groups.iter().all(|group| group.epoch.is_none()));
    let end = std::time::Instant::now() + cluster.options().stale * 2;
    while std::time::Instant::now() < end {
        for ip in addresses() {
            assert!(!has_address(host, ip), "the twin has {ip}");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(owners(&cluster, 2), before);
    assert_eq!([1, 2, 3].map(changes), counts);
    // Once the first is gone for good, the second is node1.
    cluster.crash_node(1).unwrap();
    twin.await_status("it takes the dead one's place", |status| status.state.active);
    eventually("it holds what is node1's", || {
        if has_address(host, vip4(1)) == before.values().any(|o| o == "node1") {
            return Ok(());
        }
        let held = addresses().into_iter().filter(|ip| has_address(host, *ip)).count();
        if held > 0 { Ok(()) } else { Err("nothing".into()) }
    });
    assert_eq!(owners(&cluster, 2), before);
    drop(twin.process);
}
