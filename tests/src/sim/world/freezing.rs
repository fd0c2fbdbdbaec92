//! Guests that are stopped together with their clock (F2).

use super::{Happening, World};

impl World {
    /// Stops a machine and its clock, its kernel's timers included. A process
    /// that is stopped already is let be.
    pub(super) fn freeze(&mut self, station: usize) {
        if self.stations[station].awake() {
            self.stations[station].frozen = Some(self.now);
            self.set_paused(station, true);
        }
    }

    /// Lets it go on, as if nothing had been.
    pub(super) fn thaw(&mut self, station: usize) {
        if self.stations[station].frozen.is_some() {
            self.run_clock(station);
            self.wake(station);
        }
    }

    /// Lets its clock go on.
    pub(super) fn run_clock(&mut self, station: usize) {
        let machine = &mut self.stations[station];
        let Some(since) = machine.frozen.take() else { return };
        let span = self.now - since;
        machine.clock -= span;
        for at in machine.kernel.postpone(span) {
            self.schedule(at, Happening::Expire { station });
        }
    }
}
