//! What holds when nothing has been done for long enough: one holder a group, the
//! one that ownership names, and everybody says so (invariant 1, O1, O2, O7).

use std::collections::BTreeMap;

use vippy_core::status::{NodeState, Status};

use super::clients::Astray;
use super::truth::{available, can_hold, process, takes_part};
use super::window::Window;
use super::{Referee, Violation, broken};
use crate::sim::Micros;
use crate::sim::cluster::node_name;
use crate::sim::fabric::Stations;
use crate::sim::world::World;

/// Time in which neighbour caches travel, in microseconds.
const CACHES: Micros = 2_000_000;

impl Referee {
    pub(super) fn judge_rest(&mut self, world: &World) -> Result<(), Violation> {
        let settled = self.changed + self.settling(world);
        if world.now() < settled || !self.intact(world) {
            return Ok(());
        }
        if Referee::lacks_quorum(world, world.awake().len() as usize) {
            return self.judge_nothing_held(world);
        }
        let booting = |station: &usize| {
            process(world, *station).is_some_and(|p| p.state == NodeState::Booting)
        };
        if let Some(station) = world.awake().iter().find(booting) {
            let limit = self.acted + self.settling(world) + world.timing().mature();
            if world.now() > limit {
                let text = format!("s{station} is still booting");
                return broken(world, "O6: booting does not end", text);
            }
            return Ok(());
        }
        if world.now() < self.acted + self.fencing(world) && self.awaits_fence(world) {
            return Ok(());
        }
        if self.retries(world) || self.misses_caches(world)? {
            return Ok(());
        }
        // What has just ended is a change that nobody saw.
        let awaits = self.awaits_policy(world);
        if std::mem::replace(&mut self.awaited, awaits) || awaits {
            self.changed = world.now();
            return Ok(());
        }
        self.judge_holders(world)?;
        self.judge_clients(world)?;
        self.astray = Astray::default();
        self.rest = true;
        self.rested = Some(world.now());
        self.belief_judged = false;
        self.window = Some(Window::open());
        Ok(())
    }

    /// Somebody has just tried again what failed there before: for a moment it did
    /// not refuse it, and not everybody may know yet that it does.
    fn retries(&self, world: &World) -> bool {
        let slack = self.slack(world);
        let processes = world.stations.iter().filter_map(|station| station.process.as_ref());
        let mut tried = processes.flat_map(|process| process.failed.values());
        tried.any(|at| world.now() <= at + slack)
    }

