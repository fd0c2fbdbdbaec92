//! What somebody on the LAN without the secret can do: nothing (W3).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use vippy_client::status::RejectReason;
use vippy_lab::options::vip4;
use vippy_lab::{Cluster, Options, Port};
use vippy_tests::measure::{Capture, EVERYBODY, Flood, bit_flipped, garbage, truncated, wrong_key};

use crate::support::{PATIENCE, addresses, ask, calm, eventually, holders, owners, settled};

/// The attacker's machine, and the bystander's who measures.
const ATTACKER: Port = Port::Client(0);
const BYSTANDER: Port = Port::Client(1);

/// Three calm nodes, somebody evil and somebody who looks on.
fn attacked() -> Cluster {
    settled(Options { clients: 2, ..calm() })
}

fn secret() -> String {
    let config: serde_json::Value = serde_json::from_str(&calm().config_text()).unwrap();
    config["secret"].as_str().unwrap().to_owned()
}

/// What a node says for a while, as everybody on the LAN can record it.
fn record(cluster: &Cluster, node: usize, time: Duration) -> Vec<Vec<u8>> {
    let capture = capture(cluster, ATTACKER, node);
    std::thread::sleep(time);
    let frames: Vec<_> = capture.finish().into_iter().map(|captured| captured.frame).collect();
    assert!(!frames.is_empty(), "node{node} said nothing");
    frames
}

fn capture(cluster: &Cluster, at: Port, node: usize) -> Capture {
    let machine = cluster.lan().machine(at).unwrap();
    Capture::start(machine, at.ipv4(), Port::Node(node).ipv4()).unwrap()
}

/// A socket of the attacker.
fn attacker(cluster: &Cluster) -> UdpSocket {
    let open = || UdpSocket::bind((ATTACKER.ipv4(), 0)).unwrap();
    cluster.lan().machine(ATTACKER).unwrap().run(open).unwrap()
}

/// Everything about the cluster that no stranger may change.
#[derive(Debug, PartialEq, Eq)]
struct Untouched {
    owners: Vec<BTreeMap<String, String>>,
    changes: Vec<u64>,
    boots: Vec<Vec<(String, Option<String>, bool)>>,
    states: Vec<String>,
    kernels: Vec<Vec<usize>>,
}

fn untouched(cluster: &Cluster) -> Untouched {
    let statuses: Vec<_> = (1..=3).map(|node| cluster.status(node).unwrap()).collect();
    let boots = |status: &vippy_client::Status| {
        let peers = status.peers.iter();
        peers.map(|peer| (peer.name.to_string(), peer.boot.clone(), peer.alive)).collect()
    };
    Untouched {
        owners: (1..=3).map(|node| owners(cluster, node)).collect(),
        changes: statuses.iter().map(|status| status.stats.state_changes).collect(),
        boots: statuses.iter().map(boots).collect(),
        states: statuses.iter().map(|s| format!("{} {:?}", s.node.boot, s.node.state)).collect(),
        kernels: addresses().into_iter().map(|ip| holders(cluster, ip)).collect(),
    }
}

fn rejects(cluster: &Cluster, node: usize, reasons: &[RejectReason]) -> u64 {
    let counts = cluster.status(node).unwrap().stats.rejects;
    reasons.iter().map(|reason| counts.get(reason).copied().unwrap_or(0)).sum()
}

#[test]
fn single_bad_datagrams_are_counted_by_reason_and_do_nothing_else() {
    use RejectReason::{Duplicate, Forged, Malformed, Replayed, UnknownKey};
    let cluster = attacked();
    let frames = record(&cluster, 1, cluster.options().interval * 5);
    // Older than an interval when it comes again.
    let frame = frames[0].clone();
    let before = untouched(&cluster);
    let socket = attacker(&cluster);
    let cases: [(&str, Vec<u8>, &[RejectReason]); 6] = [
        ("truncated", truncated(&frame), &[Malformed, Forged]),
        ("a bit flipped in the header", bit_flipped(&frame, 3), &[Forged]),
        ("a bit flipped in the body", bit_flipped(&frame, 1000), &[Forged]),
        ("signed with another key", wrong_key(&frame, &secret(), false), &[UnknownKey]),
        ("which claims to be ours", wrong_key(&frame, &secret(), true), &[Forged]),
        ("replayed", frame.clone(), &[Replayed, Duplicate]),
    ];
    for (what, datagram, reasons) in cases {
        // To everybody at once, and to each alone. A node's own frame is not
        // replayed to it, but "own".
        let counts = [2, 3].map(|node| rejects(&cluster, node, reasons));
        socket.send_to(&datagram, EVERYBODY).unwrap();
        for node in 1..=3 {
            socket.send_to(&datagram, (Port::Node(node).ipv4(), 5007)).unwrap();
        }
        eventually("it is counted", || {
            let now = [2, 3].map(|node| rejects(&cluster, node, reasons));
            if now[0] >= counts[0] + 2 && now[1] >= counts[1] + 2 {
                return Ok(());
            }
            Err(format!("{what}: {counts:?}, then {now:?}"))
        });
    }
    // The kernel drops these before the daemon wakes: nothing to count.
    let ignored = cluster.status(2).unwrap().stats.rejects;
    for length in [0, 1, 40, 200, 1232, 1233, 1400] {
        socket.send_to(&garbage(length), EVERYBODY).unwrap();
    }
    std::thread::sleep(cluster.options().stale);
    let foreign = cluster.status(2).unwrap().stats.rejects;
    let count = |map: &BTreeMap<_, _>| map.get(&RejectReason::Foreign).copied().unwrap_or(0_u64);
    assert_eq!(count(&foreign), count(&ignored));
    assert_eq!(untouched(&cluster), before);
}

