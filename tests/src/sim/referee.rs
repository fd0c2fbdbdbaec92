//! The invariants of the design, checked after every step (section 9).
//!
//! The referee knows what really happened: what was cut, killed and plumbed. It
//! judges the kernels' addresses and the engines' status by that. It never
//! tells an engine anything.

mod authority;
mod clients;
mod lives;
mod policies;
mod sides;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use vippy_core::identity::Epoch;
use vippy_core::status::{NodeState, Status};

use super::Micros;
use super::change::{Action, Change, Left};
use super::cluster::{Setup, node_name};
use super::fabric::{Effect, Stations};
use super::station::Process;
use super::world::World;
use authority::Reach;
use clients::Astray;
use lives::Lives;

/// How long a node with an older configuration waits for the newer one (O5).
const ROLLOUT: Micros = 30_000_000;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it was seen.
    pub at: Micros,
    /// Which one, in a few words.
    pub rule: &'static str,
    /// What was found and what was expected.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at / 1_000_000, self.at % 1_000_000);
        write!(f, "{}: {} (at {seconds}.{micros:06} s)", self.rule, self.text)
    }
}

/// What may happen between one rest and the next disturbance that moves things.
#[derive(Clone, Debug)]
struct Window {
    /// Only groups of `allowed` may change hands.
    strict: bool,
    /// Groups that something was done to.
    allowed: BTreeSet<usize>,
    /// Everything since the last rest was planned: no gap is excused.
    planned: bool,
}

impl Window {
    fn open() -> Window {
        Window { strict: true, allowed: BTreeSet::new(), planned: true }
    }
}

/// Judges a world.
pub struct Referee {
    /// Kernels' addresses as told by changes, in their order.
    held: Vec<Stations>,
    /// Since when a machine has a group.
    gained: BTreeMap<(usize, usize), Micros>,
    /// Last time anybody did anything to the cluster.
    acted: Micros,
    /// That, or the last end of booting.
    changed: Micros,
    /// Last time when the network was not whole and lossless.
    torn: Micros,
    /// At rest: invariant 1 was seen to hold since the last change.
    rest: bool,
    window: Option<Window>,
    /// Since when two holders that hear each other share a group.
    doubles: BTreeMap<usize, Micros>,
    /// For each group: who held it at rest, by the set of candidates.
    choices: Vec<BTreeMap<Stations, usize>>,
    /// At the last look some node left a group to others for now, or might have:
    /// nobody has looked since something happened.
    awaited: bool,
    /// Who held each group at the last rest and was not to give it away.
    kept: BTreeMap<usize, usize>,
    fences: BTreeMap<(usize, Epoch), usize>,
    stopping: BTreeMap<usize, Micros>,
    /// When somebody last started a machine's daemon; it may have replaced itself since.
    came: BTreeMap<usize, Micros>,
    reach: Reach,
    astray: Astray,
    lives: Lives,
    /// When all was last at rest.
    rested: Option<Micros>,
    sides_judged: bool,
    /// When the network was last in parts or losing packets, or somebody paused.
    cut: Micros,
    /// When somebody last got a configuration.
    configured: Micros,
    /// Anything may be replayed: lives may be prolonged within W1's bounds.
    pub patient: bool,
    /// Rest is looked for only when asked for: when it is seen must not hang on
    /// how often something happens.
    pub asked: bool,
}

impl Referee {
    /// For a world that has just been made.
    pub fn new(setup: &Setup) -> Referee {
        let groups = setup.groups.len() + 8;
        Referee {
            held: vec![Stations::NONE; groups],
            gained: BTreeMap::new(),
            acted: 0,
            changed: 0,
            torn: 0,
            rest: false,
            window: None,
            doubles: BTreeMap::new(),
            choices: vec![BTreeMap::new(); groups],
            awaited: false,
            kept: BTreeMap::new(),
            fences: BTreeMap::new(),
            stopping: BTreeMap::new(),
            came: BTreeMap::new(),
            reach: Reach::default(),
            astray: Astray::default(),
            lives: Lives::new(),
            rested: None,
            sides_judged: false,
            cut: 0,
            configured: 0,
            patient: false,
            asked: false,
        }
    }

    /// Whether the cluster has come to rest since the last disturbance.
    pub fn at_rest(&self) -> bool {
        self.rest
    }