    /// N2: everybody comes to know what each other node's machine knows.
    fn misses_caches(&self, world: &World) -> Result<bool, Violation> {
        if !world.setup.travels {
            return Ok(false);
        }
        let nodes: Vec<usize> =
            world.awake().iter().filter(|station| *station < world.setup.nodes).collect();
        for station in &nodes {
            let Some(status) = world.status(*station) else { continue };
            let known = |other: &&usize| {
                let expected = world.neighbours(**other).len();
                status.neighbours.get(&node_name(**other)) == Some(&expected)
            };
            if let Some(other) = nodes.iter().find(|other| !known(other)) {
                let limit = self.acted + self.settling(world) + world.timing().mature() + CACHES;
                if world.now() > limit {
                    let text = format!("s{station} does not know the neighbours of s{other}");
                    return broken(world, "N2: a neighbour cache does not arrive", text);
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// O7: without a quorum all are at rest when nobody holds anything.
    fn judge_nothing_held(&mut self, world: &World) -> Result<(), Violation> {
        let up = world.awake();
        if let Some(group) = (0..self.held.len()).find(|g| !self.held[*g].and(up).is_empty()) {
            let text = format!("g{group} is held by {:?} of {up:?}", self.held[group].and(up));
            return broken(world, "O7: held without a quorum", text);
        }
        self.rest = true;
        self.window = None;
        Ok(())
    }

    /// Whether an exclusive group has no holder (yet): its last one may have
    /// fallen silent, and its fence time must run out before the next one takes it.
    fn awaits_fence(&self, world: &World) -> bool {
        let up = world.awake();
        let mut groups = world.setup.groups.iter().enumerate();
        groups.any(|(group, plan)| plan.exclusive && self.held[group].and(up).is_empty())
    }

    /// Invariant 1, and that ownership is a function of who is there (O1, O2).
    fn judge_holders(&mut self, world: &World) -> Result<(), Violation> {
        let up = world.awake();
        let views: BTreeMap<usize, Status> =
            up.iter().filter_map(|s| world.status(s).map(|view| (s, view))).collect();
        let version = up.iter().map(|s| world.stations[s].config.shared.version).max();
        judge_configurations(world, up)?;
        for group in 0..world.setup.group_count(version.unwrap_or(1)) {
            let may: Stations = up
                .iter()
                .filter(|s| process(world, *s).is_some_and(|p| takes_part(p.state)))
                .filter(|s| available(world, *s, group))
                .collect();
            let sure: Stations = may.iter().filter(|s| can_hold(world, *s, group)).collect();
            let holders = self.held[group].and(up);
            if holders.len() > 1 || holders.is_empty() && !sure.is_empty() {
                let text = format!(
                    "g{group} is held by {holders:?}, one of {sure:?} should; they say {}",
                    opinions(&views, group)
                );
                return broken(world, "invariant 1: not exactly one holder", text);
            }
            let Some(holder) = holders.iter().next() else { continue };
            if !may.contains(holder) {
                let text = format!("g{group} is held by s{holder}; eligible are {may:?}");
                return broken(world, "invariant 1: an ineligible holder", text);
            }
            judge_agreement(world, &views, group, holder)?;
            self.judge_keeping(world, group, holder, sure)?;
            self.judge_choice(world, group, holder, sure)?;
        }
        self.judge_evenness(world)?;
        judge_epochs(world, &views)
    }

    /// A group's holder follows from the candidates alone: for any two sets,
    /// the one chosen from either is the same if both contain both.
    fn judge_choice(
        &mut self,
        world: &World,
        group: usize,
        holder: usize,
        sure: Stations,
    ) -> Result<(), Violation> {
        let active: Stations = sure
            .iter()
            .filter(|s| process(world, *s).is_some_and(|p| p.state == NodeState::Active))
            .collect();
        if active.is_empty() {
            return Ok(());
        }
        Referee::judge_tier(world, group, holder, active)?;
        let draining = process(world, holder).is_some_and(|p| p.state == NodeState::Draining);
        if !active.contains(holder) && !draining {
            // Active, but something failed there once: it may or may not refuse.
            return Ok(());
        }
        if draining {
            let text = format!("g{group} is held by s{holder} although {active:?} are active");
            return broken(world, "O3: a worse tier holds", text);
        }
        if !Referee::is_plain(world, group) {
            return Ok(());
        }
        let version = world.stations[holder].config.shared.version;
        let preferred = world.setup.preferred(version, group);
        if let Some(node) = preferred.filter(|node| active.contains(*node) && *node != holder) {
            let text = format!("g{group} is held by s{holder}, not by its preferred s{node}");
            return broken(world, "O2: preference not honoured", text);
        }
        // Another configuration may have another succession.
        if version != 1 {
            return Ok(());
        }
        for (other, chosen) in &self.choices[group] {
            if *chosen != holder && other.contains(holder) && active.contains(*chosen) {
                let text = format!(
                    "g{group} went to s{chosen} of {other:?} but to s{holder} of {active:?}"
                );
                return broken(world, "O2: ownership is not a succession", text);
            }
        }
        self.choices[group].insert(active, holder);
        Ok(())
    }

    fn judge_evenness(&self, world: &World) -> Result<(), Violation> {
        let nodes = world.setup.nodes;
        let plain = |group: usize| {
            world.setup.groups[group].prefer.is_none()
                && Referee::is_plain(world, group)
                && world.stations.iter().all(|station| !station.unavailable.contains(&group))
        };
        let up = world.awake();
        let active = up
            .iter()
            .filter(|s| process(world, *s).is_some_and(|p| p.state == NodeState::Active))
            .count();
        let failed = up.iter().any(|s| process(world, s).is_some_and(|p| !p.failed.is_empty()));
        let count = world.setup.groups.len();
        let first = world.stations.iter().all(|station| station.config.shared.version == 1);
        if !first
            || failed
            || !world.setup.standby.is_empty()
            || active + 1 < nodes
            || !(0..count).all(plain)
        {
            return Ok(());
        }
        let shares = up
            .iter()
            .filter(|s| process(world, *s).is_some_and(|p| p.state == NodeState::Active))
            .map(|s| (0..count).filter(|group| self.held[*group].contains(s)).count());
        let shares: Vec<usize> = shares.collect();
        let spread = shares.iter().max().zip(shares.iter().min()).map_or(0, |(a, b)| a - b);
        let allowed = if active == nodes { 1 } else { 2 };
        if spread > allowed {
            let text = format!("shares {shares:?} with {active} of {nodes} nodes active");
            return broken(world, "O2: uneven shares", text);
        }
        Ok(())
    }
}

fn judge_agreement(
    world: &World,
    views: &BTreeMap<usize, Status>,
    group: usize,
    holder: usize,
) -> Result<(), Violation> {
    let name = world.setup.node_of(holder);
    for (station, view) in views {
        let seen = view.groups.get(group);
        let agrees =
            seen.is_some_and(|g| g.holders == [name.clone()] && g.owner.as_ref() == Some(&name));
        if !agrees {
            let text =
                format!("g{group} is on s{holder}, but s{station} says {}", opinions(views, group));
            return broken(world, "invariant 1: no agreement", text);
        }
    }
    Ok(())
}

fn judge_epochs(world: &World, views: &BTreeMap<usize, Status>) -> Result<(), Violation> {
    for group in 0..world.setup.groups.len() {
        for (station, view) in views {
            let Some(seen) = view.groups.get(group) else { continue };
            let own = view.identity == node_name(*station) && seen.holders.contains(&view.identity);
            if own && seen.epoch.is_none() {
                let text = format!("s{station} holds g{group} without a fencing number");
                return broken(world, "W7: no epoch", text);
            }
        }
    }
    Ok(())
}

fn opinions(views: &BTreeMap<usize, Status>, group: usize) -> String {
    let opinion = |(station, view): (&usize, &Status)| {
        let Some(g) = view.groups.get(group) else { return format!("s{station}: unknown") };
        let owner = g.owner.as_ref().map_or("_", |owner| owner.as_str());
        let holders: Vec<&str> = g.holders.iter().map(|holder| holder.as_str()).collect();
        format!("s{station}: owner {owner}, holders {holders:?}, here {:?}", g.here)
    };
    views.iter().map(opinion).collect::<Vec<_>>().join("; ")
}

/// Invariant 6: where configurations travel, all nodes run the highest one.
fn judge_configurations(world: &World, up: Stations) -> Result<(), Violation> {
    let version = |station: usize| world.stations[station].config.shared.version;
    let nodes = up.iter().filter(|station| *station < world.setup.nodes);
    let versions: Vec<(usize, u64)> = nodes.map(|station| (station, version(station))).collect();
    let highest = versions.iter().map(|(_, version)| *version).max();
    let behind = versions.iter().find(|(_, version)| Some(*version) != highest);
    match behind.filter(|_| world.setup.travels) {
        Some((station, _)) => {
            let text = format!("s{station} is behind: {versions:?}");
            broken(world, "invariant 6: more than one configuration", text)
        }
        None => Ok(()),
    }
}
