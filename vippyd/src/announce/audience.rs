//! Who is told about an address beside everybody: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use vippy_core::config::NotifyTarget;
use vippy_core::identity::{Mac, NodeName};
use vippy_core::neighbours::Station;

/// What the configuration says, and what all nodes know.
#[derive(Debug, Default)]
pub(super) struct Audience {
    notify: Vec<NotifyTarget>,
    caches: BTreeMap<NodeName, Arc<[Station]>>,
}

/// Whom to tell about addresses of one network on one interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listeners {
    /// Stations by which others reach the network.
    pub(super) routers: Vec<Station>,
    /// Other known stations.
    pub(super) stations: Vec<Station>,
    /// Addresses of which nobody knows where they are.
    pub(super) unknown: Vec<Ipv4Addr>,
}

impl Audience {
    /// Tells others from now on.
    pub(super) fn configure(&mut self, notify: Vec<NotifyTarget>) {
        self.notify = notify;
    }

    /// A node knows these now.
    pub(super) fn learn(&mut self, node: NodeName, stations: Arc<[Station]>) {
        if stations.is_empty() {
            self.caches.remove(&node);
        } else {
            self.caches.insert(node, stations);
        }
    }

    /// Nobody is told but by broadcast.
    pub(super) fn is_empty(&self) -> bool {
        self.notify.is_empty()
    }

    /// Each station once, whatever its addresses; each unknown address once.
    pub(super) fn listeners(&self, interface: &str, net: IpNet) -> Listeners {
        let everybody_known = self.notify.contains(&NotifyTarget::ArpCache);
        let listed = || self.notify.iter().filter_map(|target| on(target, interface));
        let wanted = |ip: IpAddr| {
            let listed = || listed().any(|listed| listed.contains(&ip));
            is_near(net, ip) && (everybody_known || listed())
        };
        let known = self.caches.values().flat_map(|stations| stations.iter());
        let mut stations: BTreeMap<Mac, Station> = BTreeMap::new();
        let mut addresses = BTreeSet::new();
        for station in known.filter(|station| wanted(station.ip)) {
            addresses.insert(station.ip);
            let known = stations.entry(station.mac).or_insert(*station);
            known.router |= station.router;
        }
        let unknown = listed().flat_map(|listed| overlap(listed, net));
        let unknown: BTreeSet<Ipv4Addr> =
            unknown.filter(|ip| !addresses.contains(&IpAddr::V4(*ip))).collect();
        let (routers, stations) = stations.into_values().partition(|station| station.router);
        Listeners { routers, stations, unknown: unknown.into_iter().collect() }
    }
}

/// The network of a target on this interface.
fn on(target: &NotifyTarget, interface: &str) -> Option<IpNet> {
    match target {
        NotifyTarget::Network { interface: name, net } => (name == interface).then_some(*net),
        NotifyTarget::ArpCache => None,
    }
}

/// Whether a station there talks to addresses of a network without a router. Each
/// IPv6 station has a link-local address as well.
fn is_near(net: IpNet, ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local() && net.addr().is_ipv6(),
    };
    net.contains(&ip) || link_local
}

/// Addresses of hosts that two IPv4 networks have in common.
fn overlap(listed: IpNet, net: IpNet) -> impl Iterator<Item = Ipv4Addr> {
    let pair = match (listed, net) {
        (IpNet::V4(listed), IpNet::V4(net)) => Some((listed, net)),
        (IpNet::V4(_) | IpNet::V6(_), _) => None,
    };
    pair.into_iter().flat_map(|(listed, net)| {
        let first = listed.network().max(net.network());
        let last = listed.broadcast().min(net.broadcast());
        let range = u32::from(first)..=u32::from(last);
        range.map(Ipv4Addr::from).filter(move |ip| is_host(net, *ip))
    })
}

fn is_host(net: Ipv4Net, ip: Ipv4Addr) -> bool {
    net.prefix_len() >= 31 || (ip != net.network() && ip != net.broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(ip: &str, last: u8, router: bool) -> Station {
        Station { ip: ip.parse().unwrap(), mac: Mac([2, 0, 0, 0, 0, last]), router }
    }

    fn network(interface: &str, net: &str) -> NotifyTarget {
        NotifyTarget::Network { interface: interface.into(), net: net.parse().unwrap() }
    }

    fn audience(notify: &[NotifyTarget]) -> Audience {
        let mut audience = Audience::default();
        audience.configure(notify.to_vec());
        let one = [station("10.0.0.7", 7, false), station("10.0.0.254", 99, false)];
        let other = [
            station("10.0.0.8", 7, false),
            station("10.0.0.254", 99, true),
            station("10.9.0.1", 10, false),
            station("fd00::8", 8, false),
            station("fe80::9", 9, false),
        ];
        audience.learn("a".into(), Arc::new(one));
        audience.learn("b".into(), Arc::new(other));
        audience
    }

    fn told(audience: &Audience, net: &str) -> (Vec<u8>, Vec<u8>, Vec<String>) {
        let listeners = audience.listeners("eth0", net.parse().unwrap());
        let last = |stations: &[Station]| stations.iter().map(|s| s.mac.0[5]).collect();
        let unknown = listeners.unknown.iter().map(ToString::to_string).collect();
        (last(&listeners.routers), last(&listeners.stations), unknown)
    }

    #[test]
    fn everybody_who_talks_to_the_network_is_told_once_and_routers_first() {
        let audience = audience(&[NotifyTarget::ArpCache]);
        assert_eq!(told(&audience, "10.0.0.100/24"), (vec![99], vec![7], vec![]));
        assert_eq!(told(&audience, "fd00::100/64"), (vec![], vec![8, 9], vec![]));
        assert_eq!(told(&audience, "10.9.0.0/16"), (vec![], vec![10], vec![]));
    }

    #[test]
    fn of_a_listed_network_those_unknown_are_asked_for() {
        let audience = audience(&[network("eth0", "10.0.0.4/30"), network("eth1", "10.0.0.0/24")]);
        let unknown = ["10.0.0.4", "10.0.0.5", "10.0.0.6"].map(str::to_owned).to_vec();
        assert_eq!(told(&audience, "10.0.0.100/24"), (vec![], vec![7], unknown));
        let (routers, stations, unknown) = told(&audience, "10.9.0.1/24");
        assert!(routers.is_empty() && stations.is_empty() && unknown.is_empty());
    }

    #[test]
    fn a_wider_list_is_cut_to_the_hosts_of_the_network() {
        let audience = audience(&[network("eth0", "10.0.0.0/16"), network("eth0", "10.0.0.0/24")]);
        let (routers, stations, unknown) = told(&audience, "10.0.0.100/24");
        assert_eq!((routers, stations), (vec![99], vec![7]));
        assert_eq!(unknown.len(), 254 - 3, "all but two stations, one of them twice");
        assert!(
            !unknown.contains(&"10.0.0.0".to_owned()) && !unknown.contains(&"10.0.0.255".into())
        );
    }

    #[test]
    fn of_an_ipv6_network_those_known_are_told() {
        let audience = audience(&[network("eth0", "fd00::/64")]);
        assert_eq!(told(&audience, "fd00::100/64"), (vec![], vec![8], vec![]));
    }

    #[test]
    fn what_a_node_knew_goes_with_it() {
        let mut audience = audience(&[NotifyTarget::ArpCache]);
        audience.learn("a".into(), Arc::default());
        assert!(told(&audience, "10.0.0.7/32").1.is_empty());
        assert_eq!(told(&audience, "10.0.0.8/32").1, [7]);
    }
}
