//! Real sockets on the loopback.

use std::time::Duration;

use vippy_core::config::{
    ChatInterface, Digest, Lifetime, LocalPart, Logging, LoggingDriver, Node, Secret, SharedPart,
};
use vippy_core::wire::{MAGIC, MAX_FRAME, MIN_FRAME, VERSION};

use super::*;

fn config(
    chat: Option<SocketAddr>,
    interface: ChatInterface,
    peers: &[(&str, SocketAddr)],
) -> Config {
    let second = Duration::from_secs(1);
    let nodes = ["node1", "node2"].map(Node::new).to_vec();
    Config {
        shared: SharedPart {
            version: 1,
            digest: Digest::default(),
            nodes,
            groups: Vec::new(),
            interval: second,
            mature: second,
            stale: 3 * second,
            quorum: None,
            witness: Vec::new(),
            isolation: Duration::from_secs(30),
            hold_down: None,
            checks: Vec::new(),
            hooks: Vec::new(),
            plugins: Vec::new(),
        },
        local: LocalPart {
            chat,
            chat_interface: interface,
            peers: peers.iter().map(|(name, at)| (NodeName::from(*name), *at)).collect(),
            secrets: vec![Secret::from("secret")],
            secret_files: Vec::new(),
            cluster: String::new(),
            arp_cache: second,
            notify_rate: 25_000,
            notify: Vec::new(),
            management: "m".into(),
            state: "s".into(),
            logging: logging(),
            plugins: Vec::new(),
            stop_timeout: second,
            lifetime: Lifetime::Auto,
            realtime: None,
            metrics: None,
        },
        document: "".into(),
    }
}

fn logging() -> Logging {
    Logging { driver: LoggingDriver::Console, facility: "daemon".into(), mask: [false; 8] }
}

fn open(config: &Config, node: &str) -> Chat {
    let logger = Logger::start(&logging(), &NodeName::from(node)).unwrap();
    Chat::open(config, &NodeName::from(node), logger).unwrap()
}

fn free_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn frame(mark: u8) -> Vec<u8> {
    let mut frame = vec![mark; MIN_FRAME];
    frame[..4].copy_from_slice(&MAGIC);
    frame[4] = VERSION;
    frame
}

/// The next `count` datagrams, ordered by source.
async fn several(chat: &mut Chat, count: usize) -> Vec<Datagram> {
    let mut got = Vec::new();
    while got.len() < count {
        let patience = Duration::from_secs(2);
        let woken = tokio::time::timeout(patience, chat.readable()).await;
        assert!(woken.is_ok(), "no datagram after {got:?}");
        chat.receive(1, |datagram| got.push(datagram));
    }
    assert_eq!(got.len(), count, "{got:?}");
    got.sort_by_key(|datagram| datagram.source);
    got
}

/// More than any test sends.
const READ_ALL: usize = 1_000;

