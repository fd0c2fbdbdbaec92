//! Which interfaces the chat uses, and with which source address.
//!
//! [`scan`] asks the system (and may block: it is called on the keeper's thread
//! only); [`choose`] is pure. No socket is touched here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;
use vippy_core::config::ChatInterface;

/// An interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Somebody set it up, and it has a carrier: packets can leave.
    pub(crate) up: bool,
    /// It can multicast and is no loopback.
    pub(crate) suits_all: bool,
    /// In the kernel's order: an IPv4 subnet's primary address comes first.
    pub(crate) addresses: Vec<IpNet>,
}

/// Without a carrier the kernel takes a datagram and drops it without a word:
/// it must not count as having left (F2).
const UP: InterfaceFlags =
    InterfaceFlags::IFF_UP.union(InterfaceFlags::IFF_RUNNING).union(InterfaceFlags::IFF_LOWER_UP);

/// A way for the chat: an interface, and the address from which we speak there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) source: IpAddr,
    pub(super) prefix: u8,
}

impl Way {
    /// The source as a socket address; a link-local one carries the interface.
    pub(super) fn socket_address(&self, port: u16) -> SocketAddr {
        match self.source {
            IpAddr::V4(_) => SocketAddr::new(self.source, port),
            IpAddr::V6(ip) => {
                let scope = if ip.is_unicast_link_local() { self.index } else { 0 };
                SocketAddrV6::new(ip, port, 0, scope).into()
            }
        }
    }

    /// Whether `ip` lies in the source address's own network.
    pub(super) fn reaches(&self, ip: IpAddr) -> bool {
        IpNet::new(self.source, self.prefix).is_ok_and(|net| net.contains(&ip))
    }
}

/// Every interface with its addresses.
pub(crate) fn scan() -> io::Result<Vec<Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in getifaddrs()? {
        let flags = entry.flags;
        let interface = match found.get_mut(&entry.interface_name) {
            Some(interface) => interface,
            None => {
                // Gone since the listing: it will be missing next time.
                let Ok(index) = if_nametoindex(entry.interface_name.as_str()) else { continue };
                let suits_all = flags.contains(InterfaceFlags::IFF_MULTICAST)
                    && !flags.contains(InterfaceFlags::IFF_LOOPBACK);
                let (up, name) = (flags.contains(UP), entry.interface_name.clone());
                let fresh = Interface { index, name, up, suits_all, addresses: Vec::new() };
                found.entry(entry.interface_name.clone()).or_insert(fresh)
            }
        };
        let net = entry.address.as_ref().and_then(|address| network(address, &entry.netmask));
        interface.addresses.extend(net);
    }
    Ok(found.into_values().collect())
}

fn network(address: &SockaddrStorage, mask: &Option<SockaddrStorage>) -> Option<IpNet> {
    if let Some(v4) = address.as_sockaddr_in() {
        let mask = mask.as_ref()?.as_sockaddr_in()?.ip();
        return IpNet::with_netmask(v4.ip().into(), mask.into()).ok();
    }
    let v6 = address.as_sockaddr_in6()?;
    let mask = mask.as_ref()?.as_sockaddr_in6()?.ip();
    IpNet::with_netmask(v6.ip().into(), mask.into()).ok()
}

/// The ways to chat with `group`, or why there is none at present. Addresses
/// that the cluster moves (`managed`) are never spoken from: they may leave.
pub(super) fn choose(
    group: IpAddr,
    wanted: &ChatInterface,
    managed: &BTreeSet<IpAddr>,
    interfaces: &[Interface],
) -> Result<Vec<Way>, String> {
    match wanted {
        ChatInterface::Address(ip) => {
            let interface = carrier(interfaces, *ip)
                .ok_or_else(|| format!("no interface carries the address {ip}"))?;
            need_link(interface)?;
            Ok(address_on(interface, *ip).map(|net| way(interface, *net)).into_iter().collect())
        }
        ChatInterface::Name(name) => {
            let interface = interfaces
                .iter()
                .find(|interface| interface.name == *name)
                .ok_or_else(|| format!("there is no interface {name}"))?;
            need_link(interface)?;
            source(interface, group, managed)
                .map(|way| vec![way])
                .ok_or_else(|| speechless(interface, group))
        }
        ChatInterface::All => every_way(group, managed, interfaces),
    }
}

