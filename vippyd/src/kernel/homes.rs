//! Where each address belongs on this host; nobody else decides that.
//!
//! Names of interfaces are local. What this node's own file names, counts. For
//! every other address it is the interface that carries its network: one of
//! whose own addresses, none that the cluster moves, lies in a prefix with it.
//! Where none does, it is the interface that another node's file named, if there
//! is such a one. An address that is on, or ordered on, stays where it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use vippy_core::config::{Address, Group};

use super::addresses::Found;
use super::links::{Link, Links};
use super::netlink::TAG;

/// The interfaces found for addresses for which this node's file names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    found: BTreeMap<IpAddr, String>,
    /// Those that stay where they are and would belong elsewhere by now.
    overstaying: BTreeSet<IpAddr>,
}

impl Homes {
    /// The interface on which an address belongs, present or not; `None` where
    /// there is none.
    pub fn of<'a>(&'a self, address: &'a Address) -> Option<&'a str> {
        address.interface.as_deref().or_else(|| self.found(address.ip()))
    }

    /// The interface that was found for an address, if this node's file names
    /// none and there is one.
    pub fn found(&self, ip: IpAddr) -> Option<&str> {
        self.found.get(&ip).map(String::as_str)
    }

    /// Finds one for each address for which no interface is named: where it
    /// stays, else where it belongs.
    pub(super) fn find<'a>(
        addresses: impl Iterator<Item = &'a Address>,
        stays: impl Fn(IpAddr) -> Option<&'a str>,
        belongs: impl Fn(&'a Address) -> Option<&'a str>,
    ) -> Homes {
        let mut homes = Homes::default();
        for address in addresses.filter(|address| address.interface.is_none()) {
            let ip = address.ip();
            let (stays, belongs) = (stays(ip), belongs(address));
            if let Some(name) = stays.or(belongs) {
                homes.found.entry(ip).or_insert_with(|| name.to_owned());
            }
            if stays.is_some() && stays != belongs {
                homes.overstaying.insert(ip);
            }
        }
        homes
    }

    /// Whether any address of a group would be elsewhere if it were not on.
    pub(super) fn overstays(&self, group: &Group) -> bool {
        group.addresses.iter().any(|address| self.overstaying.contains(&address.ip()))
    }
}

/// Why an address has no home, in words for an operator.
pub(crate) fn homeless(address: &Address) -> String {
    let nobody = format!("no interface carries {}", address.net.trunc());
    match &address.hint {
        None => format!("{nobody} and the configuration names none"),
        Some(name) => format!("{nobody}, and {name}, which the configuration names, is not here"),
    }
}

/// Whether an address is the host's own and no daemon's.
pub(super) fn is_the_hosts(found: &Found, managed: &BTreeSet<IpAddr>) -> bool {
    found.tag != Some(TAG) && !managed.contains(&found.spot.ip)
}

/// The networks of the host's own addresses, with their interfaces.
#[derive(Debug)]
pub(super) struct Carriers<'a> {
    nets: BTreeSet<(IpNet, u32)>,
    links: &'a Links,
}

impl<'a> Carriers<'a> {
    /// From the host's own addresses.
    pub(super) fn new<'f>(own: impl Iterator<Item = &'f Found>, links: &'a Links) -> Carriers<'a> {
        let net = |found: &Found| Some((found.spot.net()?.trunc(), found.spot.index));
        Carriers { nets: own.filter_map(net).collect(), links }
    }

    /// The interface on which an address belongs now, unless it is on.
    pub(super) fn home(&self, address: &Address) -> Option<&'a str> {
        let hint = || self.links.named(address.hint.as_deref()?);
        self.carrier(address.ip()).or_else(hint).map(|link| link.name.as_str())
    }

    /// Of several the one with the narrowest network, then one that can be used,
    /// then the first.
    fn carrier(&self, ip: IpAddr) -> Option<&'a Link> {
        let near = self.nets.iter().filter(|(net, _)| net.contains(&ip));
        let near = near.filter_map(|(net, index)| Some((net, self.links.get(*index)?)));
        let rank =
            |(net, link): &(&IpNet, &Link)| (net.prefix_len(), link.usable(), Reverse(link.index));
        near.max_by_key(rank).map(|(_, link)| link)
    }
}

#[cfg(test)]
mod tests {
    use super::super::addresses::Spot;
    use super::*;

    /// A host with `eth1` to `eth9`, of which the even ones are down.
    fn links() -> Links {
        let mut links = Links::default();
        for index in 1..10 {
            let running = index % 2 == 1;
            let name = format!("eth{index}");
            links.put(Link { index, name, up: true, running, promotes: true });
        }
        links
    }

    fn found(net: &str, index: u32) -> Found {
        let net: IpNet = net.parse().unwrap();
        let spot = Spot { ip: net.addr(), prefix: net.prefix_len(), index };
        Found { spot, tag: None, flags: 0, valid: None, confirmed: true }
    }

    fn address(net: &str, hint: Option<&str>) -> Address {
        let hint = hint.map(str::to_owned);
        Address { hint, ..Address::anywhere(net.parse().unwrap()) }
    }

