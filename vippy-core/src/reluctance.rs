//! Groups that this node would rather leave to others for now: *rather not* in
//! its announcements (O3, O4).
//!
//! Three reasons, all of this node alone (O1):
//!
//! - **A failback delay.** When this node takes part again, or can hold a group
//!   again, and another node holds that group and does not mind, it stays there
//!   for the group's delay. The bit is up already while this node boots, so that
//!   nobody ever sees the node active without it. It goes down, for good, when
//!   the delay is over, when nobody else could hold the group without minding as
//!   well, and when this node takes it. That it never comes up again until the
//!   next return is what keeps two delayed nodes from giving way to each other
//!   for ever.
//! - **A flapping interface or check.** A group that can be held here now and then
//!   is held here only when nobody better can, whether this node has it or not,
//!   until its hold-down is over.
//! - **A health check.** What they say is in [`health`](crate::health).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::{Failback, SharedPart};
use crate::flapping::Flapping;
use crate::identity::{GroupId, GroupIndex};
use crate::ownership::Others;
use crate::time::{Instant, earliest};

/// What this node would rather not hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reluctance {
    bits: Bits,
    /// Groups with a failback delay that is not over; its end once it is known.
    delays: BTreeMap<GroupIndex, Option<Instant>>,
    /// Groups that became available again during this life.
    flapping: BTreeMap<GroupIndex, Flapping>,
}

/// What decides about one group at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// This node has it, or is about to.
    pub(crate) on: bool,
    /// This node's health speaks against it.
    pub(crate) unwell: bool,
    /// What the others are to it; `None` while this node does not take part.
    pub(crate) others: Option<Others>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What this node says about the group changed.
    pub(crate) changed: bool,
    /// When time alone may change it.
    pub(crate) until: Option<Instant>,
}

impl Reluctance {
    /// A node that starts would leave every delayed group to others.
    pub(crate) fn new(shared: &SharedPart) -> Reluctance {
        let mut reluctance =
            Reluctance { bits: Bits::new(), delays: BTreeMap::new(), flapping: BTreeMap::new() };
        reluctance.returned(shared);
        reluctance
    }

    /// The same under another configuration. A new group is no return.
    pub(crate) fn carried(
        &self,
        (old, new): (&SharedPart, &SharedPart),
        positions: &BTreeMap<GroupId, GroupIndex>,
    ) -> Reluctance {
        let place = |group: &GroupIndex| positions.get(&old.groups[group.get()].id).copied();
        let delays = self.delays.iter().filter_map(|(group, until)| Some((place(group)?, *until)));
        let delays = delays.filter(|(group, _)| delay(new, *group).is_some());
        let flapping =
            self.flapping.iter().filter_map(|(group, f)| Some((place(group)?, f.clone())));
        let bits = self.bits.iter().filter_map(|group| Some(place(&GroupIndex(group))?.0));
        Reluctance { bits: bits.collect(), delays: delays.collect(), flapping: flapping.collect() }
    }

    /// This node boots again: what it gets back is delayed anew.
    pub(crate) fn returned(&mut self, shared: &SharedPart) {
        for group in shared.group_indexes().filter(|group| delay(shared, *group).is_some()) {
            self.delays.insert(group, None);
            self.bits.set(group.0, true);
        }
    }

    /// A group can be held here again: the interface is back, or a check is good.
    pub(crate) fn came_back(&mut self, now: Instant, shared: &SharedPart, group: GroupIndex) {
        self.is_possible_again(shared, group);
        if let Some(first) = shared.hold_down {
            let flapping = self.flapping.entry(group).or_default();
            flapping.note(now, first);
            if flapping.held_until(now, first).is_some() {
                self.bits.set(group.0, true);
            }
        }
    }

    /// A group can be tried here again.
    pub(crate) fn is_possible_again(&mut self, shared: &SharedPart, group: GroupIndex) {
        if delay(shared, group).is_some() {
            self.delays.insert(group, None);
        }
    }

    /// Whether a group of which health says nothing must be looked at by
    /// [`Reluctance::settle`].
    pub(crate) fn concerns(&self, group: GroupIndex) -> bool {
        self.delays.contains_key(&group) || self.bits.contains(group.0)
    }

