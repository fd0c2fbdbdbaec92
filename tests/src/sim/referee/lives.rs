//! What one process may do at the start of its life, after a sleep, and beside
//! another one of its name or boot (O6, F2, W1, W6).

use std::collections::{BTreeMap, BTreeSet};

use vippy_core::status::Holding;

use super::truth::process;
use super::{Referee, Violation, broken};
use crate::sim::Micros;
use crate::sim::change::Action;
use crate::sim::world::World;

/// What the referee remembers of lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Lives {
    /// Groups that a machine had when its process started.
    found: BTreeSet<(usize, usize)>,
    paused: BTreeMap<usize, Micros>,
    /// Nothing but starts so far: when each machine started.
    first_starts: Option<BTreeMap<usize, Micros>>,
    /// How often a group was taken since then.
    first_takes: BTreeMap<usize, u32>,
    /// A second process of a name that started while all was at rest.
    twin: Option<usize>,
    /// Since when two processes with one boot hear each other.
    clones: BTreeMap<(usize, usize), Micros>,
    cloned: bool,
}

impl Lives {
    pub(super) fn new() -> Lives {
        Lives { first_starts: Some(BTreeMap::new()), ..Lives::default() }
    }
}

impl Referee {
    /// Takes note of what was done; `rested`: all was at rest before it.
    pub(super) fn follow_lives(
        &mut self,
        world: &World,
        action: Action,
        rested: bool,
    ) -> Result<(), Violation> {
        let now = world.now();
        let is_twin = |station: usize| station >= world.setup.nodes;
        match (action, &mut self.lives.first_starts) {
            (Action::Start(station), Some(starts)) if !is_twin(station) => {
                starts.entry(station).or_insert(now);
            }
            (_, starts) => *starts = None,
        }
        match action {
            Action::Start(station) => {
                let elder = process(world, 0).is_some();
                self.lives.twin = (rested && elder && is_twin(station)).then_some(station);
                if process(world, station).is_some_and(|process| process.started == now) {
                    let found = (0..self.held.len()).filter(|g| self.held[*g].contains(station));
                    let found: Vec<usize> = found.collect();
                    self.lives.found.retain(|(of, _)| *of != station);
                    self.lives.found.extend(found.into_iter().map(|group| (station, group)));
                }
            }
            Action::Pause(station) if process(world, station).is_some() => {
                self.lives.paused.entry(station).or_insert(now);
            }
            Action::Wake(station) if world.stations[station].frozen.is_none() => {
                let since = self.lives.paused.remove(&station);
                let slept = |since: &Micros| now > since + world.timing().stale();
                // It may have made room for another one at once, or be frozen still.
                let same = process(world, station)
                    .is_some_and(|process| process.started < now && !process.paused);
                if let Some(since) = since.filter(slept).filter(|_| same) {
                    judge_sleeper(world, station, now - since)?;
                }
            }
            Action::StartClone(..) => self.lives.cloned = true,
            // A clock that stood still tells nothing of a sleep.
            Action::Crash(station)
            | Action::PowerFail(station)
            | Action::Freeze(station)
            | Action::Thaw(station) => {
                self.lives.paused.remove(&station);
            }
            Action::Stop(_)
            | Action::Pause(_)
            | Action::Wake(_)
            | Action::Drain(_)
            | Action::DrainFor(..)
            | Action::Restart(_)
            | Action::StepClock(..)
            | Action::Undrain(_)
            | Action::Unavailable(..)
            | Action::Available(..)
            | Action::BreakPlumbing(..)
            | Action::RepairPlumbing(..)
            | Action::UplinkDown(_)
            | Action::UplinkUp(_)
            | Action::Fault(_)
            | Action::Repair(_)
            | Action::Heal
            | Action::Configure(..)
            | Action::Stray(_)
            | Action::StrayGone(_)
            | Action::Claim(_)
            | Action::Sicken(..)
            | Action::Cure(..) => {}
        }
        if !matches!(action, Action::Start(_)) {
            self.lives.twin = None;
        }
        if self.lives.cloned {
            self.look_for_clones(world);
        }
        Ok(())
    }

