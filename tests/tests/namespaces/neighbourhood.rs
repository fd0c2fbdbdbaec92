//! What the LAN makes of addresses that moved.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::bind;
use socket2::{Domain, Socket, Type};
use vippy_client::status::{BeliefStatus, GroupStatus};
use vippy_lab::options::{vip4, vip6};
use vippy_lab::{Cluster, Machine, Options, Port};

use crate::support::{
    PATIENCE, ask, await_status, calm, calm_cluster, eventually, holder, holders, ip, program,
    settled,
};

/// A node's status of the group that has an address.
fn group_of(cluster: &Cluster, node: usize, ip: IpAddr) -> GroupStatus {
    let groups = cluster.status(node).unwrap().groups;
    let has = |group: &GroupStatus| group.addresses.iter().any(|net| net.addr() == ip);
    groups.into_iter().find(has).unwrap()
}

/// Waits until some node other than `former` holds an address, and a condition
/// holds of what it says about belief.
fn await_belief(
    cluster: &Cluster,
    (ip, former): (IpAddr, usize),
    what: &str,
    wanted: impl Fn(&BeliefStatus) -> bool,
) -> (usize, BeliefStatus) {
    let mut found = None;
    eventually(what, || {
        let [node] = holders(cluster, ip)[..] else { return Err("it moves".into()) };
        let belief = group_of(cluster, node, ip).belief.filter(|_| node != former);
        found = belief.clone().filter(|belief| wanted(belief)).map(|belief| (node, belief));
        found.as_ref().map(|_| ()).ok_or(format!("node{node} says {belief:?}"))
    });
    found.unwrap()
}

