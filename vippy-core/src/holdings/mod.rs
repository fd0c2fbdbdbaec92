//! All groups on this node: what is held, what is refused, what is in motion.
//!
//! Here is what happens to a group: found, put on, reported, dropped, carried
//! into another configuration. `deciding` says when; `telling` keeps the
//! neighbours informed, and what is announced true to that. Whether this node
//! may hold anything at all, and what others have shown, arrives as
//! [`Surroundings`](crate::surroundings::Surroundings).

mod deciding;
mod telling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::{Group, SharedPart};
use crate::epoch::Epochs;
use crate::event::Event;
use crate::fence::Fence;
use crate::group::{Phase, Slot, UNANNOUNCED};
use crate::health::Health;
use crate::identity::{Epoch, GroupId, GroupIndex, NodeIndex, Seq};
use crate::input::ResourceReport;
use crate::output::Output;
use crate::reluctance::Reluctance;
use crate::time::{Instant, earliest};

/// All groups of the running configuration, by position.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Holdings {
    positions: BTreeMap<GroupId, GroupIndex>,
    slots: Vec<Slot>,
    owners: Vec<Option<NodeIndex>>,
    holding: Bits,
    /// Held, but the neighbours are being told anew: nobody may rely on it until
    /// they are (O9).
    retelling: Bits,
    /// Groups that nobody was asked about since they were taken, or kept against a
    /// rival, and when that was decided.
    untried: BTreeMap<GroupIndex, Instant>,
    cannot: Bits,
    reluctance: Reluctance,
    /// Groups seen held by anybody since this node's start (O6).
    seen: Bits,
    /// Groups of which a peer's holding changed, or with whom contact was made (O9).
    contacts: BTreeSet<GroupIndex>,
    /// Groups to decide about because a fact about them alone changed.
    touched: BTreeSet<GroupIndex>,
    news: bool,
    /// Groups whose verdict may change with the next fresh frame although no
    /// fact does.
    waiting: BTreeSet<GroupIndex>,
    recheck_at: Option<Instant>,
    /// How often the set of groups held changed.
    pub(crate) changes: u64,
}

/// Where orders go and what they touch.
pub(crate) struct Hands<'a> {
    pub(crate) outputs: &'a mut VecDeque<Output>,
    pub(crate) epochs: &'a mut Epochs,
    pub(crate) fence: &'a mut Fence,
    pub(crate) health: &'a mut Health,
}

impl Hands<'_> {
    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

impl Holdings {
    pub(crate) fn new(shared: &SharedPart) -> Holdings {
        let ids = shared.groups.iter().map(|group| group.id.clone());
        Holdings {
            positions: ids.zip(shared.group_indexes()).collect(),
            slots: vec![Slot::new(); shared.groups.len()],
            owners: vec![None; shared.groups.len()],
            holding: Bits::new(),
            retelling: Bits::new(),
            untried: BTreeMap::new(),
            cannot: Bits::new(),
            reluctance: Reluctance::new(shared),
            seen: Bits::new(),
            contacts: BTreeSet::new(),
            touched: BTreeSet::new(),
            news: true,
            waiting: BTreeSet::new(),
            recheck_at: None,
            changes: 0,
        }
    }

    /// Goes on holding what was found on this node at its start (F1, O6).
    pub(crate) fn adopt(
        &mut self,
        now: Instant,
        shared: &SharedPart,
        me: NodeIndex,
        present: &BTreeSet<GroupId>,
        hands: &mut Hands<'_>,
    ) {
        for (group, config) in shared.group_indexes().zip(&shared.groups) {
            if present.contains(&config.id) {
                let epoch = hands.epochs.raise(me);
                self.hold(group, epoch);
                // They may end before they are put on anew.
                self.slots[group.get()].readdressed = true;
                self.plumb(now, config, hands);
                hands.tell(Event::Adopted { group: config.id.clone(), epoch });
            }
        }
    }

