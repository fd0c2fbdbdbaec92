//! What is said to single neighbours, at the configured pace.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::OrderNumber;
use super::audience::Listeners;
use super::message::{Message, Recipient};

/// Frames that wait at most; what is beyond them is not said.
const MOST: usize = 65_536;

/// Time between two handfuls.
const TICK: Duration = Duration::from_millis(2);

/// What was missed while nobody looked is made up for during this time.
const PATIENCE: Duration = Duration::from_millis(20);

/// A message that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The order because of which it is said.
    pub(super) order: OrderNumber,
    /// Where.
    pub(super) interface: Arc<str>,
    /// What, to whom.
    pub(super) message: Message,
}

/// Addresses of one network on one interface, with their orders, and who is told.
#[derive(Debug)]
pub(super) struct Flock {
    pub(super) interface: Arc<str>,
    pub(super) addresses: Vec<(OrderNumber, IpAddr)>,
    pub(super) listeners: Listeners,
}

/// How much is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Everybody is told.
    Whole,
    /// Those are told again of whom it is known where they are.
    Known,
}

/// Everything that waits.
#[derive(Debug)]
pub(super) struct Campaign {
    queue: VecDeque<Waiting>,
    /// Orders that are not carried out any further, while anything waits.
    silenced: BTreeSet<OrderNumber>,
    /// Frames in a handful.
    handful: usize,
    next: Instant,
}

impl Campaign {
    pub(super) fn new(rate: u32, now: Instant) -> Campaign {
        let (queue, silenced) = (VecDeque::new(), BTreeSet::new());
        let mut campaign = Campaign { queue, silenced, handful: 1, next: now };
        campaign.set_rate(rate);
        campaign
    }

    /// Frames a second.
    pub(super) fn set_rate(&mut self, rate: u32) {
        let handful = (u128::from(rate) * TICK.as_micros()).div_ceil(1_000_000);
        self.handful = usize::try_from(handful).unwrap_or(usize::MAX);
    }

    /// Routers of all flocks first, then other stations, then the rest; each
    /// listener is told of all addresses before the next one is.
    pub(super) fn plan(&mut self, flocks: &[Flock], extent: Extent) {
        for flock in flocks {
            flock.listeners.routers.iter().for_each(|it| self.tell(flock, Recipient::Station(*it)));
        }
        for flock in flocks {
            flock
                .listeners
                .stations
                .iter()
                .for_each(|it| self.tell(flock, Recipient::Station(*it)));
        }
        for flock in flocks.iter().filter(|_| extent == Extent::Whole) {
            flock.listeners.unknown.iter().for_each(|it| self.tell(flock, Recipient::Unknown(*it)));
        }
    }

    /// Tells one listener of all addresses of a flock.
    fn tell(&mut self, flock: &Flock, to: Recipient) {
        for (order, ip) in &flock.addresses {
            for message in Message::all(*ip, to) {
                self.add(*order, &flock.interface, message);
            }
        }
    }

    /// One more message, if there is room.
    pub(super) fn add(&mut self, order: OrderNumber, interface: &Arc<str>, message: Message) {
        if self.queue.len() < MOST {
            self.queue.push_back(Waiting { order, interface: Arc::clone(interface), message });
        }
    }

    /// An order is not to be carried out any further. Thousands may be at once, so
    /// nothing is looked for.
    pub(super) fn silence(&mut self, order: OrderNumber) {
        if !self.queue.is_empty() {
            self.silenced.insert(order);
        }
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.silenced.clear();
    }

    pub(super) fn next(&self) -> Option<Instant> {
        (!self.queue.is_empty()).then_some(self.next)
    }

