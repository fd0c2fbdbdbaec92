//! Random plans: what a seed means, how it is run and how its failure is told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::Micros;
use super::attacker::{Attacker, Replays};
use super::change::Action;
use super::cluster::{GroupPlan, Setup, Timing};
use super::fabric::{Effect, Rule, Stations};
use super::notes::{Doing, Notes};
use super::policies;
use super::random::Random;
use super::referee::Violation;
use super::simulation::Simulation;
use crate::replay::{self, Summary};

/// Lines of story that a failure tells.
const STORY: usize = 400;

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
}

/// One phase: what happens, then rest.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Actions and their time since the phase's start, in order.
    pub actions: Vec<(Micros, Action)>,
    /// What makes the network whole again and wakes everybody.
    pub repair: Vec<Action>,
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

/// What came of a plan that held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Virtual time.
    pub elapsed: Micros,
    /// Times at rest.
    pub rests: u32,
}

/// What came of a plan that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// The cluster, in one line.
    pub setup: String,
    /// The last happenings; empty if not recorded.
    pub story: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.story)?;
        writeln!(f, "seed {}: {}", self.seed, self.setup)?;
        writeln!(f, "seed {}: {}", self.seed, self.what)?;
        write!(
            f,
            "again: cargo run --release -p vippy-tests --bin simulate -- --seed {} --timeline",
            self.seed
        )
    }
}

/// Runs a seed; when it fails, runs it again to tell the story.
///
/// # Errors
/// The invariant that did not hold, or the panic.
pub fn run(seed: u64) -> Result<Report, Failure> {
    let plan = Plan::draw(seed);
    let told = tell(&plan, Notes::default())
        .or_else(|_| tell(&plan, Notes { timeline: STORY, ..Notes::default() }));
    told.map(|(report, _)| report)
}

/// Runs a seed, without a story if it fails.
///
/// # Errors
/// The invariant that did not hold, or the panic.
pub fn check(seed: u64) -> Result<Report, Failure> {
    tell(&Plan::draw(seed), Notes::default()).map(|(report, _)| report)
}

/// Runs a plan and tells its story.
///
/// # Errors
/// The invariant that did not hold, or the panic.
pub fn tell(plan: &Plan, notes: Notes) -> Result<(Report, String), Failure> {
    let mut simulation = Simulation::new(plan.setup.clone(), notes);
    if plan.style == Style::Siege {
        besiege(&mut simulation, Replays::Any);
    }
    let report = drive(plan, &mut simulation)?;
    Ok((report, simulation.world.timeline.to_string()))
}

/// Runs a seed with and without an attacker and compares what the engines did
/// (invariant 5).
///
/// # Errors
/// An invariant that did not hold, or the first difference.
pub fn compare(seed: u64) -> Result<Report, Failure> {
    let mut plan = Plan::draw(seed);
    plan.style = Style::Chaos;
    // A daemon that wakes late may notice a deadline when any datagram wakes it:
    // true of life, but not what this compares.
    plan.setup.lateness = (0, 0);
    plan.setup.timer_first = true;
    // Without multicast a node answers whoever speaks under a known name at the
    // address it knows: an echo (W1), but a datagram more.
    plan.setup.multicast = true;
    // When a group that time alone moves counts as at rest depends on when somebody
    // looks, and so does the next action of the plan.
    policies::forget(&mut plan.setup);
    let doings = |attacked: bool| {
        let notes = Notes { doings: true, timeline: 100_000, ..Notes::default() };
        let mut simulation = Simulation::new(plan.setup.clone(), notes);
        if attacked {
            besiege(&mut simulation, Replays::Known);
            simulation.referee.patient = false;
        }
        let report = drive(&plan, &mut simulation)?;
        let doings = simulation.world.doings.take().unwrap_or_default();
        Ok((report, doings, simulation.world.timeline))
    };
    let (report, calm, _) = doings(false)?;
    let (_, attacked, timeline) = doings(true)?;
    match difference(&calm, &attacked) {
        None => Ok(report),
        Some((at, text)) => {
            let what = format!("invariant 5: an attacker changed something: {text}");
            let before = 2 * plan.setup.timing.stale();
            let story = timeline.between(at.saturating_sub(before), at);
            Err(Failure { seed, what, setup: describe(&plan), story })
        }
    }
}

/// Runs a seed and gives every output, byte for byte.
///
/// # Errors
/// The invariant that did not hold, or the panic.
pub fn outputs(seed: u64) -> Result<Vec<u8>, Failure> {
    let plan = Plan::draw(seed);
    let mut simulation =
        Simulation::new(plan.setup.clone(), Notes { outputs: true, ..Notes::default() });
    drive(&plan, &mut simulation)?;
    Ok(simulation.world.outputs.take().unwrap_or_default())
}

