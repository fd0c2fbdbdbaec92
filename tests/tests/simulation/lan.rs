//! A simulated LAN under test, and what the tests ask it.

use std::time::Duration;

use vippy_core::identity::BootId;
use vippy_core::status::{NodeReason, NodeState};
use vippy_core::time::micros;
use vippy_tests::sim::Micros;
use vippy_tests::sim::change::{Action, Change};
use vippy_tests::sim::cluster::{Setup, Timing};
use vippy_tests::sim::notes::{Doing, Notes};
use vippy_tests::sim::referee::Violation;
use vippy_tests::sim::simulation::Simulation;

/// A cluster under test; tells its story when the test fails.
pub(crate) struct Lan {
    pub(crate) simulation: Simulation,
}

impl Lan {
    /// Machines without processes.
    pub(crate) fn new(setup: Setup) -> Lan {
        let notes = Notes { timeline: 600, doings: true, ..Notes::default() };
        Lan { simulation: Simulation::new(setup, notes) }
    }

    /// All nodes running and at rest.
    pub(crate) fn settled(setup: Setup) -> Lan {
        let nodes = setup.nodes;
        let mut lan = Lan::new(setup);
        (0..nodes).for_each(|node| lan.act(Action::Start(node)));
        lan.settle();
        lan
    }

    pub(crate) fn check<T>(&self, outcome: Result<T, Violation>) -> T {
        outcome.unwrap_or_else(|violation| panic!("{violation}"))
    }

    pub(crate) fn act(&mut self, action: Action) {
        let outcome = self.simulation.act(action);
        self.check(outcome);
    }

    pub(crate) fn settle(&mut self) {
        let outcome = self.simulation.settle();
        self.check(outcome);
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let outcome = self.simulation.run_for(span);
        self.check(outcome);
    }

    pub(crate) fn step(&mut self, until: Micros) -> bool {
        let outcome = self.simulation.step(until);
        self.check(outcome)
    }

    pub(crate) fn now(&self) -> Micros {
        self.simulation.world.now()
    }

    pub(crate) fn timing(&self) -> Timing {
        self.simulation.world.setup.timing
    }

    pub(crate) fn holders(&self, group: usize) -> Vec<usize> {
        self.simulation.world.holders[group].iter().collect()
    }

    pub(crate) fn groups(&self) -> std::ops::Range<usize> {
        0..self.simulation.world.setup.groups.len()
    }

    /// Who holds each group, on any machine.
    pub(crate) fn assignment(&self) -> Vec<Vec<usize>> {
        self.groups().map(|group| self.holders(group)).collect()
    }

    pub(crate) fn held_by(&self, station: usize) -> Vec<usize> {
        self.groups().filter(|group| self.holders(*group).contains(&station)).collect()
    }

    /// Addresses that came or went since `since`.
    pub(crate) fn moves_since(&self, since: Micros) -> Vec<Change> {
        let later = self.simulation.moves.iter().filter(|(at, _)| *at >= since);
        later.map(|(_, change)| change.clone()).collect()
    }

    pub(crate) fn doings_since(&self, since: Micros) -> Vec<Doing> {
        let doings = self.simulation.world.doings.as_deref().unwrap_or_default();
        doings.iter().filter(|doing| doing.at >= since).cloned().collect()
    }

    /// Runs for a while in which no address may come or go.
    pub(crate) fn stay(&mut self, span: Duration) {
        let moves = self.simulation.moves.len();
        let until = self.now() + micros(span);
        while self.step(until) {
            let more = &self.simulation.moves[moves..];
            assert!(more.is_empty(), "something moved: {more:?}");
        }
    }

    /// Runs until `condition` holds and says how long that took.
    pub(crate) fn run_until(
        &mut self,
        most: Duration,
        what: &str,
        condition: impl Fn(&Lan) -> bool,
    ) -> Duration {
        let start = self.now();
        let limit = start + micros(most);
        while !condition(self) {
            assert!(self.step(limit) || condition(self), "not within {most:?}: {what}");
        }
        Duration::from_micros(self.now() - start)
    }

    pub(crate) fn state(&self, station: usize) -> (NodeState, NodeReason) {
        let status = self.simulation.world.status(station).expect("a running process");
        (status.node.state, status.node.reason)
    }

    /// `stale + interval`, with what machines and wire add.
    pub(crate) fn patience(&self) -> Duration {
        self.timing().stale + self.timing().interval + Duration::from_millis(5)
    }

    pub(crate) fn serves_all(&self, station: usize) -> bool {
        self.held_by(station).len() == self.groups().len()
    }

    /// Runs for a while during which `condition` holds all the time.
    pub(crate) fn stay_while(
        &mut self,
        span: Duration,
        what: &str,
        condition: impl Fn(&Lan) -> bool,
    ) {
        let limit = self.now() + micros(span);
        while self.step(limit) {
            assert!(condition(self), "no longer: {what}");
        }
    }

    /// How often a station did this since `since`.
    pub(crate) fn count(&self, station: usize, since: Micros, what: &str) -> usize {
        let doings = self.doings_since(since);
        let of = |doing: &&Doing| doing.station == station && doing.what.starts_with(what);
        doings.iter().filter(of).count()
    }

    /// The identity of a station's process.
    pub(crate) fn boot(&self, station: usize) -> Option<BootId> {
        self.simulation.world.stations[station].process.as_ref().map(|process| process.boot)
    }

    /// The first host outside the cluster.
    pub(crate) fn outsider(&self) -> usize {
        self.simulation.world.setup.outsiders().start
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.simulation.world.timeline);
        }
    }
}
