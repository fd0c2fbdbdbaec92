//! How long things may take.

use super::Referee;
use crate::sim::Micros;
use crate::sim::world::World;

impl Referee {
    /// Time after a change until invariant 1 must hold.
    pub fn settling(&self, world: &World) -> Micros {
        let timing = world.timing();
        timing.stale() + 2 * timing.interval() + self.slack(world)
    }

    /// Time after a change until an exclusive group must have a new holder.
    pub(super) fn fencing(&self, world: &World) -> Micros {
        let valid = world.setup.valid_lifetime().unwrap_or(0);
        let fence = world.timing().stale() + valid + 300_000;
        self.settling(world) + fence
    }

    /// What the machines and the wire add to the protocol's own times.
    pub(super) fn slack(&self, world: &World) -> Micros {
        let (setup, timing) = (&world.setup, world.timing());
        let interval = timing.interval();
        let machines =
            2 * setup.plumbing.1 + setup.telling.1 + setup.storing.1 + 4 * setup.lateness.1;
        let wire = 4 * world.fabric.slowest();
        // W2: a relay starts when an echo lags one and a half intervals.
        let detour = if world.fabric.direct(world.awake()) { 0 } else { 4 * interval };
        let prolonged = if self.patient { timing.stale() + 2 * interval } else { 0 };
        // W6: a boot that another one of its name replaced is not let back at once.
        let burnt = if setup.twins > 0 { 2 * (timing.stale() + interval) } else { 0 };
        machines + wire + interval / 5 + 5_000 + detour + prolonged + burnt
    }
}