    /// Judges one step.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn observe(&mut self, world: &World, changes: Vec<Change>) -> Result<(), Violation> {
        let quiet = changes.is_empty();
        for change in changes {
            self.change(world, change)?;
        }
        if !quiet {
            self.look_for_doubles(world);
        }
        self.judge_doubles(world)?;
        self.judge_stops(world)?;
        self.judge_reach(world)?;
        self.judge_astray(world)?;
        self.judge_clones(world)?;
        if self.asked { Ok(()) } else { self.look_for_rest(world) }
    }

    /// Looks whether all has come to rest.
    ///
    /// # Errors
    /// The first invariant that does not hold although all should be at rest.
    pub fn look_for_rest(&mut self, world: &World) -> Result<(), Violation> {
        if self.rest {
            return Ok(());
        }
        self.judge_sides(world)?;
        self.judge_rest(world)
    }

    // ---- changes ---------------------------------------------------------

    fn change(&mut self, world: &World, change: Change) -> Result<(), Violation> {
        match change {
            Change::Broken(text) => return broken(world, "an engine misbehaves", text),
            Change::Acted(action) => {
                let rested = self.rest;
                self.acted_upon(world, action);
                self.follow_lives(world, action, rested)?;
            }
            Change::Heard { group } => self.follow_clients(world, group)?,
            Change::Exited(station) => {
                self.stopping.remove(&station);
                self.reach.exited(station);
                self.disturb(world);
            }
            Change::State { before, after, .. } => {
                let booted = before == NodeState::Booting && after != NodeState::Booting;
                if booted || Referee::takes_more_part(before, after) {
                    self.changed = world.now();
                    self.rest = false;
                    self.awaited = Referee::has_policy(world);
                    self.sides_judged = false;
                    self.loosen();
                }
            }
            Change::Fenced { station, group, epoch } => {
                let owner = *self.fences.entry((group, epoch)).or_insert(station);
                // Two processes of one name are told apart by nothing else.
                if world.setup.node_of(owner) != world.setup.node_of(station) {
                    let text = format!("g{group}: s{owner} and s{station} both took it as {epoch}");
                    return broken(world, "W7: an epoch ties", text);
                }
            }
            Change::Gained { station, group } => {
                self.held[group] = self.held[group].with(station);
                self.gained.insert((station, group), world.now());
                self.judge_movement(world, station, group, "took")?;
                self.judge_exclusive(world, station, group)?;
                self.note_timed(world, group);
                self.judge_taker(world, station, group)?;
                self.judge_outranked(world, station, group)?;
                self.follow_clients(world, group)?;
                // It came late, after a fence time: the others need time to hear.
                if !self.rest && is_exclusive(world, group) {
                    self.changed = world.now();
                }
            }
            Change::Lost { station, group, left } => {
                self.held[group] = self.held[group].without(station);
                // What the dead and the paused had left is not a move.
                if world.stations[station].awake() {
                    self.judge_movement(world, station, group, "lost")?;
                }
                if left == Left::Unplumbed {
                    self.judge_gap(world, station, group)?;
                }
                self.follow_clients(world, group)?;
            }
        }
        Ok(())
    }

    fn disturb(&mut self, world: &World) {
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

    fn acted_upon(&mut self, world: &World, action: Action) {
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
            Action::StepClock(..) => {}
            Action::Unavailable(_, group)
            | Action::Available(_, group)
            | Action::BreakPlumbing(_, group)
            | Action::RepairPlumbing(_, group) => self.allow(vec![group], false),
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

    fn loosen(&mut self) {
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

    // ---- single steps ----------------------------------------------------

    /// Invariant 4.
    fn judge_movement(
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
    fn judge_exclusive(&self, world: &World, taker: usize, group: usize) -> Result<(), Violation> {
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

    fn torn_before(&self, world: &World, at: Micros, patience: Micros) -> bool {
        self.intact(world) && self.torn + patience < at
    }

    /// Invariant 2: a planned move leaves no gap.
    fn judge_gap(&self, world: &World, station: usize, group: usize) -> Result<(), Violation> {
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
    fn judge_doubles(&self, world: &World) -> Result<(), Violation> {
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

    fn look_for_doubles(&mut self, world: &World) {
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

    fn judge_stops(&self, world: &World) -> Result<(), Violation> {
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

    // ---- rest ------------------------------------------------------------

    fn judge_rest(&mut self, world: &World) -> Result<(), Violation> {
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
        if self.retries(world) {
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

    // ---- bounds ----------------------------------------------------------

    /// Time after a change until invariant 1 must hold.
    pub fn settling(&self, world: &World) -> Micros {
        let timing = world.timing();
        timing.stale() + 2 * timing.interval() + self.slack(world)
    }

    /// Time after a change until an exclusive group must have a new holder.
    fn fencing(&self, world: &World) -> Micros {
        let valid = world.setup.valid_lifetime().unwrap_or(0);
        let fence = world.timing().stale() + valid + 300_000;
        self.settling(world) + fence
    }

    /// What the machines and the wire add to the protocol's own times.
    fn slack(&self, world: &World) -> Micros {
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

    /// Whole, lossless, everybody awake, of one mind and with a name of its own.
    fn intact(&self, world: &World) -> bool {
        let up = world.awake();
        let running = || world.stations.iter().filter(|s| s.process.is_some());
        let mut names = BTreeSet::new();
        world.fabric.lossless()
            && running()
                .all(|s| s.uplink && s.process.as_ref().is_some_and(|p| !p.paused && !p.stopping))
            && up.iter().all(|s| names.insert(world.setup.node_of(s)))
            && one_version(world)
            && world.fabric.whole(up)
            && can_detour(world)
            && up.iter().all(|s| world.setup.outsiders().all(|o| world.answers(o, s)))
    }
}

/// Whether all who are awake have the same configuration.
fn one_version(world: &World) -> bool {
    let versions = world.awake().iter().map(|s| world.stations[s].config.shared.version);
    versions.collect::<BTreeSet<_>>().len() <= 1
}

/// Everybody hears everybody directly, or is patient enough for a relay: it
/// starts after one and a half intervals, and forwards the frame after that.
fn can_detour(world: &World) -> bool {
    let timings = world.stations.iter().map(|station| &station.config.shared);
    let up = world.awake();
    let direct = |one: usize, other: usize| one == other || world.fabric.hears(one, other);
    up.iter().all(|one| up.iter().all(|other| direct(one, other)))
        || timings.into_iter().all(|shared| shared.stale >= 5 * shared.interval)
}

fn broken<T>(world: &World, rule: &'static str, text: String) -> Result<T, Violation> {
    Err(Violation { at: world.now(), rule, text })
}

fn process(world: &World, station: usize) -> Option<&Process> {
    world.stations[station].process.as_ref()
}

fn takes_part(state: NodeState) -> bool {
    match state {
        NodeState::Active | NodeState::Standby | NodeState::Draining => true,
        NodeState::Booting | NodeState::Leaving => false,
    }
}

/// It knows the group, and nothing makes that impossible there.
fn available(world: &World, station: usize, group: usize) -> bool {
    let machine = &world.stations[station];
    group < world.setup.group_count(machine.config.shared.version)
        && !machine.unavailable.contains(&group)
}

/// Available, and nothing fails there or has failed that a daemon may remember.
fn can_hold(world: &World, station: usize, group: usize) -> bool {
    available(world, station, group)
        && !world.stations[station].unpluggable.contains(&group)
        && process(world, station).is_some_and(|p| !p.failed.contains_key(&group))
}

fn is_exclusive(world: &World, group: usize) -> bool {
    world.setup.groups.get(group).is_some_and(|plan| plan.exclusive)
}

/// Two machines certainly have a two-way path (W2).
fn can_talk(world: &World, one: usize, other: usize, up: Stations) -> bool {
    let relays = relays(world, one, other, up);
    relays.is_some_and(|relays| world.fabric.two_way(one, other, relays))
}

/// Two machines may have a two-way path, by whatever relays.
fn may_talk(world: &World, one: usize, other: usize, up: Stations) -> bool {
    let (fabric, relays) = (&world.fabric, relays(world, one, other, up));
    relays.is_some_and(|relays| {
        fabric.may_reach(one, other, relays) && fabric.may_reach(other, one, relays)
    })
}

/// Who might forward between two machines, if these can be peers at all. Nobody
/// forwards who cannot send, or who bears the name of one of the two: to that one
/// it is no peer (W6).
fn relays(world: &World, one: usize, other: usize, up: Stations) -> Option<Stations> {
    let name = |station: usize| world.setup.node_of(station);
    let speaks = |station: &usize| world.stations[*station].uplink;
    let of_pair = |station: &usize| name(*station) == name(one) || name(*station) == name(other);
    let relays = || up.iter().filter(speaks).filter(|station| !of_pair(station)).collect();
    (name(one) != name(other) && speaks(&one) && speaks(&other)).then(relays)
}

/// Without multicast others answer a process that they have not met at the address
/// of its name. The second machine of a name is not there, and hears of nothing;
/// nor does the first one while it has a clone, of which an echo of their boot
/// would tell it.
fn can_learn(world: &World, one: usize, other: usize) -> bool {
    let boot = |station: usize| process(world, station).map(|process| process.boot);
    let second = |station: usize| station >= world.setup.nodes;
    let cloned = |station: usize| {
        (0..world.stations.len()).any(|s| s != station && boot(s) == boot(station))
    };
    let unanswered = |station: usize| second(station) || cloned(station);
    let multicast = world.setup.multicast
        && world.fabric.hears_multicast(one, other)
        && world.fabric.hears_multicast(other, one);
    multicast || !(unanswered(one) || unanswered(other))
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
