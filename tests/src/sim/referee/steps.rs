//! Invariants of single steps: what may never be seen, however short, and what
//! may not last.

use super::truth::{
    can_detour, can_hold, can_learn, can_talk, is_exclusive, one_version, process, takes_part,
};
use super::{Referee, Violation, broken};
use crate::sim::Micros;
use crate::sim::world::World;

/// How long a node with an older configuration waits for the newer one (O5).
const ROLLOUT: Micros = 30_000_000;

impl Referee {
    /// Invariant 4.
    pub(super) fn judge_movement(
        &self,
        world: &World,
        station: usize,
        group: usize,
        verb: &str,
    ) -> Result<(), Violation> {
        match &self.window {
            Some(window) if window.strict && !window.allowed.contains(&group) => {
                let text = format!(
                    "s{station} {verb} g{group}, but since the last rest something was done \
                     only to {:?}",
                    window.allowed
                );
                broken(world, "invariant 4: a group moved without a cause", text)
            }
            _ => Ok(()),
        }
    }

    /// Invariant 2: an exclusive group has never two holders.
    pub(super) fn judge_exclusive(
        &self,
        world: &World,
        taker: usize,
        group: usize,
    ) -> Result<(), Violation> {
        if !is_exclusive(world, group) {
            return Ok(());
        }
        let patience = self.settling(world);
        for holder in self.held[group].without(taker).iter() {
            let since = self.gained.get(&(holder, group)).copied().unwrap_or(0);
            // Who could not hear the holder announce it cannot know its fence.
            let known = if world.stations[holder].awake() { world.now() } else { since };
            let same = world.setup.node_of(holder) == world.setup.node_of(taker);
            if !same && self.torn_before(world, known, patience) {
                let text = format!("s{taker} took exclusive g{group} while s{holder} had it");
                return broken(world, "invariant 2: two holders of an exclusive group", text);
            }
        }
        Ok(())
    }

    pub(super) fn torn_before(&self, world: &World, at: Micros, patience: Micros) -> bool {
        self.intact(world) && self.torn + patience < at
    }

    /// Invariant 2: a planned move leaves no gap.
    pub(super) fn judge_gap(
        &self,
        world: &World,
        station: usize,
        group: usize,
    ) -> Result<(), Violation> {
        let exclusive = is_exclusive(world, group);
        let planned = self.window.as_ref().is_some_and(|window| window.planned);
        // What a kernel refuses to keep is no move, however long ago that began.
        let refused = world.stations[station].unpluggable.contains(&group);
        let still_held = !self.held[group].and(world.awake()).is_empty();
        if exclusive || !planned || refused || still_held {
            return Ok(());
        }
        let taker = world.awake().without(station).iter().find(|other| {
            process(world, *other).is_some_and(|p| !p.stopping && takes_part(p.state))
                && can_hold(world, *other, group)
        });
        match taker {
            Some(taker) => {
                let text = format!(
                    "s{station} let g{group} go before anybody had it; s{taker} could have taken it"
                );
                broken(world, "invariant 2: a gap in a planned move", text)
            }
            None => Ok(()),
        }
    }

    /// Invariant 3.
    pub(super) fn judge_doubles(&self, world: &World) -> Result<(), Violation> {
        let timing = world.timing();
        // O5: those left behind in a rollout drain after a while.
        let left_behind = if one_version(world) { 0 } else { ROLLOUT };
        // W6: while another process bears a node's name that node may not count.
        let named = if world.setup.twins > 0 { timing.stale() + timing.interval() } else { 0 };
        let bound = timing.stale() + timing.interval() + self.slack(world) + left_behind + named;
        for (group, since) in &self.doubles {
            if world.now() > since + bound {
                let text = format!(
                    "g{group} on {:?} for {} ms although they hear each other; at most {} ms",
                    self.held[*group].and(world.awake()),
                    (world.now() - since) / 1000,
                    bound / 1000
                );
                return broken(world, "invariant 3: two holders for too long", text);
            }
        }
        Ok(())
    }

    pub(super) fn look_for_doubles(&mut self, world: &World) {
        let up = world.awake();
        let lossless = world.fabric.lossless() && can_detour(world);
        for group in 0..self.held.len() {
            let holders = self.held[group].and(up);
            let pair = holders.len() > 1 && lossless && {
                holders.iter().any(|one| {
                    holders.iter().any(|other| {
                        one < other
                            && can_talk(world, one, other, up)
                            && can_learn(world, one, other)
                    })
                })
            };
            if pair {
                self.doubles.entry(group).or_insert(world.now());
            } else {
                self.doubles.remove(&group);
            }
        }
    }

    pub(super) fn judge_stops(&self, world: &World) -> Result<(), Violation> {
        let limit = vippy_core::time::micros(world.setup.stop_timeout)
            + 6 * world.timing().interval()
            + self.slack(world);
        match self.stopping.iter().find(|(_, since)| world.now() > **since + limit) {
            Some((station, since)) => {
                let text = format!(
                    "s{station} was told to stop {} ms ago and still runs",
                    (world.now() - since) / 1000
                );
                broken(world, "O8: a stopping node does not end", text)
            }
            None => Ok(()),
        }
    }
}
