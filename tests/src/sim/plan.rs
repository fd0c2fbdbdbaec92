//! What a seed means: a cluster, and what happens to it.

use super::Micros;
use super::change::Action;
use super::cluster::{GroupPlan, Setup, Timing};
use super::fabric::{Effect, Rule, Stations};
use super::health;
use super::policies;
use super::random::Random;

/// The highest version of the configuration that is drawn.
const HIGHEST: u64 = 4;

/// What kind of trouble a seed makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Only what operators plan: starts, stops, drains. Nothing may be lost.
    Planned,
    /// One fault at a time, rest between any two.
    Single,
    /// Everything at once.
    Chaos,
    /// Everything at once, and an attacker who replays whatever there is.
    Siege,
    /// A second process of a name, or a clone, while nothing else happens.
    Doubles,
    /// A higher configuration on one node for a while, and something else.
    Rollout,
}

/// One phase: what happens, then rest.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Actions and their time since the phase's start, in order.
    pub actions: Vec<(Micros, Action)>,
    /// How long everything then stays as it is.
    pub lull: Micros,
    /// What makes the network whole again and wakes everybody.
    pub repair: Vec<Action>,
    /// How long nothing may move after it has come to rest.
    pub calm: Micros,
}

/// What a seed means.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cluster.
    pub setup: Setup,
    /// The kind of trouble.
    pub style: Style,
    /// What happens.
    pub phases: Vec<Phase>,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Plan {
        let mut dice = Random::labelled(seed, &[0x91a7]);
        let style = dice.pick(&[
            Style::Planned,
            Style::Single,
            Style::Single,
            Style::Chaos,
            Style::Chaos,
            Style::Chaos,
            Style::Siege,
            Style::Doubles,
            Style::Rollout,
        ]);
        let mut setup = draw_setup(seed, &mut dice);
        if style == Style::Doubles {
            setup.twins = 1;
            setup.multicast = true;
        }
        let mut phases = vec![boot_phase(&setup, &mut dice)];
        let mut version = 1;
        for _ in 0..dice.between(1, 3) {
            phases.push(match style {
                Style::Doubles => double(&setup, &mut dice),
                Style::Rollout => rollout(&setup, &mut version, &mut dice),
                Style::Planned | Style::Single | Style::Chaos | Style::Siege => {
                    phase(&setup, style, &mut version, &mut dice)
                }
            });
        }
        health::disturb(&setup, &mut phases);
        Plan { setup, style, phases }
    }
}

fn draw_setup(seed: u64, dice: &mut Random) -> Setup {
    let nodes = dice.pick(&[2, 2, 3, 3, 3, 4, 4, 5, 6, 8]);
    let groups = dice.pick(&[1, 2, 3, 5, 6, 8, 13, 40]);
    let mut setup = Setup::new(seed, nodes, groups);
    for plan in &mut setup.groups {
        *plan = GroupPlan {
            prefer: dice.chance(150).then(|| dice.index(nodes)),
            exclusive: dice.chance(100),
            ..GroupPlan::default()
        };
    }
    if dice.chance(300) {
        setup.groups.iter_mut().for_each(|plan| plan.prefer = None);
    }
    setup.timing = draw_timing(dice);
    let interval = setup.timing.interval();
    setup.delay = (20, dice.pick(&[200, 500, interval / 50, interval / 10]).max(20));
    setup.plumbing = dice.pick(&[(0, 0), (100, 2_000), (500, 10_000)]);
    setup.storing = dice.pick(&[(0, 0), (100, 4_000), (1_000, 20_000)]);
    setup.cleaning = setup.seed.is_multiple_of(3).then_some((0, 300_000));
    setup.telling = setup.plumbing;
    setup.lateness = dice.pick(&[(0, 0), (0, 200), (0, 1_000)]);
    setup.multicast = !dice.chance(100);
    setup.peers = dice.chance(500);
    setup.stop_timeout = 4 * setup.timing.stale;
    policies::draw(&mut setup);
    draw_authority(seed, &mut setup);
    draw_later(seed, &mut setup);
    health::draw(&mut setup);
    setup
}

