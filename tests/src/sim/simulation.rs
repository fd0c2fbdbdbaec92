//! A world and its referee: what a scenario drives.

use std::time::Duration;

use vippy_core::time::micros;

use super::Micros;
use super::change::{Action, Change};
use super::cluster::Setup;
use super::notes::Notes;
use super::referee::{Referee, Violation};
use super::world::World;

/// A judged world.
pub struct Simulation {
    /// The machines and the wire.
    pub world: World,
    /// Who judges them.
    pub referee: Referee,
    /// Every appearance and disappearance of addresses so far.
    pub moves: Vec<(Micros, Change)>,
}

impl Simulation {
    /// Machines without processes.
    pub fn new(setup: Setup, notes: Notes) -> Simulation {
        let referee = Referee::new(&setup);
        Simulation { world: World::new(setup, notes), referee, moves: Vec::new() }
    }

    /// One happening, judged; false when nothing more happens before `until`.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn step(&mut self, until: Micros) -> Result<bool, Violation> {
        let more = self.world.step(until);
        self.judge()?;
        Ok(more)
    }

    /// Runs until the world's time is `until`.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run_until(&mut self, until: Micros) -> Result<(), Violation> {
        while self.step(until)? {}
        Ok(())
    }

    /// Does something now, judged.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn act(&mut self, action: Action) -> Result<(), Violation> {
        self.world.act(action);
        self.judge()
    }

    fn judge(&mut self) -> Result<(), Violation> {
        let changes = self.world.changes();
        let moves = changes
            .iter()
            .filter(|change| matches!(change, Change::Gained { .. } | Change::Lost { .. }));
        self.moves.extend(moves.map(|change| (self.world.now(), change.clone())));
        self.referee.observe(&self.world, changes)
    }

    /// Runs for a while.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run_for(&mut self, span: Duration) -> Result<(), Violation> {
        self.run_until(self.world.now() + micros(span))
    }

    /// The longest that a cluster may take to come to rest after a change.
    pub fn patience(&self) -> Micros {
        let timing = self.world.timing();
        let lifetime = self.world.setup.valid_lifetime().unwrap_or(0) + 300_000;
        let policy = self.world.setup.longest_policy();
        3 * self.referee.settling(&self.world) + 2 * timing.mature() + lifetime + policy
    }

    /// Runs until the cluster is at rest.
    ///
    /// # Errors
    /// The first invariant that does not hold; rest not reached is one.
    pub fn settle(&mut self) -> Result<(), Violation> {
        let limit = self.world.now() + self.patience();
        while !self.referee.at_rest() {
            if self.world.now() >= limit {
                let states = self.world.stations.iter().enumerate().filter_map(|(s, station)| {
                    station.process.as_ref().map(|p| format!("s{s} {:?}", p.state))
                });
                let text = format!("not at rest: {}", states.collect::<Vec<_>>().join(", "));
                let rule = "invariant 1: the cluster does not come to rest";
                return Err(Violation { at: self.world.now(), rule, text });
            }
            let next = self.world.now() + micros(self.world.timing().interval) / 4;
            self.run_until(next.min(limit))?;
            self.referee.look_for_rest(&self.world)?;
        }
        Ok(())
    }
}
