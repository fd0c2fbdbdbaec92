//! Decides about groups: asks [`ownership`](crate::ownership) who should hold,
//! [`group`](crate::group) what that means for one group, and turns verdicts into
//! orders.

use super::{Hands, Holdings, drop_group};
use crate::config::{Group, SharedPart};
use crate::event::Event;
use crate::group::{Phase, Situation, UNANNOUNCED, Verdict};
use crate::health::Health;
use crate::identity::{GroupIndex, NodeIndex, NodeName, Seq};
use crate::ownership::{Candidacy, Candidate, Others};
use crate::reluctance::Moment;
use crate::surroundings::{Elsewhere, Surroundings};
use crate::time::{Instant, earliest};

impl Holdings {
    /// Notes that something changed which concerns these groups alone.
    pub(crate) fn touch(&mut self, groups: impl IntoIterator<Item = GroupIndex>) {
        self.touched.extend(groups);
    }

    /// A fresh frame came, or one left: it may be what some groups wait for.
    pub(crate) fn reconsider(&mut self) {
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
        self.retry_failed(now, around.field.shared);
        for group in around.held_by_others() {
            self.seen.set(group, true);
        }
        self.decide(now, &around.field.shared.group_indexes().collect::<Vec<_>>(), around, hands);
        self.meet_rivals(now, around, hands);
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
        self.meet_rivals(now, around, hands);
    }

    fn decide(
        &mut self,
        now: Instant,
        groups: &[GroupIndex],
        around: &Surroundings<'_>,
        hands: &mut Hands<'_>,
    ) {
        self.settle_reluctance(now, groups, around, hands.health);
        let owners: Vec<Option<NodeIndex>> = {
            let candidates = around.field.candidates(self.candidate(around.candidacy));
            let ownership = around.field.ownership(candidates);
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

    /// What this node would rather leave to others, before anything is decided.
    fn settle_reluctance(
        &mut self,
        now: Instant,
        groups: &[GroupIndex],
        around: &Surroundings<'_>,
        health: &Health,
    ) {
        let concerned =
            |group: &&GroupIndex| self.reluctance.concerns(**group) || health.is_unwell(**group);
        let groups: Vec<GroupIndex> = groups.iter().filter(concerned).copied().collect();
        if groups.is_empty() {
            return;
        }
        let takes_part = around.candidacy != Candidacy::Booting;
        let others: Vec<Option<Others>> = {
            let candidates = around.field.candidates(self.candidate(around.candidacy));
            let ownership = around.field.ownership(candidates);
            let others = |group| takes_part.then(|| ownership.others(group, around.field.me));
            groups.iter().map(|group| others(*group)).collect()
        };
        for (group, others) in groups.into_iter().zip(others) {
            let slot = &mut self.slots[group.get()];
            let unwell = health.is_unwell(group);
            let moment = Moment { now, on: slot.is_on(), unwell, others };
            let outcome = self.reluctance.settle(around.field.shared, group, moment);
            self.recheck_at = earliest(self.recheck_at, outcome.until);
            if outcome.changed {
                slot.changed = UNANNOUNCED;
                self.news = true;
            }
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
        let config = &around.field.shared.groups[group.get()];
        let owner = self.owners[group.get()];
        let phase = self.slots[group.get()].phase;
        let idle = phase == Phase::Idle;
        let to_take = idle || phase == Phase::Claiming;
        let mine = owner.is_some() && owner == around.field.me;
        if !(mine && to_take && around.holder_would_rather_not(group)) {
            hands.health.forget(group);
        }
        if idle && !mine {
            return false;
        }
        let needed = self.slots[group.get()].changed.max(around.standing_changed);
        let relieved = !to_take
            && owner.is_some_and(|owner| match config.exclusive {
                true => around.everybody_knows(owner),
                false => around.shows_held(owner, group, needed),
            });
        let may_take = to_take
            && around.leave.take
            && self.is_due(now, group, around)
            && may_relieve(now, group, around, hands);
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
                let to =
                    owner.filter(|_| situation.theirs).map(|node| around.field.name(node).clone());
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
        let config = &around.field.shared.groups[group.get()];
        self.slots[group.get()].readdressed = false;
        self.enter(group, Phase::Taking, config.exclusive);
        self.untried.insert(group, now);
        let from = around.last_holder(group);
        self.plumb(now, config, hands);
        hands.tell(Event::Taking { group: config.id.clone(), from });
    }

    pub(super) fn let_go(
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
    pub(crate) fn candidate(&self, candidacy: Candidacy) -> Candidate<'_> {
        Candidate {
            candidacy,
            holding: &self.holding,
            cannot: &self.cannot,
            rather_not: self.reluctance.bits(),
        }
    }

    /// Groups whose holder waits for another node to take over.
    pub(crate) fn awaits_relief(&self, me: Option<NodeIndex>) -> bool {
        self.slots.iter().zip(&self.owners).any(|(slot, owner)| {
            matches!(slot.phase, Phase::Held { .. }) && owner.is_some() && *owner != me
        })
    }
}

/// A group that its holder would rather not hold is taken from it only when this
/// node's own checks are good (H4).
fn may_relieve(
    now: Instant,
    group: GroupIndex,
    around: &Surroundings<'_>,
    hands: &mut Hands<'_>,
) -> bool {
    !around.holder_would_rather_not(group) || hands.health.may_relieve(now, group, hands.outputs)
}