fn every_way(
    group: IpAddr,
    managed: &BTreeSet<IpAddr>,
    interfaces: &[Interface],
) -> Result<Vec<Way>, String> {
    let able = interfaces.iter().filter(|interface| interface.suits_all);
    let (up, down): (Vec<_>, Vec<_>) = able
        .filter_map(|interface| Some((interface, source(interface, group, managed)?)))
        .partition(|(interface, _)| interface.up);
    match (up.as_slice(), down.as_slice()) {
        ([], []) => {
            let family = family(group);
            Err(format!("no interface is up, can multicast and has an {family} address"))
        }
        ([], [(only, _)]) => Err(link_is_down(&only.name)),
        ([], several) => {
            let names: Vec<&str> = several.iter().map(|(it, _)| it.name.as_str()).collect();
            Err(format!("links of {} are down", names.join(", ")))
        }
        (_, _) => Ok(up.into_iter().map(|(_, way)| way).collect()),
    }
}

/// The interface that has an address.
pub(super) fn carrier(interfaces: &[Interface], ip: IpAddr) -> Option<&Interface> {
    interfaces.iter().find(|interface| address_on(interface, ip).is_some())
}

/// # Errors
/// In words, when nothing can leave on the interface.
pub(super) fn need_link(interface: &Interface) -> Result<(), String> {
    if interface.up { Ok(()) } else { Err(link_is_down(&interface.name)) }
}

fn link_is_down(name: &str) -> String {
    format!("link of {name} is down")
}

/// Why nothing can be said from an interface that is up.
fn speechless(interface: &Interface, group: IpAddr) -> String {
    let (family, name) = (family(group), &interface.name);
    let theirs = interface.addresses.iter().map(IpNet::addr);
    let moving: Vec<String> =
        theirs.filter(|ip| ip.is_ipv4() == group.is_ipv4()).map(|ip| ip.to_string()).collect();
    match moving.as_slice() {
        [] => format!("interface {name} has no {family} address of its own"),
        [only] => format!("the only {family} address of {name}, {only}, is listed in vips"),
        several => {
            format!("all {family} addresses of {name} ({}) are listed in vips", several.join(", "))
        }
    }
}

fn family(group: IpAddr) -> &'static str {
    if group.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn address_on(interface: &Interface, ip: IpAddr) -> Option<&IpNet> {
    interface.addresses.iter().find(|net| net.addr() == ip)
}

fn way(interface: &Interface, net: IpNet) -> Way {
    Way {
        index: interface.index,
        name: interface.name.clone(),
        source: net.addr(),
        prefix: net.prefix_len(),
    }
}

/// The address to speak from: of the group's family and, for IPv6, of the
/// group's scope if there is one.
fn source(interface: &Interface, group: IpAddr, managed: &BTreeSet<IpAddr>) -> Option<Way> {
    let mut candidates: Vec<IpNet> = interface
        .addresses
        .iter()
        .filter(|net| net.addr().is_ipv4() == group.is_ipv4() && !managed.contains(&net.addr()))
        .copied()
        .collect();
    // Stable: within a scope the kernel's order stays.
    candidates.sort_by_key(|net| is_link_local(net.addr()) != is_link_scope(group));
    candidates.first().map(|net| way(interface, *net))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Whether a multicast group has link-local scope (RFC 4291 2.7); IPv4 source
/// addresses do not come in scopes, so for it the answer is no.
fn is_link_scope(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => is_link_scope_v6(ip),
    }
}

/// Whether an IPv6 group means another set of hosts on every link (scopes
/// interface-local and link-local), so that a socket needs to name the link.
pub(super) fn is_link_scope_v6(group: Ipv6Addr) -> bool {
    matches!(group.segments()[0] & 0xff0f, 0xff01 | 0xff02)
}

