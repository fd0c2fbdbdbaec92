//! Whom to ask, and from where: pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::chat::Interface;
use crate::kernel::neighbours::{Gateway, Neighbour};

/// A neighbour that answered no longer ago than this is a witness.
const LATELY: Duration = Duration::from_secs(60);

/// Guessed witnesses at most.
pub(super) const MOST: usize = 8;

/// Addresses that are no evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excluded<'a> {
    /// Addresses that the cluster moves.
    pub(super) managed: &'a BTreeSet<IpAddr>,
    /// Addresses of other daemons.
    pub(super) peers: &'a BTreeSet<IpAddr>,
}

/// The number of an interface, and an address to ask for there.
pub(super) type Target = (u32, IpAddr);

/// Where a configured witness is asked: on the interface whose network has it,
/// the narrowest one, else on an interface of the chat. `None`: nowhere, or it
/// is this host itself.
pub(super) fn place(
    witness: IpAddr,
    interfaces: &[Interface],
    chat: &BTreeSet<u32>,
    managed: &BTreeSet<IpAddr>,
) -> Option<Target> {
    let nets = || interfaces.iter().flat_map(|it| it.addresses.iter().map(move |net| (it, net)));
    if nets().any(|(_, net)| net.addr() == witness) {
        return None;
    }
    let near = nets().filter(|(it, net)| it.up && net.contains(&witness));
    // A network that is here only while a group is comes last.
    let best = near.max_by_key(|(it, net)| {
        (!managed.contains(&net.addr()), net.prefix_len(), chat.contains(&it.index))
    });
    let index = match best {
        Some((it, _)) if !is_link_local(witness) => it.index,
        // Every interface has the link-local network.
        Some(_) | None => *chat.first()?,
    };
    Some((index, witness))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Neighbours to ask where nobody is configured: the gateway first, then who
/// answered last; one address a station.
pub(super) fn guess(
    neighbours: &[Neighbour],
    gateways: &[Gateway],
    interfaces: &[Interface],
    chat: &BTreeSet<u32>,
    excluded: Excluded<'_>,
) -> Vec<Target> {
    let own: BTreeSet<IpAddr> =
        interfaces.iter().flat_map(|it| &it.addresses).map(IpNet::addr).collect();
    let of_the_cluster =
        |it: &&Neighbour| excluded.managed.contains(&it.ip) || excluded.peers.contains(&it.ip);
    // A node has other addresses, too.
    let nodes: BTreeSet<&[u8]> =
        neighbours.iter().filter(of_the_cluster).map(|it| it.mac.as_slice()).collect();
    let mut able: Vec<&Neighbour> = neighbours
        .iter()
        .filter(|it| chat.contains(&it.index) && it.confirmed <= LATELY)
        .filter(|it| !own.contains(&it.ip) && !nodes.contains(it.mac.as_slice()))
        .collect();
    let is_gateway = |it: &Neighbour| gateways.contains(&(it.index, it.ip));
    able.sort_by_key(|it| (!is_gateway(it), !it.router, it.confirmed, it.ip));
    let mut stations = BTreeSet::new();
    able.retain(|it| stations.insert(it.mac.as_slice()));
    able.into_iter().map(|it| (it.index, it.ip)).take(MOST).collect()
}

/// From which of its own addresses this host asks on an interface: never from
/// one that the cluster moves.
pub(super) fn source(
    target: IpAddr,
    interface: &Interface,
    managed: &BTreeSet<IpAddr>,
) -> Option<IpAddr> {
    let own = interface
        .addresses
        .iter()
        .filter(|net| net.addr().is_ipv4() == target.is_ipv4() && !managed.contains(&net.addr()));
    own.max_by_key(|net| (is_link_local(net.addr()), net.contains(&target))).map(IpNet::addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ips(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| ip(text)).collect()
    }

    fn interface(index: u32, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|net| net.parse().unwrap()).collect();
        Interface { index, name: format!("eth{index}"), up: true, suits_all: true, addresses }
    }

    fn neighbour(address: &str, mac: u8, seconds: u64) -> Neighbour {
        let confirmed = Duration::from_secs(seconds);
        Neighbour { index: 2, ip: ip(address), mac: vec![mac; 6], confirmed, router: false }
    }

    fn guessed(neighbours: &[Neighbour], peers: &[&str], managed: &[&str]) -> Vec<String> {
        let host = [interface(2, &["10.0.0.1/24", "fe80::1/64"])];
        let (managed, peers) = (ips(managed), ips(peers));
        let excluded = Excluded { managed: &managed, peers: &peers };
        let gateways = [(2, ip("10.0.0.254"))];
        let found = guess(neighbours, &gateways, &host, &[2].into(), excluded);
        found.into_iter().map(|(_, ip)| ip.to_string()).collect()
    }

    #[test]
    fn the_gateway_comes_first_then_who_answered_last() {
        let table = [
            neighbour("10.0.0.7", 7, 30),
            neighbour("10.0.0.8", 8, 3),
            neighbour("10.0.0.254", 9, 50),
            neighbour("10.0.0.9", 10, 61),
        ];
        assert_eq!(guessed(&table, &[], &[]), ["10.0.0.254", "10.0.0.8", "10.0.0.7"]);
    }

    #[test]
    fn nodes_are_no_witnesses_under_any_of_their_addresses() {
        let table = [
            neighbour("10.0.0.2", 2, 1),
            neighbour("fe80::2", 2, 1),
            neighbour("10.0.0.100", 3, 1),
            neighbour("10.0.0.3", 3, 1),
            neighbour("10.0.0.7", 7, 1),
            neighbour("10.0.0.1", 1, 1),
        ];
        assert_eq!(guessed(&table, &["10.0.0.2"], &["10.0.0.100"]), ["10.0.0.7"]);
    }

    #[test]
    fn one_station_is_one_witness_and_eight_are_enough() {
        let twice = [neighbour("10.0.0.7", 7, 1), neighbour("fe80::7", 7, 1)];
        assert_eq!(guessed(&twice, &[], &[]), ["10.0.0.7"]);
        let many: Vec<_> = (10..30).map(|n| neighbour(&format!("10.0.0.{n}"), n, 1)).collect();
        assert_eq!(guessed(&many, &[], &[]).len(), MOST);
    }

    #[test]
    fn a_witness_is_asked_where_its_network_is_and_else_where_the_chat_is() {
        let host = [interface(2, &["10.0.0.1/24"]), interface(3, &["192.0.2.1/24", "10.0.0.9/8"])];
        let chat = [2].into();
        let place = |witness: &str| place(ip(witness), &host, &chat, &BTreeSet::new());
        assert_eq!(place("192.0.2.7"), Some((3, ip("192.0.2.7"))));
        assert_eq!(place("10.0.0.7"), Some((2, ip("10.0.0.7"))));
        assert_eq!(place("10.9.0.7"), Some((3, ip("10.9.0.7"))));
        assert_eq!(place("203.0.113.1"), Some((2, ip("203.0.113.1"))));
        assert_eq!(place("fe80::7"), Some((2, ip("fe80::7"))));
        assert_eq!(place("192.0.2.1"), None, "this host itself");
    }

    #[test]
    fn nobody_asks_from_an_address_that_may_leave() {
        let eth = interface(2, &["10.0.0.100/24", "10.0.0.1/24", "fd00::5/64", "fe80::1/64"]);
        let managed = ips(&["10.0.0.100"]);
        assert_eq!(source(ip("10.0.0.7"), &eth, &managed), Some(ip("10.0.0.1")));
        assert_eq!(source(ip("fd00::7"), &eth, &managed), Some(ip("fe80::1")));
        let only = interface(2, &["10.0.0.100/24"]);
        assert_eq!(source(ip("10.0.0.7"), &only, &managed), None);
    }
}
