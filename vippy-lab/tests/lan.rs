//! A LAN without daemons: wiring, faults, probes. Needs root or a user
//! namespace; fails without.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{MOVED, gratuitous_arp, machines, moved6, network_of};
use vippy_lab::{Frame, FrameKind, Lan, LanOptions, Port, ProbeOptions, Series};

const SHORT: Duration = Duration::from_millis(300);

fn lan(nodes: usize) -> Lan {
    Lan::new(LanOptions { nodes, clients: 1 }).expect("a LAN needs root or a user namespace")
}

/// Both addresses of a port.
fn both(port: Port) -> [IpAddr; 2] {
    [port.ipv4().into(), port.ipv6().into()]
}

fn probe(lan: &Lan, from: impl Into<Port>, target: IpAddr) -> Series {
    let probe = lan.probe(from, ProbeOptions::new([target]).lasting(SHORT)).unwrap();
    probe.wait().series.remove(&target).unwrap()
}

/// Nothing lost.
fn reached(lan: &Lan, from: usize, to: usize) -> bool {
    both(to.into()).into_iter().all(|ip| {
        let series = probe(lan, from, ip);
        series.machines() == BTreeSet::from([to.into()]) && series.lost() == 0
    })
}

/// Nothing came.
fn silent(lan: &Lan, from: usize, to: usize) -> bool {
    both(to.into()).into_iter().all(|ip| probe(lan, from, ip).machines().is_empty())
}

#[test]
fn every_machine_answers_a_thousand_times_a_second_by_both_families() {
    let lan = lan(3);
    let targets: Vec<IpAddr> = (1..=3).flat_map(|node| both(Port::Node(node))).collect();
    // Other tests run at the same time; here it matters only that all arrive.
    let patience = Duration::from_secs(5);
    let options =
        ProbeOptions { patience, ..ProbeOptions::new(targets).lasting(Duration::from_secs(1)) };
    let report = lan.probe(Port::Client(0), options).unwrap().wait();
    assert_eq!(report.series.len(), 6);
    for (target, series) in &report.series {
        assert_eq!(series.machines().len(), 1, "{target}: {series}");
        assert_eq!(series.lost(), 0, "{target}: {series}");
        assert_eq!(series.duplicates(), 0, "{target}: {series}");
        let asked = series.questions.len() + usize::try_from(report.skipped).unwrap();
        assert_eq!(asked, 1_000, "in a second");
    }
    println!("skipped {}, latest {:?}", report.skipped, report.latest);
}

#[test]
fn ten_thousand_questions_a_second_by_both_families_are_all_answered() {
    let lan = lan(2);
    let patience = Duration::from_secs(5);
    let options = ProbeOptions {
        period: Duration::from_micros(100),
        patience,
        ..ProbeOptions::new(both(Port::Node(1))).lasting(Duration::from_secs(2))
    };
    let report = lan.probe(Port::Client(0), options).unwrap().wait();
    println!("skipped {}, latest {:?}", report.skipped, report.latest);
    for (target, series) in &report.series {
        println!("{target}: {series}");
        assert_eq!((series.lost(), series.duplicates()), (0, 0), "{target}: {series}");
    }
}

#[test]
fn a_cut_works_in_one_direction_and_mending_undoes_it() {
    let lan = lan(2);
    assert!(reached(&lan, 1, 2));
    lan.cut(1, 2).unwrap();
    let count = |from: usize, to: usize| support::one_way(&lan, from, to, 20);
    assert_eq!((count(1, 2), count(2, 1)), (0, 20));
    lan.mend(1, 2).unwrap();
    lan.cut(2, 1).unwrap();
    assert_eq!((count(1, 2), count(2, 1)), (20, 0));
    lan.heal().unwrap();
    assert_eq!((count(1, 2), count(2, 1)), (20, 20));
}

#[test]
fn multicast_obeys_cuts_as_unicast_does() {
    let lan = lan(3);
    let heard = |from: usize| support::multicast(&lan, from, 10);
    assert_eq!(heard(1), [(2, 10), (3, 10)]);
    lan.cut(1, 3).unwrap();
    assert_eq!(heard(1), [(2, 10), (3, 0)]);
    assert_eq!(heard(3), [(1, 10), (2, 10)]);
}