    /// Takes over another configuration: groups of the same identity go on.
    /// `retermed`: addresses came to have a lifetime, or lost it (F1).
    pub(crate) fn configure(
        &mut self,
        now: Instant,
        (old, new): (&SharedPart, &SharedPart),
        retermed: bool,
        hands: &mut Hands<'_>,
    ) {
        let mut former: BTreeMap<&GroupId, (&Arc<Group>, Slot)> =
            old.groups.iter().zip(self.slots.drain(..)).map(|(g, s)| (&g.id, (g, s))).collect();
        let ids = |groups: &Bits| -> BTreeSet<&GroupId> {
            groups.iter().filter_map(|g| Some(&old.groups.get(g as usize)?.id)).collect()
        };
        let (seen, retelling) = (ids(&self.seen), ids(&self.retelling));
        let untried = self.untried.iter();
        let untried: BTreeMap<&GroupId, Instant> = untried
            .filter_map(|(group, since)| Some((&old.groups.get(group.get())?.id, *since)))
            .collect();
        let held = ids(&self.holding);
        let met = ids(&self.contacts.iter().map(|group| group.0).collect());
        let mut next = Holdings::new(new);
        next.reluctance = self.reluctance.carried((old, new), &next.positions);
        for (group, config) in new.group_indexes().zip(&new.groups) {
            let (before, mut slot) = match former.remove(&config.id) {
                Some((before, slot)) => (Some(before), slot),
                None => (None, Slot::new()),
            };
            slot.changed = UNANNOUNCED;
            if slot.phase == Phase::Claiming {
                slot.phase = Phase::Idle;
            }
            let readdressed = before.is_some_and(|before| !before.places().eq(config.places()));
            if slot.is_on() && (readdressed || retermed) {
                slot.readdressed |= readdressed;
                self.plumb(now, config, hands);
            }
            next.seen.set(group.0, seen.contains(&config.id));
            next.retelling.set(group.0, retelling.contains(&config.id));
            if met.contains(&config.id) {
                next.contacts.insert(group);
            }
            if let Some(since) = untried.get(&config.id) {
                next.untried.insert(group, *since);
            }
            next.slots[group.get()] = slot;
            next.publish(group, config.exclusive);
        }
        let holds = |(group, _): &(GroupIndex, &Arc<Group>)| next.holding.contains(group.0);
        let holds =
            new.group_indexes().zip(&new.groups).filter(holds).map(|(_, config)| &config.id);
        let changed = held.symmetric_difference(&holds.collect()).count();
        next.changes = self.changes + changed as u64;
        *self = next;
        for (id, (_, slot)) in former {
            if slot.is_on() {
                drop_group(id, hands);
                let why = "it is no longer in the configuration".into();
                hands.tell(Event::LettingGo { group: id.clone(), to: None, why });
            }
        }
    }