async fn next(chat: &mut Chat) -> Datagram {
    several(chat, 1).await.remove(0)
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs in a network namespace of its own, which the keeper's thread inherits.
fn in_namespace(test: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("this test needs root for a network namespace");
        run(async {
            // Even what a host sends to its own link-local address passes by it.
            set_up("lo").await;
            test.await;
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn netlink() -> rtnetlink::Handle {
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    handle
}

/// A link that is up, its other end too.
async fn add_link(name: &str) {
    let link = netlink();
    let peer = format!("{name}peer");
    link.link().add(rtnetlink::LinkVeth::new(name, &peer).build()).execute().await.unwrap();
    set_up(name).await;
    set_up(&peer).await;
}

async fn set_up(link: &str) {
    let up = rtnetlink::LinkUnspec::new_with_name(link).up().build();
    netlink().link().set(up).execute().await.unwrap();
}

async fn set_down(link: &str) {
    let down = rtnetlink::LinkUnspec::new_with_name(link).down().build();
    netlink().link().set(down).execute().await.unwrap();
}

async fn add_address(link: &str, address: &str, prefix: u8) {
    let index = nix::net::if_::if_nametoindex(link).unwrap();
    let add = netlink().address().add(index, address.parse().unwrap(), prefix);
    add.execute().await.unwrap();
}

async fn remove_link(link: &str) {
    let index = nix::net::if_::if_nametoindex(link).unwrap();
    netlink().link().del(index).execute().await.unwrap();
}

async fn wait_for_way(chat: &mut Chat) {
    wait_until(chat, |chat| !chat.ways.is_empty()).await;
}

/// Lets the chat follow its keeper until `done`.
async fn wait_until(chat: &mut Chat, done: impl Fn(&Chat) -> bool) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        if done(chat) {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(10), chat.readable()).await;
        chat.receive(READ_ALL, drop);
    }
    panic!("the chat did not follow: {:?}", chat.ways.keys());
}

fn loopback() -> ChatInterface {
    ChatInterface::Address("127.0.0.1".parse().unwrap())
}

/// A chat on a new link, ready to send.
async fn chat_on_v0() -> Chat {
    add_link("v0").await;
    add_address("v0", "192.0.2.1", 24).await;
    let group = Some("224.1.1.1:5007".parse().unwrap());
    let mut chat = open(&config(group, ChatInterface::Name("v0".into()), &[]), "node1");
    wait_for_way(&mut chat).await;
    chat
}

#[test]
fn two_daemons_of_one_host_chat_over_the_loopback_and_answer_each_other_alone() {
    run(async {
        let group = Some(format!("224.1.1.1:{}", free_port()).parse().unwrap());
        let config = config(group, loopback(), &[]);
        let mut one = open(&config, "node1");
        let mut two = open(&config, "node2");
        assert!(one.send(Destination::Multicast, &frame(1)));
        let heard = next(&mut two).await;
        assert!(heard.multicast);
        assert_eq!(heard.bytes, frame(1));
        assert!(next(&mut one).await.multicast, "its own frame comes back to it too");
        assert!(two.send(Destination::Unicast(heard.source), &frame(2)));
        let answer = next(&mut one).await;
        assert!(!answer.multicast);
        assert_eq!(answer.bytes, frame(2));
        assert_ne!(answer.source, heard.source);
    });
}

#[test]
fn groups_of_ipv6_work_with_link_local_and_with_wider_scope() {
    in_namespace(async {
        add_link("v0").await;
        for group in ["[ff02::5007]:5007", "[ff05::5007]:5008"] {
            let group = Some(group.parse().unwrap());
            let config = config(group, ChatInterface::Name("v0".into()), &[]);
            let (mut one, mut two) = (open(&config, "node1"), open(&config, "node2"));
            // The link-local address becomes usable within two seconds.
            wait_for_way(&mut one).await;
            wait_for_way(&mut two).await;
            assert!(one.send(Destination::Multicast, &frame(1)));
            let heard = next(&mut two).await;
            assert!(heard.multicast);
            assert!(two.send(Destination::Unicast(heard.source), &frame(2)));
            let answer = next(&mut one).await;
            assert_eq!((answer.multicast, answer.bytes), (false, frame(2)));
        }
    });
}

#[test]
fn interface_that_appears_later_is_joined_and_one_that_goes_is_given_up() {
    in_namespace(async {
        let group = Some("224.1.1.1:5007".parse().unwrap());
        let config = config(group, ChatInterface::All, &[]);
        let mut chat = open(&config, "node1");
        assert!(!chat.send(Destination::Multicast, &frame(1)));
        add_link("v0").await;
        add_address("v0", "192.0.2.1", 24).await;
        wait_for_way(&mut chat).await;
        let mut neighbour = open(&config, "node2");
        wait_for_way(&mut neighbour).await;
        assert!(chat.send(Destination::Multicast, &frame(1)));
        assert_eq!(next(&mut neighbour).await.source, "192.0.2.1:5007".parse().unwrap());
        remove_link("v0").await;
        wait_until(&mut chat, |chat| chat.ways.is_empty()).await;
        assert!(!chat.send(Destination::Multicast, &frame(1)));
    });
}

#[test]
fn frames_do_not_leave_while_the_far_end_of_the_link_is_down() {
    in_namespace(async {
        add_link("v0").await;
        add_address("v0", "192.0.2.1", 24).await;
        let group = Some("224.1.1.1:5007".parse().unwrap());
        let wishes = [
            ChatInterface::All,
            ChatInterface::Name("v0".into()),
            ChatInterface::Address("192.0.2.1".parse().unwrap()),
        ];
        for wanted in wishes {
            let mut chat = open(&config(group, wanted, &[]), "node1");
            wait_for_way(&mut chat).await;
            assert!(chat.send(Destination::Multicast, &frame(1)));
            set_down("v0peer").await;
            wait_until(&mut chat, |chat| chat.ways.is_empty()).await;
            assert!(!chat.send(Destination::Multicast, &frame(1)));
            set_up("v0peer").await;
            wait_for_way(&mut chat).await;
            assert!(chat.send(Destination::Multicast, &frame(1)));
        }
    });
}

#[test]
fn peers_whose_link_layer_address_nobody_knows_keep_nothing_from_the_group() {
    in_namespace(async {
        let mut chat = chat_on_v0().await;
        for host in 2..10 {
            let peer = format!("192.0.2.{host}:5007").parse().unwrap();
            for number in 0..400 {
                let left = chat.send(Destination::Unicast(peer), &[0; MAX_FRAME]);
                assert!(left, "frame {number} to {peer}");
            }
        }
        assert!(chat.send(Destination::Multicast, &frame(1)));
    });
}

#[test]
fn a_dead_link_is_noticed_at_once() {
    in_namespace(async {
        let mut chat = chat_on_v0().await;
        // The keeper's last look was a moment ago: the next regular one is far.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = std::time::Instant::now();
        set_down("v0peer").await;
        wait_until(&mut chat, |chat| chat.ways.is_empty()).await;
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    });
}

#[test]
fn nothing_leaves_from_the_set_address_while_its_link_is_down() {
    in_namespace(async {
        add_link("v0").await;
        add_address("v0", "192.0.2.1", 24).await;
        let peers = [
            ("node1", "192.0.2.1:5007".parse().unwrap()),
            ("node2", "192.0.2.2:5007".parse().unwrap()),
        ];
        let mut chat = open(&config(None, ChatInterface::All, &peers), "node1");
        let both = |chat: &mut Chat| {
            let to_group = chat.send(Destination::Multicast, &frame(1));
            (to_group, chat.send(Destination::Unicast(peers[1].1), &frame(1)))
        };
        assert_eq!(both(&mut chat), (true, true));
        set_down("v0peer").await;
        wait_until(&mut chat, |chat| !chat.home_link()).await;
        assert_eq!(both(&mut chat), (false, false));
        set_up("v0peer").await;
        wait_until(&mut chat, Chat::home_link).await;
        assert_eq!(both(&mut chat), (true, true));
    });
}

#[test]
fn all_interfaces_carry_each_frame_once() {
    in_namespace(async {
        let own = ["192.0.2.1", "198.51.100.1"];
        for (link, address) in ["v0", "v1"].into_iter().zip(own) {
            add_link(link).await;
            add_address(link, address, 24).await;
        }
        let group = Some("224.1.1.1:5007".parse().unwrap());
        let config = config(group, ChatInterface::All, &[]);
        let (mut chat, mut neighbour) = (open(&config, "node1"), open(&config, "node2"));
        for chat in [&mut chat, &mut neighbour] {
            wait_until(chat, |chat| chat.ways.len() == 2).await;
        }
        assert!(chat.send(Destination::Multicast, &frame(1)));
        let heard = several(&mut neighbour, 2).await;
        let sources: Vec<String> =
            heard.iter().map(|datagram| datagram.source.ip().to_string()).collect();
        assert_eq!(sources, own);
        let more = tokio::time::timeout(Duration::from_millis(100), next(&mut neighbour)).await;
        assert!(more.is_err(), "{more:?}");
    });
}

#[test]
fn everything_comes_from_the_address_that_peers_sets() {
    run(async {
        let own: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
        let group: SocketAddr = format!("224.1.1.1:{}", free_port()).parse().unwrap();
        let with_peer = config(Some(group), loopback(), &[("node1", own)]);
        let mut one = open(&with_peer, "node1");
        let mut two = open(&config(Some(group), loopback(), &[]), "node2");
        assert!(one.send(Destination::Multicast, &frame(1)));
        assert_eq!(next(&mut two).await.source, own);
    });
}

#[test]
fn without_a_group_only_peers_are_spoken_to() {
    run(async {
        let addresses = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()).parse().unwrap());
        let peers = [("node1", addresses[0]), ("node2", addresses[1])];
        let config = config(None, ChatInterface::All, &peers);
        let (mut one, mut two) = (open(&config, "node1"), open(&config, "node2"));
        assert!(one.send(Destination::Multicast, &frame(1)), "nobody misses it");
        assert!(one.send(Destination::Unicast(addresses[1]), &frame(2)));
        let heard = next(&mut two).await;
        assert_eq!((heard.source, heard.multicast, heard.bytes), (addresses[0], false, frame(2)));
    });
}

#[test]
fn frames_do_not_leave_while_the_interface_is_absent() {
    run(async {
        let group = Some("224.1.1.1:5007".parse().unwrap());
        let config = config(group, ChatInterface::Name("no-such-if".into()), &[]);
        let mut chat = open(&config, "node1");
        assert!(!chat.send(Destination::Multicast, &frame(1)));
    });
}

#[test]
fn reading_is_bounded_and_goes_on_later() {
    run(async {
        let own: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
        let mut chat = open(&config(None, ChatInterface::All, &[("node1", own)]), "node1");
        let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for mark in 0..100 {
            stranger.send_to(&frame(mark), own).unwrap();
        }
        chat.readable().await;
        let mut got = Vec::new();
        chat.receive(64, |datagram| got.push(datagram));
        assert_eq!(got.len(), 64);
        chat.readable().await;
        chat.receive(64, |datagram| got.push(datagram));
        assert_eq!(got.len(), 100);
    });
}
