//! The announcer's frames as the other end of a wire receives them, in
//! namespaces. Needs root and `ip`.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt::{RcvBufForce, ReceiveTimeout},
};
use nix::sys::time::TimeVal;
use pnet_packet::icmpv6::{Icmpv6Packet, checksum};
use vippy_core::identity::{GroupId, Mac};
use vippy_core::neighbours::Station;
use vippyd::announce::{AnnounceError, Announcer};
use vippyd::clock;
use vippyd::kernel::Homes;

use crate::support::{self, eventually, group, in_namespace, ip};

/// Hears what arrives at `far0`.
struct Ear {
    socket: OwnedFd,
}

impl Ear {
    fn new() -> Ear {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll);
        let socket = socket.expect("this test hears raw frames: it needs root");
        setsockopt(&socket, RcvBufForce, &(32 << 20)).unwrap();
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(0, 20_000)).unwrap();
        Ear { socket }
    }

    /// The next announcement at `far0` within `patience`, and when it came.
    fn hear(&self, patience: Duration) -> Option<(Instant, Vec<u8>)> {
        let far = nix::net::if_::if_nametoindex("far0").unwrap();
        let end = Instant::now() + patience;
        let mut frame = [0; 2_048];
        while Instant::now() < end {
            let Ok((length, from)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut frame)
            else {
                continue;
            };
            let from_far_side = from.is_some_and(|from| from.ifindex() == far as usize);
            if from_far_side && is_announcement(&frame[..length]) {
                return Some((Instant::now(), frame[..length].to_vec()));
            }
        }
        None
    }

    /// All announcements until none came for a while.
    fn hear_all(&self, pause: Duration) -> Vec<(Instant, Vec<u8>)> {
        std::iter::from_fn(|| self.hear(pause)).collect()
    }
}

/// ARP, or a neighbour advertisement to all; the kernel's own chatter is not.
fn is_announcement(frame: &[u8]) -> bool {
    let arp = frame[12..14] == [0x08, 0x06];
    let advert = frame.len() == 86 && frame[12..14] == [0x86, 0xdd] && frame[54] == 136;
    arp || advert
}

/// An announcer whose loop never stands still.
fn vouched_for() -> Announcer {
    let announcer = Announcer::start().unwrap();
    announcer.vouch(Some(vippy_core::time::Instant::from_micros(u64::MAX)));
    announcer
}

fn mac(interface: &str) -> Vec<u8> {
    let links = support::links();
    let link = links.iter().find(|link| link["ifname"] == interface).unwrap();
    let text = link["address"].as_str().unwrap();
    text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn both_forms_of_arp_and_an_advertisement_arrive_three_times_far_enough_apart() {
    in_namespace(|_| {
        let ear = Ear::new();
        let mut announcer = vouched_for();
        let both = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        let ordered = Instant::now();
        announcer.notify(&both, &Homes::default());
        let heard = ear.hear_all(Duration::from_millis(1_500));
        assert_eq!(heard.len(), 9);
        println!("first frame {:?} after the order", heard[0].0 - ordered);
        assert!(heard[2].0 - ordered < Duration::from_millis(500));
        for round in heard.chunks(3) {
            let mac = mac("eth0");
            let request = &round[0].1;
            assert_eq!(request[..6], [0xff; 6]);
            assert_eq!(request[6..12], mac);
            assert_eq!(request[20..22], [0, 1]);
            assert_eq!(request[22..28], mac);
            assert_eq!(
                (&request[28..32], &request[38..42]),
                (&[10, 9, 0, 50][..], &[10, 9, 0, 50][..])
            );
            let advert = &round[1].1;
            assert_eq!(advert[..6], [0x33, 0x33, 0, 0, 0, 1]);
            assert_eq!(advert[21], 255, "hop limit");
            assert_eq!(advert[58], 0x20, "override, not solicited, no router");
            assert_eq!(advert[80..86], mac);
            let ip: Ipv6Addr = "fd00:9::50".parse().unwrap();
            let icmp = Icmpv6Packet::new(&advert[54..]).unwrap();
            let right = checksum(&icmp, &ip, &"ff02::1".parse().unwrap());
            assert_eq!(icmp.get_checksum(), right);
            assert_eq!(round[2].1[20..22], [0, 2], "the reply form comes last");
        }
        for pair in heard.chunks(3).collect::<Vec<_>>().windows(2) {
            assert!(pair[1][0].0 - pair[0][2].0 > Duration::from_millis(1_100));
        }
    });
}

#[test]
fn neighbours_who_know_the_old_owner_learn_the_new_one() {
    in_namespace(|_| {
        ip("address add 10.9.0.9/24 dev far0");
        ip("address add fd00:9::9/64 dev far0 nodad");
        ip("neighbour add 10.9.0.50 lladdr 02:00:00:00:00:01 nud stale dev far0");
        ip("neighbour add fd00:9::50 lladdr 02:00:00:00:00:01 nud stale dev far0");
        let mut announcer = vouched_for();
        announcer.notify(&group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]), &Homes::default());
        let links = support::links();
        let link = links.iter().find(|link| link["ifname"] == "eth0").unwrap();
        let mac = link["address"].as_str().unwrap();
        eventually("both entries changed", || {
            ip("neighbour show dev far0").matches(mac).count() >= 2
        });
    });
}

