//! The kernel worker against a real kernel, in namespaces. Needs root and `ip`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressProtocol};
use vippy_core::config::Group;
use vippy_core::input::ResourceReport::{Available, Down, Failed, Unavailable, Up};
use vippyd::kernel::{ADDRESS_PROTOCOL, Kernel, KernelError, Report, Settings};

use crate::support::{self, eventually, group, in_namespace, ip, routes, seen};

/// How many addresses carry our tag; the installed `ip` may not print it.
fn tagged() -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        let connection = tokio::spawn(connection);
        let all: Vec<_> = handle.address().get().execute().try_collect().await.unwrap();
        connection.abort();
        let tag = AddressAttribute::Protocol(AddressProtocol::Other(ADDRESS_PROTOCOL));
        all.iter().filter(|message| message.attributes.contains(&tag)).count()
    })
}

#[test]
fn addresses_go_on_with_all_their_attributes_and_come_off() {
    in_namespace(|lan| {
        ip("address add 10.9.0.1/24 dev eth0");
        ip("address add fd00:9::1/64 dev eth0 nodad");
        let both = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        let mut running = lan.start(&[Arc::clone(&both)]);
        assert_eq!(running.next(&both), Available);
        let before = routes();
        running.plumb(&both, Some(10));

        let v4 = seen("10.9.0.50").unwrap();
        assert_eq!(v4["on"], "eth0");
        assert_eq!(v4["prefixlen"], 24);
        assert_eq!(v4["broadcast"], "10.9.0.255");
        assert_eq!(v4["scope"], "global");
        assert_eq!(v4["secondary"], true);
        assert_eq!(v4["noprefixroute"], true);
        assert!([9, 10].contains(&v4["valid_life_time"].as_u64().unwrap()));
        assert!([9, 10].contains(&v4["preferred_life_time"].as_u64().unwrap()));
        let v6 = seen("fd00:9::50").unwrap();
        assert_eq!(v6["prefixlen"], 64);
        assert_eq!(v6["nodad"], true);
        assert_eq!(v6["deprecated"], true, "never a source by accident");
        assert_eq!(v6["noprefixroute"], true);
        assert!(v6["tentative"].is_null(), "usable at once");
        assert!([9, 10].contains(&v6["valid_life_time"].as_u64().unwrap()));
        assert_eq!(v6["preferred_life_time"], 0);
        assert_eq!(tagged(), 2);
        assert_eq!(routes(), before, "no second route to the network");
        let listed = std::fs::read_to_string(lan.ledger()).unwrap();
        assert!(listed.contains("10.9.0.50/24 eth0\nfd00:9::50/64 eth0\n"), "{listed}");

        running.unplumb(&both);
        assert!(seen("10.9.0.50").is_none() && seen("fd00:9::50").is_none());
        assert!(seen("10.9.0.1").is_some() && seen("fd00:9::1").is_some());
        eventually("the ledger forgets them", || {
            !std::fs::read_to_string(lan.ledger()).unwrap().contains("/")
                || !std::fs::read_to_string(lan.ledger()).unwrap().contains("eth0")
        });
    });
}

/// The kernel acknowledges an IPv6 address before it takes packets for it.
#[test]
fn a_group_is_up_only_once_packets_for_it_are_taken() {
    in_namespace(|lan| {
        let groups: Vec<_> = (1..=20)
            .map(|n| group(&[&format!("eth0 fd00:9::{n}/128"), &format!("eth0 10.9.0.{n}/32")]))
            .collect();
        let mut running = lan.start(&groups);
        let mut early = Vec::new();
        for _ in 0..20 {
            running.drain();
            let lifetime = Some(Duration::from_secs(60));
            groups.iter().for_each(|group| running.kernel.plumb(Arc::clone(group), lifetime));
            for _ in &groups {
                let Report { group, report } = running.next_of_any();
                assert_eq!(report, Up);
                let group = groups.iter().find(|other| other.id == group).unwrap();
                let ips = group.addresses.iter().map(|address| address.ip());
                early.extend(ips.filter(|ip| !is_taken(*ip)));
            }
            for group in &groups {
                running.unplumb(group);
            }
        }
        assert!(early.is_empty(), "{} too early: {early:?}", early.len());
    });
}

