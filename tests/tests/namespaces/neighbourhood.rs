//! What the LAN makes of addresses that moved.

use std::net::IpAddr;
use std::process::Command;

use vippy_client::status::{BeliefStatus, GroupStatus};
use vippy_lab::options::{vip4, vip6};
use vippy_lab::{Cluster, Port};

use crate::support::{
    PATIENCE, await_status, calm_cluster, eventually, holder, holders, ip, program,
};

/// A node's status of the group that has an address.
fn group_of(cluster: &Cluster, node: usize, ip: IpAddr) -> GroupStatus {
    let groups = cluster.status(node).unwrap().groups;
    let has = |group: &GroupStatus| group.addresses.iter().any(|net| net.addr() == ip);
    groups.into_iter().find(has).unwrap()
}

/// Waits until some node other than `former` holds an address, and a condition
/// holds of what it says about belief.
fn await_belief(
    cluster: &Cluster,
    (ip, former): (IpAddr, usize),
    what: &str,
    wanted: impl Fn(&BeliefStatus) -> bool,
) -> (usize, BeliefStatus) {
    let mut found = None;
    eventually(what, || {
        let [node] = holders(cluster, ip)[..] else { return Err("it moves".into()) };
        let belief = group_of(cluster, node, ip).belief.filter(|_| node != former);
        found = belief.clone().filter(|belief| wanted(belief)).map(|belief| (node, belief));
        found.as_ref().map(|_| ()).ok_or(format!("node{node} says {belief:?}"))
    });
    found.unwrap()
}

fn timeline(cluster: &Cluster, node: usize) -> String {
    let mut command = Command::new(program("vippyctl"));
    command.arg("-s").arg(cluster.management(node)).arg("timeline");
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_planned_move_is_believed_by_both_others_and_every_node_can_tell() {
    let cluster = calm_cluster();
    let former = holder(&cluster, vip4(1));
    cluster.drain(former).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    // Groups of both families.
    for ip in [vip4(1), vip6(6)] {
        let (node, belief) = await_belief(&cluster, (ip, 0), "both believe it", |belief| {
            (belief.believed, belief.of) == (2, 2)
        });
        println!("{ip} on node{node}: {belief:?}");
        assert_eq!((belief.repeated, belief.instead), (0, None));
    }
    for node in 1..=3 {
        eventually("the story is complete", || {
            let screen = timeline(&cluster, node);
            let all = screen.contains("moved away") && screen.contains(" 2 of 2");
            if all { Ok(()) } else { Err(screen) }
        });
    }
    println!("{}", timeline(&cluster, former));
}

/// A killed daemon's kernel goes on answering for the address.
#[test]
fn where_the_former_holder_still_answers_the_neighbours_are_told_until_it_does_not() {
    let cluster = calm_cluster();
    let former = holder(&cluster, vip4(1));
    let mac = vippy_core::identity::Mac(Port::Node(former).hardware_address());
    cluster.kill(former).unwrap();
    let mut taker = 0;
    eventually("another node sees who answers instead", || {
        let others = (1..=3).filter(|node| *node != former);
        let doubts = others.map(|node| (node, group_of(&cluster, node, vip4(1)).belief));
        let seen: Vec<_> = doubts.collect();
        let doubted = seen
            .iter()
            .find(|(_, belief)| belief.as_ref().is_some_and(|belief| belief.instead == Some(mac)));
        taker = doubted.map_or(0, |(node, _)| *node);
        doubted.map(|_| ()).ok_or(format!("{seen:?}"))
    });
    let told =
        await_status(&cluster, taker, "its lifetime is over, and it is believed", |status| {
            let belief = status.groups[0].belief.as_ref();
            belief.is_some_and(|belief| (belief.believed, belief.of) == (1, 1))
        });
    assert!(told.groups[0].belief.as_ref().unwrap().repeated > 0);
}

/// Another machine has the address on a MAC of its own.
#[test]
fn another_station_that_answers_is_named_in_the_end_by_a_warning() {
    let cluster = calm_cluster();
    let former = holder(&cluster, vip4(1));
    let stray = cluster.lan().machine(Port::Client(0)).unwrap();
    ip(stray, &["address", "add", &format!("{}/32", vip4(1)), "dev", "eth0"]);
    cluster.drain(former).unwrap();
    let mac = vippy_core::identity::Mac(Port::Client(0).hardware_address());
    let (node, _) = await_belief(&cluster, (vip4(1), former), "it is doubted", |belief| {
        belief.instead == Some(mac) && belief.repeated == 5
    });
    eventually("the log says so", || {
        let log = cluster.log(node).unwrap();
        let said = log.contains("do not believe") && log.contains(&mac.to_string());
        if said { Ok(()) } else { Err(log) }
    });
    ip(stray, &["address", "del", &format!("{}/32", vip4(1)), "dev", "eth0"]);
    assert_eq!(timeline(&cluster, node).matches(" 0 of 2").count(), 1);
}
