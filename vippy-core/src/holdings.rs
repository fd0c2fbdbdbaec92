//! All groups on this node: what is held, what is refused, what is in motion.
//!
//! Asks [`ownership`](crate::ownership) who should hold, [`group`](crate::group)
//! what that means for one group, and turns verdicts into orders. Whether this
//! node may hold anything at all, and what others have shown, arrives as
//! [`Surroundings`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::{Group, SharedPart};
use crate::epoch::Epochs;
use crate::event::Event;
use crate::fence::Fence;
use crate::group::{Phase, Situation, Slot, UNANNOUNCED, Verdict};
use crate::identity::{Epoch, GroupId, GroupIndex, NodeIndex, NodeName, Seq};
use crate::input::ResourceReport;
use crate::output::Output;
use crate::ownership::{Candidacy, Candidate, Others};
use crate::reluctance::{Moment, Reluctance};
use crate::surroundings::{Elsewhere, Surroundings};
use crate::time::{Instant, earliest};

/// All groups of the running configuration, by position.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Holdings {
    positions: BTreeMap<GroupId, GroupIndex>,
    slots: Vec<Slot>,
    owners: Vec<Option<NodeIndex>>,
    holding: Bits,
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
                hands.tell(Event::Adopted { group: config.id.clone() });
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
        let seen: BTreeSet<&GroupId> =
            self.seen.iter().filter_map(|g| Some(&old.groups.get(g as usize)?.id)).collect();
        let mut next = Holdings { changes: self.changes, ..Holdings::new(new) };
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
            let readdressed = before.is_some_and(|before| before.addresses != config.addresses);
            if slot.is_on() && (readdressed || retermed) {
                slot.readdressed |= readdressed;
                self.plumb(now, config, hands);
            }
            next.seen.set(group.0, seen.contains(&config.id));
            next.slots[group.get()] = slot;
            next.publish(group, config.exclusive);
        }
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

    /// The neighbours have been told of a group: whoever held it may rely on
    /// this node now (O8).
    pub(crate) fn told(&mut self, shared: &SharedPart, group: GroupIndex, hands: &mut Hands<'_>) {
        if let Phase::Telling { epoch } = self.slots[group.get()].phase {
            self.hold(group, epoch);
            let group = shared.groups[group.get()].id.clone();
            hands.tell(Event::Announced { group });
        }
        self.touched.insert(group);
    }

    /// Notes what a peer's announcement changed, or a contact with a peer.
    pub(crate) fn contact(&mut self, groups: impl IntoIterator<Item = GroupIndex>) {
        self.contacts.extend(groups);
    }

    /// A peer came to life, or back. While it was not heard it may have held
    /// anything, told the neighbours so, and let go before its first fresh frame
    /// came: everything held here counts as a contact (O9).
    pub(crate) fn meet(&mut self) {
        for (index, slot) in (0u32..).zip(&self.slots) {
            if slot.is_up() {
                self.news = true;
                self.contacts.insert(GroupIndex(index));
            }
        }
    }

    /// Notes that something changed which concerns these groups alone.
    pub(crate) fn touch(&mut self, groups: impl IntoIterator<Item = GroupIndex>) {
        self.touched.extend(groups);
    }

    /// A fresh frame came: it may be what some groups wait for.
    pub(crate) fn frame_came(&mut self) {
        self.touched.extend(&self.waiting);
    }

    /// Some group must be decided about.
    pub(crate) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The groups that must be decided about.
    pub(crate) fn touched(&self) -> Vec<GroupIndex> {
        self.touched.iter().copied().collect()
    }

    /// Decides about every group and orders what follows.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        around: &Surroundings<'_>,
        hands: &mut Hands<'_>,
    ) {
        self.touched.clear();
        self.recheck_at = None;
        self.retry_failed(now, around.shared);
        for group in around.held_by_others() {
            self.seen.set(group, true);
        }
        self.decide(now, &around.shared.group_indexes().collect::<Vec<_>>(), around, hands);
        self.meet_rivals(around, hands);
    }

    /// Decides about the groups touched: with many groups in motion, each report
    /// and each frame must cost what it concerns, not all there are.
    pub(crate) fn settle_touched(
        &mut self,
        now: Instant,
        around: &Surroundings<'_>,
        hands: &mut Hands<'_>,
    ) {
        let touched = std::mem::take(&mut self.touched);
        let exist = touched.into_iter().filter(|group| group.get() < self.slots.len());
        let groups: Vec<GroupIndex> = exist.collect();
        for group in &groups {
            let seen = self.seen.contains(group.0) || around.has_rival(*group);
            self.seen.set(group.0, seen);
        }
        self.decide(now, &groups, around, hands);
        self.meet_rivals(around, hands);
    }

    fn decide(
        &mut self,
        now: Instant,
        groups: &[GroupIndex],
        around: &Surroundings<'_>,
        hands: &mut Hands<'_>,
    ) {
        self.settle_reluctance(now, groups, around);
        let owners: Vec<Option<NodeIndex>> = {
            let candidates = around.candidates(self.candidate(around.candidacy));
            let ownership = around.ownership(candidates);
            groups.iter().map(|group| ownership.owner(*group)).collect()
        };
        for (group, owner) in groups.iter().zip(owners) {
            self.owners[group.get()] = owner;
            self.mind_tongue(*group, around, hands);
            if self.settle_group(now, *group, around, hands) {
                self.waiting.insert(*group);
            } else {
                self.waiting.remove(group);
            }
        }
    }

    /// A holder that is no longer the owner falls silent: what it repeats could
    /// come after the owner's announcement. One that is the owner again speaks.
    fn mind_tongue(&mut self, group: GroupIndex, around: &Surroundings<'_>, hands: &mut Hands<'_>) {
        let owner = self.owners[group.get()];
        let slot = &mut self.slots[group.get()];
        if !slot.is_up() || owner.is_none() || slot.silenced == (owner != around.me) {
            return;
        }
        slot.silenced = !slot.silenced;
        let slot = &*slot;
        let group = around.shared.groups[group.get()].id.clone();
        if slot.silenced {
            hands.outputs.push_back(Output::Silence { group });
        } else if !slot.readdressed {
            hands.outputs.push_back(Output::Notify { group });
        }
    }

    /// What this node would rather leave to others, before anything is decided.
    fn settle_reluctance(
        &mut self,
        now: Instant,
        groups: &[GroupIndex],
        around: &Surroundings<'_>,
    ) {
        let concerned = |group: &&GroupIndex| self.reluctance.concerns(**group);
        let groups: Vec<GroupIndex> = groups.iter().filter(concerned).copied().collect();
        if groups.is_empty() {
            return;
        }
        let takes_part = around.candidacy != Candidacy::Booting;
        let others: Vec<Option<Others>> = {
            let candidates = around.candidates(self.candidate(around.candidacy));
            let ownership = around.ownership(candidates);
            let others = |group| takes_part.then(|| ownership.others(group, around.me));
            groups.iter().map(|group| others(*group)).collect()
        };
        for (group, others) in groups.into_iter().zip(others) {
            let slot = &mut self.slots[group.get()];
            let moment = Moment { now, on: slot.is_on(), others };
            let outcome = self.reluctance.settle(around.shared, group, moment);
            self.recheck_at = earliest(self.recheck_at, outcome.until);
            if outcome.changed {
                slot.changed = UNANNOUNCED;
                self.news = true;
            }
        }
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

    /// Decides about one group. True when the next fresh frame may decide
    /// otherwise.
    fn settle_group(
        &mut self,
        now: Instant,
        group: GroupIndex,
        around: &Surroundings<'_>,
        hands: &mut Hands<'_>,
    ) -> bool {
        let config = &around.shared.groups[group.get()];
        let owner = self.owners[group.get()];
        let phase = self.slots[group.get()].phase;
        let idle = phase == Phase::Idle;
        let to_take = idle || phase == Phase::Claiming;
        let mine = owner.is_some() && owner == around.me;
        if idle && !mine {
            return false;
        }
        let needed = self.slots[group.get()].changed.max(around.standing_changed);
        let relieved = !to_take
            && owner.is_some_and(|owner| match config.exclusive {
                true => around.everybody_knows(owner),
                false => around.shows_held(owner, group, needed),
            });
        let may_take = to_take && around.leave.take && self.is_due(now, group, around);
        // A claim that nobody can have heard frees nothing.
        let free = to_take && (idle || needed != UNANNOUNCED);
        let clear = !config.exclusive || (free && self.is_free(now, group, needed, around));
        let situation = Situation {
            mine,
            theirs: owner.is_some() && !mine,
            relieved,
            may_take,
            clear,
            exclusive: config.exclusive,
        };
        let slot = &self.slots[group.get()];
        let verdict = match slot.phase {
            Phase::Idle | Phase::Claiming | Phase::LettingGo => slot.judge(situation),
            Phase::Taking | Phase::Telling { .. } | Phase::Held { .. } if around.leave.keep => {
                slot.judge(situation)
            }
            Phase::Taking | Phase::Telling { .. } | Phase::Held { .. } => {
                Verdict::LetGo { why: "this node may hold nothing now" }
            }
        };
        let undecided = if to_take { mine } else { situation.theirs };
        let waits = undecided && verdict == Verdict::Keep;
        match verdict {
            Verdict::Keep => {}
            Verdict::Claim => self.enter(group, Phase::Claiming, config.exclusive),
            Verdict::LetGo { .. } if to_take => self.enter(group, Phase::Idle, config.exclusive),
            Verdict::Take => self.take(now, group, around, hands),
            Verdict::LetGo { why } => {
                let to = owner.filter(|_| situation.theirs).map(|node| around.name(node).clone());
                self.let_go(group, config, to, why, hands);
            }
        }
        waits
    }

    /// No booting senior is waited for (O6).
    fn is_due(&mut self, now: Instant, group: GroupIndex, around: &Surroundings<'_>) -> bool {
        let seen = self.seen.contains(group.0);
        let until = if seen { None } else { around.left_to_seniors(now, group) };
        self.recheck_at = earliest(self.recheck_at, until);
        until.is_none()
    }

    /// Nobody else may hold an exclusive group (O8).
    fn is_free(
        &mut self,
        now: Instant,
        group: GroupIndex,
        needed: Seq,
        around: &Surroundings<'_>,
    ) -> bool {
        match around.elsewhere(now, group, needed) {
            Elsewhere::Free => true,
            Elsewhere::Perhaps { until } => {
                self.recheck_at = earliest(self.recheck_at, until);
                false
            }
        }
    }

    fn take(
        &mut self,
        now: Instant,
        group: GroupIndex,
        around: &Surroundings<'_>,
        hands: &mut Hands<'_>,
    ) {
        let config = &around.shared.groups[group.get()];
        self.slots[group.get()].readdressed = false;
        self.enter(group, Phase::Taking, config.exclusive);
        let from = around.last_holder(group);
        self.plumb(now, config, hands);
        hands.tell(Event::Taking { group: config.id.clone(), from });
    }

    fn let_go(
        &mut self,
        group: GroupIndex,
        config: &Group,
        to: Option<NodeName>,
        why: &str,
        hands: &mut Hands<'_>,
    ) {
        self.enter(group, Phase::LettingGo, config.exclusive);
        drop_group(&config.id, hands);
        hands.tell(Event::LettingGo { group: config.id.clone(), to, why: why.to_owned() });
    }

    fn enter(&mut self, group: GroupIndex, phase: Phase, exclusive: bool) {
        self.slots[group.get()].phase = phase;
        self.publish(group, exclusive);
    }

    /// Lets go of everything at once (F2, W1, O6, O8).
    pub(crate) fn drop_all(&mut self, shared: &SharedPart, why: &str, hands: &mut Hands<'_>) {
        for (group, config) in shared.group_indexes().zip(&shared.groups) {
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

    /// Ends the refusals of failed groups whose pause is over. The memory of the
    /// failure stays: the next pause is longer.
    fn retry_failed(&mut self, now: Instant, shared: &SharedPart) {
        for (group, config) in shared.group_indexes().zip(&shared.groups) {
            let failure = &mut self.slots[group.get()].failed;
            let Some(retry_at) = failure.as_ref().and_then(|failure| failure.retry_at) else {
                continue;
            };
            if now < retry_at {
                self.recheck_at = earliest(self.recheck_at, Some(retry_at));
            } else if let Some(failure) = failure {
                failure.retry_at = None;
                self.reluctance.is_possible_again(shared, group);
                self.publish(group, config.exclusive);
            }
        }
    }

    /// This node as a candidate.
    fn candidate(&self, candidacy: Candidacy) -> Candidate<'_> {
        Candidate {
            candidacy,
            holding: &self.holding,
            cannot: &self.cannot,
            rather_not: self.reluctance.bits(),
        }
    }

    /// The rightful holder of a group re-announces it after every contact with
    /// another holder, and when that one has let go (O8, O9).
    fn meet_rivals(&mut self, around: &Surroundings<'_>, hands: &mut Hands<'_>) {
        let Some(me) = around.me else { return };
        for group in std::mem::take(&mut self.contacts) {
            let Some(slot) = self.slots.get_mut(group.get()).filter(|slot| slot.is_up()) else {
                continue;
            };
            if self.owners[group.get()] != Some(me) {
                continue;
            }
            let there = !slot.readdressed;
            if around.has_rival(group) {
                slot.renumber(hands.epochs.raise(me));
                slot.changed = UNANNOUNCED;
                self.news = true;
            }
            if !there {
                continue;
            }
            let id = around.shared.groups[group.get()].id.clone();
            hands.outputs.push_back(Output::Notify { group: id });
        }
    }

    /// Groups whose holder waits for another node to take over.
    pub(crate) fn awaits_relief(&self, me: Option<NodeIndex>) -> bool {
        self.slots.iter().zip(&self.owners).any(|(slot, owner)| {
            matches!(slot.phase, Phase::Held { .. }) && owner.is_some() && *owner != me
        })
    }

    pub(crate) fn all_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.phase == Phase::Idle)
    }

    /// Groups that are on this node, or are being put on.
    pub(crate) fn plumbed<'a>(
        &'a self,
        shared: &'a SharedPart,
    ) -> impl Iterator<Item = &'a GroupId> {
        let groups = self.slots.iter().zip(&shared.groups);
        groups.filter(|(slot, _)| slot.is_on()).map(|(_, group)| &group.id)
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

    pub(crate) fn owner(&self, group: GroupIndex) -> Option<NodeIndex> {
        self.owners[group.get()]
    }

    pub(crate) fn holding(&self) -> &Bits {
        &self.holding
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
