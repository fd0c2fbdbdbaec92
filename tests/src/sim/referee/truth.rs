//! What is really so: what the wire lets pass, what the machines could hold.

use std::collections::BTreeSet;

use vippy_core::status::NodeState;

use super::Referee;
use crate::sim::fabric::Stations;
use crate::sim::station::Process;
use crate::sim::world::World;

impl Referee {
    /// Whole, lossless, everybody awake, of one mind and with a name of its own.
    pub(super) fn intact(&self, world: &World) -> bool {
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
pub(super) fn one_version(world: &World) -> bool {
    let versions = world.awake().iter().map(|s| world.stations[s].config.shared.version);
    versions.collect::<BTreeSet<_>>().len() <= 1
}

/// Everybody hears everybody directly, or is patient enough for a relay: it
/// starts after one and a half intervals, and forwards the frame after that.
pub(super) fn can_detour(world: &World) -> bool {
    let timings = world.stations.iter().map(|station| &station.config.shared);
    let up = world.awake();
    let direct = |one: usize, other: usize| one == other || world.fabric.hears(one, other);
    up.iter().all(|one| up.iter().all(|other| direct(one, other)))
        || timings.into_iter().all(|shared| shared.stale >= 5 * shared.interval)
}

pub(super) fn process(world: &World, station: usize) -> Option<&Process> {
    world.stations[station].process.as_ref()
}

pub(super) fn takes_part(state: NodeState) -> bool {
    match state {
        NodeState::Active | NodeState::Standby | NodeState::Draining => true,
        NodeState::Booting | NodeState::Leaving => false,
    }
}

/// It knows the group, and nothing makes that impossible there.
pub(super) fn available(world: &World, station: usize, group: usize) -> bool {
    let machine = &world.stations[station];
    group < world.setup.group_count(machine.config.shared.version)
        && !machine.unavailable.contains(&group)
}

/// Available, and nothing fails there or has failed that a daemon may remember.
pub(super) fn can_hold(world: &World, station: usize, group: usize) -> bool {
    available(world, station, group)
        && !world.stations[station].unpluggable.contains(&group)
        && process(world, station).is_some_and(|p| !p.failed.contains_key(&group))
}

pub(super) fn is_exclusive(world: &World, group: usize) -> bool {
    world.setup.groups.get(group).is_some_and(|plan| plan.exclusive)
}

/// Two machines certainly have a two-way path (W2).
pub(super) fn can_talk(world: &World, one: usize, other: usize, up: Stations) -> bool {
    let relays = relays(world, one, other, up);
    relays.is_some_and(|relays| world.fabric.two_way(one, other, relays))
}

/// Two machines may have a two-way path, by whatever relays.
pub(super) fn may_talk(world: &World, one: usize, other: usize, up: Stations) -> bool {
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
pub(super) fn can_learn(world: &World, one: usize, other: usize) -> bool {
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
