//! A daemon that holds nothing: answers status, says goodbye, has a child.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;

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
    let status = status(&name, &config);
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

fn answer(mut stream: UnixStream, status: &Value) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request);
    let body = status.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// Every group belongs to the first node, who holds it.
fn status(name: &str, config: &Value) -> Value {
    let first = name == "node1";
    let group = |(number, vips): (usize, &Value)| {
        let addresses = vips.as_array().unwrap().iter();
        let addresses: Vec<&Value> = addresses.filter_map(|vip| vip.get("ip")).collect();
        json!({
            "id": format!("group{number}"), "name": null, "prefer": null, "exclusive": false,
            "addresses": addresses, "owner": "node1", "holders": ["node1"],
            "succession": ["node1"], "here": if first { "held" } else { "no" },
            "cannot": null, "epoch": null,
        })
    };
    let groups: Vec<Value> =
        config["vips"].as_array().unwrap().iter().enumerate().map(group).collect();
    json!({
        "identity": name,
        "stats": {
            "net": { "ignore": 0, "send-announce": 0, "recv-announce": 0 },
            "state-changes": 0, "rejects": {}, "relayed": 0,
        },
        "config": { "version": 1, "vips": [], "nodes": config["nodes"], "digest": "00" },
        "state": { "mature": true, "active": true, "inactive_reason": null, "ownership": {} },
        "node": {
            "state": "active", "reason": "none", "detail": "", "uptime_ms": 1, "boot": "00",
            "epoch": 1, "program": "0", "lifetime_s": 2, "interval_ms": 100.0,
            "stale_ms": 300.0, "warnings": [],
        },
        "groups": groups,
        "peers": [],
    })
}
