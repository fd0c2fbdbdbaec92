//! The wire between the stations: who gets a datagram, when, how often.
//!
//! Faults are small [`Rule`]s, each of which lets a packet pass, delays it,
//! copies it or drops it. The fabric knows nothing of frames or engines. It can
//! also be asked what it would let through ([`Fabric::hears`],
//! [`Fabric::whole`]): that is the truth against which the engines' view is
//! judged.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use super::Micros;
use super::random::Random;

/// The UDP port of every station.
pub const PORT: u16 = 5007;

/// The source address of a station.
pub fn address(station: usize) -> SocketAddr {
    let host = u8::try_from(station + 1).unwrap_or(u8::MAX);
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), PORT))
}

/// The station with a source address, if it is one of `count`.
pub fn station_at(address: SocketAddr, count: usize) -> Option<usize> {
    (0..count).find(|station| self::address(*station) == address)
}

/// A set of stations, of which there are at most 128.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stations(u128);

impl Stations {
    /// Every station.
    pub const ALL: Stations = Stations(u128::MAX);
    /// No station.
    pub const NONE: Stations = Stations(0);

    /// Just one.
    pub fn one(station: usize) -> Stations {
        Stations(1 << station)
    }

    /// Whether a station is in it.
    pub fn contains(self, station: usize) -> bool {
        self.0 >> station & 1 == 1
    }

    /// With one more.
    pub fn with(self, station: usize) -> Stations {
        Stations(self.0 | 1 << station)
    }

    /// With one less.
    pub fn without(self, station: usize) -> Stations {
        Stations(self.0 & !(1 << station))
    }

    /// Those that are in both.
    pub fn and(self, other: Stations) -> Stations {
        Stations(self.0 & other.0)
    }

    /// Everybody else.
    pub fn others(self) -> Stations {
        Stations(!self.0)
    }

    /// How many.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether nobody is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let next = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(next)
        })
    }
}

impl FromIterator<usize> for Stations {
    fn from_iter<I: IntoIterator<Item = usize>>(stations: I) -> Stations {
        stations.into_iter().fold(Stations::NONE, Stations::with)
    }
}

impl fmt::Debug for Stations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Stations::ALL {
            return f.write_str("all");
        }
        // The complement of a small set reads better than 127 numbers.
        if self.len() > 16 {
            return write!(f, "not{:?}", self.others());
        }
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A datagram on its way from one station to one other.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// Whether it was sent to the multicast group.
    pub multicast: bool,
}

/// What a rule does to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Pass,
    /// It comes later by so much.
    Delay(Micros),
    /// It comes, and once more so much later.
    Copy(Micros),
    /// It never comes.
    Drop,
}

/// The kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing passes.
    Cut,
    /// Multicast does not pass, unicast does.
    Prune,
    /// This many of 1,000 packets are lost.
    Lose(u32),
    /// A further delay, drawn for each packet: more than the gap between two
    /// frames means reordering.
    Slow(Micros, Micros),
    /// This many of 1,000 packets come twice, the copy up to so much later.
    Double(u32, Micros),
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Packets of these senders …
    pub from: Stations,
    /// … to these receivers.
    pub to: Stations,
    /// Also the other way round.
    pub both_ways: bool,
    /// What happens to them.
    pub effect: Effect,
}

impl Rule {
    /// A fault of every link.
    pub fn everywhere(effect: Effect) -> Rule {
        Rule { from: Stations::ALL, to: Stations::ALL, both_ways: false, effect }
    }

    /// A fault in one direction between two stations.
    pub fn one_way(from: usize, to: usize, effect: Effect) -> Rule {
        Rule { from: Stations::one(from), to: Stations::one(to), both_ways: false, effect }
    }

    /// A fault in both directions between two stations.
    pub fn between(one: usize, other: usize, effect: Effect) -> Rule {
        Rule { both_ways: true, ..Rule::one_way(one, other, effect) }
    }

