//! Who gives what back, who stands by, and for how long (O3, O4).

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use vippy_client::status::{NodeReason, NodeState};
use vippy_lab::options::vip4;
use vippy_lab::{Cluster, Options};

use crate::support::{
    PATIENCE, addresses, ask, assert_unnoticed, await_status, calm, calm_cluster, eventually,
    holder, holders, owners, program, settled, virtual_addresses,
};

/// The demonstration's cluster, where group 3 prefers node 2, with more keys.
fn with(keys: Value) -> Cluster {
    let mut options: Options = calm();
    options.more.extend(keys.as_object().unwrap().clone());
    settled(options)
}

fn run(cluster: &Cluster, node: usize, arguments: &[&str]) -> Output {
    let mut command = Command::new(program("vippyctl"));
    command.arg("-s").arg(cluster.management(node)).args(arguments).output().unwrap()
}

/// Runs `vippyctl`, which must succeed. What it said.
fn vippyctl(cluster: &Cluster, node: usize, arguments: &[&str]) -> String {
    let output = run(cluster, node, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "vippyctl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Kills a node's daemon once its disk has what must last, and starts the next.
fn kill_and_start(cluster: &Cluster, node: usize, remembered: &str) {
    let path = cluster.state_directory(node).join(format!("node{node}.memory"));
    eventually("it is remembered", || match std::fs::read_to_string(&path) {
        Ok(text) if text.contains(remembered) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.kill(node).unwrap();
    cluster.start_node(node).unwrap();
}

/// Stops a node and starts it again when the others have everything.
fn leave_and_return(cluster: &Cluster, node: usize) {
    cluster.stop(node).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    cluster.start_node(node).unwrap();
    await_status(cluster, node, "it is active", |s| s.node.state == NodeState::Active);
}

#[test]
fn without_failback_nothing_moves_when_its_node_returns() {
    let cluster = with(json!({ "failback": "never" }));
    assert_eq!(holder(&cluster, vip4(3)), 2);
    leave_and_return(&cluster, 2);
    let before = owners(&cluster, 1);
    let keeper = holder(&cluster, vip4(3));
    assert_ne!(keeper, 2);
    let probe = ask(&cluster, &addresses());
    std::thread::sleep(cluster.options().stale * 3);
    assert_eq!(owners(&cluster, 1), before);
    assert_eq!(owners(&cluster, 2), before);
    vippyctl(&cluster, keeper, &["drain"]);
    eventually("it went where it is preferred", || match holders(&cluster, vip4(3)) {
        nodes if nodes == [2] => Ok(()),
        nodes => Err(format!("on {nodes:?}")),
    });
    vippyctl(&cluster, keeper, &["resume"]);
    std::thread::sleep(cluster.options().stale);
    assert_eq!(holder(&cluster, vip4(3)), 2);
    for (ip, series) in &probe.finish().series {
        assert_unnoticed(ip, series);
    }
}

#[test]
fn a_delayed_group_goes_back_after_its_delay_and_nobody_notices() {
    let cluster = with(json!({ "failback": 4 }));
    leave_and_return(&cluster, 2);
    let probe = ask(&cluster, &addresses());
    let delayed = cluster.status(2).unwrap();
    let why = delayed.groups.iter().filter_map(|group| group.rather_not.as_deref());
    assert!(why.clone().count() > 0 && why.clone().all(|why| why.contains("delayed")));
    std::thread::sleep(Duration::from_secs(2));
    assert_ne!(holder(&cluster, vip4(3)), 2);
    eventually("it is back", || match holders(&cluster, vip4(3)) {
        nodes if nodes == [2] => Ok(()),
        nodes => Err(format!("on {nodes:?}")),
    });
    std::thread::sleep(Duration::from_millis(300));
    for (ip, series) in &probe.finish().series {
        assert_unnoticed(ip, series);
    }
}

#[test]
fn a_standby_node_takes_over_only_when_all_others_are_gone() {
    let spare = json!({ "name": "node3", "standby": true });
    let cluster = with(json!({ "nodes": ["node1", "node2", spare] }));
    let status = cluster.status(3).unwrap();
    assert_eq!(status.node.state, NodeState::Standby);
    assert!(virtual_addresses(&cluster, 3).is_empty());
    cluster.crash_node(1).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    assert!(virtual_addresses(&cluster, 3).is_empty());
    cluster.crash_node(2).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    for ip in addresses() {
        assert!(holders(&cluster, ip).contains(&3), "{ip}");
    }
}

#[test]
fn a_drain_for_a_time_ends_by_itself_outlasts_the_process_and_loses_no_packet() {
    let cluster = calm_cluster();
    let node = holder(&cluster, vip4(1));
    let probe = ask(&cluster, &addresses());
    let said = vippyctl(&cluster, node, &["drain", "--for", "3s", "--wait=10s"]);
    assert!(said.ends_with("this node holds nothing\n"), "{said}");
    assert!(virtual_addresses(&cluster, node).is_empty());
    let left = cluster.status(node).unwrap().node.drained_ms.unwrap();
    assert!(left <= 3_000, "{left} ms");
    assert!(vippyctl(&cluster, node, &["status"]).contains("for another "));
    await_status(&cluster, node, "it takes part again", |s| s.node.state == NodeState::Active);
    eventually("everything is back", || match holders(&cluster, vip4(1)) {
        nodes if nodes == [node] => cluster.settled(),
        nodes => Err(format!("on {nodes:?}")),
    });
    std::thread::sleep(Duration::from_millis(300));
    for (ip, series) in &probe.finish().series {
        assert_unnoticed(ip, series);
    }
    vippyctl(&cluster, node, &["drain", "--for", "1h"]);
    kill_and_start(&cluster, node, "for");
    let status = await_status(&cluster, node, "it is drained again", |status| {
        (status.node.state, status.node.reason) == (NodeState::Draining, NodeReason::Operator)
    });
    let left = status.node.drained_ms.unwrap();
    assert!(left > 3_500_000 && left < 3_600_000, "{left} ms");
    vippyctl(&cluster, node, &["resume"]);
    cluster.wait_settled(PATIENCE).unwrap();
}

#[test]
fn waiting_for_the_last_node_to_be_empty_fails_with_the_reason() {
    let cluster = calm_cluster();
    cluster.stop(2).unwrap();
    cluster.stop(3).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    let output = run(&cluster, 1, &["drain", "--wait=1s"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("after 1s this node still holds"), "{errors}");
    assert!(errors.contains("no other node can have it"), "{errors}");
}

#[test]
fn a_node_that_is_killed_again_and_again_is_held_down() {
    let cluster = with(json!({ "hold_down": 6 }));
    for times in 1..=3 {
        // Let the disk have the last return.
        std::thread::sleep(Duration::from_millis(500));
        cluster.kill(2).unwrap();
        cluster.start_node(2).unwrap();
        let status = await_status(&cluster, 2, "it has booted", |status| {
            status.node.state != NodeState::Booting
        });
        let held_down =
            (status.node.state, status.node.reason) == (NodeState::Standby, NodeReason::HeldDown);
        assert_eq!(held_down, times == 3, "{times}: {:?}", status.node);
    }
    eventually("others have its groups", || match virtual_addresses(&cluster, 2) {
        left if left.is_empty() => cluster.settled(),
        left => Err(format!("{left:?} left")),
    });
    let status = cluster.status(2).unwrap();
    assert!(status.node.held_down_ms.is_some_and(|left| left <= 6_000), "{:?}", status.node);
    await_status(&cluster, 2, "it takes part again", |s| s.node.state == NodeState::Active);
    eventually("its group is back", || match holders(&cluster, vip4(3)) {
        nodes if nodes == [2] => Ok(()),
        nodes => Err(format!("on {nodes:?}")),
    });
}
