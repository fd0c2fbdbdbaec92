//! Interfaces that go away under a holder, and exclusive groups.

use std::time::Duration;

use serde_json::json;
use vippy_client::status::{NodeReason, NodeState};
use vippy_lab::options::{vip, vip4};
use vippy_lab::{Options, Port};

use crate::operators::vippyctl;
use crate::support::{
    PATIENCE, ask, await_status, calm, calm_cluster, eventually, holder, holders, ip, owners,
    settled, watch,
};

#[test]
fn a_holder_whose_link_goes_down_is_replaced_and_returns() {
    let cluster = calm_cluster();
    let node = holder(&cluster, vip4(1));
    let witness = if node == 1 { 2 } else { 1 };
    let before = owners(&cluster, witness);
    let probe = ask(&cluster, &[vip4(1)]);
    cluster.lan().unplug(node).unwrap();
    eventually("another node has it", || {
        let others = holders(&cluster, vip4(1)).into_iter().filter(|other| *other != node);
        if others.count() == 1 { Ok(()) } else { Err("nobody has it".into()) }
    });
    let told = await_status(&cluster, node, "it says why", |status| {
        status.groups.iter().all(|group| group.cannot.is_some())
    });
    assert!(told.groups[0].cannot.as_ref().unwrap().contains("eth0"), "{:?}", told.groups[0]);
    // Its frames do not leave, so it drops everything and boots until they do (F2).
    await_status(&cluster, node, "it knows that nothing leaves", |status| {
        (status.node.state, status.node.reason) == (NodeState::Booting, NodeReason::Suspended)
    });
    std::thread::sleep(Duration::from_millis(300));
    let series = &probe.finish().series[&vip4(1)];
    assert_ne!(series.reigns().last().unwrap().by, Port::Node(node), "{series}");
    cluster.lan().plug(node).unwrap();
    eventually("everything is back", || match owners(&cluster, witness) {
        now if now == before => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
}

/// The addresses are on an interface of their own, the chat on another: what
/// the daemon sees is an interface that vanishes while everybody is well.
#[test]
fn a_group_moves_when_its_interface_vanishes_and_returns_with_it() {
    let other = |number| json!([{ "interface": "vips0", "ip": format!("10.78.0.{number}/24") }]);
    let options = Options { groups: json!([other(1), other(2), other(3)]), ..calm() };
    let cluster = vippy_lab::Cluster::prepare(options).unwrap();
    let add = |node: usize| {
        let machine = cluster.lan().machine(node).unwrap();
        ip(machine, &["link", "add", "vips0", "type", "veth", "peer", "name", "far0"]);
        ip(machine, &["link", "set", "far0", "up"]);
        ip(machine, &["link", "set", "vips0", "up"]);
    };
    for node in 1..=3 {
        add(node);
        cluster.start_node(node).unwrap();
    }
    cluster.wait_settled(PATIENCE).unwrap();
    let before = owners(&cluster, 2);
    assert!(before.values().any(|owner| owner == "node1"), "{before:?}");
    ip(cluster.lan().machine(1).unwrap(), &["link", "del", "vips0"]);
    eventually("others have them", || match owners(&cluster, 2) {
        now if now.values().all(|owner| owner != "node1") => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
    let told = await_status(&cluster, 1, "it says why", |status| {
        status.groups.iter().all(|group| group.cannot.is_some())
    });
    assert_eq!(told.node.state, NodeState::Active);
    add(1);
    eventually("everything is back", || match owners(&cluster, 2) {
        now if now == before => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
}

#[test]
fn an_exclusive_group_is_never_on_two_nodes() {
    let exclusive = |number: u8| json!({ "name": format!("x{number}"), "exclusive": true, "vips": [vip(vip4(number))] });
    let groups: Vec<_> = (1..=4).map(exclusive).collect();
    let cluster = settled(Options { groups: groups.into(), ..calm() });
    // What is claimed is announced before it is there.
    eventually("somebody has it", || match holders(&cluster, vip4(1)) {
        now if now.len() == 1 => Ok(()),
        now => Err(format!("on {now:?}")),
    });
    let node = holder(&cluster, vip4(1));
    let before = owners(&cluster, node);
    let ((), record) = watch(&cluster, || {
        for _ in 0..3 {
            vippyctl(&cluster, node, "drain");
            eventually("it has moved", || match holders(&cluster, vip4(1)) {
                now if now.len() == 1 && now != [node] => cluster.settled(),
                now => Err(format!("{now:?}")),
            });
            vippyctl(&cluster, node, "resume");
            eventually("it is back", || match owners(&cluster, node) {
                now if now == before => cluster.settled(),
                now => Err(format!("{now:?}")),
            });
            eventually("it is there", || match holders(&cluster, vip4(1)) {
                now if now == [node] => Ok(()),
                now => Err(format!("on {now:?}")),
            });
        }
        // From a dead daemon it is taken only when the kernel must have let go.
        cluster.kill(node).unwrap();
        cluster.wait_settled(PATIENCE).unwrap();
    });
    let (double, ip) = record.longest_double();
    assert_eq!(double, Duration::ZERO, "{ip:?} was on two nodes");
    eventually("another node has it", || match holders(&cluster, vip4(1)) {
        now if now.len() == 1 && now != [node] => Ok(()),
        now => Err(format!("on {now:?}")),
    });
    let moves: usize = record
        .spans
        .iter()
        .filter(|((ip, on), _)| *ip == vip4(1) && *on == node)
        .map(|(_, spans)| spans.len())
        .sum();
    assert_eq!(moves, 4, "it was on node{node} four times");
}
