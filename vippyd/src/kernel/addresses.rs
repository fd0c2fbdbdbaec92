//! The kernel's address table as last seen, and which of it is ours (F3).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressFlags;

use super::ledger::{Entry, Ledger};
use super::links::Links;
use super::netlink::{Order, TAG};

/// What tells one address in the table from another. Ordered by address first,
/// so that one address's places are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// The address.
    pub(super) ip: IpAddr,
    /// Length of its network's prefix.
    pub(super) prefix: u8,
    /// Its interface.
    pub(super) index: u32,
}

impl Spot {
    /// The address with its prefix. `None` is impossible in what the kernel
    /// says, and only that gets here.
    pub(super) fn net(&self) -> Option<IpNet> {
        IpNet::new(self.ip, self.prefix).ok()
    }
}

/// An address in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Which, where.
    pub(super) spot: Spot,
    /// `IFA_PROTO`: who put it there. Kernels before 5.18 know none.
    pub(super) tag: Option<u8>,
    /// `IFA_F_*`.
    pub(super) flags: u32,
    /// Seconds it had left when this was read; `None` is for ever.
    pub(super) valid: Option<u32>,
    /// Read from the kernel, not inferred from an acknowledgement, which says
    /// nothing about flags that the kernel sets by itself.
    pub(super) confirmed: bool,
}

impl Found {
    /// What the table must hold once the kernel acknowledged an order.
    pub(super) fn acknowledged(order: &Order, tags: bool) -> Found {
        Found {
            spot: order.spot,
            tag: tags.then_some(TAG),
            flags: 0,
            valid: order.valid,
            confirmed: false,
        }
    }

    /// The kernel made it follow another address of the same network (IPv4).
    pub(super) fn is_secondary(&self) -> bool {
        self.flags & AddressFlags::Secondary.bits() != 0
    }

    /// It brought a route to its network.
    pub(super) fn has_prefix_route(&self) -> bool {
        self.flags & AddressFlags::Noprefixroute.bits() == 0
    }

    /// Whether news about an address tell nothing that was not known: the echo
    /// of our own request, most of the time.
    pub(super) fn is_echo_of(&self, known: &Found) -> bool {
        let mattering = (AddressFlags::Secondary | AddressFlags::Noprefixroute).bits();
        self.tag == known.tag
            && self.valid.is_some() == known.valid.is_some()
            && (!known.confirmed || self.flags & mattering == known.flags & mattering)
    }
}

/// All addresses of all interfaces.
#[derive(Debug, Default)]
pub(super) struct Table {
    found: BTreeMap<Spot, Found>,
}

impl Table {
    /// Forgets everything and takes what a dump says.
    pub(super) fn replace(&mut self, found: Vec<Found>) {
        self.found = found.into_iter().map(|found| (found.spot, found)).collect();
    }

    /// Adds or changes one.
    pub(super) fn put(&mut self, found: Found) {
        self.found.insert(found.spot, found);
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, spot: &Spot) {
        self.found.remove(spot);
    }

    /// Forgets what was on a link.
    pub(super) fn remove_link(&mut self, index: u32) {
        self.found.retain(|spot, _| spot.index != index);
    }

    /// One address in one place.
    pub(super) fn get(&self, spot: &Spot) -> Option<&Found> {
        self.found.get(spot)
    }

    /// All places of an address.
    pub(super) fn places(&self, ip: IpAddr) -> impl Iterator<Item = &Found> {
        let first = Spot { ip, prefix: 0, index: 0 };
        let last = Spot { ip, prefix: u8::MAX, index: u32::MAX };
        self.found.range(first..=last).map(|(_, found)| found)
    }

    /// Everything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Found> {
        self.found.values()
    }
}

/// What is needed to tell ours from theirs.
#[derive(Clone, Copy)]
pub(super) struct Ours<'a> {
    /// What we say we added.
    pub(super) ledger: &'a Ledger,
    /// Names of interfaces, which the ledger uses.
    pub(super) links: &'a Links,
    /// Whether this kernel keeps `IFA_PROTO`.
    pub(super) tags: bool,
}

impl Ours<'_> {
    /// Whether we put this address there: the ledger says so and it carries
    /// our tag (F3). "Cannot tell" means "not ours".
    pub(super) fn holds(&self, found: &Found) -> bool {
        let marked = match found.tag {
            Some(tag) => tag == TAG,
            None => !self.tags && found.valid.is_some(),
        };
        marked && self.entry(&found.spot).is_some_and(|entry| self.ledger.contains(&entry))
    }

    /// The ledger's words for a place; `None` on a link that is not known.
    pub(super) fn entry(&self, spot: &Spot) -> Option<Entry> {
        let interface = self.links.name(spot.index)?.to_owned();
        Some(Entry { ip: spot.ip, prefix: spot.prefix, interface })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::links::Link;

    fn found(tag: Option<u8>, valid: Option<u32>) -> Found {
        let spot = Spot { ip: "10.0.0.1".parse().unwrap(), prefix: 24, index: 2 };
        Found { spot, tag, flags: 0, valid, confirmed: true }
    }

    #[test]
    fn ours_is_what_the_ledger_says_and_the_tag_confirms() {
        let dir = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::read(dir.path().join("ledger")).unwrap();
        let mut links = Links::default();
        let eth0 = Link { index: 2, name: "eth0".into(), up: true, running: true, promotes: true };
        links.put(eth0);
        let tagged = found(Some(TAG), Some(9));
        assert!(!Ours { ledger: &ledger, links: &links, tags: true }.holds(&tagged));
        let entry = Entry { ip: tagged.spot.ip, prefix: 24, interface: "eth0".into() };
        ledger.record([entry]).unwrap();
        let modern = Ours { ledger: &ledger, links: &links, tags: true };
        assert!(modern.holds(&tagged));
        assert!(!modern.holds(&found(None, Some(9))));
        assert!(!modern.holds(&found(Some(3), Some(9))));
        let before_5_18 = Ours { tags: false, ..modern };
        assert!(before_5_18.holds(&found(None, Some(9))));
        assert!(!before_5_18.holds(&found(None, None)));
    }

    #[test]
    fn an_address_is_found_in_every_place_it_has() {
        let mut table = Table::default();
        let one = found(None, None);
        let two = Found { spot: Spot { index: 3, prefix: 32, ..one.spot }, ..one };
        let other = Found { spot: Spot { ip: "10.0.0.2".parse().unwrap(), ..one.spot }, ..one };
        [one, two, other].into_iter().for_each(|found| table.put(found));
        assert_eq!(table.places(one.spot.ip).count(), 2);
    }

    #[test]
    fn an_echo_may_only_confirm_what_was_acknowledged() {
        let known = Found { confirmed: false, ..found(Some(TAG), Some(9)) };
        let secondary = Found { flags: 1, ..found(Some(TAG), Some(8)) };
        assert!(secondary.is_echo_of(&known));
        assert!(!secondary.is_echo_of(&Found { confirmed: true, ..known }));
        assert!(!found(None, Some(9)).is_echo_of(&known));
    }
}
