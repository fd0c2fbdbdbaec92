//! Desired against actual: what has to change in the kernel's address table.
//!
//! Pure: looks at tables, touches nothing. Of ours, whatever is unwanted goes;
//! what is not ours is never touched (F3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ipnet::IpNet;
use vippy_core::config::{Address, Group};
use vippy_core::identity::GroupId;

use super::addresses::{Found, Ours, Spot, Table};
use super::homes::{Homes, homeless};
use super::links::{Link, Links};
use super::netlink::Order;
use super::wanted::Wanted;

/// A lifetime that stands for "for ever" on kernels that keep no tag: there
/// only a finite lifetime tells ours from theirs (F3). 68 years.
const ALMOST_FOREVER: u32 = i32::MAX.unsigned_abs();

/// What must be done, in this order: removals first, so that an address that
/// changes its place is never in two.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Ours and not wanted.
    pub(super) remove: Vec<Spot>,
    /// There, and ordered again just now: only the lifetime changes.
    pub(super) renew: Vec<Order>,
    /// Ordered just now and not there.
    pub(super) add: Vec<Order>,
    /// Ordered earlier and gone since: somebody else took it off, or the link
    /// was away.
    pub(super) restore: Vec<Order>,
    /// There in a form that no longer fits its surroundings; to be taken off
    /// and put on again in one go.
    pub(super) reshape: Vec<Order>,
    /// Groups whose lifetime ran out because nobody renewed it (F1).
    pub(super) lapsed: Vec<GroupId>,
}

impl Plan {
    /// Nothing has to be done.
    pub(super) fn is_empty(&self) -> bool {
        *self == Plan::default()
    }
}

/// What is known of the kernel.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// All addresses.
    pub(super) table: &'a Table,
    /// Which of them are ours.
    pub(super) ours: Ours<'a>,
    /// Where addresses belong.
    pub(super) homes: &'a Homes,
}

