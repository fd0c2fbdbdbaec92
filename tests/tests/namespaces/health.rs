//! Health checks on real nodes: what they move, how soon, and what a client notices.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use vippy_client::health::Verdict;
use vippy_lab::options::{vip, vip4};
use vippy_lab::{Cluster, Options, Port, Process, Series};

use crate::support::{
    PATIENCE, ask, assert_unnoticed, await_status, calm, eventually, holder, holders, program,
};

/// The program that all nodes serve with.
const SERVICE: &str = "vippy-service";

/// A daemon sees the processes of its own machine only, as on a machine of its own.
fn own_proc() -> Vec<OsString> {
    let script = "mount -t proc proc /proc && exec \"$0\" \"$@\"";
    ["unshare", "--mount", "sh", "-c", script].map(OsString::from).to_vec()
}

/// Three nodes with these checks; both groups prefer the first.
fn options(checks: Value) -> Options {
    let groups = [1, 2].map(|number| json!(["node1", vip(vip4(number))]));
    let mut options = Options { groups: json!(groups), ..calm() };
    options.wrappers = (1..=3).map(|node| (node, own_proc())).collect();
    options.more.insert("checks".into(), checks);
    options
}

fn start(options: Options) -> Cluster {
    let cluster = Cluster::start(options).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    for node in 1..=3 {
        await_status(&cluster, node, "its checks are good", |status| {
            status.checks.iter().all(|check| check.verdict == Verdict::Good)
        });
    }
    eventually("both are where they are preferred", || match holders(&cluster, vip4(1)) {
        nodes if nodes == [1] => Ok(()),
        nodes => Err(format!("on {nodes:?}")),
    });
    cluster
}

