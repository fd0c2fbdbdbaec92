//! Runs seeds until one fails: `trial 20 500` runs 500 seeds from the twentieth
//! on, prints how many it ran and, in a second line, what was caught. For
//! `mutants`, which builds it around a broken core.

use std::process::ExitCode;

use vippy_tests::sim::scenario;

/// Far from the seeds of the other tests.
const FIRST: u64 = 7_000_000;
/// Every so many seeds one is run again beside an attacker, and compared.
const COMPARED: u64 = 5;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map_while(|number| number.parse::<u64>().ok());
    let (Some(from), Some(seeds)) = (numbers.next(), numbers.next()) else {
        eprintln!("usage: trial FROM SEEDS");
        return ExitCode::FAILURE;
    };
    // Panics are caught and told with their seed.
    std::panic::set_hook(Box::new(|_| {}));
    for done in 0..seeds {
        let seed = FIRST + from + done;
        let outcome = scenario::check(seed).and_then(|report| match seed % COMPARED {
            0 => scenario::compare(seed),
            _ => Ok(report),
        });
        if let Err(failure) = outcome {
            let first_line = failure.what.lines().next().unwrap_or_default();
            println!("{}\nseed {seed}: {first_line}", done + 1);
            return ExitCode::SUCCESS;
        }
    }
    println!("{seeds}");
    ExitCode::SUCCESS
}
