//! Takes are believed by those who were asked to look.

use super::{Referee, Violation, broken};
use crate::sim::Micros;
use crate::sim::cluster::node_name;
use crate::sim::world::World;

/// The neighbours are told again for so long, and by then it has come out.
const PATIENCE: Micros = 12_000_000;

impl Referee {
    /// What was taken on a quiet LAN and held for long enough was found there by
    /// everybody who looked, unless something else answers for it.
    pub(super) fn judge_belief(&mut self, world: &World) -> Result<(), Violation> {
        let due = self.rested.is_some_and(|rested| world.now() >= rested + PATIENCE);
        if !self.rest || self.belief_judged || !due {
            return Ok(());
        }
        self.belief_judged = true;
        let up = world.awake();
        let hears = |one, other| one == other || world.fabric.hears(one, other);
        if !self.intact(world) || !up.iter().all(|one| up.iter().all(|other| hears(one, other))) {
            return Ok(());
        }
        for holder in up.iter() {
            let Some(status) = world.status(holder) else { continue };
            for group in 0..world.setup.groups.len() {
                let alone = world.holders[group].len() == 1 && !world.strays.contains(&group);
                let taken = self.gained.get(&(holder, group)).copied().unwrap_or(0);
                let quiet =
                    taken >= self.acted && self.torn_before(world, taken, self.slack(world));
                let belief = status.groups.get(group).and_then(|group| group.belief.as_ref());
                let Some(belief) = belief.filter(|_| alone && quiet) else { continue };
                if belief.believed < belief.of {
                    let text = format!("g{group} on {}: {belief:?}", node_name(holder));
                    return broken(world, "a take is not believed", text);
                }
            }
        }
        Ok(())
    }
}
