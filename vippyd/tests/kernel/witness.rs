//! Real kernels as witnesses, in namespaces of their own. Needs root and `ip`.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vippy_core::config::Config;
use vippy_core::wire::MAGIC;
use vippyd::witness::{Evidence, Prober, Question};

use crate::support::{self, eventually, in_namespace, ip};

/// Longest wait for something that must not come.
const SILENCE: Duration = Duration::from_millis(700);

/// Another machine, at the far end of `eth0`. It ends with the test.
struct Station(Child);

impl Station {
    /// Moves `far0` into a namespace of its own, behind a bridge with addresses.
    fn new(addresses: &[&str]) -> Station {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "60"])
            .stdin(Stdio::null())
            .spawn()
            .expect("this test makes namespaces with `unshare` of util-linux");
        let station = Station(child);
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", station.0.id());
        eventually("it has a namespace", || {
            std::fs::read_link(&theirs).is_ok_and(|namespace| namespace != own)
        });
        ip(&format!("link set far0 netns {}", station.0.id()));
        station.ip("link add lan0 type bridge");
        station.ip("link set far0 master lan0 up");
        station.ip("link set lan0 up");
        for address in addresses {
            let dad = if address.contains(':') { " nodad" } else { "" };
            station.ip(&format!("address add {address} dev lan0{dad}"));
        }
        eventually("eth0 is up", || ip("link show eth0").contains("LOWER_UP"));
        station
    }

    fn run(&self, command: &[&str]) {
        let target = self.0.id().to_string();
        let status = Command::new("nsenter")
            .args(["--net", "--target", &target])
            .args(command)
            .stdout(Stdio::null())
            .status()
            .expect("this test needs `nsenter` of util-linux");
        assert!(status.success(), "{command:?}");
    }

    fn ip(&self, line: &str) {
        let words: Vec<&str> = ["ip"].into_iter().chain(line.split_whitespace()).collect();
        self.run(&words);
    }

    /// Says something to everybody: not the chat, not an answer.
    fn shout(&self) {
        self.run(&["bash", "-c", "exec 3<>/dev/udp/10.9.0.255/9; true"]);
        self.run(&["ip", "neighbour", "flush", "dev", "lan0"]);
        // Asks who has an address, which is a frame to everybody.
        self.run(&["bash", "-c", "echo x > /dev/udp/10.9.0.77/9"]);
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn config() -> Config {
    let text = "{chat: '224.1.1.1:5007', chat_interface: 'eth0', secret: 'a secret of some length',
        version: 1, nodes: ['node1', 'node2'],
        vips: [[{interface: 'eth0', ip: '10.9.0.100/24'}]]}";
    vippy_core::config::parse(text, "test").unwrap().config
}

/// This node's interface has addresses, and time not to doubt them.
fn at_home() {
    ip("address add 10.9.0.1/24 dev eth0");
    ip("address add fd00:9::1/64 dev eth0 nodad");
    eventually("eth0 has its link-local address", || {
        let shown = ip("-6 address show dev eth0 scope link");
        shown.contains("fe80") && !shown.contains("tentative")
    });
}

struct Asking {
    prober: Prober,
    runtime: tokio::runtime::Runtime,
}

impl Asking {
    fn start() -> Asking {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Asking { prober: Prober::start(&config(), &"node1".into()).unwrap(), runtime }
    }

    fn ask(&self, witnesses: &[&str], peers: &[&str]) {
        let ips =
            |texts: &[&str]| texts.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let peers = BTreeSet::from_iter(ips(peers));
        self.prober.ask(Question { witnesses: ips(witnesses), peers });
    }

    fn next(&mut self, patience: Duration) -> Option<Evidence> {
        let Asking { prober, runtime } = self;
        runtime.block_on(async { tokio::time::timeout(patience, prober.evidence()).await.ok()? })
    }

    /// Asks once and takes everything that comes of it.
    fn outcome(&mut self, witnesses: &[&str], peers: &[&str]) -> (usize, BTreeSet<IpAddr>) {
        // What came late after the last question.
        while self.next(Duration::ZERO).is_some() {}
        self.ask(witnesses, peers);
        let mut answered = BTreeSet::new();
        let Some(Evidence::Asked { targets }) = self.next(support::PATIENCE) else {
            panic!("the order was not answered first")
        };
        while let Some(evidence) = self.next(SILENCE) {
            if let Evidence::Answered { from } = evidence {
                answered.insert(from);
            }
        }
        (targets, answered)
    }
}

