//! Runs random seeds of the simulated LAN: `simulate --seeds 100000`, or one
//! with its story: `simulate --seed 4711 --timeline`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use vippy_tests::sim::notes::Notes;
use vippy_tests::sim::plan::Plan;
use vippy_tests::sim::scenario::{self, Failure, Report};

/// Bytes of each flight recorder: little, so that most begin in the middle.
const RECORDERS: usize = 128 << 10;

/// Runs clusters in virtual time and checks the invariants after every step.
#[derive(Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: print everything that happened.
    #[arg(long)]
    timeline: bool,
    /// Compare each seed with and without an attacker (invariant 5).
    #[arg(long)]
    compare: bool,
    /// Record every engine and compare each seed's recordings with their replays.
    #[arg(long)]
    replay: bool,
    /// Threads; by default one for each processor.
    #[arg(long)]
    jobs: Option<usize>,
    /// Go on after a failure, and print one line for each.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Panics are caught and told with their seed.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None => many(&arguments),
    }
}

fn run(seed: u64, arguments: &Arguments) -> Result<Report, Failure> {
    if arguments.replay {
        scenario::replay(seed, RECORDERS).map(|_| Report::default())
    } else if arguments.compare {
        scenario::compare(seed)
    } else {
        scenario::run(seed)
    }
}

fn one(seed: u64, arguments: &Arguments) -> ExitCode {
    let outcome = if arguments.timeline && !arguments.compare {
        scenario::tell(&Plan::draw(seed), Notes { timeline: 1_000_000, ..Notes::default() })
    } else {
        run(seed, arguments).map(|report| (report, String::new()))
    };
    match outcome {
        Ok((report, story)) => {
            println!("{story}seed {seed} holds: {report:?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn many(arguments: &Arguments) -> ExitCode {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or(processors).max(1);
    let end = arguments.from.saturating_add(arguments.seeds);
    let next = AtomicU64::new(arguments.from);
    let (done, elapsed, rests, failed) =
        (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let stop = !arguments.keep_going && failed.load(Ordering::Relaxed) > 0;
                    if seed >= end || stop {
                        return;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    match run(seed, arguments) {
                        Ok(report) => {
                            elapsed.fetch_add(report.elapsed / 1000, Ordering::Relaxed);
                            rests.fetch_add(u64::from(report.rests), Ordering::Relaxed);
                        }
                        Err(failure) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            if arguments.keep_going {
                                println!("seed {seed}: {}", failure.what);
                            } else {
                                println!("{failure}");
                            }
                        }
                    }
                }
            });
        }
    });
    let hours = elapsed.load(Ordering::Relaxed) / 3_600;
    let failed = failed.load(Ordering::Relaxed);
    println!(
        "{} seeds, {failed} failed, {}.{:03} cluster-hours, {} times at rest",
        done.load(Ordering::Relaxed),
        hours / 1000,
        hours % 1000,
        rests.load(Ordering::Relaxed)
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
