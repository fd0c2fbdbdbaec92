//! What was done to the cluster, and what may follow from it until all is at rest
//! again.

use std::collections::BTreeSet;

use super::Referee;
use super::truth::{one_version, process};
use crate::sim::change::Action;
use crate::sim::fabric::{Effect, Stations};
use crate::sim::world::World;

/// What may happen between one rest and the next disturbance that moves things.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Only groups of `allowed` may change hands.
    pub(super) strict: bool,
    /// Groups that something was done to.
    pub(super) allowed: BTreeSet<usize>,
    /// Everything since the last rest was planned: no gap is excused.
    pub(super) planned: bool,
}

impl Window {
    pub(super) fn open() -> Window {
        Window { strict: true, allowed: BTreeSet::new(), planned: true }
    }
}

impl Referee {
    pub(super) fn disturb(&mut self, world: &World) {
        self.acted = world.now();
        self.changed = world.now();
        self.rest = false;
        self.awaited = Referee::has_policy(world);
        self.sides_judged = false;
        self.doubles.clear();
        self.reach.look(world);
        if !self.intact(world) {
            self.torn = world.now();
        }
        let asleep = world.stations.iter().any(|s| s.process.is_some() && !s.awake());
        if asleep || !world.fabric.lossless() || !world.fabric.whole(world.awake()) {
            self.cut = world.now();
        }
        // Whoever goes may have been the relay that kept two others together.
        let staying = |s: &usize| process(world, *s).is_some_and(|p| !p.stopping);
        let staying: Stations = world.awake().iter().filter(staying).collect();
        // Who has just come is not known to be there until it has answered (W1).
        let answered = world.timing().interval() + self.slack(world);
        let known = |s: &usize| self.came.get(s).is_none_or(|at| at + answered <= world.now());
        let names: BTreeSet<_> =
            staying.iter().filter(known).map(|s| world.setup.node_of(s)).collect();
        let few = Referee::lacks_quorum(world, names.len());
        if few || !world.fabric.whole(staying) {
            self.unplanned();
        }
    }

    pub(super) fn acted_upon(&mut self, world: &World, action: Action) {
        if let Action::Start(station) = action
            && process(world, station).is_some_and(|p| p.started == world.now())
        {
            self.came.insert(station, world.now());
        }
        // A tear that ends now lasted until now.
        let (was_torn, was_cut) = (self.torn == self.acted, self.cut == self.acted);
        self.disturb(world);
        if was_torn {
            self.torn = world.now();
        }
        if was_cut {
            self.cut = world.now();
        }
        if matches!(action, Action::Configure(..)) {
            self.configured = world.now();
        }
        let of = |station: usize| {
            let has = |group: &usize| self.held[*group].contains(station);
            (0..self.held.len()).filter(has).collect::<Vec<_>>()
        };
        match action {
            // It adopts what it finds, and gives up what others took meanwhile.
            Action::Start(station) => {
                self.reach.started(station, world.now());
                self.allow(of(station), true);
            }
            Action::Crash(station) | Action::PowerFail(station) => {
                self.stopping.remove(&station);
                self.allow(of(station), false);
            }
            Action::Pause(station) | Action::Freeze(station) => {
                self.stopping.remove(&station);
                self.allow(of(station), false);
            }
            Action::Stop(station) => {
                if world.stations[station].awake() {
                    self.stopping.insert(station, world.now());
                }
                // Who has not heard anybody yet, or hears nobody with a configuration
                // like its own, cannot wait for anybody.
                let mature = world.setup.shortest_mature();
                let settled = process(world, station)
                    .is_none_or(|process| process.started + mature <= world.now());
                self.allow(of(station), settled && one_version(world));
            }
            Action::Drain(station) => self.allow(of(station), true),
            // Who stops is relieved by nobody whose configuration it cannot read.
            Action::Configure(..)
                if world.awake().iter().any(|s| process(world, s).is_some_and(|p| p.stopping)) =>
            {
                self.unplanned();
            }
            Action::DrainFor(station, _) => {
                self.allow(of(station), true);
                self.loosen();
            }
            Action::Undrain(_) | Action::Configure(..) => self.loosen(),
            Action::Restart(station) => {
                self.stopping.remove(&station);
                self.reach.started(station, world.now());
                self.allow(of(station), true);
            }
            Action::StepClock(..) | Action::Stray(_) | Action::StrayGone(_) | Action::Claim(_) => {}
            Action::Unavailable(_, group)
            | Action::Available(_, group)
            | Action::BreakPlumbing(_, group)
            | Action::RepairPlumbing(_, group) => self.allow(vec![group], false),
            // The group moves, if at all, without a gap.
            Action::Sicken(_, group) | Action::Cure(_, group) => self.allow(vec![group], true),
            Action::Wake(station) | Action::Thaw(station) => {
                // Its answers to what it had heard before prove something anew.
                (0..world.stations.len()).for_each(|s| self.reach.started(s, world.now()));
                match process(world, station).is_some_and(|process| process.stopping) {
                    true => self.stopping.insert(station, world.now()),
                    // Meanwhile it was told to make room: its successor was told nothing.
                    false => self.stopping.remove(&station),
                };
                self.unplanned();
            }
            Action::Fault(rule) if matches!(rule.effect, Effect::Double(..)) => {}
            Action::StartClone(..)
            | Action::UplinkDown(_)
            | Action::UplinkUp(_)
            | Action::Fault(_)
            | Action::Repair(_)
            | Action::Heal => self.unplanned(),
        }
    }

    fn allow(&mut self, groups: Vec<usize>, planned: bool) {
        if let Some(window) = &mut self.window {
            window.allowed.extend(groups);
            window.planned &= planned;
        }
    }

    pub(super) fn loosen(&mut self) {
        if let Some(window) = &mut self.window {
            window.strict = false;
        }
    }

    fn unplanned(&mut self) {
        if let Some(window) = &mut self.window {
            window.strict = false;
            window.planned = false;
        }
    }
}