fn ips(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn configured_witnesses_of_both_families_answer_and_absent_ones_do_not() {
    in_namespace(|_| {
        let _station = Station::new(&["10.9.0.9/24", "fd00:9::9/64"]);
        at_home();
        let mut asking = Asking::start();
        let begun = Instant::now();
        let (targets, answered) =
            asking.outcome(&["10.9.0.9", "fd00:9::9", "10.9.0.10", "fd00:9::10", "10.9.0.1"], &[]);
        println!("{targets} asked, all evidence after {:?}", begun.elapsed() - SILENCE);
        assert_eq!(targets, 4, "nobody asks itself");
        assert_eq!(answered, ips(&["10.9.0.9", "fd00:9::9"]));
    });
}

#[test]
fn a_host_without_an_address_of_its_own_asks_from_nobody() {
    in_namespace(|_| {
        let _station = Station::new(&["10.9.0.9/24", "fd00:9::9/64"]);
        // The chat goes over eth0 by name; the only address there is one that moves.
        ip("address add 10.9.0.1/24 dev eth0");
        let mut asking = Asking::start();
        asking.outcome(&["10.9.0.9"], &[]);
        ip("address del 10.9.0.1/24 dev eth0");
        ip("address add 10.9.0.100/24 dev eth0");
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(asking.outcome(&["10.9.0.9"], &[]), (1, ips(&["10.9.0.9"])));
    });
}

#[test]
fn nobody_answers_through_a_cut_and_everybody_after_it() {
    in_namespace(|_| {
        let station = Station::new(&["10.9.0.9/24", "fd00:9::9/64"]);
        at_home();
        let mut asking = Asking::start();
        let witnesses = ["10.9.0.9", "fd00:9::9"];
        assert_eq!(asking.outcome(&witnesses, &[]).1.len(), 2);
        // The links stay up.
        station.run(&["bridge", "link", "set", "dev", "far0", "state", "0"]);
        assert_eq!(asking.outcome(&witnesses, &[]), (2, BTreeSet::new()));
        station.run(&["bridge", "link", "set", "dev", "far0", "state", "3"]);
        assert_eq!(asking.outcome(&witnesses, &[]).1.len(), 2);
        ip("link set eth0 down");
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(asking.outcome(&witnesses, &[]), (0, BTreeSet::new()));
    });
}

#[test]
fn neighbours_that_answered_lately_are_guessed_and_daemons_are_not() {
    in_namespace(|_| {
        let _station = Station::new(&["10.9.0.9/24", "fd00:9::9/64"]);
        at_home();
        let mut asking = Asking::start();
        assert_eq!(asking.outcome(&[], &[]), (0, BTreeSet::new()), "nobody was met");
        drop(asking);
        let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
        socket.send_to(b"x", "10.9.0.9:9").unwrap();
        eventually("the kernel knows it", || ip("neighbour show").contains("REACHABLE"));
        let mut asking = Asking::start();
        let looked = Instant::now();
        assert_eq!(asking.outcome(&[], &[]), (1, ips(&["10.9.0.9"])));
        let again = asking.outcome(&[], &["10.9.0.9"]).0;
        let soon = looked.elapsed() < Duration::from_millis(900);
        assert!(again == 1 || !soon, "a second look comes later");
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(asking.outcome(&[], &["10.9.0.9"]), (0, BTreeSet::new()));
    });
}

#[test]
fn a_gateway_is_guessed_first() {
    in_namespace(|_| {
        let _station = Station::new(&["10.9.0.9/24"]);
        at_home();
        ip("route add default via 10.9.0.9");
        let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
        socket.send_to(b"x", "203.0.113.7:9").unwrap();
        eventually("the kernel knows it", || ip("neighbour show").contains("REACHABLE"));
        assert_eq!(Asking::start().outcome(&[], &[]), (1, ips(&["10.9.0.9"])));
    });
}

#[test]
fn something_else_that_arrives_is_told_once_a_question() {
    in_namespace(|_| {
        let station = Station::new(&["10.9.0.9/24"]);
        at_home();
        // What the kernels say to each other by themselves is over.
        std::thread::sleep(Duration::from_secs(2));
        let mut asking = Asking::start();
        for _ in 0..2 {
            asking.ask(&["10.9.0.55"], &[]);
            assert_eq!(asking.next(support::PATIENCE), Some(Evidence::Asked { targets: 1 }));
            station.shout();
            assert_eq!(asking.next(support::PATIENCE), Some(Evidence::Arrived));
            station.shout();
            assert_eq!(asking.next(SILENCE), None);
        }
    });
}

#[test]
fn the_chat_and_ones_own_frames_are_no_arrivals() {
    in_namespace(|_| {
        let station = Station::new(&["10.9.0.9/24"]);
        at_home();
        let inbox = UdpSocket::bind("10.9.0.1:5007").unwrap();
        // So that nobody has to ask for addresses meanwhile.
        let mac = |text: &str| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let at = words.iter().position(|word| *word == "link/ether").unwrap();
            words[at + 1].to_owned()
        };
        let own = mac(&ip("link show eth0"));
        station.ip(&format!("neighbour replace 10.9.0.1 lladdr {own} nud permanent dev lan0"));
        std::thread::sleep(Duration::from_secs(2));
        let mut asking = Asking::start();
        asking.ask(&["10.9.0.55"], &[]);
        assert_eq!(asking.next(support::PATIENCE), Some(Evidence::Asked { targets: 1 }));
        let frame = String::from_utf8(MAGIC.to_vec()).unwrap() + &"x".repeat(150);
        station.run(&["bash", "-c", &format!("echo -n {frame} > /dev/udp/10.9.0.1/5007")]);
        let mut buffer = [0; 300];
        inbox.set_read_timeout(Some(support::PATIENCE)).unwrap();
        assert_eq!(inbox.recv(&mut buffer).unwrap(), frame.len(), "it did arrive");
        inbox.send_to(b"ours", "10.9.0.255:9").ok();
        assert_eq!(asking.next(SILENCE), None);
        station.run(&["bash", "-c", "echo -n VPPX > /dev/udp/10.9.0.1/5007"]);
        assert_eq!(asking.next(support::PATIENCE), Some(Evidence::Arrived));
    });
}

#[test]
fn everything_is_closed_some_seconds_after_the_last_question() {
    in_namespace(|_| {
        let _station = Station::new(&["10.9.0.9/24"]);
        at_home();
        let mut asking = Asking::start();
        let taps =
            || std::fs::read_to_string("/proc/thread-self/net/packet").unwrap().lines().count() - 1;
        assert_eq!(taps(), 0);
        assert_eq!(asking.outcome(&["10.9.0.9"], &[]).1.len(), 1);
        assert_eq!(taps(), 1);
        std::thread::sleep(Duration::from_millis(5_500));
        assert_eq!(taps(), 0);
        assert_eq!(asking.outcome(&["10.9.0.9"], &[]).1.len(), 1, "and opened again");
    });
}