#[test]
fn a_partition_separates_the_sides_and_leaves_links_up_until_healed() {
    let lan = lan(4);
    lan.partition(&[1, 2], &[3, 4]).unwrap();
    assert!(reached(&lan, 1, 2) && reached(&lan, 3, 4));
    assert!(silent(&lan, 1, 3) && silent(&lan, 4, 2));
    for node in 1..=4 {
        assert!(lan.machine(node).unwrap().has_carrier().unwrap());
        let ip = Port::Node(node).ipv4().into();
        assert_eq!(probe(&lan, Port::Client(0), ip).lost(), 0, "the client hears both sides");
    }
    lan.heal().unwrap();
    for node in 1..=4 {
        lan.machine(node).unwrap().flush_neighbours().unwrap();
    }
    assert!(reached(&lan, 1, 3) && reached(&lan, 4, 2));
}

#[test]
fn an_isolated_port_hears_nobody_and_rejoins() {
    let lan = lan(3);
    lan.isolate(2).unwrap();
    assert!(silent(&lan, 2, 1) && silent(&lan, 3, 2));
    assert!(reached(&lan, 1, 3));
    assert!(lan.machine(2).unwrap().has_carrier().unwrap());
    lan.rejoin(2).unwrap();
    assert!(lan.cuts().is_empty());
    for node in 1..=3 {
        lan.machine(node).unwrap().flush_neighbours().unwrap();
    }
    assert!(reached(&lan, 2, 1) && reached(&lan, 3, 2));
}

#[test]
fn unplugging_takes_the_carrier_and_plugging_brings_it_back() {
    let lan = lan(2);
    let node = lan.machine(1).unwrap();
    lan.unplug(1).unwrap();
    assert!(!node.has_carrier().unwrap());
    assert!(silent(&lan, 2, 1));
    lan.plug(1).unwrap();
    assert!(node.has_carrier().unwrap());
    lan.machine(2).unwrap().flush_neighbours().unwrap();
    assert!(reached(&lan, 2, 1));
}

#[test]
fn a_partition_of_many_nodes_is_more_than_one_transaction_can_hold() {
    let lan = lan(34);
    let (one, other): (Vec<usize>, Vec<usize>) = (1..=34).partition(|node| node % 2 == 1);
    let begin = std::time::Instant::now();
    lan.partition(&one, &other).unwrap();
    println!("{} cuts in {:?}", lan.cuts().len(), begin.elapsed());
    assert!(silent(&lan, 33, 34) && silent(&lan, 2, 1));
    assert!(reached(&lan, 33, 1));
}

#[test]
fn a_moved_address_is_silent_until_the_client_is_told() {
    let lan = lan(2);
    let [one, two] = machines(&lan);
    one.add_address(MOVED, 24).unwrap();
    let probe = lan.probe(Port::Client(0), ProbeOptions::new([MOVED])).unwrap();
    std::thread::sleep(SHORT);
    one.remove_address(MOVED, 24).unwrap();
    two.add_address(MOVED, 24).unwrap();
    std::thread::sleep(SHORT);
    let told = probe.started().elapsed();
    gratuitous_arp(two, Port::Node(2), MOVED);
    std::thread::sleep(SHORT);
    let series = probe.finish().series.remove(&MOVED).unwrap();
    println!("{series}");

    let reigns = series.reigns();
    assert_eq!(reigns.iter().map(|r| r.by).collect::<Vec<_>>(), [Port::Node(1), Port::Node(2)]);
    assert!(reigns[1].from >= told, "{reigns:?}, told at {told:?}");
    assert!(series.outage() >= SHORT * 9 / 10, "{series}");
    assert_eq!(series.outages().len(), 1);
}

#[test]
fn a_watch_tells_when_which_node_had_an_address() {
    let lan = lan(2);
    let [one, two] = machines(&lan);
    for ip in [MOVED, moved6()] {
        let prefix = if ip.is_ipv4() { 24 } else { 64 };
        one.add_address(ip, prefix).unwrap();
        let watch = lan.watch().unwrap();
        std::thread::sleep(SHORT);
        let asked = Instant::now();
        two.add_address(ip, prefix).unwrap();
        std::thread::sleep(SHORT);
        one.remove_address(ip, prefix).unwrap();
        std::thread::sleep(SHORT);
        let seen = watch.finish();
        assert!(!seen.incomplete);
        assert_eq!(seen.holders(ip), [Port::Node(2)]);
        let doubled = seen.doubled(ip, seen.began);
        assert_eq!(doubled.len(), 1, "{ip}: {seen:?}");
        assert!(doubled[0].from >= asked && doubled[0].length() >= SHORT, "{ip}: {seen:?}");
        assert_eq!(seen.unheld(ip, seen.began), []);
        two.remove_address(ip, prefix).unwrap();
    }
}

