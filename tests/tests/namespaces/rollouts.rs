//! One configuration for the whole cluster: what one node loads all run; what
//! an operator applies all run, or nobody.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vippy_client::status::{NodeReason, NodeState};
use vippy_lab::options::{vip, vip4};
use vippy_lab::{Cluster, Frame, FrameKind, Options};

use crate::support::{
    PATIENCE, addresses, ask, assert_unnoticed, await_status, calm, eventually, holders, program,
    settled, virtual_addresses,
};

/// A configuration like that of the cluster, with other keys.
fn changed(cluster: &Cluster, keys: Value) -> String {
    let mut options: Options = cluster.options().clone();
    let Value::Object(keys) = keys else { panic!("an object is expected") };
    options.more.extend(keys);
    options.config_text()
}

/// The demonstration's groups without the fourth, with a new one.
fn other_groups() -> Value {
    let groups = calm().groups;
    let mut groups = groups.as_array().unwrap().clone();
    groups.remove(3);
    groups.push(json!([vip(vip4(50))]));
    groups.into()
}

fn load(cluster: &Cluster, node: usize, text: &str) {
    cluster.rewrite_node_config(node, text).unwrap();
    cluster.hup(node).unwrap();
}

/// Version and digest on every node.
fn running(cluster: &Cluster) -> Vec<(u64, String)> {
    let nodes = cluster.running().unwrap().into_iter();
    let config = |node| cluster.status(node).unwrap().config;
    nodes.map(config).map(|config| (config.version, config.digest)).collect()
}

/// Waits until all running nodes have this version, and everything is at rest.
fn await_version(cluster: &Cluster, version: u64) {
    eventually("all nodes run it", || {
        let running = running(cluster);
        let digests: BTreeSet<&String> = running.iter().map(|(_, digest)| digest).collect();
        if digests.len() != 1 || running.iter().any(|(found, _)| *found != version) {
            return Err(format!("{running:?}"));
        }
        cluster.settled()
    });
}