/// Tells others than everybody, as the configuration's key says.
fn telling(notify: &str) -> Announcer {
    let text = format!(
        "{{chat: '239.77.0.1:4077', secret: 'a secret of some length', nodes: ['a'], \
         logging: {{driver: 'console'}}, notify: {notify}, \
         vips: [[{{interface: 'eth0', ip: '10.9.0.50/24'}}]]}}"
    );
    let announcer = vouched_for();
    announcer.configure(&vippy_core::config::parse(&text, "test").unwrap().config.local);
    announcer
}

fn station(ip: &str, last: u8, router: bool) -> Station {
    Station { ip: ip.parse().unwrap(), mac: Mac([2, 9, 9, 9, 9, last]), router }
}

#[test]
fn a_network_of_a_thousand_is_told_address_by_address_after_everybody() {
    in_namespace(|_| {
        let ear = Ear::new();
        let mut announcer = telling("[{interface: 'eth0', ip: '10.9.0.0/22'}]");
        let known = [station("10.9.1.7", 7, false), station("10.9.3.254", 254, true)];
        announcer.learn("b".into(), Arc::new(known));
        let ordered = Instant::now();
        announcer.notify(&group(&["eth0 10.9.0.50/22"]), &Homes::default());
        let heard = ear.hear_all(Duration::from_millis(400));
        let mac = mac("eth0");
        let (everybody, single) = heard.split_at(2);
        assert!(everybody.iter().all(|(_, frame)| frame[28..32] == frame[38..42]));
        println!(
            "{} frames, the last {:?} after the order",
            heard.len(),
            single.last().unwrap().0 - ordered
        );
        // Two stations are known, in both forms; the address itself is not asked for.
        assert_eq!(single.len(), 4 + 1_022 - 3);
        let (stations, unknown) = single.split_at(4);
        for ((_, frame), (last, form, ip)) in stations.iter().zip([
            (254, 1, [10, 9, 3, 254]),
            (254, 2, [10, 9, 3, 254]),
            (7, 1, [10, 9, 1, 7]),
            (7, 2, [10, 9, 1, 7]),
        ]) {
            let to = [2, 9, 9, 9, 9, last];
            let asked = if form == 1 { [0; 6] } else { to };
            assert_eq!((&frame[..6], &frame[6..12]), (&to[..], &mac[..]));
            assert_eq!(frame[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, form]);
            assert_eq!((&frame[22..28], &frame[28..32]), (&mac[..], &[10, 9, 0, 50][..]));
            assert_eq!((&frame[32..38], &frame[38..42]), (&asked[..], &ip[..]));
        }
        let mut asked = BTreeSet::new();
        for (_, frame) in unknown {
            assert_eq!((&frame[..6], &frame[6..12]), (&[0xff; 6][..], &mac[..]));
            assert_eq!(frame[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            assert_eq!((&frame[22..28], &frame[28..32]), (&mac[..], &[10, 9, 0, 50][..]));
            assert_eq!(frame[32..38], [0; 6]);
            assert!(asked.insert(frame[38..42].to_vec()), "each once");
        }
        assert_eq!(asked.first().unwrap()[..], [10, 9, 0, 1]);
        assert_eq!(asked.last().unwrap()[..], [10, 9, 3, 253]);
    });
}

#[test]
fn an_address_without_a_network_is_told_to_those_of_its_interface() {
    in_namespace(|_| {
        ip("address add 10.9.0.1/24 dev eth0");
        let ear = Ear::new();
        let mut announcer = telling("['arp-cache']");
        let known = [
            station("10.9.0.7", 7, false),
            station("10.10.0.8", 8, false),
            station("fe80::9", 9, false),
        ];
        announcer.learn("b".into(), Arc::new(known));
        announcer.notify(&group(&["eth0 10.9.0.50/32", "eth0 fd00:9::50/64"]), &Homes::default());
        let heard = ear.hear_all(Duration::from_millis(400));
        let single: Vec<u8> = heard
            .iter()
            .filter(|(_, frame)| frame[0] & 1 == 0)
            .map(|(_, frame)| frame[5])
            .collect();
        assert_eq!(single, [7, 7, 9]);
    });
}

#[test]
fn a_silenced_group_is_not_announced_again() {
    in_namespace(|_| {
        let ear = Ear::new();
        let mut announcer = vouched_for();
        let one = group(&["eth0 10.9.0.50/24"]);
        announcer.notify(&one, &Homes::default());
        assert!(ear.hear(support::PATIENCE).is_some());
        assert!(ear.hear(support::PATIENCE).is_some());
        announcer.silence(&one.id);
        assert!(ear.hear(Duration::from_millis(1_500)).is_none());
    });
}

#[test]
fn nothing_leaves_once_the_loop_no_longer_vouches_for_it() {
    in_namespace(|_| {
        let ear = Ear::new();
        let mut announcer = Announcer::start().unwrap();
        let [one, other] = [group(&["eth0 10.9.0.50/24"]), group(&["eth0 10.9.0.51/24"])];
        let soon = clock::now() + Duration::from_millis(600);
        announcer.vouch(Some(soon));
        announcer.notify(&one, &Homes::default());
        assert_eq!(told_within(&mut announcer, support::PATIENCE), Some(one.id.clone()));
        assert_eq!(ear.hear_all(Duration::from_millis(100)).len(), 2);
        std::thread::sleep(Duration::from_millis(600));
        announcer.notify(&other, &Homes::default());
        eventually("everything is forgotten", || announcer.counts().forgotten == 1);
        // Neither the first round of the one nor the second of the other.
        announcer.vouch(Some(clock::now() + Duration::from_secs(60)));
        assert!(ear.hear(Duration::from_millis(1_000)).is_none());
        assert_eq!(told_within(&mut announcer, Duration::ZERO), None);
        announcer.notify(&other, &Homes::default());
        assert_eq!(told_within(&mut announcer, support::PATIENCE), Some(other.id.clone()));
    });
}

#[test]
fn a_recreated_interface_speaks_with_its_new_address() {
    in_namespace(|lan| {
        let mut announcer = vouched_for();
        let one = group(&["eth0 10.9.0.50/24"]);
        let ear = Ear::new();
        announcer.notify(&one, &Homes::default());
        assert!(ear.hear(support::PATIENCE).is_some());
        let old = mac("eth0");
        ip("link del eth0");
        lan.wire();
        assert_ne!(mac("eth0"), old);
        announcer.notify(&one, &Homes::default());
        let (_, frame) = ear.hear(support::PATIENCE).unwrap();
        assert_eq!(frame[6..12], mac("eth0"));
        ip("link set eth0 address 02:00:00:00:00:99");
        announcer.notify(&one, &Homes::default());
        eventually("the changed address is used", || {
            ear.hear(support::PATIENCE).unwrap().1[22..28] == [2, 0, 0, 0, 0, 0x99]
        });
    });
}

#[test]
fn a_router_announces_itself_as_one() {
    in_namespace(|_| {
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/forwarding", "1").unwrap();
        let ear = Ear::new();
        let mut announcer = vouched_for();
        announcer.notify(&group(&["eth0 fd00:9::50/64"]), &Homes::default());
        eventually("an advertisement with the router flag", || {
            ear.hear(support::PATIENCE).unwrap().1.get(58) == Some(&0xa0)
        });
    });
}

#[test]
fn an_absent_interface_costs_the_others_nothing() {
    in_namespace(|_| {
        let ear = Ear::new();
        let mut announcer = vouched_for();
        announcer.notify(&group(&["absent0 10.9.0.49/24", "eth0 10.9.0.50/24"]), &Homes::default());
        assert!(ear.hear(support::PATIENCE).is_some());
        eventually("the failure is counted", || announcer.counts().failures >= 1);
    });
}

#[test]
fn a_group_is_told_about_when_its_frames_have_left() {
    in_namespace(|_| {
        let ear = Ear::new();
        let mut announcer = vouched_for();
        let both = group(&["eth0 10.9.0.50/24", "eth0 fd00:9::50/64"]);
        announcer.notify(&both, &Homes::default());
        assert_eq!(told_within(&mut announcer, support::PATIENCE), Some(both.id.clone()));
        assert_eq!(ear.hear_all(Duration::from_millis(100)).len(), 3);
        // The second and the third round are nobody's news.
        assert_eq!(told_within(&mut announcer, Duration::from_millis(1_500)), None);
    });
}

#[test]
fn dead_interfaces_do_not_keep_anybody_waiting() {
    in_namespace(|_| {
        ip("link add dead0 type veth peer name dead1");
        ip("link add stuck0 type veth peer name stuck1");
        ip("link set stuck0 up");
        let mut announcer = vouched_for();
        // Absent, down, without carrier.
        let items = ["absent0 10.9.0.49/24", "dead0 10.9.0.50/24", "stuck0 10.9.0.51/24"];
        for item in items {
            let one = group(&[item]);
            let ordered = Instant::now();
            announcer.notify(&one, &Homes::default());
            assert_eq!(told_within(&mut announcer, support::PATIENCE), Some(one.id.clone()));
            let took = ordered.elapsed();
            println!("{item}: told after {took:?}");
            assert!(took < Duration::from_millis(50), "{item}: {took:?}");
        }
    });
}

#[test]
fn a_group_that_was_silenced_is_not_reported() {
    in_namespace(|_| {
        let mut announcer = vouched_for();
        let one = group(&["eth0 10.9.0.50/24"]);
        announcer.notify(&one, &Homes::default());
        // Its frames may well have left before.
        announcer.silence(&one.id);
        assert_eq!(told_within(&mut announcer, Duration::from_millis(100)), None);
    });
}

fn told_within(announcer: &mut Announcer, patience: Duration) -> Option<GroupId> {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if let Some((group, _)) = announcer.told_at_hand() {
            return Some(group);
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    None
}

#[test]
fn without_the_capability_the_error_says_which_and_what_to_do() {
    let myself = "neighbours::without_the_capability_the_error_says_which_and_what_to_do";
    support::again_without_rights(myself, || {
        let error = Announcer::start().unwrap_err();
        assert!(matches!(error, AnnounceError::Capability), "{error}");
        assert!(error.to_string().contains("lacks CAP_NET_RAW"));
    });
}

/// Prints how long 1,000 addresses take from the first frame to the last.
#[test]
fn a_thousand_addresses_are_announced_in_milliseconds() {
    in_namespace(|_| {
        let ear = Ear::new();
        let mut announcer = vouched_for();
        let groups: Vec<_> = (0..1_000)
            .map(|n| group(&[&format!("eth0 10.9.{}.{}/16", n / 250, n % 250 + 1)]))
            .collect();
        let ordered = Instant::now();
        groups.iter().for_each(|group| announcer.notify(group, &Homes::default()));
        let heard = ear.hear_all(Duration::from_millis(300));
        let requests: Vec<_> = heard.iter().filter(|(_, frame)| frame[20..22] == [0, 1]).collect();
        assert_eq!((heard.len(), requests.len()), (2_000, 1_000));
        let first = requests[0].0;
        println!(
            "order to first frame {:?}; first to last: request form {:?}, both forms {:?}",
            first - ordered,
            requests[999].0 - first,
            heard[1_999].0 - first
        );
    });
}