    /// What is due: a handful for each tick that has passed.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Waiting> {
        if self.queue.is_empty() || now < self.next {
            return Vec::new();
        }
        self.next = self.next.max(now.checked_sub(PATIENCE).unwrap_or(now));
        let mut due = 0;
        while self.next <= now {
            self.next += TICK;
            due += self.handful;
        }
        let due = self.queue.drain(..due.min(self.queue.len()));
        let due = due.filter(|waiting| !self.silenced.contains(&waiting.order)).collect();
        if self.queue.is_empty() {
            self.silenced.clear();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use vippy_core::identity::Mac;
    use vippy_core::neighbours::Station;

    use super::*;
    use crate::ethernet::frames::Form;

    fn station(last: u8, router: bool) -> Station {
        Station { ip: [10, 0, 0, last].into(), mac: Mac([2, 0, 0, 0, 0, last]), router }
    }

    fn flock(interface: &str, addresses: &[(OrderNumber, &str)]) -> Flock {
        let address = |(order, ip): &(OrderNumber, &str)| (*order, ip.parse().unwrap());
        Flock {
            interface: interface.into(),
            addresses: addresses.iter().map(address).collect(),
            listeners: Listeners {
                routers: vec![station(254, true)],
                stations: vec![station(7, false), station(8, false)],
                unknown: vec![Ipv4Addr::new(10, 0, 0, 9)],
            },
        }
    }

    /// Everything in its order: whom by the last byte of its address, and of what.
    fn all(campaign: &mut Campaign, mut now: Instant) -> Vec<(u8, String, Form)> {
        let mut said = Vec::new();
        while let Some(at) = campaign.next() {
            now = now.max(at);
            said.extend(campaign.take_due(now).into_iter().map(|waiting| {
                let Message { ip, to, form } = waiting.message;
                let whom = match to {
                    Recipient::Station(station) => station.mac.0[5],
                    Recipient::Unknown(ip) => ip.octets()[3],
                    Recipient::Everybody => 255,
                };
                (whom, ip.to_string(), form)
            }));
        }
        said
    }

    #[test]
    fn routers_come_first_then_stations_then_the_rest_and_each_hears_of_everything() {
        let now = Instant::now();
        let mut campaign = Campaign::new(25_000, now);
        campaign.plan(&[flock("eth0", &[(1, "10.0.0.100"), (2, "10.0.0.101")])], Extent::Whole);
        let said = all(&mut campaign, now);
        let whom: Vec<u8> = said.iter().map(|(whom, _, _)| *whom).collect();
        assert_eq!(whom, [254, 254, 254, 254, 7, 7, 7, 7, 8, 8, 8, 8, 9, 9]);
        assert_eq!(said[0], (254, "10.0.0.100".into(), Form::Request));
        assert_eq!(said[1], (254, "10.0.0.100".into(), Form::Reply));
        assert_eq!(said[2], (254, "10.0.0.101".into(), Form::Request));
    }

    #[test]
    fn the_second_time_nobody_unknown_is_asked_for() {
        let now = Instant::now();
        let mut campaign = Campaign::new(25_000, now);
        campaign.plan(&[flock("eth0", &[(1, "10.0.0.100")])], Extent::Known);
        assert!(all(&mut campaign, now).iter().all(|(whom, _, _)| *whom != 9));
    }

    #[test]
    fn ipv6_has_one_form_and_is_not_told_to_stations_of_ipv4() {
        let now = Instant::now();
        let mut campaign = Campaign::new(25_000, now);
        let mut six = flock("eth0", &[(1, "fd00::100")]);
        assert_eq!(six.listeners.stations.len(), 2);
        campaign.plan(std::slice::from_ref(&six), Extent::Whole);
        assert_eq!(all(&mut campaign, now), []);
        six.listeners.stations[0].ip = "fe80::7".parse().unwrap();
        campaign.plan(&[six], Extent::Whole);
        assert_eq!(all(&mut campaign, now), [(7, "fd00::100".into(), Form::Request)]);
    }

    #[test]
    fn the_pace_is_kept_and_a_little_that_was_missed_is_made_up_for() {
        let now = Instant::now();
        let mut campaign = Campaign::new(1_500, now);
        campaign.plan(&[flock("eth0", &[(1, "10.0.0.100"); 100])], Extent::Whole);
        assert_eq!(campaign.take_due(now).len(), 3);
        assert_eq!(campaign.take_due(now), []);
        assert_eq!(campaign.next(), Some(now + TICK));
        assert_eq!(campaign.take_due(now + 3 * TICK).len(), 9);
        let late = campaign.take_due(now + Duration::from_secs(5)).len();
        assert_eq!(late, 3 * 11, "not everything at once");
    }

    #[test]
    fn what_is_silenced_is_not_said_and_what_does_not_fit_is_left_out() {
        let now = Instant::now();
        let mut campaign = Campaign::new(1_000_000, now);
        let addresses = [(1, "10.0.0.100"), (2, "10.0.0.101")];
        campaign.plan(&[flock("eth0", &addresses)], Extent::Whole);
        campaign.silence(1);
        assert!(all(&mut campaign, now).iter().all(|(_, ip, _)| ip == "10.0.0.101"));
        campaign.plan(&[flock("eth0", &[(1, "10.0.0.100"); 20_000])], Extent::Whole);
        assert_eq!(all(&mut campaign, now).len(), MOST);
    }
}
