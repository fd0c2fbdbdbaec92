//! What policies change about the invariants, and what they promise themselves:
//! failback, standby, hold-down (O3, O4).

use vippy_core::config::Failback;
use vippy_core::status::{GroupStatus, Holding, NodeState};

use super::truth::process;
use super::{Referee, Violation, broken};
use crate::sim::cluster::GroupPlan;
use crate::sim::fabric::Stations;
use crate::sim::world::World;

impl Referee {
    /// Time alone may move some group.
    pub(super) fn has_policy(world: &World) -> bool {
        (0..world.setup.groups.len()).any(|group| is_timed(world, group))
    }

    /// Some node leaves a group to others for now, or has just taken one that it
    /// left: what time alone moves is not at rest.
    pub(super) fn awaits_policy(&self, world: &World) -> bool {
        let groups = 0..world.setup.groups.len();
        let timed: Vec<usize> = groups.filter(|group| is_timed(world, *group)).collect();
        if timed.is_empty() {
            return false;
        }
        let waits = |group: &GroupStatus| {
            let moving = matches!(group.here, Holding::Taking | Holding::LettingGo);
            group.rather_not.is_some() || moving
        };
        let statuses = world.awake();
        statuses
            .iter()
            .filter_map(|s| world.status(s))
            .any(|status| timed.iter().filter_map(|group| status.groups.get(*group)).any(waits))
    }

    /// A group moved that time alone moves: the others need time to hear.
    pub(super) fn note_timed(&mut self, world: &World, group: usize) {
        if !self.rest && is_timed(world, group) {
            self.changed = world.now();
        }
    }

    /// A node came to take more part than before, because time passed: a drain
    /// or a hold-down ended.
    pub(super) fn takes_more_part(before: NodeState, after: NodeState) -> bool {
        let rank = |state: NodeState| match state {
            NodeState::Active => 3,
            NodeState::Standby => 2,
            NodeState::Draining => 1,
            NodeState::Booting | NodeState::Leaving => 0,
        };
        rank(before) > 0 && rank(after) > rank(before)
    }

    /// Whether a group's owner follows from who takes part and from nothing else.
    pub(super) fn is_plain(world: &World, group: usize) -> bool {
        let plan = world.setup.groups.get(group);
        plan.is_none_or(|plan| plan.failback == Failback::Auto)
    }

    /// O3: no standby node holds what an active one could. `active` are those
    /// that certainly could.
    pub(super) fn judge_tier(
        world: &World,
        group: usize,
        holder: usize,
        active: Stations,
    ) -> Result<(), Violation> {
        let stands_by = process(world, holder).is_some_and(|p| p.state == NodeState::Standby);
        if stands_by && !active.is_empty() {
            let text = format!("g{group} is on standby s{holder} although {active:?} are active");
            return broken(world, "O3: a worse tier holds", text);
        }
        Ok(())
    }

    /// O4: what is never given back stays with its holder while nothing is done
    /// to that one and nothing unplanned happens.
    pub(super) fn judge_keeping(
        &mut self,
        world: &World,
        group: usize,
        holder: usize,
        sure: Stations,
    ) -> Result<(), Violation> {
        let active =
            |station: usize| process(world, station).is_some_and(|p| p.state == NodeState::Active);
        // From one who was to give it away it goes as soon as anybody can take it.
        let before = match active(holder) {
            true => self.kept.insert(group, holder),
            false => self.kept.remove(&group),
        };
        let before = before.filter(|before| *before != holder);
        let never =
            world.setup.groups.get(group).is_some_and(|plan| plan.failback == Failback::Never);
        // A rollout may leave a group to nobody for a while.
        let configured = self.rested.is_none_or(|rested| self.configured >= rested);
        let undisturbed = !configured
            && self
                .window
                .as_ref()
                .is_some_and(|window| window.planned && !window.allowed.contains(&group));
        let Some(before) = before.filter(|_| never && undisturbed) else { return Ok(()) };
        if sure.contains(before) && active(before) {
            let text = format!("g{group} went from s{before} to s{holder} without a need");
            return broken(world, "O4: given back in spite of `never`", text);
        }
        Ok(())
    }
}

/// Whether time alone may move a group: a failback delay, a hold-down that ends, a
/// check that is asked now and then.
fn is_timed(world: &World, group: usize) -> bool {
    let delayed = |plan: &GroupPlan| matches!(plan.failback, Failback::After(_));
    world.setup.hold_down.is_some()
        || world.setup.checked().contains(&group)
        || world.setup.groups.get(group).is_some_and(delayed)
}
