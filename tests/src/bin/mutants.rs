//! Shows that the simulated LAN bites: breaks one rule at a time and prints what
//! noticed it, after how many seeds. Fails when a broken rule goes unnoticed, or
//! when the seeds do not hold with the rules as they are.

use std::process::ExitCode;

use clap::Parser;
use vippy_tests::mutants::list::{self, Mutant};
use vippy_tests::mutants::trial::{self, Verdict};
use vippy_tests::mutants::workshop;

/// Breaks the rules of the protocol one by one and runs the simulated LAN.
#[derive(Parser)]
struct Arguments {
    /// Seeds after which a mutant counts as a survivor. Most are noticed within a
    /// hundred; the rarest about once in a thousand, at other seeds whenever
    /// anything changes.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Seeds that must hold with no rule broken.
    #[arg(long, default_value_t = 1000)]
    control: u64,
    /// Only these mutants, by name.
    names: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let all = list::read()?;
    let program = workshop::build(&all)?;
    let wanted =
        |mutant: &Mutant| arguments.names.is_empty() || arguments.names.contains(&mutant.name);
    let mutants: Vec<Mutant> = all.into_iter().filter(wanted).collect();
    let width = mutants.iter().map(|mutant| mutant.name.len()).max().unwrap_or(0);
    let tell = |mutant: &Mutant, verdict: &Verdict| {
        println!("{:width$}  {:3} {verdict}", mutant.name, mutant.rule);
    };
    let verdicts = trial::run_all(&program, &mutants, arguments.seeds, tell)?;
    let survivors = verdicts.iter().filter(|verdict| verdict.caught_by.is_none()).count();
    let control = trial::control(&program, arguments.control)?;
    println!("{:width$}      {control}", "no rule broken");
    println!("{} broken rules, {survivors} unnoticed", mutants.len());
    Ok(survivors == 0 && control.caught_by.is_none())
}
