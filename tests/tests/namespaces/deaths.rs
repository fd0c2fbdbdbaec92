//! Daemons and nodes that die, hang and leave.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vippy_client::status::{NodeReason, NodeState};
use vippy_core::wire::announcement::{Announcement, GroupSet, Section};
use vippy_lab::options::{SECRET, vip4};
use vippy_lab::{Cluster, Frame, Port};
use vippy_tests::measure::{announcement, tells};

use crate::support::{
    PATIENCE, addresses, ask, assert_unnoticed, await_status, calm_cluster, eventually, holder,
    holders, owners, virtual_addresses, watch,
};

/// `stale` + `interval` of [`calm`], and as much again for a busy machine.
fn loosely(options: &vippy_lab::Options) -> Duration {
    (options.stale + options.interval) * 2 + Duration::from_millis(500)
}

#[test]
fn a_dead_node_is_replaced_and_nothing_else_moves() {
    let cluster = calm_cluster();
    let victim = holder(&cluster, vip4(1));
    let survivor = if victim == 1 { 2 } else { 1 };
    let before = owners(&cluster, survivor);
    let at_home: Vec<_> = addresses().into_iter().map(|ip| (ip, holder(&cluster, ip))).collect();
    let probe = ask(&cluster, &addresses());
    cluster.crash_node(victim).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let report = probe.finish();
    for (ip, home) in at_home {
        let series = &report.series[&ip];
        if home == victim {
            let last = series.reigns().last().unwrap().by;
            assert_ne!(last, Port::Node(victim), "{ip}: {series}");
            assert!(series.outage() < loosely(cluster.options()), "{ip}: {series}");
        } else {
            assert_eq!(series.lost(), 0, "{ip}: {series}");
            assert_eq!(series.machines(), [Port::Node(home)].into(), "{ip}");
        }
    }
    for (group, owner) in owners(&cluster, survivor) {
        let was = &before[&group];
        assert_eq!(owner == *was, *was != format!("node{victim}"), "{group}: {was}, now {owner}");
    }
}

#[test]
fn a_daemon_that_is_back_within_stale_loses_no_packet_and_no_group() {
    let cluster = calm_cluster();
    let node = holder(&cluster, vip4(1));
    let before = owners(&cluster, node);
    let held = virtual_addresses(&cluster, node);
    let probe = ask(&cluster, &addresses());
    let ((), record) = watch(&cluster, || {
        cluster.kill(node).unwrap();
        cluster.start_node(node).unwrap();
        await_status(&cluster, node, "it takes part again", |s| s.node.state == NodeState::Active);
        cluster.wait_settled(PATIENCE).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    });
    let report = probe.finish();
    assert_eq!(report.lost(), 0, "{:#?}", report.series.values().map(ToString::to_string));
    assert_eq!(owners(&cluster, node), before);
    assert_eq!(virtual_addresses(&cluster, node), held);
    for ip in held {
        assert_eq!(record.holders(ip), [node], "{ip}");
        assert_eq!(record.spans[&(ip, node)].len(), 1, "{ip} was gone for a moment");
    }
}

#[test]
fn a_killed_daemon_s_addresses_go_by_themselves() {
    let cluster = calm_cluster();
    let node = holder(&cluster, vip4(1));
    let held = virtual_addresses(&cluster, node);
    let lifetime = Duration::from_secs(cluster.status(node).unwrap().node.lifetime_s);
    let ((), record) = watch(&cluster, || {
        cluster.kill(node).unwrap();
        let killed = Instant::now();
        eventually("the addresses are gone", || match virtual_addresses(&cluster, node) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?} left")),
        });
        // The kernel's clock, and a machine that is late to look.
        let limit = lifetime + Duration::from_millis(300 + 700);
        assert!(killed.elapsed() < limit, "gone only after {:?}", killed.elapsed());
        cluster.wait_settled(PATIENCE).unwrap();
    });
    let (double, ip) = record.longest_double();
    assert!(double <= lifetime + Duration::from_millis(300), "{ip:?} doubled for {double:?}");
    for ip in held.iter().filter(|ip| ip.is_ipv4()) {
        assert_ne!(holder(&cluster, *ip), node);
    }
}

#[test]
fn a_stopping_daemon_hands_over_without_a_lost_packet() {
    let cluster = calm_cluster();
    let node = holder(&cluster, vip4(1));
    let probe = ask(&cluster, &addresses());
    let stopped = cluster.stop(node).unwrap();
    assert_eq!(stopped.status.code(), Some(0), "{}", cluster.log(node).unwrap());
    assert!(stopped.took < Duration::from_secs(2), "it took {:?}", stopped.took);
    assert!(virtual_addresses(&cluster, node).is_empty());
    cluster.wait_settled(PATIENCE).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let report = probe.finish();
    for (ip, series) in &report.series {
        assert_unnoticed(ip, series);
        assert_ne!(series.reigns().last().unwrap().by, Port::Node(node), "{ip}");
    }
    assert!(!cluster.management(node).exists(), "its socket file is left");
}

#[test]
fn the_last_node_leaves_nothing_behind() {
    let cluster = calm_cluster();
    for node in 1..=3 {
        let stopped = cluster.stop(node).unwrap();
        assert_eq!(stopped.status.code(), Some(0), "{}", cluster.log(node).unwrap());
        assert!(stopped.took < Duration::from_secs(2), "node{node} took {:?}", stopped.took);
        assert!(virtual_addresses(&cluster, node).is_empty(), "node{node}");
    }
}