    /// These stations and all others do not hear each other.
    pub fn partition(side: Stations) -> Rule {
        Rule { from: side, to: side.others(), both_ways: true, effect: Effect::Cut }
    }

    /// Nobody hears this station, which goes on hearing everybody.
    pub fn mute(station: usize) -> Rule {
        let from = Stations::one(station);
        Rule { from, to: Stations::ALL, both_ways: false, effect: Effect::Cut }
    }

    /// This station hears nobody and is heard by everybody.
    pub fn deaf(station: usize) -> Rule {
        let to = Stations::one(station);
        Rule { from: Stations::ALL, to, both_ways: false, effect: Effect::Cut }
    }

    fn concerns(&self, packet: Packet) -> bool {
        let forth = self.from.contains(packet.from) && self.to.contains(packet.to);
        let back = self.from.contains(packet.to) && self.to.contains(packet.from);
        forth || self.both_ways && back
    }

    /// What this rule does to a packet.
    pub fn judge(&self, packet: Packet, dice: &mut Random) -> Verdict {
        if !self.concerns(packet) {
            return Verdict::Pass;
        }
        match self.effect {
            Effect::Cut => Verdict::Drop,
            Effect::Prune if packet.multicast => Verdict::Drop,
            Effect::Prune => Verdict::Pass,
            Effect::Lose(permille) if dice.chance(permille) => Verdict::Drop,
            Effect::Lose(_) => Verdict::Pass,
            Effect::Slow(least, most) => Verdict::Delay(dice.between(least, most)),
            Effect::Double(permille, within) if dice.chance(permille) => {
                Verdict::Copy(dice.between(0, within))
            }
            Effect::Double(..) => Verdict::Pass,
        }
    }
}

/// The wire.
#[derive(Clone, Debug)]
pub struct Fabric {
    seed: u64,
    delay: (Micros, Micros),
    rules: Vec<Rule>,
    /// Packets carried at this instant, announcements and what is said aside, so that
    /// each gets chance of its own.
    instant: (Micros, [u64; 2]),
}

impl Fabric {
    /// A faultless wire on which a packet takes `delay`.
    pub fn new(seed: u64, delay: (Micros, Micros)) -> Fabric {
        Fabric { seed, delay, rules: Vec::new(), instant: (0, [0; 2]) }
    }

    /// Adds a fault.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Removes every fault that equals `rule`.
    pub fn remove(&mut self, rule: Rule) {
        self.rules.retain(|present| *present != rule);
    }

    /// Removes all faults.
    pub fn heal(&mut self) {
        self.rules.clear();
    }

    /// The faults at present.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// When a packet sent now arrives: never, once or several times.
    ///
    /// Its fate hangs on the seed, the link, the time and how many packets of its
    /// kind were sent at this instant. What is said `aside`, relays and requests for
    /// evidence, is a kind of its own: a stranger may cause it, or its moment.
    pub fn carry(&mut self, now: Micros, packet: Packet, aside: bool) -> Vec<Micros> {
        if self.instant.0 != now {
            self.instant = (now, [0; 2]);
        }
        let kind = usize::from(aside);
        self.instant.1[kind] += 1;
        let number = self.instant.1[kind] | (kind as u64) << 32;
        let labels = [packet.from as u64, packet.to as u64, now, number];
        let mut dice = Random::labelled(self.seed, &labels);
        let mut arrivals = vec![now + dice.span(self.delay)];
        for rule in &self.rules {
            match rule.judge(packet, &mut dice) {
                Verdict::Pass => {}
                Verdict::Delay(more) => arrivals.iter_mut().for_each(|at| *at += more),
                Verdict::Copy(later) => arrivals.push(arrivals[0] + later),
                Verdict::Drop => return Vec::new(),
            }
        }
        arrivals
    }

    /// Whether packets of `from` can reach `to` at all, by any destination.
    pub fn hears(&self, to: usize, from: usize) -> bool {
        self.passes(Packet { from, to, multicast: false })
    }