    /// Where an address belongs on a host with these addresses of its own.
    fn home(own: &[(&str, u32)], net: &str, hint: Option<&str>) -> Option<String> {
        let own: Vec<Found> = own.iter().map(|(net, index)| found(net, *index)).collect();
        let links = links();
        let carriers = Carriers::new(own.iter(), &links);
        carriers.home(&address(net, hint)).map(str::to_owned)
    }

    #[test]
    fn an_address_belongs_where_its_network_is() {
        let own = [("127.0.0.1/8", 1), ("10.1.2.9/24", 3), ("10.1.3.9/24", 5), ("fd00::9/64", 7)];
        assert_eq!(home(&own, "10.1.2.3/24", None).unwrap(), "eth3");
        assert_eq!(home(&own, "10.1.3.3/32", None).unwrap(), "eth5");
        assert_eq!(home(&own, "fd00::3/64", None).unwrap(), "eth7");
        assert_eq!(home(&own, "fd00::3/128", None).unwrap(), "eth7");
        assert_eq!(home(&own, "10.1.4.3/24", None), None);
        assert_eq!(home(&own, "fd01::3/64", None), None);
    }

    #[test]
    fn of_several_the_narrowest_counts_then_one_that_is_up_then_the_first() {
        let own = [("10.1.2.9/16", 3), ("10.1.2.8/24", 4)];
        assert_eq!(home(&own, "10.1.2.3/24", None).unwrap(), "eth4");
        let own = [("10.1.2.9/24", 2), ("10.1.2.8/24", 7), ("10.1.2.7/24", 5)];
        assert_eq!(home(&own, "10.1.2.3/24", None).unwrap(), "eth5");
        let own = [("10.1.2.9/24", 6), ("10.1.2.8/24", 4)];
        assert_eq!(home(&own, "10.1.2.3/24", None).unwrap(), "eth4");
    }

    #[test]
    fn a_link_local_address_belongs_to_no_other_network() {
        let own = [("fe80::9/64", 3), ("fd00::9/64", 5)];
        assert_eq!(home(&own, "fd00::3/64", None).unwrap(), "eth5");
        assert_eq!(home(&own, "2001:db8::3/64", None), None);
        assert_eq!(home(&own, "fe80::3/64", None).unwrap(), "eth3");
    }

    #[test]
    fn a_hint_counts_where_nothing_carries_the_network_and_such_an_interface_exists() {
        let own = [("10.1.2.9/24", 3)];
        assert_eq!(home(&own, "10.1.2.3/24", Some("eth5")).unwrap(), "eth3");
        assert_eq!(home(&own, "10.9.2.3/24", Some("eth5")).unwrap(), "eth5");
        assert_eq!(home(&own, "10.9.2.3/24", Some("ens5")), None);
        assert_eq!(
            homeless(&address("10.9.2.3/24", Some("ens5"))),
            "no interface carries 10.9.2.0/24, and ens5, which the configuration names, is not here"
        );
        assert_eq!(
            homeless(&address("10.9.2.3/24", None)),
            "no interface carries 10.9.2.0/24 and the configuration names none"
        );
    }

    #[test]
    fn what_the_cluster_moves_carries_nothing() {
        let managed: BTreeSet<IpAddr> = ["10.1.2.3".parse().unwrap()].into();
        assert!(is_the_hosts(&found("10.1.2.9/24", 3), &managed));
        assert!(!is_the_hosts(&found("10.1.2.3/24", 3), &managed), "whoever put it there");
        let tagged = Found { tag: Some(TAG), ..found("10.1.2.9/24", 3) };
        assert!(!is_the_hosts(&tagged, &managed), "another daemon's");
    }

    #[test]
    fn the_own_files_name_counts_before_anything_that_was_found() {
        let links = links();
        let own = [found("10.1.2.9/24", 3)];
        let carriers = Carriers::new(own.iter(), &links);
        let named = Address::on("eth5", "10.1.2.3/24".parse().unwrap());
        let nameless = address("10.1.2.4/24", None);
        let homes = Homes::find([&named, &nameless].into_iter(), |_| None, |it| carriers.home(it));
        assert_eq!((homes.of(&named), homes.found(named.ip())), (Some("eth5"), None));
        assert_eq!(homes.of(&nameless), Some("eth3"));
    }

    #[test]
    fn what_is_on_stays_and_is_known_to_be_elsewhere_than_it_would() {
        let one = address("10.1.2.4/24", None);
        let group = |address: &Address| Group {
            id: "one".into(),
            name: None,
            prefer: None,
            exclusive: false,
            failback: vippy_core::config::Failback::Auto,
            addresses: vec![address.clone()],
        };
        let find = |stays, belongs| Homes::find([&one].into_iter(), |_| stays, |_| belongs);
        let moved = find(Some("eth3"), Some("eth5"));
        assert_eq!((moved.of(&one), moved.overstays(&group(&one))), (Some("eth3"), true));
        assert!(find(Some("eth3"), None).overstays(&group(&one)));
        assert!(!find(Some("eth3"), Some("eth3")).overstays(&group(&one)));
        assert!(!find(None, Some("eth3")).overstays(&group(&one)));
    }
}
