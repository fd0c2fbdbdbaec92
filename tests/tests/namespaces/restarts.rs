//! `vippyctl restart`: a new process, and nobody notices.

use std::process::Command;
use std::time::Duration;

use vippy_client::status::NodeState;
use vippy_lab::options::vip4;
use vippy_lab::{Port, ProbeOptions};

use crate::operators::vippyctl;
use crate::support::{
    PATIENCE, addresses, await_status, calm_cluster, holder, owners, program, virtual_addresses,
    watch,
};

#[test]
fn five_restarts_lose_no_packet_and_move_nothing() {
    let cluster = calm_cluster();
    let node = holder(&cluster, vip4(1));
    let before = owners(&cluster, node);
    let held = virtual_addresses(&cluster, node);
    let pid = cluster.process(node).unwrap().pid();
    // Slow answers count: only what never comes is lost.
    let options =
        ProbeOptions { patience: Duration::from_secs(3), ..ProbeOptions::new(addresses()) };
    let probe = cluster.lan().probe(Port::Client(0), options).unwrap();
    let ((), record) = watch(&cluster, || {
        std::thread::sleep(Duration::from_millis(300));
        for _ in 0..5 {
            let boot = cluster.status(node).unwrap().node.boot;
            let said = vippyctl(&cluster, node, "restart");
            assert!(said.starts_with("restarted: vippy "), "{said}");
            assert_ne!(cluster.status(node).unwrap().node.boot, boot);
            await_status(&cluster, node, "it is active", |s| s.node.state == NodeState::Active);
        }
        cluster.wait_settled(PATIENCE).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    });
    let report = probe.finish();
    assert_eq!(report.lost(), 0, "{:#?}", report.series.values().map(ToString::to_string));
    assert_eq!(cluster.process(node).unwrap().pid(), pid);
    assert_eq!(owners(&cluster, node), before);
    assert_eq!(virtual_addresses(&cluster, node), held);
    for ip in held {
        assert_eq!(record.holders(ip), [node], "{ip}");
        assert_eq!(record.spans[&(ip, node)].len(), 1, "{ip} was gone for a moment");
    }
}

#[test]
fn a_restart_that_would_fail_is_refused_with_the_reason() {
    let cluster = calm_cluster();
    let boot = cluster.status(1).unwrap().node.boot;
    let bad = cluster.options().config_text().replace("\"secret\"", "\"secrte\"");
    cluster.rewrite_node_config(1, &bad).unwrap();
    let mut command = Command::new(program("vippyctl"));
    let output = command.arg("-s").arg(cluster.management(1)).arg("restart").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not restarted: ") && said.contains("secrte"), "{said}");
    assert_eq!(cluster.status(1).unwrap().node.boot, boot);
    cluster.settled().unwrap();
}