    /// Works out what to say about one group.
    pub(crate) fn settle(
        &mut self,
        shared: &SharedPart,
        group: GroupIndex,
        moment: Moment,
    ) -> Outcome {
        let delayed = self.settle_delay(shared, group, moment);
        let flapping = self.flapping.get(&group);
        let held_down = flapping
            .zip(shared.hold_down)
            .and_then(|(flapping, first)| flapping.held_until(moment.now, first));
        let says = moment.unwell || delayed.is_some() || held_down.is_some();
        let changed = self.bits.set(group.0, says);
        // Who does not take part ends no delay: it waits for more than its time.
        let delayed = delayed.flatten().filter(|_| moment.others.is_some());
        Outcome { changed, until: earliest(delayed, held_down) }
    }

    /// The delay of a group, if it goes on, with its end if that is known.
    fn settle_delay(
        &mut self,
        shared: &SharedPart,
        group: GroupIndex,
        moment: Moment,
    ) -> Option<Option<Instant>> {
        let before = *self.delays.get(&group)?;
        let after = match (before, moment.others) {
            _ if moment.on => None,
            (unjudged, None) => Some(unjudged),
            (None, Some(others)) => {
                let span = delay(shared, group).filter(|_| others.hold);
                span.map(|span| Some(moment.now + span))
            }
            (Some(until), Some(others)) => {
                (moment.now < until && others.could).then_some(Some(until))
            }
        };
        match after {
            Some(after) => self.delays.insert(group, after),
            None => self.delays.remove(&group),
        };
        after
    }

    /// An operator overrules it all. Returns the groups that this changes.
    pub(crate) fn forget(&mut self) -> Vec<GroupIndex> {
        self.delays.clear();
        self.flapping.clear();
        std::mem::replace(&mut self.bits, Bits::new()).iter().map(GroupIndex).collect()
    }

    /// Why this node would rather not have a group, for people.
    pub(crate) fn reason(&self, group: GroupIndex) -> Option<&'static str> {
        let held_back = self.bits.contains(group.0);
        held_back.then(|| match self.delays.contains_key(&group) {
            true => "its failback is delayed",
            false => "its interface or a check came and went too often",
        })
    }

    /// When a delay that has begun is over.
    pub(crate) fn until(&self, group: GroupIndex) -> Option<Instant> {
        *self.delays.get(&group).filter(|_| self.bits.contains(group.0))?
    }

    /// What this node says *rather not* about.
    pub(crate) fn bits(&self) -> &Bits {
        &self.bits
    }
}

