//! A network in parts, and a cluster between two configurations: each side that
//! hears itself serves its clients; who is heard by nobody, or is outranked,
//! holds nothing (invariants 1 and 3, O5, O6).

use super::truth::{can_detour, can_hold, can_talk, is_exclusive, process};
use super::{Referee, Violation, broken};
use crate::sim::Micros;
use crate::sim::fabric::Stations;
use crate::sim::world::World;
use vippy_core::status::NodeState;

impl Referee {
    /// Judges the parts once nothing has been done for long enough.
    pub(super) fn judge_sides(&mut self, world: &World) -> Result<(), Violation> {
        let patience = 2 * self.settling(world) + world.timing().stale();
        if self.sides_judged || world.now() <= self.changed + patience {
            return Ok(());
        }
        self.sides_judged = true;
        let up = world.awake();
        let all_fit = up.iter().all(|s| {
            process(world, s).is_some_and(|p| !p.stopping && p.state != NodeState::Booting)
        });
        let named = up.iter().all(|s| s < world.setup.nodes);
        if !world.fabric.lossless() || !named || self.patient || !can_detour(world) {
            return Ok(());
        }
        let highest = up.iter().map(|s| world.stations[s].config.shared.version).max();
        for side in sides(world) {
            self.judge_mute(world, side)?;
            let one_mind =
                side.iter().all(|s| Some(world.stations[s].config.shared.version) == highest);
            if all_fit && one_mind {
                self.judge_side(world, side)?;
            }
        }
        Ok(())
    }

    /// Every group is held among those who hear each other.
    fn judge_side(&self, world: &World, side: Stations) -> Result<(), Violation> {
        let quorate = world.setup.quorum.is_none_or(|quorum| side.len() >= u32::from(quorum));
        // One alone may have to doubt itself (O7).
        if side.len() < 2 || !quorate {
            return Ok(());
        }
        let plain = (0..world.setup.groups.len()).filter(|group| !is_exclusive(world, *group));
        for group in plain {
            let able = side.iter().filter(|s| can_hold(world, *s, group)).count();
            let holders = self.held[group].and(side);
            if able > 0 && holders.len() != 1 {
                let text =
                    format!("{side:?} hear each other, and g{group} is on {holders:?} of them");
                return broken(world, "invariant 1: a side without exactly one holder", text);
            }
        }
        Ok(())
    }

    /// O6: who hears others, and is heard by nobody, holds nothing.
    fn judge_mute(&self, world: &World, side: Stations) -> Result<(), Violation> {
        let Some(station) = side.iter().next().filter(|_| side.len() == 1) else { return Ok(()) };
        // Both were there at the last rest, so they were alive to each other.
        let Some(rested) = self.rested else { return Ok(()) };
        let elder = |s: usize| process(world, s).is_some_and(|p| p.started < rested);
        let up = world.awake().without(station);
        // Who hears nothing at all says so, and proves nothing.
        let not_deaf = |other: usize| {
            let mut machines = up.without(other).iter();
            machines.any(|third| world.fabric.hears(other, third))
                || world.setup.outsiders().any(|outsider| world.answers(outsider, other))
        };
        let hears = up.iter().any(|other| {
            elder(other)
                && not_deaf(other)
                && world.stations[other].uplink
                && world.fabric.hears(station, other)
        });
        // A host outside the cluster that answers it shows that others are deaf (O7).
        let heard = up.iter().any(|other| world.fabric.hears(other, station))
            || world.setup.outsiders().any(|outsider| world.answers(outsider, station));
        let kept = (0..self.held.len()).find(|group| self.held[*group].contains(station));
        match kept.filter(|_| hears && !heard && elder(station)) {
            Some(group) => {
                let text = format!("s{station} hears others, nobody hears it, and it has g{group}");
                broken(world, "O6: a mute node holds", text)
            }
            None => Ok(()),
        }
    }

    /// O5: who knows of an active node with a higher configuration takes nothing
    /// by its own. While frames are lost it may have missed all of them for `stale`.
    pub(super) fn judge_outranked(
        &self,
        world: &World,
        station: usize,
        group: usize,
    ) -> Result<(), Violation> {
        let up = world.awake();
        let version = |s: usize| world.stations[s].config.shared.version;
        let long_ago = |at: Micros| at + self.settling(world) < world.now();
        let heard = world.fabric.lossless() && long_ago(self.cut);
        let judge = up.iter().filter(|_| heard && long_ago(self.configured)).find(|high| {
            version(*high) > version(station)
                && can_talk(world, station, *high, up)
                && process(world, *high).is_some_and(|p| {
                    p.state == NodeState::Active && long_ago(p.started + world.timing().mature())
                })
                && process(world, station).is_some_and(|p| long_ago(p.started))
        });
        match judge {
            Some(judge) => {
                let (low, high) = (version(station), version(judge));
                let text = format!(
                    "s{station} took g{group} by version {low} beside s{judge} with {high}"
                );
                broken(world, "O5: taken by an outranked configuration", text)
            }
            None => Ok(()),
        }
    }
}

/// The machines that are awake in parts, if everybody in a part hears everybody
/// in it and nobody else; otherwise none.
fn sides(world: &World) -> Vec<Stations> {
    let up = world.awake();
    let side = |station: usize| -> Stations {
        up.iter()
            .filter(|other| *other == station || can_talk(world, station, *other, up))
            .collect()
    };
    let all: Vec<(usize, Stations)> = up.iter().map(|station| (station, side(station))).collect();
    let clear = all
        .iter()
        .all(|(_, side)| side.iter().all(|member| self::side_of(&all, member) == Some(*side)));
    let first = |(station, side): &(usize, Stations)| side.iter().next() == Some(*station);
    if clear { all.into_iter().filter(first).map(|(_, side)| side).collect() } else { Vec::new() }
}

fn side_of(all: &[(usize, Stations)], member: usize) -> Option<Stations> {
    all.iter().find(|(station, _)| *station == member).map(|(_, side)| *side)
}