    /// A machine came to have a group.
    pub(super) fn judge_taker(
        &mut self,
        world: &World,
        station: usize,
        group: usize,
    ) -> Result<(), Violation> {
        let found = self.lives.found.contains(&(station, group));
        let Some(taker) = process(world, station) else { return Ok(()) };
        let booting_ends = taker.started + world.setup.shortest_mature();
        if !found && world.now() < booting_ends {
            let text = format!(
                "s{station} took g{group} {} ms after it started",
                (world.now() - taker.started) / 1000
            );
            return broken(world, "O6: taken before booting ended", text);
        }
        if !found && self.lives.twin == Some(station) && world.setup.multicast {
            let text = format!("s{station} took g{group} while the first of its name lives");
            return broken(world, "W6: a second process of a name took something", text);
        }
        self.judge_first_take(world, station, group)
    }

    /// O6: when all boot together each group goes to its owner and nobody else.
    fn judge_first_take(
        &mut self,
        world: &World,
        station: usize,
        group: usize,
    ) -> Result<(), Violation> {
        let Some(starts) = self.lives.first_starts.as_ref().filter(|_| !self.rest) else {
            return Ok(());
        };
        let takes = self.lives.first_takes.entry(group).or_insert(0);
        *takes += 1;
        let timing = world.timing();
        let (first, last) = (starts.values().min(), starts.values().max());
        let spread = last.zip(first).map_or(0, |(last, first)| last - first);
        // Time to hear each other before the first one's booting ends.
        let close = spread == 0 || spread + 3 * timing.interval() < timing.mature();
        let fails = world.stations.iter().any(|s| !s.unpluggable.is_empty());
        if *takes > 1 && close && !fails && world.fabric.rules().is_empty() {
            let text = format!("s{station} is the second to take g{group} as all boot together");
            return broken(world, "O6: a booting senior was not awaited", text);
        }
        Ok(())
    }

    fn look_for_clones(&mut self, world: &World) {
        let up = world.awake();
        let boot = |station: usize| process(world, station).map(|process| process.boot);
        let pairs = up.iter().flat_map(|one| up.iter().map(move |other| (one, other)));
        let found: BTreeSet<(usize, usize)> = pairs
            .filter(|(one, other)| one < other && boot(*one) == boot(*other))
            .filter(|(one, other)| {
                world.setup.multicast
                    && world.fabric.lossless()
                    && world.stations[*one].uplink
                    && world.stations[*other].uplink
                    && world.fabric.hears_multicast(*one, *other)
                    && world.fabric.hears_multicast(*other, *one)
            })
            .collect();
        self.lives.clones.retain(|pair, _| found.contains(pair));
        for pair in found {
            self.lives.clones.entry(pair).or_insert(world.now());
        }
    }

    /// W1: two processes with one boot find out when they hear each other.
    pub(super) fn judge_clones(&mut self, world: &World) -> Result<(), Violation> {
        if self.lives.clones.is_empty() {
            return Ok(());
        }
        self.look_for_clones(world);
        let bound = 3 * world.timing().interval() + self.slack(world);
        match self.lives.clones.iter().find(|(_, since)| world.now() > **since + bound) {
            Some(((one, other), _)) => {
                let text = format!("s{one} and s{other} both go on with the same boot");
                broken(world, "W1: a clone goes unnoticed", text)
            }
            None => Ok(()),
        }
    }
}

/// F2: who slept for longer than `stale` drops everything first of all.
fn judge_sleeper(world: &World, station: usize, slept: Micros) -> Result<(), Violation> {
    let Some(status) = world.status(station) else { return Ok(()) };
    let kept = status.groups.iter().find(|group| match group.here {
        Holding::Held | Holding::Taking => true,
        Holding::No | Holding::LettingGo => false,
    });
    match kept {
        Some(group) => {
            let text =
                format!("s{station} slept for {} ms and goes on with {}", slept / 1000, group.id);
            broken(world, "F2: a sleep went unnoticed", text)
        }
        None => Ok(()),
    }
}