/// Runs a seed with flight recorders of so many bytes and goes through every
/// recording again.
///
/// # Errors
/// The invariant that did not hold, or what a replay did otherwise.
pub fn replay(seed: u64, recorders: usize) -> Result<Summary, Failure> {
    let plan = Plan::draw(seed);
    let notes = Notes { recorders, ..Notes::default() };
    let mut simulation = Simulation::new(plan.setup.clone(), notes);
    if plan.style == Style::Siege {
        besiege(&mut simulation, Replays::Any);
    }
    drive(&plan, &mut simulation)?;
    let mut total = Summary::default();
    for (station, machine) in simulation.world.stations.iter().enumerate() {
        let Some(recording) = machine.process.as_ref().and_then(|p| p.engine.recording()) else {
            continue;
        };
        let failure = |what: String| Failure {
            seed,
            what: format!("the recording of s{station} does not happen again: {what}"),
            setup: describe(&plan),
            story: String::new(),
        };
        let lines = replay::lines(recording).map_err(|error| failure(error.to_string()))?;
        let again = replay::replay(lines.iter().map(String::as_str), |_, _| {});
        let again = again.map_err(|deviation| failure(deviation.to_string()))?;
        total.inputs += again.inputs;
        total.outputs += again.outputs;
        total.states += again.states;
    }
    Ok(total)
}

fn besiege(simulation: &mut Simulation, replays: Replays) {
    let setup = &simulation.world.setup;
    let interval = setup.timing.interval();
    let attacker = Attacker::new(setup, (interval / 40, interval / 4), replays);
    simulation.world.attack(0, attacker);
    simulation.referee.patient = true;
}

/// The first difference, with what was done around it.
fn difference(calm: &[Doing], attacked: &[Doing]) -> Option<(Micros, String)> {
    let pairs = calm.iter().zip(attacked);
    let same = pairs.take_while(|(one, other)| one == other).count();
    if same == calm.len() && same == attacked.len() {
        return None;
    }
    let from = same.saturating_sub(4);
    let part = |doings: &[Doing]| {
        let lines = doings.iter().skip(from).take(12);
        let lines = lines.map(|d| format!("\n    {:>12} s{} {}", d.at, d.station, d.what));
        lines.collect::<String>()
    };
    let at = |doings: &[Doing]| doings.get(same).map_or(0, |doing| doing.at);
    let text = format!("\n  without:{}\n  with:{}", part(calm), part(attacked));
    Some((at(calm).max(at(attacked)), text))
}

fn drive(plan: &Plan, simulation: &mut Simulation) -> Result<Report, Failure> {
    // The story must survive a panic inside the engine: hence the borrow.
    let outcome = catch_unwind(AssertUnwindSafe(|| play(plan, simulation)));
    let what = match outcome {
        Ok(Ok(report)) => return Ok(report),
        Ok(Err(violation)) => violation.to_string(),
        Err(panic) => format!("an engine panicked: {}", panic_text(panic.as_ref())),
    };
    Err(Failure {
        seed: plan.setup.seed,
        what,
        setup: describe(plan),
        story: simulation.world.timeline.to_string(),
    })
}

fn play(plan: &Plan, simulation: &mut Simulation) -> Result<Report, Violation> {
    let mut rests = 0;
    for phase in &plan.phases {
        let start = simulation.world.now();
        for (after, action) in &phase.actions {
            simulation.run_until(start + after)?;
            simulation.act(*action)?;
        }
        for action in &phase.repair {
            simulation.act(*action)?;
        }
        simulation.settle()?;
        rests += 1;
        // Nothing moves when nothing happens.
        simulation.run_for(plan.setup.timing.stale)?;
    }
    Ok(Report { elapsed: simulation.world.now(), rests })
}

fn describe(plan: &Plan) -> String {
    let setup = &plan.setup;
    let millis = |span: Duration| span.as_millis();
    format!(
        "{:?}, {} nodes, {} groups, interval {} ms, stale {} ms, mature {} ms, wire {:?} µs, \
         plumbing {:?} µs, multicast {}, peers {}, neighbours {} ({} of them witnesses), \
         quorum {:?}",
        plan.style,
        setup.nodes,
        setup.groups.len(),
        millis(setup.timing.interval),
        millis(setup.timing.stale),
        millis(setup.timing.mature),
        setup.delay,
        setup.plumbing,
        setup.multicast,
        setup.peers,
        setup.neighbours,
        setup.witnesses,
        setup.quorum
    )
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "?".to_owned())
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
        ]);
        let setup = draw_setup(seed, &mut dice);
        let mut phases = vec![boot_phase(&setup, &mut dice)];
        for _ in 0..dice.between(1, 3) {
            phases.push(phase(&setup, style, &mut dice));
        }
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
    setup.timing = dice.pick(&[
        Timing::millis(500, 5000, 5000),
        Timing::millis(100, 300, 500),
        Timing::millis(100, 300, 300),
        Timing::millis(20, 60, 100),
        Timing::millis(50, 250, 400),
        Timing::millis(200, 1000, 1000),
    ]);
    let interval = setup.timing.interval();
    setup.delay = (20, dice.pick(&[200, 500, interval / 50]).max(20));
    setup.plumbing = dice.pick(&[(0, 0), (100, 2_000), (500, 10_000)]);
    setup.storing = dice.pick(&[(0, 0), (100, 4_000), (1_000, 20_000)]);
    setup.telling = setup.plumbing;
    setup.lateness = dice.pick(&[(0, 0), (0, 200), (0, 1_000)]);
    setup.multicast = !dice.chance(100);
    setup.peers = dice.chance(500);
    setup.stop_timeout = 4 * setup.timing.stale;
    policies::draw(&mut setup);
    draw_authority(seed, &mut setup);
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