/// Who may hold at all, by chance of its own: most clusters rely on nobody else.
fn draw_authority(seed: u64, setup: &mut Setup) {
    let mut dice = Random::labelled(seed, &[0x0a57]);
    setup.neighbours = dice.pick(&[0, 1, 2, 2, 3]);
    if dice.chance(250) {
        setup.witnesses = setup.neighbours.min(2);
    }
    if dice.chance(200) {
        let majority = setup.nodes / 2 + 1;
        setup.quorum = u16::try_from(dice.pick(&[2, majority])).ok();
    }
    let isolation = dice.pick(&[2, 10]);
    setup.isolation = isolation * setup.timing.stale;
}

/// What later configurations change, and a second machine with the first name.
fn draw_later(seed: u64, setup: &mut Setup) {
    let mut dice = Random::labelled(seed, &[0x1a7e]);
    if dice.chance(500) {
        let mut groups = setup.groups.clone();
        for plan in &mut groups {
            if !dice.chance(200) {
                continue;
            }
            let prefer = dice.chance(500).then(|| dice.index(setup.nodes));
            plan.prefer = prefer.filter(|node| !setup.standby.contains(node));
        }
        let timing = if dice.chance(500) { setup.timing } else { draw_timing(&mut dice) };
        setup.later = Some((groups, timing));
    }
    setup.travels = Random::labelled(seed, &[0x7a4e]).chance(500);
    // Nobody sends to an address that is its own.
    setup.twins = usize::from(dice.chance(200) && setup.multicast);
    setup.delay.1 = setup.delay.1.min(setup.fastest_interval() / 10).max(setup.delay.0);
}

fn draw_timing(dice: &mut Random) -> Timing {
    dice.pick(&[
        Timing::millis(500, 5000, 5000),
        Timing::millis(100, 300, 500),
        Timing::millis(100, 300, 300),
        Timing::millis(20, 60, 100),
        Timing::millis(50, 250, 400),
        Timing::millis(200, 1000, 1000),
    ])
}

fn boot_phase(setup: &Setup, dice: &mut Random) -> Phase {
    let timing = setup.timing;
    let spread = dice.pick(&[0, timing.interval(), 2 * timing.mature()]);
    let count = if dice.chance(800) { setup.nodes } else { dice.index(setup.nodes) + 1 };
    let mut actions: Vec<(Micros, Action)> =
        (0..count).map(|node| (dice.between(0, spread), Action::Start(node))).collect();
    actions.sort_by_key(|(at, _)| *at);
    Phase { actions, lull: 0, repair: Vec::new(), calm: timing.stale() }
}

/// Another process of the first node's name, or a copy of it, for a while.
fn double(setup: &Setup, dice: &mut Random) -> Phase {
    let twin = setup.nodes;
    let timing = setup.timing;
    let start = if dice.chance(500) { Action::Start(twin) } else { Action::StartClone(twin, 0) };
    let mut repair = vec![Action::PowerFail(twin)];
    repair.extend((0..setup.nodes).map(Action::Start));
    let lull = timing.mature() + 4 * timing.stale();
    let actions = vec![(dice.between(0, timing.interval()), start)];
    Phase { actions, lull, repair, calm: timing.stale() }
}

/// A higher configuration on one node; later one of the others dies or drains.
fn rollout(setup: &Setup, version: &mut u64, dice: &mut Random) -> Phase {
    let timing = setup.slowest();
    let first = dice.index(setup.nodes);
    let other = (first + 1 + dice.index(setup.nodes - 1)) % setup.nodes;
    *version = (*version + 1).min(HIGHEST);
    let known = 3 * (timing.stale() + 2 * timing.interval());
    let event = match dice.index(4) {
        0 => Action::Drain(other),
        1 => Action::Restart(other),
        _ => Action::PowerFail(other),
    };
    let actions = vec![(0, Action::Configure(first, *version)), (known, event)];
    let mut repair: Vec<Action> =
        (0..setup.nodes).map(|node| Action::Configure(node, *version)).collect();
    repair.extend((0..setup.nodes).map(Action::Start));
    Phase { actions, lull: 3 * timing.stale(), repair, calm: timing.stale() }
}