/// The service of one node.
fn serve(cluster: &Cluster, directory: &Path, node: usize) -> Process {
    let path = directory.join(SERVICE);
    if !path.exists() {
        fs::copy("/bin/sleep", &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(path);
    command.arg("1000");
    cluster.lan().machine(node).unwrap().spawn(command).unwrap()
}

/// When the first answer by another machine than `former` came, after a moment.
fn answered_elsewhere(series: &Series, former: usize, after: Instant) -> Duration {
    let from = after.duration_since(series.started);
    let answers = series.questions.iter().filter(|question| question.sent >= from);
    let elsewhere = answers.flat_map(|question| {
        let others = question.answers.iter().filter(|answer| answer.by != Port::Node(former));
        others.map(|answer| question.sent + answer.rtt)
    });
    elsewhere.min().unwrap() - from
}

#[test]
fn the_death_of_a_process_moves_its_group_alone_at_once_and_no_packet_is_lost() {
    let directory = TempDir::new().unwrap();
    let ms = Duration::from_millis;
    let service = json!({ "name": "service", "process": SERVICE, "groups": ["10.77.0.101"],
        "interval": 0.5, "rise": 1 });
    let options = options(json!([service])).with_times(ms(500), ms(5000), ms(1000));
    let cluster = Cluster::prepare(options).unwrap();
    let mut services: BTreeMap<usize, Process> =
        (1..=3).map(|node| (node, serve(&cluster, directory.path(), node))).collect();
    (1..=3).for_each(|node| cluster.start_node(node).unwrap());
    eventually("it is where it is preferred", || match holders(&cluster, vip4(1)) {
        nodes if nodes == [1] => cluster.settled(),
        nodes => Err(format!("on {nodes:?}")),
    });
    for round in 1..=3 {
        for node in 1..=3 {
            await_status(&cluster, node, "its check is good", |status| {
                status.checks[0].verdict == Verdict::Good
            });
        }
        let probe = ask(&cluster, &[vip4(1), vip4(2)]);
        let died = Instant::now();
        services[&1].signal(Signal::SIGKILL).unwrap();
        eventually("it is elsewhere", || match holders(&cluster, vip4(1)) {
            nodes if nodes.len() == 1 && nodes != [1] => Ok(()),
            nodes => Err(format!("on {nodes:?}")),
        });
        std::thread::sleep(ms(300));
        let report = probe.finish();
        let moved = &report.series[&vip4(1)];
        let took = answered_elsewhere(moved, 1, died);
        println!(
            "round {round}: the address answered elsewhere {took:?} after the process's death"
        );
        assert_unnoticed(&vip4(1), moved);
        // 50 ms on a machine of its own.
        assert!(took < ms(1000), "{took:?}");
        assert_eq!(report.series[&vip4(2)].machines(), [Port::Node(1)].into());
        let status = cluster.status(1).unwrap();
        let why = status.groups[0].rather_not.as_deref().unwrap_or_default();
        assert!(why.starts_with("check service is bad: no process vippy-service runs"), "{why}");
        services.insert(1, serve(&cluster, directory.path(), 1));
        eventually("it is back", || match holders(&cluster, vip4(1)) {
            nodes if nodes == [1] => cluster.settled(),
            nodes => Err(format!("on {nodes:?}")),
        });
    }
}

/// A check that is good as long as no file has the node's name.
fn absence(directory: &Path) -> Value {
    let script =
        format!("test ! -e {}/$(uname -n) || {{ echo sick; exit 1; }}", directory.display());
    json!({ "name": "file", "run": ["sh", "-c", script], "interval": 0.2, "fall": 2, "rise": 2,
        "groups": ["10.77.0.101"] })
}

fn sicken(directory: &Path, node: usize) {
    fs::write(directory.join(format!("node{node}")), "").unwrap();
}

fn cure(directory: &Path, node: usize) {
    fs::remove_file(directory.join(format!("node{node}"))).unwrap();
}

fn await_verdict(cluster: &Cluster, node: usize, verdict: Verdict) {
    await_status(cluster, node, "the check says so", |status| status.checks[0].verdict == verdict);
}

fn vippyctl(cluster: &Cluster, node: usize, arguments: &[&str]) -> String {
    let mut command = Command::new(program("vippyctl"));
    let output = command.arg("-s").arg(cluster.management(node)).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_check_that_is_bad_on_one_node_moves_its_group_and_one_that_is_bad_everywhere_does_not() {
    let directory = TempDir::new().unwrap();
    let cluster = start(options(json!([absence(directory.path())])));
    let probe = ask(&cluster, &[vip4(1), vip4(2)]);
    sicken(directory.path(), 1);
    eventually("it is elsewhere", || match holders(&cluster, vip4(1)) {
        nodes if nodes.len() == 1 && nodes != [1] => Ok(()),
        nodes => Err(format!("on {nodes:?}")),
    });
    let told = vippyctl(&cluster, 1, &["status"]);
    assert!(told.contains("check file of 10.77.0.101 is bad for"), "{told}");
    assert!(told.contains("sick (exit code 1)"), "{told}");
    let told = vippyctl(&cluster, 1, &["explain", "10.77.0.101"]);
    assert!(told.contains("check file is bad: sick (exit code 1)"), "{told}");
    assert!(cluster.log(1).unwrap().contains("check changed check=file verdict=bad"));
    let keeper = holder(&cluster, vip4(1));
    for node in 2..=3 {
        sicken(directory.path(), node);
    }
    (2..=3).for_each(|node| await_verdict(&cluster, node, Verdict::Bad));
    std::thread::sleep(cluster.options().stale);
    assert_eq!(holders(&cluster, vip4(1)), [keeper]);
    cure(directory.path(), 1);
    eventually("it is back", || match holders(&cluster, vip4(1)) {
        nodes if nodes == [1] => Ok(()),
        nodes => Err(format!("on {nodes:?}")),
    });
    std::thread::sleep(Duration::from_millis(300));
    let report = probe.finish();
    for (ip, series) in &report.series {
        assert_unnoticed(ip, series);
    }
    assert_eq!(report.series[&vip4(2)].machines(), [Port::Node(1)].into());
}

#[test]
fn a_check_that_hangs_or_cannot_be_started_delays_no_announcement() {
    let hangs = |n: usize| {
        json!({ "name": format!("hangs{n}"), "interval": 0.1, "timeout": 0.05,
        "run": ["sh", "-c", "trap '' TERM; sleep 1000 & wait"], "fall": 100 })
    };
    let absent = json!({ "name": "absent", "run": ["no-such-command"], "interval": 0.1 });
    let checks: Vec<Value> = (0..5).map(hangs).chain([absent]).collect();
    let cluster = Cluster::start(options(json!(checks))).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    let ip: IpAddr = vip4(1);
    let (node, probe) = (holder(&cluster, ip), ask(&cluster, &[ip]));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(holders(&cluster, ip), [node]);
    assert_unnoticed(&ip, &probe.finish().series[&ip]);
    let status = cluster.status(1).unwrap();
    let absent = status.checks.iter().find(|check| check.name.as_str() == "absent").unwrap();
    assert_eq!(absent.verdict, Verdict::Unknown);
    assert!(absent.why.as_deref().unwrap_or_default().contains("cannot run no-such-command"));
    let told = vippyctl(&cluster, 1, &["status"]);
    assert!(told.contains("check absent is unknown for"), "{told}");
    for node in 1..=3 {
        let log = cluster.log(node).unwrap();
        assert!(!log.contains("woke") && !log.contains("suspended"), "{log}");
    }
}