    /// Whether multicast of `from` reaches `to`.
    pub fn hears_multicast(&self, to: usize, from: usize) -> bool {
        self.passes(Packet { from, to, multicast: true })
    }

    /// Whether no fault loses packets by chance.
    pub fn lossless(&self) -> bool {
        self.rules.iter().all(|rule| !matches!(rule.effect, Effect::Lose(_)))
    }

    /// The longest that a packet can take now.
    pub fn slowest(&self) -> Micros {
        let more = self.rules.iter().map(|rule| match rule.effect {
            Effect::Slow(_, most) | Effect::Double(_, most) => most,
            Effect::Cut | Effect::Prune | Effect::Lose(_) => 0,
        });
        self.delay.1 + more.sum::<Micros>()
    }

    /// Whether frames of `from` come to `to` directly or by the one-step relay
    /// of W2, which the first two stations do that hear both directly.
    pub fn reaches(&self, from: usize, to: usize, up: Stations) -> bool {
        let relays = up
            .without(from)
            .without(to)
            .iter()
            .filter(|c| self.hears(*c, from) && self.hears(*c, to));
        self.hears(to, from) || relays.take(2).any(|relay| self.hears(to, relay))
    }

    /// Whether two stations have a two-way path, direct or relayed.
    pub fn two_way(&self, one: usize, other: usize, up: Stations) -> bool {
        self.reaches(one, other, up) && self.reaches(other, one, up)
    }

    /// Whether frames of `from` may come to `to` at all, directly or from one relay
    /// to the next: whom the others hear nothing of, though it hears both, leaves
    /// the forwarding to those after it.
    pub fn may_reach(&self, from: usize, to: usize, up: Stations) -> bool {
        let mut has = Stations::one(from);
        loop {
            if has.iter().any(|relay| self.hears(to, relay)) {
                return true;
            }
            let gets = |c: &usize| has.iter().any(|relay| self.hears(*c, relay));
            let more: Stations = up.without(to).and(has.others()).iter().filter(gets).collect();
            if more.is_empty() {
                return false;
            }
            has = more.iter().fold(has, Stations::with);
        }
    }

    /// Whether every two of `up` have a two-way path, direct or relayed.
    pub fn whole(&self, up: Stations) -> bool {
        up.iter().all(|one| up.iter().all(|other| one >= other || self.two_way(one, other, up)))
    }

    /// Whether every two of `up` hear each other's multicast.
    pub fn direct(&self, up: Stations) -> bool {
        let fine = |one, other| one == other || self.hears_multicast(one, other);
        self.rules.is_empty() || up.iter().all(|one| up.iter().all(|other| fine(one, other)))
    }