fn phase(setup: &Setup, style: Style, version: &mut u64, dice: &mut Random) -> Phase {
    let timing = setup.timing;
    let count = match style {
        Style::Single => 1,
        Style::Planned => dice.between(1, 4),
        Style::Chaos | Style::Siege | Style::Doubles | Style::Rollout => dice.between(1, 8),
    };
    // Things happen at once, while others are under way, or one after the other.
    let pause = dice.pick(&[2 * setup.delay.1, timing.interval(), 2 * timing.stale()]);
    let mut at = 0;
    let mut actions = Vec::new();
    let mut repair = Vec::new();
    for _ in 0..count {
        at += dice.between(0, pause);
        let (action, undo) = match style {
            Style::Planned => (planned(setup, version, dice), None),
            Style::Single | Style::Chaos | Style::Siege | Style::Doubles | Style::Rollout => {
                trouble(setup, version, dice)
            }
        };
        actions.push((at, action));
        if let Some(undo) = undo
            && !repair.contains(&undo)
        {
            // Some faults last to the end of the phase, some are short.
            if dice.chance(400) {
                actions.push((at + dice.between(0, pause), undo));
            }
            repair.push(undo);
        }
    }
    actions.sort_by_key(|(at, _)| *at);
    repair.push(Action::Heal);
    for node in 0..setup.nodes {
        repair.push(Action::Wake(node));
        if style != Style::Single && dice.chance(500) {
            repair.push(Action::Start(node));
        }
    }
    repair.extend((setup.nodes..setup.stations()).map(Action::PowerFail));
    // Everybody gets the newest configuration.
    let newest = (0..setup.nodes).map(|node| Action::Configure(node, *version));
    repair.extend(newest.filter(|_| *version > 1));
    let stops = actions.iter().any(|(_, action)| matches!(action, Action::Stop(_)));
    if let Some(fault) = lasting_fault(setup, dice).filter(|_| !stops) {
        // Everybody is needed to keep the network whole.
        repair.extend((0..setup.nodes).map(Action::Start));
        repair.push(fault);
    }
    let lull = dice.pick(&[0, 0, timing.interval(), 2 * timing.stale(), 6 * timing.stale()]);
    // Neighbours are told three times, over more than two seconds.
    let calm = if dice.chance(200) { timing.stale().max(2_600_000) } else { timing.stale() };
    Phase { actions, lull, repair, calm }
}

/// A fault that leaves the network whole by relay or unicast, and lasts.
fn lasting_fault(setup: &Setup, dice: &mut Random) -> Option<Action> {
    // A relay starts after one and a half intervals, and what it forwards is the
    // frame after that: less patience sees nodes come and go.
    let patient = |timing: Timing| timing.stale >= 5 * timing.interval;
    let all_patient = patient(setup.timing) && setup.later.as_ref().is_none_or(|l| patient(l.1));
    if !all_patient || setup.nodes < 3 || !setup.multicast || !dice.chance(300) {
        return None;
    }
    let (one, other) = (dice.index(2), dice.index(setup.nodes - 2) + 2);
    let rule = match dice.index(3) {
        0 => Rule::between(one, other, Effect::Cut),
        1 if setup.peers => Rule::between(one, other, Effect::Prune),
        _ => Rule::one_way(one, other, Effect::Cut),
    };
    Some(Action::Fault(rule))
}

fn planned(setup: &Setup, version: &mut u64, dice: &mut Random) -> Action {
    let node = dice.index(setup.nodes);
    match dice.index(9) {
        0 | 1 => Action::Start(node),
        2 => Action::Stop(node),
        3 | 4 => Action::Drain(node),
        5 => Action::DrainFor(node, dice.between(0, 4 * setup.timing.stale())),
        6 => Action::Undrain(node),
        7 => Action::Restart(node),
        _ => configure(node, version, dice),
    }
}

/// A higher version, first on one node.
fn configure(node: usize, version: &mut u64, dice: &mut Random) -> Action {
    if *version == 1 || dice.chance(300) {
        *version = (*version + 1).min(HIGHEST);
    }
    Action::Configure(node, *version)
}

