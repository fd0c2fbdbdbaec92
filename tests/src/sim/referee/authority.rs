//! Who may hold nothing (O6, O7), by what really passes on the wire.

use std::collections::{BTreeMap, BTreeSet};

use super::truth::may_talk;
use super::{Referee, Violation, broken};
use crate::sim::Micros;
use crate::sim::world::World;

/// Whom each machine reaches, nodes and hosts outside the cluster, and whom it
/// reached until when.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    now: BTreeSet<(usize, usize)>,
    until: BTreeMap<(usize, usize), Micros>,
    started: BTreeMap<usize, Micros>,
    /// Machines that said goodbye once: whoever knows them so does not miss them.
    left: BTreeSet<usize>,
}

impl Reach {
    pub(super) fn exited(&mut self, station: usize) {
        self.left.insert(station);
    }

    /// A process that starts or wakes up is given time from then on.
    pub(super) fn started(&mut self, station: usize, now: Micros) {
        self.started.insert(station, now);
    }

    /// Looks anew after something was done to the cluster.
    pub(super) fn look(&mut self, world: &World) {
        for pair in std::mem::take(&mut self.now) {
            self.until.insert(pair, world.now());
        }
        let up = world.awake();
        for station in up.iter() {
            let nodes = up.iter().filter(|other| may_talk(world, station, *other, up));
            let hosts = world.setup.outsiders().filter(|host| world.answers(*host, station));
            self.now.extend(nodes.chain(hosts).map(|other| (station, other)));
        }
    }

    /// Whether a machine reached another one at some time since `since`.
    fn reached(&self, station: usize, other: usize, since: Micros) -> bool {
        let pair = (station, other);
        self.now.contains(&pair) || self.until.get(&pair).is_some_and(|until| *until >= since)
    }
}

impl Referee {
    /// O7: whoever has been without quorum or witness for long enough to know
    /// holds nothing.
    pub(super) fn judge_reach(&self, world: &World) -> Result<(), Violation> {
        // Who replays what the wire lost is a wire.
        let judged = world.setup.quorum.is_some() || world.setup.witnesses > 0;
        // A second machine of a name is a peer to some and none to others.
        let named = world.awake().iter().all(|station| station < world.setup.nodes);
        if self.patient || !judged || !named {
            return Ok(());
        }
        for station in world.awake().iter() {
            let kept = (0..self.held.len()).find(|group| self.held[*group].contains(station));
            let Some(group) = kept else { continue };
            let why = if self.lacks_peers(world, station) {
                "is without quorum"
            } else if self.is_cut_off(world, station) {
                "is cut off"
            } else {
                continue;
            };
            let text = format!("s{station} still has g{group} although it {why}");
            return broken(world, "O7: held without authority", text);
        }
        Ok(())
    }

    fn lacks_peers(&self, world: &World, station: usize) -> bool {
        let Some(needed) = world.setup.quorum else { return false };
        // What others forward may be late by as much as what proves it is worth.
        let patience = self.settling(world) + world.timing().stale();
        let Some(since) = self.judged_since(world, station, patience) else { return false };
        let nodes = 0..world.stations.len();
        let reached = nodes.filter(|other| self.reach.reached(station, *other, since)).count();
        reached + 1 < usize::from(needed)
    }

    fn is_cut_off(&self, world: &World, station: usize) -> bool {
        // The last answer may have come just before the cut.
        let stale = world.timing().stale();
        let patience = self.settling(world) + stale + stale.max(300_000);
        let Some(since) = self.judged_since(world, station, patience) else { return false };
        let missed = world.awake().iter().any(|s| s != station && !self.reach.left.contains(&s));
        let mut others = (0..world.stations.len()).chain(world.setup.witnesses());
        let reached = others.any(|other| self.reach.reached(station, other, since));
        world.setup.witnesses > 0 && missed && !reached
    }

    /// The beginning of the time by which a machine is judged, if it ran all the while.
    fn judged_since(&self, world: &World, station: usize, patience: Micros) -> Option<Micros> {
        let since = world.now().checked_sub(patience)?;
        let started = self.reach.started.get(&station).copied().unwrap_or(0);
        (started < since).then_some(since)
    }

    /// Whether there are too few machines for a quorum.
    pub(super) fn lacks_quorum(world: &World, up: usize) -> bool {
        world.setup.quorum.is_some_and(|quorum| up < usize::from(quorum))
    }
}