    /// Takes a report of the world about one group.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        (shared, group): (&SharedPart, GroupIndex),
        me: Option<NodeIndex>,
        report: ResourceReport,
        hands: &mut Hands<'_>,
    ) {
        let config = &shared.groups[group.get()];
        let id = || config.id.clone();
        let slot = &mut self.slots[group.get()];
        match (report, slot.phase) {
            (ResourceReport::Up, Phase::Taking) => {
                slot.failed = None;
                if let Some(me) = me {
                    let epoch = hands.epochs.raise(me);
                    slot.phase = Phase::Telling { epoch };
                    slot.silenced = false;
                    hands.outputs.push_back(Output::Notify { group: id() });
                    hands.tell(Event::GroupUp { group: id(), epoch });
                }
            }
            (ResourceReport::Down, Phase::LettingGo) => {
                slot.phase = Phase::Idle;
                hands.tell(Event::GroupDown { group: id() });
            }
            (
                ResourceReport::Failed(error),
                Phase::Taking | Phase::Telling { .. } | Phase::Held { .. },
            ) => {
                slot.phase = Phase::Idle;
                let retry_at = slot.fail(now, error.clone());
                self.recheck_at = earliest(self.recheck_at, Some(retry_at));
                hands.outputs.push_back(Output::Silence { group: id() });
                hands.tell(Event::PlumbFailed { group: id(), error });
            }
            (ResourceReport::Unavailable(reason), _) => {
                let known = slot.unavailable.as_ref() == Some(&reason);
                slot.unavailable = Some(reason.clone());
                if !known {
                    hands.tell(Event::Unavailable { group: id(), reason });
                }
            }
            (ResourceReport::Available, _) => {
                slot.failed = None;
                if slot.unavailable.take().is_some() {
                    self.reluctance.came_back(now, shared, group);
                    hands.tell(Event::Available { group: id() });
                }
            }
            (ResourceReport::Up, Phase::Telling { .. } | Phase::Held { .. }) => {
                if std::mem::take(&mut slot.readdressed) {
                    self.contacts.insert(group);
                }
            }
            (ResourceReport::Up, Phase::Idle | Phase::Claiming | Phase::LettingGo)
            | (
                ResourceReport::Down,
                Phase::Idle
                | Phase::Claiming
                | Phase::Taking
                | Phase::Telling { .. }
                | Phase::Held { .. },
            )
            | (ResourceReport::Failed(_), Phase::Idle | Phase::Claiming | Phase::LettingGo) => {}
        }
        self.publish(group, config.exclusive);
        self.touched.insert(group);
    }

    /// What spoke against holding a group here is over (H3).
    pub(crate) fn recovered(&mut self, now: Instant, shared: &SharedPart, group: GroupIndex) {
        self.reluctance.came_back(now, shared, group);
    }

    /// This node boots again (O4).
    pub(crate) fn returned(&mut self, shared: &SharedPart) {
        self.reluctance.returned(shared);
        self.news = true;
    }

    /// An operator wants back what is left to others.
    pub(crate) fn resume(&mut self) {
        for group in self.reluctance.forget() {
            self.slots[group.get()].changed = UNANNOUNCED;
            self.news = true;
        }
    }

    fn enter(&mut self, group: GroupIndex, phase: Phase, exclusive: bool) {
        self.slots[group.get()].phase = phase;
        self.publish(group, exclusive);
    }

    /// Lets go at once of everything but some groups (F2, W1, O5, O6, O8).
    pub(crate) fn drop_all_but(
        &mut self,
        stay: &Bits,
        shared: &SharedPart,
        why: &str,
        hands: &mut Hands<'_>,
    ) {
        let groups = shared.group_indexes().zip(&shared.groups);
        for (group, config) in groups.filter(|(group, _)| !stay.contains(group.0)) {
            match self.slots[group.get()].phase {
                Phase::Claiming => self.enter(group, Phase::Idle, config.exclusive),
                Phase::Taking | Phase::Telling { .. } | Phase::Held { .. } => {
                    self.let_go(group, config, None, why, hands);
                }
                Phase::Idle | Phase::LettingGo => {}
            }
        }
    }

    fn plumb(&self, now: Instant, config: &Arc<Group>, hands: &mut Hands<'_>) {
        hands.fence.plumbed(now);
        let lifetime = hands.fence.lifetime();
        hands.outputs.push_back(Output::Plumb { group: config.clone(), lifetime });
    }

    /// Holds a group from now on, and promises so (O8).
    fn hold(&mut self, group: GroupIndex, epoch: Epoch) {
        let slot = &mut self.slots[group.get()];
        slot.phase = Phase::Held { epoch };
        slot.changed = UNANNOUNCED;
        self.news = true;
        self.seen.set(group.0, true);
        self.publish(group, false);
    }

    /// Brings what is announced about a group in line with its slot.
    fn publish(&mut self, group: GroupIndex, exclusive: bool) {
        let slot = &mut self.slots[group.get()];
        let holding = self.holding.set(group.0, slot.announced(exclusive));
        let cannot = self.cannot.set(group.0, slot.cannot().is_some());
        if !slot.is_up() {
            self.retelling.set(group.0, false);
        }
        if holding || cannot {
            slot.changed = UNANNOUNCED;
            self.news = true;
        }
        self.changes += u64::from(holding);
    }

    /// An announcement whose last frame is `last` left: what it carried can be
    /// echoed from now on.
    pub(crate) fn announced_by(&mut self, last: Seq) {
        if !std::mem::take(&mut self.news) {
            return;
        }
        for (index, slot) in (0u32..).zip(&mut self.slots) {
            if slot.changed == UNANNOUNCED {
                slot.changed = last;
                if slot.phase == Phase::Claiming {
                    self.touched.insert(GroupIndex(index));
                }
            }
        }
    }

    /// Some group has news that no announcement has carried yet.
    pub(crate) fn has_news(&self) -> bool {
        self.news
    }

    pub(crate) fn all_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.phase == Phase::Idle)
    }

    /// Something that a lifetime must be renewed for.
    pub(crate) fn any_plumbed(&self) -> bool {
        self.slots.iter().any(Slot::is_on)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.recheck_at
    }

    /// Position of a group in the running configuration.
    pub(crate) fn position(&self, id: &GroupId) -> Option<GroupIndex> {
        self.positions.get(id).copied()
    }

    pub(crate) fn slot(&self, group: GroupIndex) -> &Slot {
        &self.slots[group.get()]
    }

    /// There is such a group, and its addresses are known to be here.
    pub(crate) fn is_up(&self, group: GroupIndex) -> bool {
        self.slots.get(group.get()).is_some_and(Slot::is_up)
    }

    pub(crate) fn owner(&self, group: GroupIndex) -> Option<NodeIndex> {
        self.owners[group.get()]
    }

    pub(crate) fn holding(&self) -> &Bits {
        &self.holding
    }

    /// Groups held of which the neighbours are being told anew.
    pub(crate) fn retelling(&self) -> &Bits {
        &self.retelling
    }

    pub(crate) fn cannot(&self) -> &Bits {
        &self.cannot
    }

    pub(crate) fn rather_not(&self) -> &Bits {
        self.reluctance.bits()
    }

    pub(crate) fn reluctance(&self) -> &Reluctance {
        &self.reluctance
    }
}

fn drop_group(id: &GroupId, hands: &mut Hands<'_>) {
    hands.outputs.push_back(Output::Silence { group: id.clone() });
    hands.outputs.push_back(Output::Unplumb { group: id.clone() });
}