/// The unspecified address of a family.
pub(super) fn unspecified(v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, name: &str, suits_all: bool, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|net| net.parse().unwrap()).collect();
        Interface { index, name: name.into(), up: true, suits_all, addresses }
    }

    fn host() -> Vec<Interface> {
        vec![
            interface(1, "lo", false, &["127.0.0.1/8", "::1/128"]),
            interface(2, "eth0", true, &["10.0.0.9/24", "10.0.0.1/24", "fe80::1/64", "fd00::1/64"]),
            interface(3, "eth1", true, &["192.0.2.1/24"]),
            interface(4, "eth2", false, &["198.51.100.1/24"]),
        ]
    }

    fn sources(group: &str, wanted: ChatInterface) -> Result<Vec<String>, String> {
        let managed = BTreeSet::from(["10.0.0.9".parse().unwrap()]);
        choose(group.parse().unwrap(), &wanted, &managed, &host())
            .map(|ways| ways.iter().map(|way| format!("{} {}", way.name, way.source)).collect())
    }

    #[test]
    fn all_means_every_interface_that_is_up_and_can_multicast() {
        let found = sources("224.1.1.1", ChatInterface::All).unwrap();
        assert_eq!(found, ["eth0 10.0.0.1", "eth1 192.0.2.1"]);
    }

    #[test]
    fn nothing_is_said_from_an_address_that_may_leave() {
        let found = sources("224.1.1.1", ChatInterface::Name("eth0".into())).unwrap();
        assert_eq!(found, ["eth0 10.0.0.1"]);
    }

    #[test]
    fn loopback_serves_when_it_is_named_by_its_address() {
        let wanted = ChatInterface::Address("127.0.0.1".parse().unwrap());
        assert_eq!(sources("224.1.1.1", wanted).unwrap(), ["lo 127.0.0.1"]);
    }

    #[test]
    fn source_has_the_scope_of_the_group() {
        let eth0 = || ChatInterface::Name("eth0".into());
        assert_eq!(sources("ff02::5007", eth0()).unwrap(), ["eth0 fe80::1"]);
        assert_eq!(sources("ff08::5007", eth0()).unwrap(), ["eth0 fd00::1"]);
    }

    #[test]
    fn absence_is_told_by_name() {
        let name = sources("224.1.1.1", ChatInterface::Name("eth9".into())).unwrap_err();
        assert_eq!(name, "there is no interface eth9");
        let bare = sources("ff02::1", ChatInterface::Name("eth1".into())).unwrap_err();
        assert_eq!(bare, "interface eth1 has no IPv6 address of its own");
    }

    #[test]
    fn only_address_that_may_leave_is_named() {
        let managed = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
        let group = "224.1.1.1".parse().unwrap();
        let error = choose(group, &ChatInterface::Name("eth1".into()), &managed, &host());
        assert_eq!(
            error.unwrap_err(),
            "the only IPv4 address of eth1, 192.0.2.1, is listed in vips"
        );
    }

    #[test]
    fn interface_whose_link_is_down_is_no_way() {
        let mut host = host();
        let group = "224.1.1.1".parse().unwrap();
        let choose = |wanted, host: &[Interface]| choose(group, &wanted, &BTreeSet::new(), host);
        host[1].up = false;
        let down = Err("link of eth0 is down".to_owned());
        assert_eq!(choose(ChatInterface::Name("eth0".into()), &host), down);
        assert_eq!(choose(ChatInterface::Address("10.0.0.1".parse().unwrap()), &host), down);
        assert_eq!(choose(ChatInterface::All, &host).unwrap()[0].name, "eth1");
        host[2].up = false;
        let both = Err("links of eth0, eth1 are down".to_owned());
        assert_eq!(choose(ChatInterface::All, &host), both);
    }

    #[test]
    fn this_host_has_a_loopback_with_its_address() {
        let found = scan().unwrap();
        let lo = found.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(!lo.suits_all && lo.up);
        assert!(lo.addresses.contains(&"127.0.0.1/8".parse().unwrap()));
    }
}