#[test]
fn frames_of_an_earlier_life_do_not_matter() {
    let cluster = attacked();
    let old = record(&cluster, 1, cluster.options().interval * 10);
    cluster.kill(1).unwrap();
    cluster.start_node(1).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    let before = untouched(&cluster);
    let socket = attacker(&cluster);
    let refused = |node| {
        use RejectReason::{Burnt, NotFresh, Own, Replayed};
        rejects(&cluster, node, &[Burnt, NotFresh, Own, Replayed])
    };
    let counts = [1, 2, 3].map(refused);
    for _ in 0..3 {
        for frame in &old {
            socket.send_to(frame, EVERYBODY).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    std::thread::sleep(cluster.options().stale);
    let now = [1, 2, 3].map(refused);
    let sent = 3 * u64::try_from(old.len()).unwrap();
    assert!(counts.iter().zip(now).all(|(old, new)| new >= old + sent), "{counts:?}, {now:?}");
    assert_eq!(untouched(&cluster), before);
}

/// What keeps a dead node alive for ever in the original.
#[test]
fn frames_of_a_dead_node_do_not_keep_it_alive() {
    let cluster = attacked();
    let victim = crate::support::holder(&cluster, vip4(1));
    let capture = capture(&cluster, ATTACKER, victim);
    std::thread::sleep(cluster.options().interval * 10);
    cluster.crash_node(victim).unwrap();
    let died = Instant::now();
    let frames: Vec<_> = capture.finish().into_iter().map(|captured| captured.frame).collect();
    let machine = cluster.lan().machine(ATTACKER).unwrap();
    let last = frames[frames.len().saturating_sub(3)..].to_vec();
    let replay = Flood::start(machine, ATTACKER.ipv4(), EVERYBODY, 1000, last).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    let limit = (cluster.options().stale + cluster.options().interval) * 3;
    assert!(died.elapsed() < limit, "taken over only after {:?}", died.elapsed());
    let witness = if victim == 1 { 2 } else { 1 };
    let after = owners(&cluster, witness);
    std::thread::sleep(cluster.options().stale);
    assert!(replay.finish().count > 500);
    assert_eq!(owners(&cluster, witness), after);
    assert!(after.values().all(|owner| *owner != format!("node{victim}")));
}

/// Longest time between two frames of a capture.
fn longest_gap(capture: Capture) -> Duration {
    let frames = capture.finish();
    assert!(frames.len() > 5, "{} frames", frames.len());
    let gaps = frames.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at));
    gaps.max().unwrap()
}

#[test]
fn a_flood_changes_no_state_and_delays_no_announcement() {
    let cluster = attacked();
    let frames = record(&cluster, 1, cluster.options().interval * 5);
    let frame = &frames[0];
    let mut datagrams = vec![
        garbage(200),
        truncated(frame),
        wrong_key(frame, &secret(), false),
        wrong_key(frame, &secret(), true),
    ];
    datagrams.extend((0..4).map(|bit| bit_flipped(frame, bit * 101)));
    datagrams.extend(frames.iter().cloned());
    let before = untouched(&cluster);
    let counts = [1, 2, 3].map(|node| cluster.status(node).unwrap().stats.net.ignore);
    let lines = [1, 2, 3].map(|node| cluster.log(node).unwrap().lines().count());
    let probe = ask(&cluster, &[vip4(1), vip4(3)]);

    let quiet = capture(&cluster, BYSTANDER, 2);
    std::thread::sleep(Duration::from_secs(2));
    let quiet = longest_gap(quiet);
    let noisy = capture(&cluster, BYSTANDER, 2);
    let machine = cluster.lan().machine(ATTACKER).unwrap();
    let own: Ipv4Addr = ATTACKER.ipv4();
    let flood = Flood::start(machine, own, EVERYBODY, 50_000, datagrams).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let during = untouched(&cluster);
    let sent = flood.finish();
    let noisy = longest_gap(noisy);

    println!(
        "{:.0} datagrams a second; longest gap {quiet:?} without, {noisy:?} with",
        sent.rate()
    );
    assert_eq!(during, before);
    std::thread::sleep(cluster.options().stale);
    assert_eq!(untouched(&cluster), before);
    // An interval, and what a starved machine adds; far from `stale`.
    let limit = cluster.options().interval * 5;
    assert!(noisy < limit, "a gap of {noisy:?} in the flood, {quiet:?} without");
    assert_eq!(probe.finish().series[&vip4(3)].machines(), [Port::Node(2)].into());
    for (index, node) in (1..=3).enumerate() {
        let ignored = cluster.status(node).unwrap().stats.net.ignore - counts[index];
        assert!(ignored > sent.count / 20, "node{node} counted {ignored} of {}", sent.count);
        let log = cluster.log(node).unwrap();
        let added = log.lines().count() - lines[index];
        assert!(added < 30, "node{node} logged {added} lines: {log}");
    }
}
