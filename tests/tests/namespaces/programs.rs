//! Hooks and plugins of real daemons: what runs where, when, how often, and what
//! moves because of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use vippy_client::status::NodeState;
use vippy_lab::options::{vip, vip4};
use vippy_lab::{Cluster, Options};

use crate::support::{
    PATIENCE, addresses, ask, assert_unnoticed, await_status, calm, eventually, holder, holders,
    settled, virtual_addresses,
};

/// Nodes with hooks and plugins, and a directory for what these write.
fn with(options: Options, key: &str, value: Value) -> (Options, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let text = value.to_string().replace("{dir}", dir.path().to_str().unwrap());
    let mut options = options;
    options.more.insert(key.into(), serde_json::from_str(&text).unwrap());
    (options, dir)
}

fn shell(on: &str, script: &str) -> Value {
    json!({ "on": on, "run": ["sh", "-c", script], "timeout": 20 })
}

fn lines(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn await_lines(path: &Path, count: usize) -> Vec<Vec<String>> {
    eventually(&format!("{count} lines in {}", path.display()), || match lines(path) {
        lines if lines.len() >= count => Ok(()),
        lines => Err(format!("{lines:?}")),
    });
    lines(path)
}

fn start_again(cluster: &Cluster, node: usize) {
    cluster.start_node(node).unwrap();
    await_status(cluster, node, "it takes part", |s| s.node.state == NodeState::Active);
    cluster.wait_settled(PATIENCE).unwrap();
}

#[test]
fn of_six_nodes_one_cleans_up_after_each_death_and_the_next_one_if_that_dies_too() {
    let script = "echo $VIPPY_NODE $VIPPY_PEER $VIPPY_EPOCH $VIPPY_LIFE >> {dir}/begun;
        sleep 0.3; while test -e {dir}/hold; do sleep 0.05; done;
        echo $VIPPY_NODE $VIPPY_PEER $VIPPY_EPOCH $VIPPY_LIFE >> {dir}/done";
    let mut hook = shell("node-down", script);
    hook["once"] = json!(true);
    let (options, dir) = with(calm().with_nodes(6), "hooks", json!([hook]));
    let cluster = settled(options);
    let (begun, done) = (dir.path().join("begun"), dir.path().join("done"));
    for death in 1..=6 {
        let victim = 1 + (death * 2) % 6;
        cluster.crash_node(victim).unwrap();
        await_lines(&done, death);
        std::thread::sleep(5 * cluster.options().stale);
        let runs = lines(&done);
        assert_eq!(runs.len(), death, "{runs:?}");
        let expected = [format!("node{}", victim % 6 + 1), format!("node{victim}")];
        assert_eq!(runs.last().unwrap()[..2], expected);
        start_again(&cluster, victim);
    }
    // The designated one dies while it cleans up.
    fs::write(dir.path().join("hold"), "").unwrap();
    cluster.crash_node(3).unwrap();
    assert_eq!(await_lines(&begun, 7)[6][..2], ["node4", "node3"]);
    cluster.crash_node(4).unwrap();
    fs::remove_file(dir.path().join("hold")).unwrap();
    let runs = await_lines(&done, 8);
    std::thread::sleep(5 * cluster.options().stale);
    assert_eq!(lines(&done).len(), 8, "{:?}", lines(&done));
    let of: BTreeSet<_> = runs[6..].iter().map(|run| (&*run[0], &*run[1])).collect();
    assert_eq!(of, [("node5", "node3"), ("node5", "node4")].into());
    let first = &lines(&begun)[6];
    let second = runs[6..].iter().find(|run| run[1] == "node3").unwrap();
    assert_eq!(first[3], second[3], "the same death");
    let epoch = |run: &[String]| run[2].parse::<u64>().unwrap();
    assert!(epoch(second) > epoch(first), "{first:?}, then {second:?}");
}

#[test]
fn before_up_runs_before_the_address_is_there_and_group_up_after() {
    let script =
        "echo $VIPPY_NODE $VIPPY_EVENT $(ip -o address show | grep -c 10.77.0.101) >> {dir}/log";
    let hooks =
        json!([shell("before-up", script), shell("group-up", script), shell("group-down", script)]);
    let (mut options, dir) = with(calm(), "hooks", hooks);
    options.groups = json!([[vip(vip4(1))]]);
    let cluster = settled(options);
    let log = dir.path().join("log");
    let home = |cluster: &Cluster| format!("node{}", holder(cluster, vip4(1)));
    let of = |node: &str| -> Vec<(String, String)> {
        let lines = lines(&log).into_iter().filter(|line| line[0] == node);
        lines.map(|line| (line[1].clone(), line[2].clone())).collect()
    };
    let step = |event: &str, addresses: &str| (event.to_owned(), addresses.to_owned());
    let taken = [step("before-up", "0"), step("group-up", "1")];
    let await_steps = |node: &str, wanted: &[(String, String)]| {
        eventually(&format!("{node} does {wanted:?}"), || match of(node) {
            steps if steps.ends_with(wanted) => Ok(()),
            steps => Err(format!("{steps:?}")),
        });
    };
    let first = home(&cluster);
    await_steps(&first, &taken);
    cluster.drain(holder(&cluster, vip4(1))).unwrap();
    await_steps(&first, &[step("group-down", "0")]);
    let second = home(&cluster);
    assert_ne!(first, second);
    await_steps(&second, &taken);
}

#[test]
fn a_before_up_that_hangs_keeps_no_other_group_waiting_and_no_longer_than_its_deadline() {
    let mut hangs = shell("before-up", "sleep 60");
    hangs["timeout"] = json!(2);
    hangs["groups"] = json!(["slow"]);
    let (mut options, _dir) = with(calm(), "hooks", json!([hangs]));
    let group = |name: &str, number| json!({ "name": name, "prefer": "node1", "vips": [vip(vip4(number))] });
    options.groups = json!([group("slow", 1), group("quick", 2)]);
    let cluster = settled(options);
    assert_eq!((holder(&cluster, vip4(1)), holder(&cluster, vip4(2))), (1, 1));
    let died = cluster.crash_node(1).unwrap();
    let back = |number| {
        eventually("somebody has it", || match holders(&cluster, vip4(number)) {
            some if some.iter().any(|node| *node != 1) => Ok(()),
            some => Err(format!("{some:?}")),
        });
        died.elapsed()
    };
    let (quick, slow) = (back(2), back(1));
    assert!(slow >= quick + Duration::from_millis(1500), "{quick:?}, {slow:?}");
    assert!(slow < quick + Duration::from_secs(5), "{quick:?}, {slow:?}");
}

#[test]
fn where_a_required_before_up_fails_another_node_takes_the_group() {
    let mut fails = shell("before-up", "test $VIPPY_NODE != node1");
    fails["required"] = json!(true);
    let (mut options, _dir) = with(calm(), "hooks", json!([fails]));
    options.groups = json!([["node1", vip(vip4(1))]]);
    let cluster = Cluster::start(options).unwrap();
    eventually("another node has it", || match holders(&cluster, vip4(1))[..] {
        [2 | 3] => Ok(()),
        ref others => Err(format!("{others:?}")),
    });
    let status = cluster.status(1).unwrap();
    let cannot = status.groups[0].cannot.clone().unwrap_or_default();
    assert!(cannot.contains("before-up") || cluster.log(1).unwrap().contains("the before-up hook"));
}

#[test]
fn a_group_that_is_let_go_while_it_waits_for_before_up_is_not_put_on() {
    let mut hangs = shell("before-up", "test $VIPPY_NODE = node1 || sleep 60");
    hangs["timeout"] = json!(30);
    let (mut options, _dir) = with(calm(), "hooks", json!([hangs]));
    options.groups = json!([["node1", vip(vip4(1))]]);
    options.nodes = 2;
    let cluster = settled(options);
    cluster.drain(1).unwrap();
    await_status(&cluster, 2, "node2 is about to take it", |status| {
        status.groups[0].owner.as_ref().is_some_and(|owner| owner.as_str() == "node2")
    });
    std::thread::sleep(cluster.options().stale);
    assert_eq!(holders(&cluster, vip4(1)), [1], "make before break");
    let begun = Instant::now();
    cluster.stop(2).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(holders(&cluster, vip4(1)), [1]);
}

#[test]
fn the_originals_plugin_gives_everything_away_unnoticed_and_takes_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("health.js");
    let printed = include_str!("../../../vippyd/tests/extend/printed.js");
    // What the document leaves to the reader, at the pace of a test.
    let rest = format!(
        "function doSomething() {{ return !require('fs').existsSync('{}/bad-' + config.hostname()); }}
         var slow = setInterval;
         setInterval = function (work, ms) {{ return slow(work, ms / 50); }};
         config.on('stop', function () {{ clearInterval(job); }});\n",
        dir.path().display()
    );
    fs::write(&file, rest + printed).unwrap();
    let options = Options { arguments: vec!["-p".into(), file.into()], ..calm() };
    let cluster = settled(options);
    let node = holder(&cluster, vip4(1));
    let held = virtual_addresses(&cluster, node);
    let probe = ask(&cluster, &addresses());
    fs::write(dir.path().join(format!("bad-node{node}")), "").unwrap();
    eventually("the node is empty", || match virtual_addresses(&cluster, node) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?} left")),
    });
    let status = cluster.status(node).unwrap();
    assert_eq!(status.state.inactive_reason.as_deref(), Some("doSomething"));
    assert!(!status.state.active);
    fs::remove_file(dir.path().join(format!("bad-node{node}"))).unwrap();
    eventually("it has everything back", || match virtual_addresses(&cluster, node) {
        now if now.iter().collect::<BTreeSet<_>>() == held.iter().collect() => cluster.settled(),
        now => Err(format!("{now:?}, before {held:?}")),
    });
    std::thread::sleep(Duration::from_millis(300));
    let report = probe.finish();
    for (ip, series) in &report.series {
        assert_unnoticed(ip, series);
    }
    // A program of its own: it ends with the daemon.
    let children = || {
        let path = dir.path().display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let line = |process: &Path| fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        let lines = processes.map(|process| line(&process));
        lines.filter(|line| line.starts_with("node\0") && line.contains(&path)).count()
    };
    assert_eq!(children(), 3);
    cluster.kill(node).unwrap();
    eventually("the killed daemon's plugin is gone", || match children() {
        2 => Ok(()),
        others => Err(format!("{others} run")),
    });
}
