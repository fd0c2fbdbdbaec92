//! The sample configuration of the original's README, and scripts that were
//! written for the original.

use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use vippy_client::status::Holding;
use vippy_lab::{Lan, LanOptions, Machine};

use crate::support::{Daemon, PATIENCE, eventually, get, has_address, ip};

const SAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/sample.conf"));

fn owned_somewhere(daemon: &Daemon, groups: usize) {
    daemon.await_status("every group has one holder", |status| {
        status.groups.len() == groups
            && status
                .groups
                .iter()
                .all(|group| group.owner.is_some() && group.holders.iter().eq(group.owner.iter()))
    });
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let done = Command::new(program).args(arguments).output();
    done.unwrap_or_else(|error| panic!("{program} is needed here: {error}"))
}

fn path(socket: &Path) -> &str {
    socket.to_str().unwrap()
}

#[test]
fn three_daemons_of_the_sample_serve_curl_and_scripts_of_the_original() {
    let lan = Lan::new(LanOptions { nodes: 3, clients: 0 }).unwrap();
    let config = SAMPLE
        .replace("127.0.0.1", "eth0")
        .replace("e1000g0", "eth0")
        .replace("\"node1\", \"node2\"", "\"node1\", \"node2\", \"node3\"");
    let daemons: Vec<Daemon> = (1..=3)
        .map(|node| Daemon::start(lan.machine(node).unwrap(), &format!("node{node}"), &config))
        .collect();
    daemons[0].await_status("node1 answers", |_| true);
    let booting = run("node", &[&old_script(), path(&daemons[0].socket())]);
    let booting = String::from_utf8(booting.stdout).unwrap();
    assert!(booting.starts_with("State:  inactive\nReason: booting\n"), "{booting}");
    daemons.iter().for_each(|daemon| owned_somewhere(daemon, 3));

    let (line, body) = get(&daemons[0].socket(), "/status").unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK");
    original_fields_are_there(&serde_json::from_str(&body).unwrap());
    let (line, body) = get(&daemons[0].socket(), "/dance").unwrap();
    assert!(line.starts_with("HTTP/1.1 404 "), "{line}");
    assert_eq!(body, r#"{"error":"no such command"}"#);
    let socket = daemons[1].socket();
    let curl = run("curl", &["-sS", "--unix-socket", path(&socket), "http://localhost/status"]);
    let curled: Value = serde_json::from_slice(&curl.stdout).unwrap();
    assert_eq!(curled["identity"], "node2");

    old_script_tells_what_the_daemon_tells(&daemons[0]);
    let status = daemons[2].status().unwrap();
    for (group, address) in
        status.groups.iter().flat_map(|g| g.addresses.iter().map(move |a| (g, a)))
    {
        let owner = group.owner.as_ref().unwrap().to_string();
        for node in 1..=3 {
            let has = has_address(lan.machine(node).unwrap(), address.addr());
            assert_eq!(has, format!("node{node}") == owner, "{address} on node{node}");
        }
    }
}

fn old_script() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/namespaces/old-status.js").to_owned()
}

/// Every field of the original's status, with its type.
fn original_fields_are_there(status: &Value) {
    let number = |pointer: &str| assert!(status.pointer(pointer).unwrap().is_u64(), "{pointer}");
    assert_eq!(status["identity"], "node1");
    number("/stats/net/ignore");
    number("/stats/net/send-announce");
    number("/stats/net/recv-announce");
    number("/stats/state-changes");
    assert_eq!(status["config"]["version"], 5);
    assert_eq!(status["config"]["nodes"], json!(["node1", "node2", "node3"]));
    let vip = |ip: &str, net: &str| {
        json!({
            "ip": ip, "netmask": "255.255.255.0", "broadcast": format!("{net}.255"),
            "network": format!("{net}.0"), "name": "eth0",
        })
    };
    let groups = json!([
        [vip("10.8.3.195", "10.8.3")],
        ["node2", vip("10.8.99.147", "10.8.99")],
        [vip("10.8.99.149", "10.8.99"), vip("10.8.3.196", "10.8.3")],
    ]);
    assert_eq!(status["config"]["vips"], groups);
    assert_eq!(status["state"]["mature"], true);
    assert_eq!(status["state"]["active"], true);
    assert_eq!(status["state"]["inactive_reason"], Value::Null);
    let ownership = status["state"]["ownership"].as_object().unwrap();
    let names: Vec<&str> = ownership.keys().map(String::as_str).collect();
    assert_eq!(names, ["_", "node1", "node2", "node3"]);
    assert_eq!(ownership["_"], json!([]));
    let owned = ownership.values().flat_map(|groups| groups.as_array().unwrap());
    let mut owned: Vec<&Value> = owned.collect();
    owned.sort_by_key(|group| groups.as_array().unwrap().iter().position(|g| g == *group));
    assert_eq!(json!(owned), groups);
    assert!(ownership["node2"].as_array().unwrap().contains(&groups[1]));
}