/// Whether the kernel takes packets to this address, to whose network it has no
/// other way.
fn is_taken(ip: IpAddr) -> bool {
    let any: IpAddr =
        if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).unwrap().connect((ip, 9)).is_ok()
}

#[test]
fn already_there_and_already_gone_are_successes() {
    in_namespace(|lan| {
        let one = group(&["eth0 10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        running.plumb(&one, Some(10));
        running.plumb(&one, Some(20));
        assert!(seen("10.9.0.50").unwrap()["valid_life_time"].as_u64().unwrap() > 15);
        running.unplumb(&one);
        running.unplumb(&one);
    });
}

#[test]
fn orders_in_one_burst_are_answered_in_their_order() {
    in_namespace(|lan| {
        let one = group(&["eth0 10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        running.drain();
        for _ in 0..3 {
            running.kernel.plumb(Arc::clone(&one), None);
            running.kernel.unplumb(one.id.clone());
        }
        for _ in 0..3 {
            assert_eq!(running.next(&one), Up);
            assert_eq!(running.next(&one), Down);
        }
        assert!(seen("10.9.0.50").is_none());
    });
}

#[test]
fn without_a_lifetime_addresses_stay_for_ever() {
    in_namespace(|lan| {
        let both = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        let mut running = lan.start(&[Arc::clone(&both)]);
        running.plumb(&both, None);
        for address in ["10.9.0.50", "fd00:9::50"] {
            assert_eq!(seen(address).unwrap()["valid_life_time"], u32::MAX);
        }
    });
}

#[test]
fn the_only_address_of_its_network_brings_the_route_and_leaves_it_to_the_next() {
    in_namespace(|lan| {
        let one = group(&["eth0 10.9.0.50/24"]);
        let two = group(&["eth0 10.9.0.51/24"]);
        let mut running = lan.start(&[Arc::clone(&one), Arc::clone(&two)]);
        running.plumb(&one, Some(10));
        running.plumb(&two, Some(10));
        assert!(routes().contains("10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.50"));
        running.unplumb(&one);
        assert!(seen("10.9.0.51").is_some());
        assert!(routes().contains("10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.51"));
    });
}

#[test]
fn an_address_that_runs_out_takes_no_other_along() {
    in_namespace(|lan| {
        let one = group(&["eth0 10.9.0.50/24"]);
        let two = group(&["eth0 10.9.0.51/24"]);
        let mut running = lan.start(&[Arc::clone(&one), Arc::clone(&two)]);
        running.plumb(&one, Some(2));
        running.plumb(&two, Some(30));
        eventually("the first ran out", || seen("10.9.0.50").is_none());
        assert!(seen("10.9.0.51").is_some());
        assert!(routes().contains("10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.51"));
        assert_eq!(running.kernel.counts().restored, 0);
    });
}

#[test]
fn other_peoples_interfaces_may_be_busy() {
    in_namespace(|lan| {
        let one = group(&["eth0 10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        running.plumb(&one, Some(30));
        let looks = running.kernel.counts().looks;
        for n in 1..50 {
            ip(&format!("address add 10.8.0.{n}/24 dev far0"));
        }
        running.plumb(&one, Some(30));
        assert_eq!(running.kernel.counts().looks, looks);
    });
}

#[test]
fn removing_the_hosts_address_keeps_ours_and_its_return_takes_the_front_again() {
    in_namespace(|lan| {
        ip("address add 10.9.0.1/24 dev eth0");
        let one = group(&["eth0 10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        running.plumb(&one, Some(30));
        ip("address del 10.9.0.1/24 dev eth0");
        assert!(seen("10.9.0.50").is_some(), "promote_secondaries");
        eventually("our address has the route to its network", || {
            routes().contains("10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.50")
        });
        ip("address add 10.9.0.1/24 dev eth0");
        eventually("the host's address has the route back", || {
            routes().contains("10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.1")
        });
        assert_eq!(seen("10.9.0.50").unwrap()["secondary"], true);
        assert!(seen("10.9.0.1").unwrap()["secondary"].is_null());
        let left = seen("10.9.0.50").unwrap()["valid_life_time"].as_u64().unwrap();
        assert!((20..=30).contains(&left), "{left}");
    });
}

#[test]
fn an_address_that_nobody_renews_runs_out_and_stays_off_until_renewed() {
    in_namespace(|lan| {
        let both = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        let mut running = lan.start(&[Arc::clone(&both)]);
        running.plumb(&both, Some(2));
        let start = Instant::now();
        eventually("both ran out", || seen("10.9.0.50").is_none() && seen("fd00:9::50").is_none());
        let lasted = start.elapsed();
        println!("a lifetime of 2 s lasted {lasted:?}");
        assert!(lasted > Duration::from_millis(1_900) && lasted < Duration::from_millis(2_800));
        eventually("it is noticed", || running.kernel.counts().lapsed == 1);
        assert_eq!(running.kernel.counts().restored, 0, "only the loop may renew");
        assert!(seen("10.9.0.50").is_none());
        running.kernel.renew(Duration::from_secs(10));
        eventually("back", || seen("10.9.0.50").is_some() && seen("fd00:9::50").is_some());
    });
}

#[test]
fn renewing_keeps_addresses_and_their_routes() {
    in_namespace(|lan| {
        let both = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        let mut running = lan.start(&[Arc::clone(&both)]);
        running.plumb(&both, Some(2));
        running.drain();
        let looks = running.kernel.counts().looks;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            running.kernel.renew(Duration::from_secs(2));
            std::thread::sleep(Duration::from_millis(500));
            assert!(seen("10.9.0.50").is_some() && seen("fd00:9::50").is_some());
        }
        assert!(routes().contains("10.9.0.0/24 dev eth0"));
        assert!(routes().contains("fd00:9::/64 dev eth0"), "{}", routes());
        assert_eq!(tagged(), 2);
        let counts = running.kernel.counts();
        assert_eq!((counts.looks, counts.restored), (looks, 0), "echoes ask for nothing");
        // Only of the first address of an IPv4 network a renewal is heard.
        assert!((9..18).contains(&counts.echoes), "{counts:?}");
        assert!(running.is_quiet());
    });
}

#[test]
fn a_restarted_worker_adopts_what_is_wholly_there_and_removes_the_rest() {
    in_namespace(|lan| {
        let whole = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        let partial = group(&["eth0 10.9.0.60/24", "eth0 10.9.0.61/24"]);
        let dropped = group(&["eth0 10.9.0.70/24"]);
        let mut running =
            lan.start(&[Arc::clone(&whole), Arc::clone(&partial), Arc::clone(&dropped)]);
        assert!(running.present.is_empty());
        for group in [&whole, &partial, &dropped] {
            running.plumb(group, Some(20));
        }
        drop(running);
        ip("address del 10.9.0.61/24 dev eth0");

        let mut running = lan.start(&[Arc::clone(&whole), Arc::clone(&partial)]);
        assert_eq!(running.present, [whole.id.as_str()]);
        assert_eq!(running.next(&whole), Available);
        assert_eq!(running.next(&partial), Available);
        assert!(seen("10.9.0.60").is_none() && seen("10.9.0.70").is_none());
        assert!(seen("10.9.0.50").is_some() && seen("fd00:9::50").is_some());
        running.kernel.renew(Duration::from_secs(90));
        eventually("an adopted group is renewed", || {
            seen("10.9.0.50").unwrap()["valid_life_time"].as_u64().unwrap() > 80
        });
        running.unplumb(&whole);
        assert!(seen("10.9.0.50").is_none());
    });
}

#[test]
fn an_adopted_group_runs_out_when_nobody_renews_it() {
    in_namespace(|lan| {
        let one = group(&["eth0 10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        running.plumb(&one, Some(2));
        drop(running);
        let running = lan.start(&[Arc::clone(&one)]);
        assert_eq!(running.present, [one.id.as_str()]);
        eventually("it ran out", || seen("10.9.0.50").is_none());
        eventually("it is noticed", || running.kernel.counts().lapsed == 1);
        assert_eq!(running.kernel.counts().restored, 0);
    });
}

#[test]
fn somebody_elses_address_is_reported_and_never_touched() {
    in_namespace(|lan| {
        ip("address add 10.9.0.50/24 dev far0");
        let one = group(&["eth0 10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        let reason = "10.9.0.50 is on far0 already and was not put there by vippy".to_owned();
        assert_eq!(running.next(&one), Unavailable(reason.clone()));
        running.kernel.plumb(Arc::clone(&one), None);
        assert_eq!(running.next(&one), Failed(reason.clone()));
        running.kernel.unplumb(one.id.clone());
        assert_eq!(running.next(&one), Down);
        assert_eq!(seen("10.9.0.50").unwrap()["on"], "far0");
        ip("address del 10.9.0.50/24 dev far0");
        assert_eq!(running.next(&one), Available);
        running.plumb(&one, None);
        assert_eq!(Kernel::release_all(&lan.settings()).unwrap(), 1);
    });
}

#[test]
fn an_address_that_changed_hands_while_held_is_reported() {
    in_namespace(|lan| {
        let one = group(&["eth0 10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        running.plumb(&one, Some(30));
        ip("address add 10.9.0.50/32 dev far0");
        let reason = "10.9.0.50 is on far0 already and was not put there by vippy".to_owned();
        assert_eq!(running.next(&one), Unavailable(reason));
        running.unplumb(&one);
        assert_eq!(seen("10.9.0.50").unwrap()["on"], "far0");
    });
}

#[test]
fn the_rest_of_a_group_that_cannot_be_wholly_up_is_taken_back() {
    in_namespace(|lan| {
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
        let both = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        let mut running = lan.start(&[Arc::clone(&both)]);
        assert_eq!(running.next(&both), Available);
        running.kernel.plumb(Arc::clone(&both), Some(Duration::from_secs(10)));
        let Failed(reason) = running.next(&both) else { panic!("it must fail") };
        assert!(reason.starts_with("fd00:9::50/64 on eth0 could not be put on: "), "{reason}");
        assert!(seen("10.9.0.50").is_none());
    });
}

#[test]
fn an_address_removed_by_hand_comes_back_but_not_for_longer_than_ordered() {
    in_namespace(|lan| {
        let both = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        let mut running = lan.start(&[Arc::clone(&both)]);
        running.plumb(&both, Some(30));
        ip("address del 10.9.0.50/24 dev eth0");
        let start = Instant::now();
        eventually("IPv4 is back", || seen("10.9.0.50").is_some());
        println!("back after {:?}", start.elapsed());
        ip("address del fd00:9::50/64 dev eth0");
        eventually("IPv6 is back", || seen("fd00:9::50").is_some());
        assert!(seen("10.9.0.50").unwrap()["valid_life_time"].as_u64().unwrap() < 30);
        assert_eq!(running.kernel.counts().restored, 2);
        let notices = running.notices();
        assert!(
            notices[0] == "10.9.0.50/24 was missing on eth0 and is put on again (time 1)",
            "{notices:?}"
        );
    });
}

#[test]
fn two_managers_of_one_address_do_not_fight_at_full_speed() {
    in_namespace(|lan| {
        let one = group(&["eth0 10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        running.plumb(&one, Some(60));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            if seen("10.9.0.50").is_some() {
                ip("address del 10.9.0.50/24 dev eth0");
            }
        }
        let restored = running.kernel.counts().restored;
        assert!((3..=6).contains(&restored), "restored {restored} times in 2 s");
    });
}

#[test]
fn links_that_are_absent_appear_go_down_and_come_up_are_reported() {
    in_namespace(|lan| {
        let one = group(&["eth7 10.9.0.50/24", "eth7 fd00:9::50/64"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        let absent = || Unavailable("interface eth7 does not exist".to_owned());
        let down = || Unavailable("link of eth7 is down".to_owned());
        assert_eq!(running.next(&one), absent());
        running.kernel.plumb(Arc::clone(&one), Some(Duration::from_secs(30)));
        assert_eq!(running.next(&one), Failed("interface eth7 does not exist".to_owned()));

        ip("link add eth7 type veth peer name far7");
        assert_eq!(running.next(&one), down());
        ip("link set far7 up");
        ip("link set eth7 up");
        assert_eq!(running.next(&one), Available);
        running.plumb(&one, Some(60));

        ip("link set far7 down");
        assert_eq!(running.next(&one), down());
        ip("link set far7 up");
        assert_eq!(running.next(&one), Available);

        // The kernel drops IPv6 addresses of a link that is set down.
        ip("link set eth7 down");
        assert_eq!(running.next(&one), down());
        ip("link set eth7 up");
        assert_eq!(running.next(&one), Available);
        eventually("IPv6 is back", || seen("fd00:9::50").is_some());

        // It may be seen down before it is seen gone, and again when it comes.
        ip("link del eth7");
        while running.next(&one) != absent() {}
        ip("link add eth7 type veth peer name far7");
        ip("link set far7 up");
        ip("link set eth7 up");
        while running.next(&one) != Available {}
        eventually("both are back", || seen("10.9.0.50").is_some() && seen("fd00:9::50").is_some());
        assert!(running.is_quiet());
        running.unplumb(&one);
    });
}

#[test]
fn a_group_that_moves_to_another_interface_or_name_leaves_nothing_behind() {
    in_namespace(|lan| {
        let old = group(&["eth0 10.9.0.50/24"]);
        let renamed =
            Arc::new(Group { id: "web".into(), ..(*group(&["far0 10.9.0.50/24"])).clone() });
        let mut running = lan.start(&[Arc::clone(&old)]);
        running.plumb(&old, Some(30));
        running.kernel.watch(vec![Arc::clone(&renamed)]);
        assert_eq!(running.next(&renamed), Available);
        running.kernel.unplumb(old.id.clone());
        running.kernel.plumb(Arc::clone(&renamed), Some(Duration::from_secs(30)));
        assert_eq!(running.next(&renamed), Up);
        assert_eq!(seen("10.9.0.50").unwrap()["on"], "far0");
    });
}

#[test]
fn release_all_removes_what_is_ours_and_nothing_else() {
    in_namespace(|lan| {
        ip("address add 10.9.0.1/24 dev eth0");
        let both = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        let mut running = lan.start(&[Arc::clone(&both)]);
        running.plumb(&both, None);
        drop(running);
        assert_eq!(Kernel::release_all(&lan.settings()).unwrap(), 2);
        assert!(seen("10.9.0.50").is_none() && seen("fd00:9::50").is_none());
        assert!(seen("10.9.0.1").is_some());
        assert_eq!(Kernel::release_all(&lan.settings()).unwrap(), 0);
    });
}

#[test]
fn a_ledger_that_cannot_be_written_is_named() {
    in_namespace(|lan| {
        let ledger = lan.ledger().join("not-a-directory");
        std::fs::write(lan.ledger(), "").unwrap();
        let error = Kernel::start(Settings { ledger }, &[]).unwrap_err();
        assert!(error.to_string().contains("ledger/not-a-directory"), "{error}");
    });
}

#[test]
fn without_the_capability_the_error_says_which_and_what_to_do() {
    let myself = "plumbing::without_the_capability_the_error_says_which_and_what_to_do";
    support::again_without_rights(myself, || {
        let ledger = std::env::temp_dir().join("vippy-absent/ledger");
        let error = Kernel::start(Settings { ledger }, &[]).unwrap_err();
        assert!(matches!(error, KernelError::Capability), "{error}");
        assert!(error.to_string().contains("lacks CAP_NET_ADMIN"));
    });
}

/// Prints what a burst of 1,000 costs; the bounds are only sanity.
#[test]
fn a_thousand_addresses_take_milliseconds() {
    in_namespace(|lan| thousand(lan, |n| format!("eth0 10.9.{}.{}/16", n / 250, n % 250 + 1)));
}

#[test]
fn a_thousand_addresses_of_ipv6_take_milliseconds() {
    in_namespace(|lan| thousand(lan, |n| format!("eth0 fd00:9::{n:x}/64")));
}

#[test]
fn a_thousand_addresses_next_to_the_hosts_take_milliseconds() {
    in_namespace(|lan| {
        ip("address add 10.9.255.1/16 dev eth0");
        thousand(lan, |n| format!("eth0 10.9.{}.{}/16", n / 250, n % 250 + 1));
    });
}

/// Prints what it takes of a processor to renew many addresses (F1).
#[test]
fn renewing_ten_thousand_addresses_is_measured() {
    for (count, interfaces) in [(1_000, 1), (10_000, 1), (10_000, 10)] {
        in_namespace(move |lan| {
            for n in 1..interfaces {
                ip(&format!("link add eth{n} type veth peer name far{n}"));
                ip(&format!("link set eth{n} up"));
                ip(&format!("link set far{n} up"));
            }
            let item = |n: u32| {
                let on = n * interfaces / count;
                format!("eth{on} 10.{}.{}.{}/16", 10 + on, n / 250, n % 250 + 1)
            };
            let groups: Vec<Arc<Group>> = (0..count).map(|n| group(&[&item(n)])).collect();
            let mut running = lan.start(&groups);
            running.await_all(groups.len(), &Available);
            for some in groups.chunks(1_000) {
                let plumb = |group: &Arc<Group>| running.kernel.plumb(Arc::clone(group), None);
                some.iter().for_each(plumb);
                running.await_all(some.len(), &Up);
            }
            let mut costs: Vec<Duration> = (0..7).map(|_| running.renew(60)).collect();
            costs.sort();
            println!("{count} addresses on {interfaces} interfaces: renewed in {costs:?}");
            assert!(costs[3] < Duration::from_secs(2), "{costs:?}");
        });
    }
}

fn thousand(lan: &support::Lan, item: impl Fn(u32) -> String) {
    let groups: Vec<Arc<Group>> = (1..=1_000).map(|n| group(&[&item(n)])).collect();
    let start = Instant::now();
    let mut running = lan.start(&groups);
    println!("start with 1,000 groups: {:?}", start.elapsed());
    running.await_all(1_000, &Available);
    let lifetime = Duration::from_secs(60);
    for round in 0..3 {
        let start = Instant::now();
        groups.iter().for_each(|group| running.kernel.plumb(Arc::clone(group), Some(lifetime)));
        running.await_all(1_000, &Up);
        println!("round {round}: 1,000 plumbed in {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(2));
        let echoed = |count: u64| {
            let end = Instant::now() + support::PATIENCE;
            while running.kernel.counts().echoes < count {
                assert!(Instant::now() < end, "{:?}", running.kernel.counts());
                std::thread::sleep(Duration::from_micros(50));
            }
        };
        echoed(round * 2_000 + 1_000);
        let heard = running.kernel.counts().echoes;
        println!("round {round}: 1,000 renewed in {:?}", running.renew(60));
        assert!(running.kernel.counts().echoes < heard + 10, "renewals are not heard");
        let start = Instant::now();
        groups.iter().for_each(|group| running.kernel.unplumb(group.id.clone()));
        running.await_all(1_000, &Down);
        println!("round {round}: 1,000 unplumbed in {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(2));
    }
    for _ in 0..3 {
        let start = Instant::now();
        running.plumb(&groups[0], Some(60));
        let up = start.elapsed();
        running.unplumb(&groups[0]);
        println!("one group up in {up:?}, down in {:?}", start.elapsed() - up);
    }
    println!("{:?}", running.kernel.counts());
    assert_eq!(tagged(), 0);
}