    fn passes(&self, packet: Packet) -> bool {
        !self.rules.iter().any(|rule| {
            rule.concerns(packet)
                && match rule.effect {
                    Effect::Cut => true,
                    Effect::Prune => packet.multicast,
                    Effect::Lose(_) | Effect::Slow(..) | Effect::Double(..) => false,
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUNDRED: (Micros, Micros) = (100, 100);

    fn packet(from: usize, to: usize) -> Packet {
        Packet { from, to, multicast: true }
    }

    fn arrivals(rules: &[Rule], packet: Packet, count: u64) -> Vec<Vec<Micros>> {
        let mut fabric = Fabric::new(1, HUNDRED);
        rules.iter().for_each(|rule| fabric.add(*rule));
        (0..count).map(|n| fabric.carry(n * 1000, packet, false)).collect()
    }

    #[test]
    fn a_faultless_wire_delivers_once_after_its_delay() {
        assert_eq!(arrivals(&[], packet(0, 1), 2), [[100], [1100]]);
    }

    #[test]
    fn a_one_way_cut_leaves_the_other_direction_alone() {
        let cut = [Rule::one_way(0, 1, Effect::Cut)];
        assert!(arrivals(&cut, packet(0, 1), 1)[0].is_empty());
        assert_eq!(arrivals(&cut, packet(1, 0), 1)[0], [100]);
        assert_eq!(arrivals(&cut, packet(0, 2), 1)[0], [100]);
    }

    #[test]
    fn a_partition_separates_the_sides_and_only_them() {
        let sides = [Rule::partition([0, 1].into_iter().collect())];
        for (from, to, comes) in [(0, 1, true), (2, 3, true), (0, 2, false), (3, 1, false)] {
            assert_eq!(!arrivals(&sides, packet(from, to), 1)[0].is_empty(), comes, "{from} {to}");
        }
    }

    #[test]
    fn pruning_stops_multicast_only() {
        let prune = [Rule::everywhere(Effect::Prune)];
        assert!(arrivals(&prune, packet(0, 1), 1)[0].is_empty());
        let unicast = Packet { multicast: false, ..packet(0, 1) };
        assert_eq!(arrivals(&prune, unicast, 1)[0], [100]);
    }

    #[test]
    fn loss_and_doubling_follow_their_permille() {
        let lossy = arrivals(&[Rule::everywhere(Effect::Lose(200))], packet(0, 1), 10_000);
        let lost = lossy.iter().filter(|times| times.is_empty()).count();
        assert!((1_800..2_200).contains(&lost), "{lost}");
        let doubling = arrivals(&[Rule::everywhere(Effect::Double(300, 50))], packet(0, 1), 10_000);
        let doubled = doubling.iter().filter(|times| times.len() == 2).count();
        assert!((2_700..3_300).contains(&doubled), "{doubled}");
    }

    #[test]
    fn jitter_beyond_the_gap_reorders() {
        let slow = arrivals(&[Rule::everywhere(Effect::Slow(0, 5_000))], packet(0, 1), 100);
        let times: Vec<Micros> = slow.into_iter().flatten().collect();
        assert_eq!(times.len(), 100);
        assert!(times.windows(2).any(|pair| pair[1] < pair[0]));
    }

    #[test]
    fn the_fate_of_a_packet_does_not_hang_on_other_links() {
        let lone = arrivals(&[Rule::everywhere(Effect::Lose(500))], packet(0, 1), 50);
        let mut busy = Fabric::new(1, HUNDRED);
        busy.add(Rule::everywhere(Effect::Lose(500)));
        let with_traffic: Vec<_> = (0..50)
            .map(|n| {
                busy.carry(n * 1000 - n.min(1), packet(2, 1), false);
                busy.carry(n * 1000, packet(0, 1), false)
            })
            .collect();
        // At time 0 both share an instant; from then on they do not.
        assert_eq!(lone[1..], with_traffic[1..]);
    }

    #[test]
    fn a_chain_of_three_is_whole_by_relay_and_a_chain_of_four_is_not() {
        let mut three = Fabric::new(1, HUNDRED);
        three.add(Rule::between(0, 2, Effect::Cut));
        let up = |count: usize| (0..count).collect::<Stations>();
        assert!(three.whole(up(3)) && !three.direct(up(3)));
        assert!(!three.whole(up(3).without(1)));
        let mut four = Fabric::new(1, HUNDRED);
        for (one, other) in [(0, 2), (0, 3), (1, 3)] {
            four.add(Rule::between(one, other, Effect::Cut));
        }
        assert!(!four.whole(up(4)));
        assert!(four.may_reach(0, 3, up(4)) && !four.may_reach(0, 3, up(4).without(2)));
    }

    #[test]
    fn a_mute_station_is_no_relay_and_leaves_it_to_the_next() {
        let mut fabric = Fabric::new(1, HUNDRED);
        let up: Stations = (0..5).collect();
        fabric.add(Rule::between(0, 4, Effect::Cut));
        fabric.add(Rule::mute(1));
        fabric.add(Rule::mute(2));
        assert!(!fabric.reaches(0, 4, up) && fabric.may_reach(0, 4, up));
        assert!(!fabric.may_reach(0, 4, up.without(3)) && !fabric.may_reach(1, 4, up));
    }
}