/// Runs `vippyctl` on a node: whether it succeeded, and all that it said.
fn vippyctl(cluster: &Cluster, node: usize, arguments: &[&str]) -> (bool, String) {
    let mut process = Command::new(program("vippyctl"));
    let output = process.arg("-s").arg(cluster.management(node)).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Writes a configuration beside the cluster's and applies it on a node.
fn apply(cluster: &Cluster, node: usize, text: &str, more: &[&str]) -> (bool, String) {
    let path = cluster.root().join("proposed.conf");
    std::fs::write(&path, text).unwrap();
    vippyctl(cluster, node, &[&["apply", path.to_str().unwrap()], more].concat())
}

fn nowhere(cluster: &Cluster, ip: IpAddr) {
    eventually("it is nowhere", || match holders(cluster, ip) {
        nodes if nodes.is_empty() => Ok(()),
        nodes => Err(format!("{ip} is on {nodes:?}")),
    });
}

#[test]
fn five_nodes_follow_one_that_was_told_and_nothing_that_stays_is_missed() {
    let cluster = settled(calm().with_nodes(5));
    let stay: Vec<IpAddr> = addresses().into_iter().filter(|ip| *ip != vip4(4)).collect();
    let probe = ask(&cluster, &stay);
    let told = Instant::now();
    load(&cluster, 2, &changed(&cluster, json!({"version": 2, "vips": other_groups()})));
    while running(&cluster).iter().any(|(version, _)| *version != 2) {
        assert!(told.elapsed() < PATIENCE, "{:?}", running(&cluster));
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("all five run it after {:?}", told.elapsed());
    await_version(&cluster, 2);
    nowhere(&cluster, vip4(4));
    assert_eq!(holders(&cluster, vip4(50)).len(), 1);
    for (ip, series) in &probe.finish().series {
        assert_unnoticed(ip, series);
    }
    let status = cluster.status(5).unwrap();
    let file = status.config.rollout.file.unwrap();
    assert_eq!((file.version, file.runs), (1, false));
    let (_, shown) = vippyctl(&cluster, 5, &["config", "show"]);
    assert!(shown.contains("running  2") && shown.contains("file     1"), "{shown}");
    let (_, diff) = vippyctl(&cluster, 5, &["config", "diff"]);
    assert!(diff.contains("-  \"version\": 1") && diff.contains("10.77.0.150"), "{diff}");
}

#[test]
fn a_node_that_was_off_during_two_changes_and_one_with_an_older_file_run_the_last() {
    let cluster = settled(calm());
    cluster.kill(3).unwrap();
    for version in [2, 3] {
        load(&cluster, 1, &changed(&cluster, json!({"version": version, "vips": other_groups()})));
        eventually("both have it", || match running(&cluster) {
            all if all.iter().all(|(found, _)| *found == version) => Ok(()),
            all => Err(format!("{all:?}")),
        });
    }
    cluster.start_node(3).unwrap();
    await_version(&cluster, 3);
    // Alone with its old file it goes on with what it had.
    for node in [1, 2, 3] {
        cluster.kill(node).unwrap();
    }
    cluster.start_node(3).unwrap();
    assert_eq!(running(&cluster)[0].0, 3);
    assert!(cluster.log(3).unwrap().contains("the file has version 1"));
    // A lower version changes nothing.
    load(&cluster, 3, &changed(&cluster, json!({"version": 2})));
    eventually("it says so", || match cluster.log(3).unwrap() {
        log if log.contains("the file has version 2") => Ok(()),
        log => Err(log),
    });
    assert_eq!(running(&cluster)[0].0, 3);
}

#[test]
fn a_power_cut_in_the_middle_of_a_change_ends_with_one_configuration() {
    let cluster = settled(calm());
    let new = changed(&cluster, json!({"version": 2, "vips": other_groups()}));
    load(&cluster, 1, &new);
    eventually("somebody has it", || match running(&cluster) {
        all if all.iter().any(|(version, _)| *version == 2) => Ok(()),
        all => Err(format!("{all:?}")),
    });
    for node in [1, 2, 3] {
        cluster.crash_node(node).unwrap();
    }
    for node in [3, 2, 1] {
        cluster.launch_node(node).unwrap();
    }
    for node in [1, 2, 3] {
        cluster.wait_ready(node).unwrap();
    }
    await_version(&cluster, 2);
}

#[test]
fn of_one_version_with_two_contents_one_runs_everywhere_and_both_files_are_told() {
    let cluster = settled(calm());
    load(&cluster, 1, &changed(&cluster, json!({"version": 2, "vips": other_groups()})));
    load(&cluster, 2, &changed(&cluster, json!({"version": 2})));
    await_version(&cluster, 2);
    let files: Vec<_> =
        (1..=2).map(|node| cluster.status(node).unwrap().config.rollout.file.unwrap()).collect();
    assert_ne!(files[0].digest, files[1].digest);
    assert_eq!(files.iter().filter(|file| file.runs).count(), 1, "{files:?}");
    let loser = if files[0].runs { 2 } else { 1 };
    eventually("the loser warns", || match cluster.log(loser).unwrap() {
        log if log.contains("another configuration") || log.contains("which stays") => Ok(()),
        log => Err(log),
    });
}

#[test]
fn a_removed_node_idles_also_after_a_restart_and_a_new_one_brings_its_own_configuration() {
    let cluster = settled(calm());
    load(&cluster, 1, &changed(&cluster, json!({"version": 2, "nodes": ["node1", "node2"]})));
    await_status(&cluster, 3, "it idles", |status| status.node.reason == NodeReason::Idle);
    eventually("its addresses are gone", || match virtual_addresses(&cluster, 3) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    cluster.kill(3).unwrap();
    cluster.start_node(3).unwrap();
    let status = await_status(&cluster, 3, "it idles again", |status| {
        status.node.reason == NodeReason::Idle
    });
    assert_eq!(status.config.version, 2);
    assert!(virtual_addresses(&cluster, 3).is_empty());
    // The same machine comes back with a file that names it again.
    load(&cluster, 3, &changed(&cluster, json!({"version": 3})));
    await_version(&cluster, 3);
    assert!(!virtual_addresses(&cluster, 3).is_empty());
}

#[test]
fn what_one_node_cannot_take_is_applied_nowhere_and_its_reason_is_printed() {
    let cluster = settled(calm());
    let before = running(&cluster);
    let moved: Vec<_> = (1..=3).map(|node| virtual_addresses(&cluster, node)).collect();
    let mut groups = calm().groups;
    groups.as_array_mut().unwrap().push(json!([{"interface": "extra0", "ip": "10.99.0.7/24"}]));
    for node in [1, 2] {
        let machine = cluster.lan().machine(node).unwrap();
        crate::support::ip(machine, &["link", "add", "extra0", "type", "veth"]);
    }
    let new = changed(&cluster, json!({"version": 2, "vips": groups}));
    let (fine, said) = apply(&cluster, 1, &new, &[]);
    assert!(!fine, "{said}");
    assert!(said.contains("node3: refuses: 10.99.0.7/24: no interface carries"), "{said}");
    assert!(said.contains("node2: accepts") && said.contains("nothing changed"), "{said}");
    assert_eq!(running(&cluster), before);
    let after: Vec<_> = (1..=3).map(|node| virtual_addresses(&cluster, node)).collect();
    assert_eq!(after, moved);
    // The node where it is applied says at once what it cannot do itself.
    let (fine, said) = apply(&cluster, 3, &new, &[]);
    assert!(!fine && said.contains("extra0, which the configuration names"), "{said}");
    let (fine, said) = apply(&cluster, 1, "{ version: 2, nodes: ['node1'] }", &[]);
    assert!(!fine && said.contains("vips"), "{said}");
    let (fine, said) = apply(&cluster, 1, &cluster.options().config_text(), &[]);
    assert!(!fine && said.contains("runs already"), "{said}");
}

#[test]
fn what_all_can_take_is_applied_under_a_higher_version_and_no_packet_is_missed() {
    let cluster = settled(calm());
    let stay: Vec<IpAddr> = addresses().into_iter().filter(|ip| *ip != vip4(4)).collect();
    let probe = ask(&cluster, &stay);
    // The version in the file does not matter.
    let (fine, said) = apply(&cluster, 2, &changed(&cluster, json!({"vips": other_groups()})), &[]);
    assert!(fine, "{said}");
    assert!(said.contains("runs on 3 live nodes"), "{said}");
    await_version(&cluster, 2);
    nowhere(&cluster, vip4(4));
    for (ip, series) in &probe.finish().series {
        assert_unnoticed(ip, series);
    }
}

#[test]
fn what_nobody_confirms_is_taken_back_everywhere_and_what_somebody_confirms_stays() {
    let cluster = settled(calm());
    let new = changed(&cluster, json!({"vips": other_groups()}));
    let (fine, said) = apply(&cluster, 1, &new, &["--confirm-within", "3s"]);
    assert!(fine && said.contains("vippyctl confirm"), "{said}");
    let warned = await_status(&cluster, 3, "it warns", |status| !status.node.warnings.is_empty());
    assert!(warned.node.warnings.iter().any(|text| text.contains("on trial")), "{warned:?}");
    await_version(&cluster, 3);
    nowhere(&cluster, vip4(50));
    assert_eq!(holders(&cluster, vip4(4)).len(), 1, "the former content is back");
    let (fine, said) = vippyctl(&cluster, 1, &["confirm"]);
    assert!(!fine && said.contains("not on trial"), "{said}");
    let (fine, said) = apply(&cluster, 1, &new, &["--confirm-within", "3s"]);
    assert!(fine, "{said}");
    let (fine, said) = vippyctl(&cluster, 3, &["confirm"]);
    assert!(fine && said.contains("4 (") && said.contains("stays"), "{said}");
    std::thread::sleep(Duration::from_secs(4));
    await_version(&cluster, 4);
}

#[test]
fn a_version_typed_too_high_is_forgotten() {
    let cluster = settled(calm());
    load(&cluster, 1, &changed(&cluster, json!({"version": 9_000_000})));
    await_version(&cluster, 9_000_000);
    cluster.rewrite_config(&changed(&cluster, json!({"version": 2}))).unwrap();
    for node in [1, 2, 3] {
        cluster.hup(node).unwrap();
        await_status(&cluster, node, "it has read its file", |status| {
            status.config.rollout.file.as_ref().is_some_and(|file| file.version == 2)
        });
    }
    let probe = ask(&cluster, &addresses());
    for node in [1, 2, 3] {
        let (fine, said) = vippyctl(&cluster, node, &["config", "forget"]);
        assert!(fine && said.contains("forgotten"), "{said}");
    }
    await_version(&cluster, 2);
    for node in [1, 2, 3] {
        let status = cluster.status(node).unwrap();
        assert_eq!(status.node.state, NodeState::Active);
    }
    for (ip, series) in &probe.finish().series {
        assert_unnoticed(ip, series);
    }
}

/// The demonstration's groups, which have seven addresses, and one group for each
/// of these numbers.
fn many_groups(numbers: std::ops::Range<u32>) -> Vec<Value> {
    let ip = |n: u32| format!("10.79.{}.{}/20", n / 250, n % 250 + 1);
    let more = numbers.map(|n| json!([{ "interface": "eth0", "ip": ip(n) }]));
    calm().groups.as_array().unwrap().iter().cloned().chain(more).collect()
}

/// The longest pause in what a node says to the chat.
fn longest_pause(frames: &[Frame]) -> Duration {
    let chat = frames.iter().filter(|frame| frame.kind == FrameKind::Udp(5007));
    let times: Vec<Instant> = chat.map(|frame| frame.at).collect();
    assert!(times.len() > 20, "{} frames", times.len());
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

#[test]
fn of_a_thousand_addresses_only_what_changed_is_disturbed_and_announcements_go_on() {
    let ms = Duration::from_millis;
    let groups: Value = many_groups(0..993).into();
    let options = Options { groups, ..calm() }.with_times(ms(50), ms(1000), ms(600));
    let cluster = settled(options);
    let held = |node: &usize| virtual_addresses(&cluster, *node);
    assert_eq!([1, 2, 3].iter().map(held).map(|held| held.len()).sum::<usize>(), 1000);
    let probe = ask(&cluster, &addresses());
    let taps: Vec<_> = (1..=3).map(|node| cluster.lan().tap(node).unwrap()).collect();
    // One group goes, one comes, the rest is in another order.
    let mut groups = many_groups(0..994);
    groups.remove(500);
    groups.rotate_left(100);
    let text = changed(&cluster, json!({"version": 2, "vips": groups}));
    load(&cluster, 1, &text);
    await_version(&cluster, 2);
    for (node, tap) in taps.into_iter().enumerate() {
        let pause = longest_pause(&tap.finish());
        println!("node{}: longest pause {pause:?}", node + 1);
        assert!(pause < cluster.options().stale / 2, "{pause:?}");
    }
    for (ip, series) in &probe.finish().series {
        assert_unnoticed(ip, series);
    }
}
