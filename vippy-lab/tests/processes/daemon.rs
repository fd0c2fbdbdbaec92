//! A daemon that holds nothing: answers status, says goodbye, has a child.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;
use vippy_client::status::{
    ConfigStatus, GroupStatus, Holding, InquiryStatus, NodeReason, NodeState, NodeStatus,
    QuorumStatus, StateStatus, Stats, Status,
};
use vippy_core::identity::Epoch;

pub(crate) fn run(arguments: &[String]) {
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag).unwrap();
        arguments[at + 1].clone()
    };
    let (name, socket) = (value("-n"), value("--management"));
    let config = std::fs::read_to_string(value("-c")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    if config["fail"] == name.as_str() {
        eprintln!("told to fail");
        std::process::exit(2);
    }
    // What a daemon starts must not outlive it either.
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    println!("{name} listens, state in {}", value("--state"));
    let status = serde_json::to_string(&status(&name, &config)).unwrap();
    std::thread::spawn(move || {
        listener.incoming().for_each(|stream| answer(stream.unwrap(), &status));
    });
    for signal in Signals::new([SIGHUP, SIGTERM]).unwrap().forever() {
        if signal == SIGTERM {
            println!("{name} leaves");
            break;
        }
        println!("{name} reads its file");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn answer(mut stream: UnixStream, body: &str) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request);
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// Every group belongs to the first node, who holds it. In the real types, so
/// that the compiler tells when they change.
fn status(name: &str, config: &Value) -> Status {
    let group = |(number, vips): (usize, &Value)| {
        let addresses = vips.as_array().unwrap().iter().filter_map(|vip| vip["ip"].as_str());
        GroupStatus {
            id: format!("group{number}").as_str().into(),
            name: None,
            prefer: None,
            exclusive: false,
            addresses: addresses.map(|address| address.parse().unwrap()).collect(),
            interfaces: Vec::new(),
            owner: Some("node1".into()),
            holders: vec!["node1".into()],
            succession: vec!["node1".into()],
            here: if name == "node1" { Holding::Held } else { Holding::No },
            cannot: None,
            rather_not: None,
            epoch: None,
            belief: None,
            claimed: None,
        }
    };
    Status {
        identity: name.into(),
        stats: Stats::default(),
        invariants: Default::default(),
        neighbours: Default::default(),
        checks: Vec::new(),
        config: ConfigStatus {
            version: 1,
            vips: Vec::new(),
            nodes: Vec::new(),
            digest: String::new(),
            rollout: Default::default(),
        },
        state: StateStatus {
            mature: true,
            active: true,
            inactive_reason: None,
            ownership: BTreeMap::new(),
        },
        node: NodeStatus {
            state: NodeState::Active,
            reason: NodeReason::None,
            detail: String::new(),
            drained_ms: None,
            held_down_ms: None,
            uptime_ms: 1,
            boot: String::new(),
            epoch: Epoch(1),
            program: String::new(),
            lifetime_s: 2,
            interval_ms: 100.0,
            stale_ms: 300.0,
            key: String::new(),
            keys: Vec::new(),
            warnings: Vec::new(),
            quorum: QuorumStatus::default(),
            inquiry: InquiryStatus::default(),
        },
        groups: config["vips"].as_array().unwrap().iter().enumerate().map(group).collect(),
        peers: Vec::new(),
    }
}
