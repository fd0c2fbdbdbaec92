//! Random plans: how they are run and how a failure is told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::Micros;
use super::attacker::{Attacker, Replays};
use super::change::Action;
use super::notes::{Doing, Notes};
use super::plan::{Plan, Style};
use super::referee::Violation;
use super::simulation::Simulation;
use crate::replay::{self, Summary};

/// Lines of story that a failure tells.
const STORY: usize = 400;

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
    // To a clone, and to whoever has just forgotten a second process of a name,
    // an old frame of the other one may be the first: it learns of it sooner.
    let second = |action: Action| matches!(action, Action::Start(s) | Action::StartClone(s, _) if s >= plan.setup.nodes);
    for phase in &mut plan.phases {
        phase.actions.retain(|(_, action)| !second(*action));
    }
    let doings = |attacked: bool| {
        let notes = Notes { doings: true, timeline: 100_000, ..Notes::default() };
        let mut simulation = Simulation::new(plan.setup.clone(), notes);
        simulation.referee.asked = true;
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
        simulation.run_until(simulation.world.now() + phase.lull)?;
        for action in &phase.repair {
            simulation.act(*action)?;
        }
        simulation.settle()?;
        rests += 1;
        // Nothing moves when nothing happens.
        simulation.run_until(simulation.world.now() + phase.calm)?;
    }
    Ok(Report { elapsed: simulation.world.now(), rests })
}

fn describe(plan: &Plan) -> String {
    let setup = &plan.setup;
    let millis = |span: Duration| span.as_millis();
    format!(
        "{:?}, {} nodes, {} groups, interval {} ms, stale {} ms, mature {} ms, wire {:?} µs, \
         plumbing {:?} µs, multicast {}, peers {}, neighbours {} ({} of them witnesses), \
         quorum {:?}, checks {:?}",
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
        setup.quorum,
        setup.checks
    )
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "?".to_owned())
}