fn boot_phase(setup: &Setup, dice: &mut Random) -> Phase {
    let spread = dice.pick(&[0, setup.timing.interval(), 2 * setup.timing.mature()]);
    let count = if dice.chance(800) { setup.nodes } else { dice.index(setup.nodes) + 1 };
    let mut actions: Vec<(Micros, Action)> =
        (0..count).map(|node| (dice.between(0, spread), Action::Start(node))).collect();
    actions.sort_by_key(|(at, _)| *at);
    Phase { actions, repair: Vec::new() }
}

fn phase(setup: &Setup, style: Style, dice: &mut Random) -> Phase {
    let count = match style {
        Style::Single => 1,
        Style::Planned => dice.between(1, 4),
        Style::Chaos | Style::Siege => dice.between(1, 8),
    };
    let pause = dice.pick(&[setup.timing.interval() / 2, setup.timing.stale()]) * 2;
    let mut at = 0;
    let mut actions = Vec::new();
    let mut repair = Vec::new();
    for _ in 0..count {
        at += dice.between(0, pause);
        let (action, undo) = match style {
            Style::Planned => (planned(setup, dice), None),
            Style::Single | Style::Chaos | Style::Siege => trouble(setup, dice),
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
    Phase { actions, repair }
}

fn planned(setup: &Setup, dice: &mut Random) -> Action {
    let node = dice.index(setup.nodes);
    match dice.index(5) {
        0 => Action::Start(node),
        1 => Action::Stop(node),
        2 => Action::Drain(node),
        3 => Action::Undrain(node),
        _ => Action::Start(dice.index(setup.nodes)),
    }
}

/// Something that goes wrong, and what ends it if it does not end by itself.
fn trouble(setup: &Setup, dice: &mut Random) -> (Action, Option<Action>) {
    let node = dice.index(setup.nodes);
    let other = (node + 1 + dice.index(setup.nodes - 1)) % setup.nodes;
    let group = dice.index(setup.groups.len());
    let interval = setup.timing.interval();
    let fault = |rule: Rule| (Action::Fault(rule), Some(Action::Repair(rule)));
    match dice.index(23) {
        0 | 1 => (Action::Crash(node), None),
        2 => (Action::Crash(node), Some(Action::Start(node))),
        3 => (Action::PowerFail(node), None),
        4 | 5 => (Action::Start(node), None),
        6 | 7 => (Action::Pause(node), Some(Action::Wake(node))),
        8 => (Action::Stop(node), None),
        9 => (Action::Drain(node), None),
        10 => (Action::Undrain(node), None),
        11 => (Action::Unavailable(node, group), Some(Action::Available(node, group))),
        12 => (Action::BreakPlumbing(node, group), Some(Action::RepairPlumbing(node, group))),
        13 => (Action::UplinkDown(node), Some(Action::UplinkUp(node))),
        14 => fault(Rule::one_way(node, other, Effect::Cut)),
        15 => fault(Rule::between(node, other, Effect::Cut)),
        16 => {
            let side: Stations = (0..setup.nodes).filter(|_| dice.chance(500)).collect();
            fault(Rule::partition(side))
        }
        17 => fault(Rule::mute(node)),
        18 => fault(Rule::deaf(node)),
        19 => fault(Rule::everywhere(Effect::Lose(dice.pick(&[10, 50, 200])))),
        20 => fault(Rule::everywhere(Effect::Slow(0, dice.between(0, interval)))),
        21 => (Action::Freeze(node), Some(Action::Thaw(node))),
        _ => fault(Rule::everywhere(Effect::Double(300, interval))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_means_the_same_plan() {
        assert_eq!(format!("{:?}", Plan::draw(11)), format!("{:?}", Plan::draw(11)));
        assert_ne!(format!("{:?}", Plan::draw(11)), format!("{:?}", Plan::draw(12)));
    }

    #[test]
    fn plans_come_in_every_style_and_in_order() {
        let plans: Vec<Plan> = (0..200).map(Plan::draw).collect();
        for style in [Style::Planned, Style::Single, Style::Chaos, Style::Siege] {
            assert!(plans.iter().any(|plan| plan.style == style), "{style:?}");
        }
        let phases = plans.iter().flat_map(|plan| &plan.phases);
        assert!(phases.into_iter().all(|phase| phase.actions.is_sorted_by_key(|(at, _)| *at)));
    }
}