fn timeline(cluster: &Cluster, node: usize) -> String {
    let mut command = Command::new(program("vippyctl"));
    command.arg("-s").arg(cluster.management(node)).arg("timeline");
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_planned_move_is_believed_by_both_others_and_every_node_can_tell() {
    let cluster = calm_cluster();
    let former = holder(&cluster, vip4(1));
    cluster.drain(former).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    // Groups of both families.
    for ip in [vip4(1), vip6(6)] {
        let (node, belief) = await_belief(&cluster, (ip, 0), "both believe it", |belief| {
            (belief.believed, belief.of) == (2, 2)
        });
        println!("{ip} on node{node}: {belief:?}");
        assert_eq!((belief.repeated, belief.instead), (0, None));
    }
    for node in 1..=3 {
        eventually("the story is complete", || {
            let screen = timeline(&cluster, node);
            let all = screen.contains("moved away") && screen.contains(" 2 of 2");
            if all { Ok(()) } else { Err(screen) }
        });
    }
    println!("{}", timeline(&cluster, former));
}

/// A killed daemon's kernel goes on answering for the address.
#[test]
fn where_the_former_holder_still_answers_the_neighbours_are_told_until_it_does_not() {
    let cluster = calm_cluster();
    let former = holder(&cluster, vip4(1));
    let mac = vippy_core::identity::Mac(Port::Node(former).hardware_address());
    cluster.kill(former).unwrap();
    let mut taker = 0;
    eventually("another node sees who answers instead", || {
        let others = (1..=3).filter(|node| *node != former);
        let doubts = others.map(|node| (node, group_of(&cluster, node, vip4(1)).belief));
        let seen: Vec<_> = doubts.collect();
        let doubted = seen
            .iter()
            .find(|(_, belief)| belief.as_ref().is_some_and(|belief| belief.instead == Some(mac)));
        taker = doubted.map_or(0, |(node, _)| *node);
        doubted.map(|_| ()).ok_or(format!("{seen:?}"))
    });
    let told =
        await_status(&cluster, taker, "its lifetime is over, and it is believed", |status| {
            let belief = status.groups[0].belief.as_ref();
            belief.is_some_and(|belief| (belief.believed, belief.of) == (1, 1))
        });
    assert!(told.groups[0].belief.as_ref().unwrap().repeated > 0);
}

/// Another machine has the address on a MAC of its own.
#[test]
fn another_station_that_answers_is_named_in_the_end_by_a_warning() {
    let cluster = calm_cluster();
    let former = holder(&cluster, vip4(1));
    let stray = cluster.lan().machine(Port::Client(0)).unwrap();
    ip(stray, &["address", "add", &format!("{}/32", vip4(1)), "dev", "eth0"]);
    cluster.drain(former).unwrap();
    let mac = vippy_core::identity::Mac(Port::Client(0).hardware_address());
    let (node, _) = await_belief(&cluster, (vip4(1), former), "it is doubted", |belief| {
        belief.instead == Some(mac) && belief.repeated == 5
    });
    eventually("the log says so", || {
        let log = cluster.log(node).unwrap();
        let said = log.contains("do not believe") && log.contains(&mac.to_string());
        if said { Ok(()) } else { Err(log) }
    });
    ip(stray, &["address", "del", &format!("{}/32", vip4(1)), "dev", "eth0"]);
    assert_eq!(timeline(&cluster, node).matches(" 0 of 2").count(), 1);
}

/// A station that no machine has: a bystander's frames come from it.
const BYSTANDER: [u8; 6] = [0x02, 0x99, 0, 0, 0, 1];

/// "`ip` is at the bystander", to everybody: a gratuitous ARP, or an advertisement.
fn claim(ip: IpAddr) -> Vec<u8> {
    let ethernet = |to: [u8; 6], kind: [u8; 2]| [&to[..], &BYSTANDER, &kind].concat();
    match ip {
        IpAddr::V4(ip) => {
            let ip = ip.octets();
            let kind = [0, 1, 8, 0, 6, 4, 0, 1];
            let arp = [&kind[..], &BYSTANDER, &ip, &[0; 6], &ip].concat();
            [ethernet([0xff; 6], [0x08, 0x06]), arp].concat()
        }
        IpAddr::V6(ip) => {
            let ip = ip.octets();
            let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            let message = |sum: u16| {
                let head = [136, 0, sum.to_be_bytes()[0], sum.to_be_bytes()[1], 0x20, 0, 0, 0];
                [&head[..], &ip, &[2, 1], &BYSTANDER].concat()
            };
            let pseudo = [&ip[..], &all_nodes, &[0, 0, 0, 32, 0, 0, 0, 58], &message(0)].concat();
            let words = pseudo.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
            let sum = words.sum::<u32>();
            let folded = (sum & 0xffff) + (sum >> 16);
            let sum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
            let header = [&[0x60, 0, 0, 0, 0, 32, 58, 255][..], &ip, &all_nodes].concat();
            let to = [0x33, 0x33, 0, 0, 0, 1];
            [ethernet(to, [0x86, 0xdd]), header, message(sum)].concat()
        }
    }
}

/// Sends frames from a machine's interface as they are.
fn send(machine: &Machine, frames: Vec<Vec<u8>>) {
    let sent = machine.run(move || {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        let links = getifaddrs()?.filter(|entry| entry.interface_name == "eth0");
        let link = links.filter_map(|entry| entry.address?.as_link_addr().copied()).next();
        bind(socket.as_raw_fd(), &link.unwrap())?;
        for frame in frames {
            socket.send(&frame)?;
        }
        std::io::Result::Ok(())
    });
    sent.unwrap().unwrap();
}

/// Where a machine's ARP cache says that an address is.
fn cached(machine: &Machine, ip: IpAddr) -> Option<[u8; 6]> {
    let entries = machine.neighbours().unwrap();
    entries.into_iter().find(|(known, _)| *known == ip).and_then(|(_, mac)| mac)
}

#[test]
fn a_bystander_that_claims_addresses_is_noticed_and_clients_are_set_right() {
    let cluster = settled(Options { clients: 2, ..calm() });
    let lan = cluster.lan();
    let (client, bystander) = (lan.machine(Port::Client(0)), lan.machine(Port::Client(1)));
    let (client, bystander) = (client.unwrap(), bystander.unwrap());
    let node = holder(&cluster, vip4(1));
    let right = Port::Node(node).hardware_address();
    let probe = ask(&cluster, &[vip4(1)]);
    assert_eq!(cached(client, vip4(1)), Some(right));
    // Let a second pass, in which older Linux heeds no change.
    std::thread::sleep(Duration::from_millis(1_200));
    send(bystander, vec![claim(vip4(1)); 3]);
    send(bystander, vec![claim(vip6(6))]);
    eventually("the client believes the bystander", || match cached(client, vip4(1)) {
        Some(BYSTANDER) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    for (ip, least) in [(vip4(1), 3), (vip6(6), 1)] {
        let node = holder(&cluster, ip);
        eventually("it is noticed, counted and defended", || {
            let claimed = group_of(&cluster, node, ip).claimed;
            let all = claimed.as_ref().is_some_and(|claimed| {
                claimed.mac.0 == BYSTANDER && claimed.times == least && claimed.defended == 1
            });
            if all { Ok(()) } else { Err(format!("{ip} on node{node}: {claimed:?}")) }
        });
        eventually("the log says so once", || {
            let log = cluster.log(node).unwrap();
            let id = group_of(&cluster, node, ip).id.to_string();
            let about = |line: &&str| line.contains("another station claims") && line.contains(&id);
            let lines = log.lines().filter(about).count();
            if lines == 1 { Ok(()) } else { Err(format!("{lines} lines:\n{log}")) }
        });
    }
    eventually("the client's cache is right", || match cached(client, vip4(1)) {
        Some(mac) if mac == right => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let series = &probe.finish().series[&vip4(1)];
    assert_eq!(series.reigns().last().unwrap().by, Port::Node(node), "{series}");
    // Nobody but the holders was told anything, and nothing moved.
    let others = (1..=3).filter(|other| *other != node);
    for other in others {
        assert_eq!(group_of(&cluster, other, vip4(1)).claimed, None, "node{other}");
    }
    assert_eq!(holder(&cluster, vip4(1)), node);
}

#[test]
fn moves_between_nodes_are_claims_to_nobody() {
    let cluster = calm_cluster();
    for node in [1, 2, 3] {
        cluster.drain(node).unwrap();
        cluster.wait_settled(PATIENCE).unwrap();
        cluster.end_drain(node).unwrap();
        cluster.wait_settled(PATIENCE).unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    for node in 1..=3 {
        let status = cluster.status(node).unwrap();
        let claimed: Vec<_> =
            status.groups.iter().filter(|group| group.claimed.is_some()).collect();
        assert!(claimed.is_empty(), "node{node}: {claimed:#?}");
    }
}
