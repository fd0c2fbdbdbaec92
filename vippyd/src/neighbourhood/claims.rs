//! Which addresses are held where, and who else says that he has them: pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use vippy_core::identity::{GroupId, Mac};

use crate::ethernet::filter::Interest;

/// The first claim is told at once, what follows together at such gaps.
const GAP: Duration = Duration::from_secs(1);

/// Stations told apart within one gap; what is beyond is not told.
const MOST: usize = 64;

/// An interface and an address on it.
pub(super) type Place = (String, IpAddr);

/// A socket that listens: an interface, and whether it is for IPv6.
pub(super) type Ear = (String, bool);

/// A group, a station, and how often it has claimed the group.
pub(super) type Claim = (GroupId, Mac, u64);

/// What is held here, and claims that are not told yet.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: BTreeMap<Place, GroupId>,
    places: BTreeMap<GroupId, Vec<Place>>,
    claims: BTreeMap<(GroupId, Mac), u64>,
    told_at: Option<Instant>,
}

impl Claims {
    /// A group is up here.
    pub(super) fn hold(&mut self, group: GroupId, places: Vec<Place>) {
        self.release(&group);
        self.held.extend(places.iter().map(|place| (place.clone(), group.clone())));
        self.places.insert(group, places);
    }

    /// It is not any more.
    pub(super) fn release(&mut self, group: &GroupId) {
        for place in self.places.remove(group).into_iter().flatten() {
            self.held.remove(&place);
        }
    }

    /// What has to be listened for, where.
    pub(super) fn interests(&self) -> BTreeMap<Ear, Interest> {
        let mut interests: BTreeMap<Ear, Interest> = BTreeMap::new();
        for (interface, ip) in self.held.keys() {
            let ear = (interface.clone(), ip.is_ipv6());
            let before = interests.get(&ear).copied();
            interests.insert(ear, widened(before, *ip));
        }
        interests
    }

    /// A station says that an address on an interface is there.
    pub(super) fn claimed(&mut self, interface: &str, ip: IpAddr, mac: Mac) {
        let Some(group) = self.held.get(&(interface.to_owned(), ip)) else { return };
        let key = (group.clone(), mac);
        if self.claims.len() < MOST || self.claims.contains_key(&key) {
            *self.claims.entry(key).or_default() += 1;
        }
    }

    /// When there is something to tell.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let due = self.told_at.map_or(now, |at| at + GAP);
        (!self.claims.is_empty()).then_some(due)
    }

    /// What is to be told now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Claim> {
        if self.next(now).is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.told_at = Some(now);
        let claims = std::mem::take(&mut self.claims);
        claims.into_iter().map(|((group, mac), times)| (group, mac, times)).collect()
    }
}

/// What is heard with one address more.
fn widened(interest: Option<Interest>, ip: IpAddr) -> Interest {
    match (interest, ip) {
        (Some(Interest::ArpClaims { first, last }), IpAddr::V4(ip)) => {
            Interest::ArpClaims { first: first.min(ip), last: last.max(ip) }
        }
        (Some(Interest::Advertisements(net)), IpAddr::V6(ip)) => {
            Interest::Advertisements(common(net, ip))
        }
        (_, IpAddr::V4(ip)) => Interest::ArpClaims { first: ip, last: ip },
        (_, IpAddr::V6(ip)) => Interest::Advertisements(ip.into()),
    }
}

/// The narrowest network with all of another one and an address.
fn common(net: Ipv6Net, ip: Ipv6Addr) -> Ipv6Net {
    let mut wider = net;
    while !wider.contains(&ip) {
        let Some(next) = wider.supernet() else { break };
        wider = next;
    }
    wider
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const STRANGER: Mac = Mac([2, 9, 9, 9, 9, 9]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn holding(groups: &[(&str, &str)]) -> Claims {
        let mut claims = Claims::default();
        for (group, address) in groups {
            claims.hold((*group).into(), vec![("eth0".into(), ip(address))]);
        }
        claims
    }

    #[test]
    fn listening_is_for_the_span_of_what_is_held_and_shrinks_with_it() {
        let v4 = |last: [u8; 4]| Interest::ArpClaims {
            first: Ipv4Addr::new(10, 0, 0, 3),
            last: last.into(),
        };
        let groups = [("a", "10.0.0.9"), ("b", "10.0.0.3"), ("c", "fd00::1:2"), ("d", "fd00::1:9")];
        let mut claims = holding(&groups);
        let net = Interest::Advertisements("fd00::1:0/124".parse().unwrap());
        let ears = [(("eth0".into(), false), v4([10, 0, 0, 9])), (("eth0".into(), true), net)];
        assert_eq!(claims.interests(), BTreeMap::from(ears));
        ["a", "c", "d"].iter().for_each(|group| claims.release(&(*group).into()));
        let left = [(("eth0".into(), false), v4([10, 0, 0, 3]))];
        assert_eq!(claims.interests(), BTreeMap::from(left));
        claims.release(&"b".into());
        assert!(claims.interests().is_empty());
    }

    #[test]
    fn only_what_is_held_on_that_interface_can_be_claimed() {
        let mut claims = holding(&[("a", "10.0.0.9"), ("b", "10.0.0.3")]);
        let now = Instant::now();
        claims.claimed("eth0", ip("10.0.0.5"), STRANGER);
        claims.claimed("eth1", ip("10.0.0.9"), STRANGER);
        assert_eq!(claims.next(now), None);
        claims.claimed("eth0", ip("10.0.0.9"), STRANGER);
        assert_eq!(claims.take_due(now), [("a".into(), STRANGER, 1)]);
    }

    #[test]
    fn a_flood_is_counted_told_once_a_second_and_bounded() {
        let mut claims = holding(&[("a", "10.0.0.9")]);
        let now = Instant::now();
        claims.claimed("eth0", ip("10.0.0.9"), STRANGER);
        assert_eq!(claims.take_due(now).len(), 1);
        (0..1_000).for_each(|_| claims.claimed("eth0", ip("10.0.0.9"), STRANGER));
        for station in 0..1_000_u16 {
            let [high, low] = station.to_be_bytes();
            claims.claimed("eth0", ip("10.0.0.9"), Mac([2, 7, 0, 0, high, low]));
        }
        assert_eq!(claims.next(now), Some(now + GAP));
        assert_eq!(claims.take_due(now), []);
        let told = claims.take_due(now + GAP);
        assert_eq!(told.len(), MOST);
        assert!(told.contains(&("a".into(), STRANGER, 1_000)));
    }
}