#[test]
fn a_tap_hears_what_a_machine_says_and_no_probe() {
    let lan = lan(2);
    let [one, two] = machines(&lan);
    one.add_address(MOVED, 24).unwrap();
    let tap = lan.tap(1).unwrap();
    let before = Instant::now();
    gratuitous_arp(one, Port::Node(1), MOVED);
    let after = Instant::now();
    gratuitous_arp(two, Port::Node(2), MOVED);
    assert_eq!(support::multicast(&lan, 1, 5), [(2, 5)]);
    assert_eq!(probe(&lan, Port::Client(0), MOVED).lost(), 0);
    let frames = tap.finish();
    let of = |kind| frames.iter().filter(|frame| frame.kind == kind).collect::<Vec<_>>();
    assert_eq!(of(FrameKind::Udp(5007)).len(), 5);
    assert_eq!(of(FrameKind::Udp(7077)).len(), 0, "a probe's question or answer");
    let told =
        |frame: &&&Frame| frame.bytes[..6] == [0xff; 6] && frame.bytes[28..32] == [10, 77, 0, 151];
    let arp = of(FrameKind::Arp);
    let arp: Vec<_> = arp.iter().filter(told).collect();
    assert_eq!(arp.len(), 1, "{frames:?}");
    let slack = Duration::from_millis(1);
    assert!(arp[0].at + slack >= before && arp[0].at <= after + slack, "{frames:?}");
}

#[test]
fn flushing_the_clients_neighbours_is_as_good_as_telling_it() {
    let lan = lan(2);
    let [one, two] = machines(&lan);
    let client = lan.machine(Port::Client(0)).unwrap();
    one.add_address(moved6(), 64).unwrap();
    let target = moved6();
    assert_eq!(probe(&lan, Port::Client(0), target).machines(), [Port::Node(1)].into());
    one.remove_address(target, 64).unwrap();
    two.add_address(target, 64).unwrap();
    assert!(client.neighbours().unwrap().iter().any(|(ip, _)| *ip == target));
    client.flush_neighbours().unwrap();
    assert_eq!(probe(&lan, Port::Client(0), target).machines(), [Port::Node(2)].into());
}

#[test]
fn a_client_asks_whichever_holder_spoke_last() {
    let lan = lan(2);
    let [one, two] = machines(&lan);
    one.add_address(MOVED, 24).unwrap();
    two.add_address(MOVED, 24).unwrap();
    // A client asks only one of them: whose answer to its question came first.
    let first = probe(&lan, Port::Client(0), MOVED).machines();
    let other = if first == [Port::Node(1)].into() { 2 } else { 1 };
    // Linux believes a second change only after a second.
    std::thread::sleep(Duration::from_millis(1100));
    gratuitous_arp(machines(&lan)[other - 1], Port::Node(other), MOVED);
    assert_eq!(probe(&lan, Port::Client(0), MOVED).machines(), [Port::Node(other)].into());
}

#[test]
fn a_process_runs_inside_its_machine_and_dies_with_its_power() {
    let lan = lan(1);
    let node = lan.machine(1).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "test \"$(hostname)\" = node1 || exit 3; sleep 1000 & sleep 1000"]);
    let process = node.spawn(command).unwrap();
    assert_eq!(process.wait(SHORT).unwrap(), None);
    assert_eq!(network_of(process.pid()), support::network_of_machine(node));
    node.power_off().unwrap();
    assert!(!process.ended().unwrap().unwrap().success());
    // On again.
    let process = node.spawn(Command::new("true")).unwrap();
    assert!(process.wait(Duration::from_secs(5)).unwrap().unwrap().success());
}

#[test]
fn wrong_names_and_sizes_say_what_was_expected() {
    let lan = lan(2);
    let error = lan.cut(1, 7).unwrap_err().to_string();
    assert_eq!(error, "no such machine: node7; expected node1, node2, client0");
    let error = Lan::new(LanOptions { nodes: 0, clients: 1 }).unwrap_err().to_string();
    assert_eq!(error, "nodes: found 0, expected 1 to 100");
}