impl<'a> View<'a> {
    fn links(&self) -> &'a Links {
        self.ours.links
    }

    /// The link on which an address belongs, if it is there.
    pub(super) fn home(&self, address: &Address) -> Option<&'a Link> {
        self.links().named(self.homes.of(address)?)
    }

    /// Compares what is wanted with what is there.
    pub(super) fn plan<'w>(&self, wanted: impl Iterator<Item = &'w Wanted>, now: Instant) -> Plan {
        let foreign = self.foreign_nets();
        let mut plan = Plan::default();
        let mut keep = BTreeSet::new();
        for wanted in wanted {
            let mut run_out = false;
            for address in &wanted.group.addresses {
                let Some(link) = self.home(address) else { continue };
                let neighbours = foreign.get(&link.index).map_or(&[][..], Vec::as_slice);
                let mut order = self.order(address, link, neighbours, wanted.term.ordered());
                keep.insert(order.spot);
                match self.table.get(&order.spot) {
                    Some(found) if !self.ours.holds(found) => {}
                    Some(found) if fits(found, &order, neighbours) => {
                        if wanted.fresh {
                            plan.renew.push(order);
                        }
                    }
                    there => {
                        if !link.usable() || self.foreign_place(address).is_some() {
                            continue;
                        }
                        if !wanted.fresh {
                            if wanted.term.has_run_out(now) {
                                run_out = true;
                                continue;
                            }
                            order.valid = self.lifetime(wanted.term.left(now));
                        }
                        match (there, wanted.fresh) {
                            (Some(_), _) => plan.reshape.push(order),
                            (None, true) => plan.add.push(order),
                            (None, false) => plan.restore.push(order),
                        }
                    }
                }
            }
            if run_out && !wanted.lapsed {
                plan.lapsed.push(wanted.group.id.clone());
            }
        }
        let unwanted = |found: &&Found| !keep.contains(&found.spot) && self.ours.holds(found);
        let mut unwanted: Vec<&Found> = self.table.iter().filter(unwanted).collect();
        // Removing the first address of a network makes the kernel enter the
        // routes of all that follow it anew: with the followers gone before it,
        // a thousand take milliseconds instead of seconds.
        unwanted.sort_by_key(|found| !found.is_secondary());
        plan.remove.extend(unwanted.iter().map(|found| found.spot));
        plan
    }

    /// Where an address of a group should be.
    pub(super) fn spot(&self, address: &Address) -> Option<Spot> {
        Some(self.spot_on(address, self.home(address)?))
    }

    /// Whether all addresses of a group are on, as ours.
    pub(super) fn is_wholly_on(&self, group: &Group) -> bool {
        group.addresses.iter().all(|address| {
            self.spot(address)
                .and_then(|spot| self.table.get(&spot))
                .is_some_and(|found| self.ours.holds(found))
        })
    }

    /// Where an address is on, as ours.
    pub(super) fn place(&self, ip: IpAddr) -> Option<&'a Found> {
        self.table.places(ip).find(|found| self.ours.holds(found))
    }

    /// The least seconds that any address of a group has left.
    pub(super) fn seconds_left(&self, group: &Group) -> Option<u32> {
        let places = group.addresses.iter().filter_map(|address| self.spot(address));
        places.filter_map(|spot| self.table.get(&spot)?.valid).min()
    }

    /// Why a group cannot be held here now, in words for an operator.
    pub(super) fn trouble(&self, group: &Group) -> Option<String> {
        group.addresses.iter().find_map(|address| {
            let Some(home) = self.homes.of(address) else { return Some(homeless(address)) };
            self.links().trouble(home).or_else(|| {
                let found = self.foreign_place(address)?;
                let there = self.links().name(found.spot.index).unwrap_or("another interface");
                let ip = address.ip();
                Some(format!("{ip} is on {there} already and was not put there by vippy"))
            })
        })
    }

    /// A place where somebody else put this address.
    fn foreign_place(&self, address: &Address) -> Option<&Found> {
        self.table.places(address.ip()).find(|found| !self.ours.holds(found))
    }

    /// Networks of other people's addresses, by link.
    fn foreign_nets(&self) -> BTreeMap<u32, Vec<IpNet>> {
        let mut nets: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
        for found in self.table.iter().filter(|found| !self.ours.holds(found)) {
            nets.entry(found.spot.index).or_default().extend(found.spot.net());
        }
        nets
    }

    fn spot_on(&self, address: &Address, link: &Link) -> Spot {
        let ip = address.ip();
        // Without promotion the first address of a network takes all others
        // along when it goes; addresses without a network do not (F4).
        let alone = ip.is_ipv4() && self.links().is_stubborn(link);
        let prefix = if alone { 32 } else { address.net.prefix_len() };
        Spot { ip, prefix, index: link.index }
    }

    fn order(&self, address: &Address, link: &Link, near: &[IpNet], valid: Option<u32>) -> Order {
        let spot = self.spot_on(address, link);
        let net = spot.net().unwrap_or(address.net);
        // A second route to a network that the host reaches already would have
        // our address as its source. Where our address is the only one of its
        // network, there is no other way to reach its clients (F4).
        let reached = near.iter().any(|near| near.contains(&net.trunc()));
        let prefix_route = !reached && net.prefix_len() < net.max_prefix_len();
        Order { spot, broadcast: broadcast(net), prefix_route, valid: self.lifetime(valid) }
    }

    fn lifetime(&self, valid: Option<u32>) -> Option<u32> {
        if self.ours.tags { valid } else { valid.or(Some(ALMOST_FOREVER)) }
    }
}

/// /31 and /32 have none (RFC 3021).
fn broadcast(net: IpNet) -> Option<Ipv4Addr> {
    match net {
        IpNet::V4(net) if net.prefix_len() < 31 => Some(net.broadcast()),
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}

/// Whether an address of ours is as it should be among `near`, the networks of
/// other people's addresses on its link.
///
/// When the host's own address is replaced, ours becomes the first of the
/// network and the host's comes back behind it, without its route: then ours
/// must step back.
fn fits(found: &Found, order: &Order, near: &[IpNet]) -> bool {
    if !found.confirmed {
        return true;
    }
    let Some(net) = order.spot.net() else { return true };
    let shared = near.iter().any(|near| near.trunc() == net.trunc());
    let in_front = shared && order.spot.ip.is_ipv4() && !found.is_secondary();
    found.has_prefix_route() == order.prefix_route && !in_front
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