#[test]
fn a_daemon_that_wakes_up_drops_everything_before_it_goes_on() {
    let cluster = calm_cluster();
    let node = holder(&cluster, vip4(1));
    let before = owners(&cluster, node);
    let stale = cluster.options().stale;
    cluster.pause(node).unwrap();
    std::thread::sleep(stale / 2);
    eventually("the others take over", || {
        let others = holders(&cluster, vip4(1)).into_iter().filter(|other| *other != node);
        if others.count() == 1 { Ok(()) } else { Err("nobody has it".into()) }
    });
    // Long enough to be suspended, short enough for the addresses to be there:
    // what takes them off now is the daemon, not their lifetime.
    let ((), record) = watch(&cluster, || {
        cluster.resume(node).unwrap();
        eventually("it has dropped everything", || drops(&cluster, node));
        cluster.wait_settled(PATIENCE).unwrap();
    });
    let (double, ip) = record.longest_double();
    assert!(double < stale, "{ip:?} doubled for {double:?} after it woke");
    assert_eq!(owners(&cluster, node), before);
    eventually("one holder in the kernels", || match holders(&cluster, vip4(1)) {
        holders if holders == [node] => Ok(()),
        holders => Err(format!("{holders:?}")),
    });
}

/// Its log tells of the suspension, and it gave up a group.
fn drops(cluster: &Cluster, node: usize) -> Result<(), String> {
    let log = cluster.log(node).unwrap();
    if log.contains("suspended") { Ok(()) } else { Err(log) }
}

/// What the announcer still had to repeat is due while the process is stopped,
/// and its thread wakes up together with the loop.
#[test]
fn a_daemon_that_wakes_up_claims_nothing_before_it_takes_part_again() {
    let cluster = calm_cluster();
    let node = holder(&cluster, vip4(1));
    let held = virtual_addresses(&cluster, node);
    let options = cluster.options();
    for phase in [options.stale.mul_f64(1.1), options.stale * 2] {
        // Just taken: the neighbours are to be told twice more.
        cluster.drain(node).unwrap();
        eventually("it is empty", || match virtual_addresses(&cluster, node) {
            left if left.is_empty() => cluster.settled(),
            left => Err(format!("{left:?}")),
        });
        cluster.end_drain(node).unwrap();
        eventually("it is back", || match virtual_addresses(&cluster, node) {
            now if now.len() == held.len() => cluster.settled(),
            now => Err(format!("{now:?}")),
        });
        cluster.pause(node).unwrap();
        std::thread::sleep(phase);
        let tap = cluster.lan().tap(node).unwrap();
        cluster.resume(node).unwrap();
        cluster.wait_settled(PATIENCE).unwrap();
        let frames = tap.finish();
        let said = frames.iter().filter_map(|frame| Some((frame, claim(frame, &held)?)));
        let said: Vec<_> = said.map(|(frame, claim)| (frame.at, claim)).collect();
        let first_claim = said.iter().position(|(_, claim)| *claim != Claim::Nothing);
        let active = said.iter().position(|(_, claim)| *claim == Claim::Group);
        // It takes again only as a node that takes part, and says so first.
        let begins = said.first().map(|(_, claim)| *claim);
        assert_eq!(begins, Some(Claim::Nothing), "the first words of the awakened: {said:#?}");
        assert!(first_claim >= Some(1) && active.is_some(), "{said:#?}");
        let booting = frames.iter().filter_map(|frame| spoken(&frame.bytes)).next().unwrap();
        assert_eq!((booting.state, booting.reason), (NodeState::Booting, NodeReason::Suspended));
    }
}

/// What a frame claims to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Nothing,
    /// An announcement that shows a group held.
    Group,
    /// A word to the neighbours about an address.
    Address,
}

/// The announcement in a captured Ethernet frame.
fn spoken(bytes: &[u8]) -> Option<Announcement> {
    let header = usize::from(bytes.get(14)? & 0xf) * 4;
    announcement(bytes.get(14 + header + 8..)?, SECRET)
}

/// What a frame claims; `None` if it is about something else.
fn claim(frame: &Frame, held: &[IpAddr]) -> Option<Claim> {
    if held.iter().any(|ip| tells(frame, *ip)) {
        return Some(Claim::Address);
    }
    let announcement = spoken(&frame.bytes)?;
    let holds = announcement.sections.iter().any(
        |section| matches!(section, Section::Holding { held, .. } if *held != GroupSet::default()),
    );
    Some(if holds { Claim::Group } else { Claim::Nothing })
}

#[test]
fn a_daemon_starts_again_where_an_earlier_one_was_killed() {
    let cluster = calm_cluster();
    cluster.kill(2).unwrap();
    assert!(cluster.management(2).exists(), "the killed daemon's socket file");
    eventually("node1 misses it", || match cluster.status(1).unwrap() {
        status if status.peers.iter().any(|peer| peer.name.as_str() == "node2" && !peer.alive) => {
            Ok(())
        }
        status => Err(format!("{:?}", status.peers)),
    });
    cluster.start_node(2).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
}
