//! Who may hold nothing (O6, O7), by what really passes on the wire.

use std::collections::{BTreeMap, BTreeSet};

use super::{Referee, Violation, broken, can_talk};
use crate::sim::Micros;
use crate::sim::world::World;

/// Why a machine may hold nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bar {
    /// It reaches too few nodes.
    NoQuorum,
    /// It reaches no node and no witness.
    CutOff,
}

/// Machines that may hold nothing once they have had time to find that out.
#[derive(Clone, Debug, Default)]
pub(super) struct Barred {
    since: BTreeMap<(usize, Bar), Micros>,
    /// Machines that said goodbye once: whoever knows them so does not miss them.
    left: BTreeSet<usize>,
}

impl Barred {
    pub(super) fn exited(&mut self, station: usize) {
        self.left.insert(station);
    }

    /// A new process is given time from its start on.
    pub(super) fn restarted(&mut self, station: usize) {
        self.since.retain(|(barred, _), _| *barred != station);
    }

    /// Looks who is barred now: after something was done to the cluster.
    pub(super) fn look(&mut self, world: &World) {
        let up = world.awake();
        let mut barred = BTreeSet::new();
        for station in up.iter() {
            let reached = up.iter().filter(|other| can_talk(world, station, *other, up)).count();
            if world.setup.quorum.is_some_and(|quorum| reached + 1 < usize::from(quorum)) {
                barred.insert((station, Bar::NoQuorum));
            }
            let missed = up.iter().any(|other| other != station && !self.left.contains(&other));
            let witnessed = world.setup.witnesses().any(|witness| world.answers(witness, station));
            if world.setup.witnesses > 0 && reached == 0 && missed && !witnessed {
                barred.insert((station, Bar::CutOff));
            }
        }
        self.since.retain(|who, _| barred.contains(who));
        for who in barred {
            self.since.entry(who).or_insert(world.now());
        }
    }
}

impl Referee {
    /// O7: whoever has been without quorum or witness for long enough to know
    /// holds nothing.
    pub(super) fn judge_barred(&self, world: &World) -> Result<(), Violation> {
        for ((station, bar), since) in &self.barred.since {
            let patience = match bar {
                Bar::NoQuorum => self.settling(world),
                // The last answer may have come just before the cut.
                Bar::CutOff => self.settling(world) + world.setup.timing.stale().max(300_000),
            };
            if world.now() <= since + patience {
                continue;
            }
            let kept = (0..self.held.len()).find(|group| self.held[*group].contains(*station));
            if let Some(group) = kept {
                let text = format!(
                    "s{station} still has g{group}, {} ms after it came to be {bar:?}",
                    (world.now() - since) / 1000
                );
                return broken(world, "O7: held without authority", text);
            }
        }
        Ok(())
    }

    /// Whether there are too few machines for a quorum.
    pub(super) fn lacks_quorum(world: &World, up: usize) -> bool {
        world.setup.quorum.is_some_and(|quorum| up < usize::from(quorum))
    }
}
