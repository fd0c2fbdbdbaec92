//! What several tests need: frames by hand, and a look at what is left.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, UdpSocket};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vippy_lab::{Lan, Machine, Port};

/// An address that belongs to no machine.
pub(crate) const MOVED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 151));

/// The same for IPv6.
pub(crate) fn moved6() -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x151))
}

/// The first two nodes.
pub(crate) fn machines(lan: &Lan) -> [&Machine; 2] {
    [1, 2].map(|node| lan.machine(node).unwrap())
}

/// Tells everybody that `ip` is at `port` now: a gratuitous ARP request.
pub(crate) fn gratuitous_arp(machine: &Machine, port: Port, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else { panic!("ARP is for IPv4") };
    let hardware = port.hardware_address();
    let mut frame = Vec::new();
    frame.extend([0xff; 6]);
    frame.extend(hardware);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(hardware);
    frame.extend(ip.octets());
    frame.extend([0; 6]);
    frame.extend(ip.octets());
    let send = move || {
        let all = pnet_datalink::interfaces();
        let interface = all.into_iter().find(|interface| interface.name == "eth0").unwrap();
        let channel = pnet_datalink::channel(&interface, pnet_datalink::Config::default()).unwrap();
        let pnet_datalink::Channel::Ethernet(mut sender, _) = channel else {
            panic!("no Ethernet")
        };
        sender.send_to(&frame, None).unwrap().unwrap();
    };
    machine.run(send).unwrap();
}

/// Broadcasts `count` datagrams from one node; how many reach another.
///
/// Broadcast needs no neighbour discovery, so it shows one direction alone.
pub(crate) fn one_way(lan: &Lan, from: usize, to: usize, count: usize) -> usize {
    let socket = |node: usize| {
        let open = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 4711)).unwrap();
        lan.machine(node).unwrap().run(open).unwrap()
    };
    let (sender, receiver) = (socket(from), socket(to));
    sender.set_broadcast(true).unwrap();
    for _ in 0..count {
        sender.send_to(b"hello", "10.77.0.255:4711").unwrap();
    }
    drain(&receiver)
}

/// Sends `count` multicast datagrams from one node; how many each other hears.
pub(crate) fn multicast(lan: &Lan, from: usize, count: usize) -> Vec<(usize, usize)> {
    let group = Ipv4Addr::new(224, 1, 1, 1);
    let open = |node: usize| {
        let join = move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5007)).unwrap();
            socket.join_multicast_v4(&group, &Port::Node(node).ipv4()).unwrap();
            let socket = socket2::Socket::from(socket);
            socket.set_multicast_if_v4(&Port::Node(node).ipv4()).unwrap();
            UdpSocket::from(socket)
        };
        lan.machine(node).unwrap().run(join).unwrap()
    };
    let sockets: Vec<(usize, UdpSocket)> =
        (1..=lan.nodes()).map(|node| (node, open(node))).collect();
    let sender = &sockets[from - 1].1;
    for _ in 0..count {
        sender.send_to(b"hello", SocketAddrV4::new(group, 5007)).unwrap();
    }
    let others = sockets.iter().filter(|(node, _)| *node != from);
    others.map(|(node, socket)| (*node, drain(socket))).collect()
}

fn drain(socket: &UdpSocket) -> usize {
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut buffer = [0; 64];
    std::iter::from_fn(|| socket.recv_from(&mut buffer).ok()).count()
}

/// The network namespace of a process.
pub(crate) fn network_of(pid: u32) -> u64 {
    network_at(&format!("/proc/{pid}/ns/net"))
}

/// The network namespace behind a path of /proc.
pub(crate) fn network_at(path: &str) -> u64 {
    fs::metadata(path).unwrap().st_ino()
}

/// The network namespace of a machine.
pub(crate) fn network_of_machine(machine: &Machine) -> u64 {
    machine.run(|| network_at("/proc/thread-self/ns/net")).unwrap()
}

/// A thread or an open file that keeps a network namespace alive.
#[derive(Clone, Debug)]
pub(crate) struct User {
    network: u64,
    path: PathBuf,
    process: PathBuf,
    started: String,
}

impl User {
    /// Whether it is still there. Processes and namespaces get numbers of
    /// others that have gone, so all of it must match.
    pub(crate) fn remains(&self) -> bool {
        started(&self.process).as_ref() == Some(&self.started) && uses(&self.path, self.network)
    }

    /// Whether it belongs to this process.
    pub(crate) fn is_own(&self) -> bool {
        self.process == Path::new("/proc").join(std::process::id().to_string())
    }
}

/// Everybody who keeps a network namespace alive.
pub(crate) fn users(network: u64) -> Vec<User> {
    let list = |path: PathBuf| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).map(|all| all.flatten().collect());
        let entries: Vec<fs::DirEntry> = entries.unwrap_or_default();
        entries.iter().map(fs::DirEntry::path).collect()
    };
    let mut users = Vec::new();
    for process in list("/proc".into()) {
        // Not /proc/self, which is one of the others.
        if process.file_name().is_none_or(|name| !name.as_encoded_bytes()[0].is_ascii_digit()) {
            continue;
        }
        let Some(started) = started(&process) else { continue };
        for task in list(process.join("task")) {
            let mut paths = list(task.join("fd"));
            paths.push(task.join("ns/net"));
            paths.retain(|path| uses(path, network));
            let user =
                |path| User { network, path, process: process.clone(), started: started.clone() };
            users.extend(paths.into_iter().map(user));
        }
    }
    users
}

fn uses(path: &Path, network: u64) -> bool {
    fs::read_link(path).is_ok_and(|to| to == Path::new(&format!("net:[{network}]")))
}

/// When a process started; `None` if it has ended.
fn started(process: &Path) -> Option<String> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name may contain anything; 20 fields behind it is the time.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_string)
}