fn old_script_tells_what_the_daemon_tells(daemon: &Daemon) {
    let output = run("node", &[&old_script(), path(&daemon.socket())]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status = daemon.status().unwrap();
    let mut expected: Vec<String> = status
        .groups
        .iter()
        .map(|group| {
            let owner = group.owner.as_ref().unwrap();
            let mark = if *owner == status.identity { "(*) " } else { "    " };
            let addresses: Vec<String> = group.addresses.iter().map(ToString::to_string).collect();
            let preferred = group.prefer.as_ref().map(|node| format!(" P({node})"));
            format!("{mark}{owner}: {}{}", addresses.join(" "), preferred.unwrap_or_default())
        })
        .collect();
    expected.push("State:  active".into());
    expected.sort();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "State:  active");
    lines.sort_unstable();
    assert_eq!(lines, expected);
}

/// Two daemons on one host, chatting on its loopback, exactly as printed; the
/// sample's interface comes only later.
#[test]
fn the_sample_as_printed_works_for_two_daemons_on_one_host() {
    let lan = Lan::new(LanOptions { nodes: 1, clients: 0 }).unwrap();
    let host = lan.machine(1).unwrap();
    let daemons = ["node1", "node2"].map(|node| Daemon::start(host, node, SAMPLE));
    for daemon in &daemons {
        let status = daemon.await_status("they hear each other, and have matured", |status| {
            status.state.mature && status.peers.iter().any(|peer| peer.alive)
        });
        for group in &status.groups {
            let why = group.cannot.as_deref().unwrap_or_default();
            assert!(why.contains("e1000g0"), "{}: {why:?}", group.id);
            assert_eq!((&group.owner, group.here), (&None, Holding::No));
        }
        assert_eq!(daemon.json().unwrap()["state"]["ownership"]["_"].as_array().unwrap().len(), 3);
        // The sample silences warnings, so the status is where to see it.
        assert!(!daemon.log().contains("warning"), "{}", daemon.log());
    }
    add_sample_interface(host);
    daemons.iter().for_each(|daemon| owned_somewhere(daemon, 3));
    eventually("the kernel has the addresses", || addresses_are_on("e1000g0", host));
    // One kernel has each address once. Whoever saw the interface first keeps
    // even what the other prefers: there it is somebody else's address (F3).
    let preferred = &daemons[1].status().unwrap().groups[1];
    let why = preferred.cannot.as_deref().unwrap_or_default();
    assert!(preferred.here == Holding::Held || why.contains("10.8.99.147"), "{preferred:?}");
    daemons[0].process.signal(Signal::SIGTERM).unwrap();
    assert!(daemons[0].process.wait(PATIENCE).unwrap().unwrap().success());
    daemons[1].await_status("node2 has everything", |status| {
        status.groups.iter().all(|group| group.here == Holding::Held)
    });
    eventually("the kernel has the addresses", || addresses_are_on("e1000g0", host));
}

fn add_sample_interface(host: &Machine) {
    ip(host, &["link", "add", "e1000g0", "type", "veth", "peer", "name", "switch"]);
    ip(host, &["link", "set", "switch", "up"]);
    ip(host, &["link", "set", "e1000g0", "up"]);
}

fn addresses_are_on(interface: &'static str, host: &Machine) -> Result<(), String> {
    let show = move || Command::new("ip").args(["-o", "-4", "addr", "show", interface]).output();
    let output = host.run(show).unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = ["10.8.3.195/24", "10.8.99.147/24", "10.8.99.149/24", "10.8.3.196/24"];
    match all.iter().find(|address| !text.contains(*address)) {
        None => Ok(()),
        Some(missing) => Err(format!("{missing} is missing in {text}")),
    }
}
