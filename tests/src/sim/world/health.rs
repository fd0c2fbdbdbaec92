//! Health checks of the machines: what their runs come to, and when they run (H1).

use std::time::Duration;

use vippy_core::health::{Outcome, Run};
use vippy_core::identity::CheckName;
use vippy_core::input::Input;

use super::{Happening, World};
use crate::sim::Micros;
use crate::sim::cluster::{check_name, checked_group};
use crate::sim::station::{Process, Work};

/// How long a run takes.
const TOOK: (Micros, Micros) = (100, 3_000);

/// Apart from the labels of other work: a queue for each check.
const QUEUE: usize = 1 << 33;

impl World {
    /// A process begins to ask.
    pub(super) fn begin_rounds(&mut self, station: usize) {
        let pace = self.setup.pace();
        let Some(process) = &self.stations[station].process else { return };
        let life = process.life;
        if !self.setup.checks.is_empty() {
            let first = self.stations[station].lasting(self.now, QUEUE as u64, (0, pace));
            self.schedule(self.now + first, Happening::Round { station, life });
        }
    }

    /// Every check of a machine is run.
    pub(super) fn round(&mut self, station: usize, life: u64) {
        let Some(process) = self.stations[station].process_of(life) else { return };
        let asks = !process.paused;
        let pace = self.setup.pace();
        self.schedule(self.now + pace, Happening::Round { station, life });
        if !asks {
            return;
        }
        for group in self.setup.checked() {
            let Some(mut process) = self.stations[station].process.take() else { return };
            self.examine(station, &mut process, group);
            self.stations[station].process = Some(process);
        }
    }

    /// Some are run because the engine wants to know.
    pub(super) fn run_checks(
        &mut self,
        station: usize,
        process: &mut Process,
        names: &[CheckName],
    ) {
        for group in names.iter().filter_map(checked_group) {
            self.examine(station, process, group);
        }
    }

    fn examine(&mut self, station: usize, process: &mut Process, group: usize) {
        let began = self.now;
        self.begin(station, process, (QUEUE + group, TOOK), Work::Ask { group, began });
    }

    /// A run has ended.
    pub(super) fn asked(&self, station: usize, group: usize, began: Micros) -> Input {
        let machine = &self.stations[station];
        let outcome = match machine.ailing.contains(&group) {
            true => Outcome::Bad("ailing".to_owned()),
            false => Outcome::Good,
        };
        let took = Duration::from_micros(self.now.saturating_sub(began));
        let run = Run { began: machine.instant(began), took, outcome };
        Input::Checked { check: check_name(group), run }
    }
}