/// Something that goes wrong, and what ends it if it does not end by itself.
fn trouble(setup: &Setup, version: &mut u64, dice: &mut Random) -> (Action, Option<Action>) {
    let node = dice.index(setup.nodes);
    let group = dice.index(setup.groups.len());
    match dice.index(30) {
        0 | 1 => (Action::Crash(node), None),
        2 => (Action::Crash(node), Some(Action::Start(node))),
        3 => (Action::PowerFail(node), None),
        4 | 5 => (Action::Start(node), None),
        6 | 7 => (Action::Pause(node), Some(Action::Wake(node))),
        8 => (Action::Stop(node), None),
        9 => (Action::Drain(node), None),
        10 => (Action::Undrain(node), None),
        11 => (Action::DrainFor(node, dice.between(0, 4 * setup.timing.stale())), None),
        12 => (Action::Restart(node), None),
        13 => (configure(node, version, dice), None),
        14 => {
            let hour = 3_600_000;
            let step = dice.pick(&[-hour, -1_000, 1_000, hour]);
            (Action::StepClock(node, step), None)
        }
        15 => (Action::Unavailable(node, group), Some(Action::Available(node, group))),
        16 => (Action::BreakPlumbing(node, group), Some(Action::RepairPlumbing(node, group))),
        17 => (Action::UplinkDown(node), Some(Action::UplinkUp(node))),
        20 => (Action::Freeze(node), Some(Action::Thaw(node))),
        18 if setup.twins > 0 => (Action::Start(setup.nodes), None),
        19 if setup.twins > 0 => (Action::StartClone(setup.nodes, 0), None),
        _ => wire_trouble(setup, node, dice),
    }
}

fn wire_trouble(setup: &Setup, node: usize, dice: &mut Random) -> (Action, Option<Action>) {
    let other = (node + 1 + dice.index(setup.nodes - 1)) % setup.nodes;
    let interval = setup.fastest_interval();
    let rule = match dice.index(10) {
        0 => Rule::one_way(node, other, Effect::Cut),
        1 => Rule::between(node, other, Effect::Cut),
        2 | 3 => {
            let side: Stations = (0..setup.nodes).filter(|_| dice.chance(500)).collect();
            Rule::partition(side)
        }
        4 => Rule::mute(node),
        5 => Rule::deaf(node),
        6 => Rule::everywhere(Effect::Lose(dice.pick(&[10, 50, 200]))),
        7 => Rule::everywhere(Effect::Slow(0, dice.between(0, interval))),
        // A process that starts then finds the others by configured addresses only.
        8 if setup.peers => Rule::everywhere(Effect::Prune),
        _ => Rule::everywhere(Effect::Double(300, interval)),
    };
    (Action::Fault(rule), Some(Action::Repair(rule)))
}

#[cfg(test)]
mod tests {
    use vippy_core::config::parse_document;

    use super::*;

    #[test]
    fn a_seed_always_means_the_same_plan() {
        assert_eq!(format!("{:?}", Plan::draw(11)), format!("{:?}", Plan::draw(11)));
        assert_ne!(format!("{:?}", Plan::draw(11)), format!("{:?}", Plan::draw(12)));
    }

    #[test]
    fn configurations_that_travel_can_be_read() {
        let setups = (0..500).map(|seed| Plan::draw(seed).setup);
        for setup in setups.filter(|setup| setup.travels) {
            for version in 1..=3 {
                let document = setup.config(version).document.clone();
                let read = parse_document(&document, "document");
                assert!(read.is_ok(), "seed {}: {read:?}", setup.seed);
            }
        }
    }

    #[test]
    fn plans_come_in_every_style_and_in_order() {
        let plans: Vec<Plan> = (0..200).map(Plan::draw).collect();
        for style in [
            Style::Planned,
            Style::Single,
            Style::Chaos,
            Style::Siege,
            Style::Doubles,
            Style::Rollout,
        ] {
            assert!(plans.iter().any(|plan| plan.style == style), "{style:?}");
        }
        let phases = plans.iter().flat_map(|plan| &plan.phases);
        assert!(phases.into_iter().all(|phase| phase.actions.is_sorted_by_key(|(at, _)| *at)));
    }
}
