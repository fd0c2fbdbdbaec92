//! Lets mutants loose one by one and reports who was caught.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::list::Mutant;
use super::workshop::SWITCH;

/// What the switch says when no rule is broken.
const NO_MUTANT: &str = "";

/// What became of one mutant, or of the core without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The violation, if one was seen.
    pub caught_by: Option<String>,
    /// Seeds that were run.
    pub seeds: u64,
    /// How long that took.
    pub took: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        let by = self.caught_by.as_deref().unwrap_or("(nothing)");
        write!(f, "{:>6} seeds {seconds:>6.1} s  {by}", self.seeds)
    }
}

/// Runs `program` with this mutant loose for at most `seeds` seeds. A seed that
/// fails without it as well says nothing about it and is passed over.
///
/// # Errors
/// The program cannot be run or says something else than it should.
pub fn hunt(program: &Path, mutant: &str, seeds: u64) -> io::Result<Verdict> {
    let start = Instant::now();
    let mut done = 0;
    while done < seeds {
        let verdict = run(program, mutant, done, seeds - done)?;
        done += verdict.seeds;
        let caught = verdict.caught_by.is_some();
        if caught && run(program, NO_MUTANT, done - 1, 1)?.caught_by.is_none() {
            return Ok(Verdict { seeds: done, took: start.elapsed(), ..verdict });
        }
    }
    Ok(Verdict { caught_by: None, seeds: done, took: start.elapsed() })
}

/// Runs `program` for `seeds` seeds with no rule broken.
///
/// # Errors
/// As [`hunt`].
pub fn control(program: &Path, seeds: u64) -> io::Result<Verdict> {
    run(program, NO_MUTANT, 0, seeds)
}

fn run(program: &Path, mutant: &str, from: u64, seeds: u64) -> io::Result<Verdict> {
    let start = Instant::now();
    let outcome = Command::new(program)
        .args([from.to_string(), seeds.to_string()])
        .env(SWITCH, mutant)
        .output()?;
    let text = String::from_utf8_lossy(&outcome.stdout);
    let mut lines = text.lines();
    let (run, caught_by) = (lines.next().and_then(|line| line.parse().ok()), lines.next());
    match (run, outcome.status.success()) {
        (Some(run), true) => {
            let caught_by = caught_by.map(str::to_owned);
            Ok(Verdict { caught_by, seeds: run, took: start.elapsed() })
        }
        _ => {
            let errors = String::from_utf8_lossy(&outcome.stderr);
            let status = outcome.status;
            Err(io::Error::other(format!("the trial of `{mutant}` ended with {status}: {errors}")))
        }
    }
}

/// Runs every mutant, several at a time, and hands each verdict to `tell`.
///
/// # Errors
/// The first trial that could not be held.
pub fn run_all(
    program: &Path,
    mutants: &[Mutant],
    seeds: u64,
    tell: impl Fn(&Mutant, &Verdict) + Sync,
) -> io::Result<Vec<Verdict>> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(Vec::new());
    let work = || -> io::Result<()> {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let verdict = hunt(program, &mutant.name, seeds)?;
            tell(mutant, &verdict);
            if let Ok(mut verdicts) = verdicts.lock() {
                verdicts.push(verdict);
            }
        }
        Ok(())
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a trial panicked")))
        })
    })?;
    verdicts.into_inner().map_err(|_| io::Error::other("a trial panicked"))
}