/// A group's failback delay, if it has one.
fn delay(shared: &SharedPart, group: GroupIndex) -> Option<Duration> {
    match shared.groups[group.get()].failback {
        Failback::After(delay) => Some(delay),
        Failback::Auto | Failback::Never => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const DELAY: Duration = Duration::from_secs(60);
    const G: GroupIndex = GroupIndex(0);
    const NOBODY: Others = Others { hold: false, could: false };
    const HELD: Others = Others { hold: true, could: true };

    fn shared(extra: &str) -> SharedPart {
        let text = format!(
            "{{ chat: '239.77.0.1:5007', secret: '0123456789abcdef', nodes: ['a', 'b', 'c'],
               vips: [[{{ interface: 'e', ip: '192.0.2.10/24' }}]], {extra} }}"
        );
        parse(&text, "f").unwrap().config.shared
    }

    fn at(seconds: u64, others: impl Into<Option<Others>>) -> Moment {
        let now = Instant::ZERO + Duration::from_secs(seconds);
        Moment { now, on: false, unwell: false, others: others.into() }
    }

    #[test]
    fn a_returning_node_leaves_a_group_where_it_is_until_its_delay_is_over() {
        let shared = shared("failback: 60");
        let mut reluctance = Reluctance::new(&shared);
        reluctance.settle(&shared, G, at(0, None));
        assert!(reluctance.bits().contains(0), "already while booting");
        let outcome = reluctance.settle(&shared, G, at(10, HELD));
        assert_eq!(outcome.until, Some(Instant::ZERO + Duration::from_secs(70)));
        reluctance.settle(&shared, G, at(69, HELD));
        assert!(reluctance.bits().contains(0));
        assert!(reluctance.settle(&shared, G, at(70, HELD)).changed);
        assert!(!reluctance.bits().contains(0) && !reluctance.concerns(G));
    }

    #[test]
    fn a_delay_that_ends_while_its_node_takes_no_part_waits_without_a_deadline() {
        let shared = shared("failback: 60");
        let mut reluctance = Reluctance::new(&shared);
        reluctance.settle(&shared, G, at(0, HELD));
        let outcome = reluctance.settle(&shared, G, at(70, None));
        assert_eq!(outcome, Outcome { changed: false, until: None });
        assert!(reluctance.settle(&shared, G, at(80, HELD)).changed);
    }

    #[test]
    fn what_nobody_holds_is_not_delayed() {
        let shared = shared("failback: 60");
        let mut reluctance = Reluctance::new(&shared);
        let could = Others { hold: false, could: true };
        assert!(reluctance.settle(&shared, G, at(0, could)).changed);
        assert!(!reluctance.bits().contains(0));
        reluctance.settle(&shared, G, at(1, HELD));
        assert!(!reluctance.bits().contains(0), "and not later either");
    }

    #[test]
    fn a_delay_outlasts_its_holder_and_ends_with_the_last_who_could() {
        let shared = shared("failback: 60");
        let mut reluctance = Reluctance::new(&shared);
        reluctance.settle(&shared, G, at(0, HELD));
        reluctance.settle(&shared, G, at(1, Others { hold: false, could: true }));
        assert!(reluctance.bits().contains(0));
        reluctance.settle(&shared, G, at(2, NOBODY));
        assert!(!reluctance.bits().contains(0));
        reluctance.settle(&shared, G, at(3, HELD));
        assert!(!reluctance.bits().contains(0), "two nodes must not give way to each other");
    }

    #[test]
    fn what_this_node_holds_is_not_delayed() {
        let shared = shared("failback: 60");
        let mut reluctance = Reluctance::new(&shared);
        reluctance.settle(&shared, G, Moment { on: true, ..at(0, None) });
        assert!(!reluctance.bits().contains(0));
    }

    #[test]
    fn a_group_that_can_be_held_again_is_delayed_from_then_on() {
        let shared = shared("failback: 60");
        let mut reluctance = Reluctance::new(&shared);
        reluctance.settle(&shared, G, at(0, NOBODY));
        let now = Instant::ZERO + DELAY;
        reluctance.came_back(now, &shared, G);
        let outcome = reluctance.settle(&shared, G, at(60, HELD));
        assert_eq!(outcome, Outcome { changed: true, until: Some(now + DELAY) });
    }

    #[test]
    fn without_a_delay_nothing_is_ever_left_to_others() {
        for failback in ["failback: 'auto'", "failback: 'never'"] {
            let reluctance = Reluctance::new(&shared(failback));
            assert!(!reluctance.concerns(G));
        }
    }

    #[test]
    fn a_group_that_comes_and_goes_is_held_down_even_here() {
        let shared = shared("hold_down: 10");
        let mut reluctance = Reluctance::new(&shared);
        for second in 0..4 {
            let now = Instant::ZERO + Duration::from_secs(second);
            assert!(!reluctance.bits().contains(0));
            reluctance.came_back(now, &shared, G);
            reluctance.settle(&shared, G, Moment { on: true, ..at(second, HELD) });
        }
        assert!(reluctance.bits().contains(0));
        let outcome = reluctance.settle(&shared, G, at(13, NOBODY));
        assert_eq!(outcome, Outcome { changed: true, until: None });
        assert!(!reluctance.concerns(G));
    }

    #[test]
    fn without_hold_down_a_group_may_come_and_go() {
        let shared = shared("hold_down: 'off'");
        let mut reluctance = Reluctance::new(&shared);
        (0..9).for_each(|_| reluctance.came_back(Instant::ZERO, &shared, G));
        assert!(!reluctance.concerns(G));
    }

    #[test]
    fn a_delay_goes_on_under_another_configuration_that_has_one() {
        let (old, new) = (shared("failback: 60"), shared("failback: 90"));
        let mut reluctance = Reluctance::new(&old);
        reluctance.settle(&old, G, at(0, HELD));
        let positions = BTreeMap::from([(old.groups[0].id.clone(), G)]);
        let carried = reluctance.carried((&old, &new), &positions);
        assert!(carried.concerns(G) && carried.bits().contains(0));
        let without = shared("");
        let mut carried = reluctance.carried((&old, &without), &positions);
        assert!(carried.settle(&without, G, at(1, HELD)).changed);
    }
}
