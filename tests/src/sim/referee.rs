//! The invariants of the design, checked after every step (section 9).
//!
//! The referee knows what really happened: what was cut, killed and plumbed. It
//! judges the kernels' addresses and the engines' status by that. It never
//! tells an engine anything.

mod authority;
mod belief;
mod bounds;
mod clients;
mod lives;
mod policies;
mod rest;
mod sides;
mod steps;
mod truth;
mod window;

use std::collections::BTreeMap;
use std::fmt;

use vippy_core::identity::Epoch;
use vippy_core::status::NodeState;

use super::Micros;
use super::change::{Change, Left};
use super::cluster::Setup;
use super::fabric::Stations;
use super::world::World;
use authority::Reach;
use clients::Astray;
use lives::Lives;
use truth::is_exclusive;
use window::Window;

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
    /// Whether it was judged since then what the neighbours believe.
    belief_judged: bool,
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
            belief_judged: false,
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
        self.judge_belief(world)?;
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
}

fn broken<T>(world: &World, rule: &'static str, text: String) -> Result<T, Violation> {
    Err(Violation { at: world.now(), rule, text })
}
