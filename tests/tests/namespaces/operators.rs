//! What operators do: drain and resume, reload a broken file.

use std::process::Command;

use vippy_client::status::{NodeReason, NodeState};
use vippy_lab::options::vip4;
use vippy_lab::{Cluster, Port};

use crate::support::{
    PATIENCE, addresses, ask, assert_unnoticed, await_status, calm_cluster, eventually, holder,
    owners, program, virtual_addresses,
};

/// Runs `vippyctl` on a node; it must succeed. What it said.
pub(crate) fn vippyctl(cluster: &Cluster, node: usize, command: &str) -> String {
    let mut process = Command::new(program("vippyctl"));
    let output = process.arg("-s").arg(cluster.management(node)).arg(command).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "vippyctl {command}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn draining_and_resuming_a_node_loses_no_packet() {
    let cluster = calm_cluster();
    let node = holder(&cluster, vip4(1));
    let before = owners(&cluster, node);
    let probe = ask(&cluster, &addresses());
    vippyctl(&cluster, node, "drain");
    eventually("the drained node is empty", || match virtual_addresses(&cluster, node) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?} left")),
    });
    let status = cluster.status(node).unwrap();
    assert_eq!(
        (status.node.state, status.node.reason),
        (NodeState::Draining, NodeReason::Operator)
    );
    vippyctl(&cluster, node, "resume");
    eventually("everything is back", || match owners(&cluster, node) {
        now if now == before => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    let report = probe.finish();
    for (ip, series) in &report.series {
        assert_unnoticed(ip, series);
    }
    let others = report.series[&vip4(1)].reigns();
    let by: Vec<Port> = others.iter().map(|reign| reign.by).collect();
    assert!(by.len() >= 3 && by.contains(&Port::Node(node)), "{by:?}");
}

#[test]
fn draining_the_last_node_keeps_its_groups_and_says_so() {
    let cluster = calm_cluster();
    cluster.stop(2).unwrap();
    cluster.stop(3).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    let held = virtual_addresses(&cluster, 1).len();
    vippyctl(&cluster, 1, "drain");
    let status = await_status(&cluster, 1, "it drains", |s| s.node.state == NodeState::Draining);
    assert!(!status.state.active);
    std::thread::sleep(cluster.options().stale);
    assert_eq!(virtual_addresses(&cluster, 1).len(), held);
    let status = cluster.status(1).unwrap();
    assert!(status.groups.iter().all(|group| group.owner.as_ref() == Some(&status.identity)));
}

#[test]
fn a_bad_file_at_hup_changes_nothing_and_every_problem_is_logged() {
    let cluster = calm_cluster();
    let before = cluster.status(1).unwrap();
    let bad = cluster
        .options()
        .config_text()
        .replace("\"node2\"", "\"nod2\"")
        .replace("10.77.0.104/24", "10.77.0.103/24")
        .replace("\"secret\"", "\"secrte\"");
    cluster.rewrite_node_config(1, &bad).unwrap();
    cluster.hup(1).unwrap();
    let kept = "the running configuration stays";
    eventually("it is refused", || match cluster.log(1).unwrap() {
        log if log.contains(kept) => Ok(()),
        log => Err(log),
    });
    let log = cluster.log(1).unwrap();
    for problem in ["secrte", "10.77.0.103", "secret"] {
        assert!(log.contains(problem), "{problem} in {log}");
    }
    let places = log.lines().filter(|line| line.contains("vippy.conf:")).count();
    assert!(places >= 3, "{log}");
    std::thread::sleep(cluster.options().interval * 3);
    let after = cluster.status(1).unwrap();
    assert_eq!(after.config.digest, before.config.digest);
    assert_eq!(after.stats.state_changes, before.stats.state_changes);
    assert_eq!(after.node.state, NodeState::Active);
    cluster.settled().unwrap();
}
