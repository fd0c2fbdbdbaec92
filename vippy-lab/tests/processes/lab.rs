//! A lab in a process of its own, which tells what it made and then waits for
//! its end.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use vippy_lab::{Cluster, Options, Port, ProbeOptions};

use crate::support;

pub(crate) fn run(role: &str) {
    let entered = vippy_lab::enter_user_namespace_if_needed().unwrap();
    let options = Options::new(std::env::current_exe().unwrap());
    if role == "talk" {
        vippy_lab::cli::run(options).unwrap();
        return;
    }
    let cluster = Cluster::start(options).unwrap();
    let lan = cluster.lan();
    // Everything a lab can do, it can do here.
    let targets: Vec<IpAddr> = vec![Port::Node(2).ipv4().into(), Port::Node(3).ipv6().into()];
    let options = ProbeOptions::new(targets).lasting(Duration::from_millis(200));
    let lost = lan.probe(Port::Client(0), options.clone()).unwrap().wait().lost();
    lan.isolate(Port::Client(0)).unwrap();
    let cut = lan.probe(Port::Client(0), options).unwrap().wait();
    let silent = cut.series.values().all(|series| series.machines().is_empty());
    let network = |port| support::network_of_machine(lan.machine(port).unwrap());
    let networks: Vec<u64> = lan.ports().map(network).collect();
    let report = json!({
        "entered": entered,
        "lost": lost,
        "silent": silent,
        "networks": networks,
        "root": cluster.root(),
    });
    println!("{report}");
    std::io::stdout().flush().unwrap();
    match role {
        "panic" => panic!("as told"),
        "end" => {}
        _ => std::thread::sleep(Duration::from_secs(600)),
    }
}
