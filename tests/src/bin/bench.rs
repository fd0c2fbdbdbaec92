//! Compares Vippy with others, prints one table of ratios and writes it, with a
//! picture of the outages, into the documents: `make bench`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use vippy_tests::measure::comparison::{Comparison, Part, Plan, compare, plot, table};
use vippy_tests::measure::experiments::{Bench, Outcome};

/// Measures Vippy beside others on this machine.
#[derive(Debug, Parser)]
struct Cli {
    /// How often what happens once is repeated
    #[arg(long, value_name = "N", default_value_t = 10)]
    runs: usize,

    /// How many seconds what goes on is watched
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    watch: u64,

    /// Where BENCHMARKS.md and outages.svg go
    #[arg(long, value_name = "DIRECTORY", default_value = "docs")]
    into: PathBuf,

    /// Measures only these and writes nothing
    #[arg(value_name = "PART")]
    parts: Vec<Part>,

    /// The programs [default: beside this one]
    #[arg(long, value_name = "DIRECTORY")]
    programs: Option<PathBuf>,

    /// What criterion left
    #[arg(long, value_name = "DIRECTORY", default_value = "target/criterion")]
    criterion: PathBuf,
}

fn main() -> ExitCode {
    match bench(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(cli: &Cli) -> Outcome<()> {
    vippy_lab::enter_user_namespace_if_needed()?;
    let own = std::env::current_exe()?;
    let beside = own.parent().unwrap_or(Path::new("."));
    let programs = cli.programs.as_deref().unwrap_or(beside);
    let [vippyd, bulk] = ["vippyd", "bulk"].map(|name| programs.join(name));
    if let Some(missing) = [&vippyd, &bulk].into_iter().find(|program| !program.exists()) {
        return Err(format!("{} is missing: make bench builds it", missing.display()).into());
    }
    let bench =
        Bench { vippyd, runs: cli.runs, watch: Duration::from_secs(cli.watch), tell: false };
    let parts = if cli.parts.is_empty() { Part::value_variants() } else { &cli.parts };
    let plan = Plan { bench, bulk, criterion: cli.criterion.clone(), parts: parts.to_vec() };
    let comparison = compare(&plan, &mut |what| eprintln!("bench: {what}"))?;
    println!("{}", table(&comparison.rows));
    if !cli.parts.is_empty() {
        return Ok(());
    }
    fs::write(cli.into.join("BENCHMARKS.md"), page(cli, &comparison))?;
    let axis = "outage at the death of a node, in intervals";
    Ok(fs::write(cli.into.join("outages.svg"), plot(axis, &comparison.curves))?)
}

fn page(cli: &Cli, comparison: &Comparison) -> String {
    let Cli { runs, watch, .. } = cli;
    let keepalived = comparison.keepalived.as_deref().unwrap_or("keepalived was not installed");
    let table = table(&comparison.rows);
    format!(
        "# Benchmarks

`make bench` measured this and wrote it, in one go on one machine, on LANs of one
shape in network namespaces. Only ratios are worth anything elsewhere. Medians of
{runs} runs; what goes on was watched for {watch} s. Beside: {keepalived}.

{table}
![Outages at the death of a node](outages.svg)

- *Takeover*: from the decision until the last address was first announced on the
  wire, as the switch gets it. Vippy has a group for each address; its decision is
  what it tells of its moves. keepalived has one instance with all addresses; its
  decision is its first advert. *Bulk netlink, raw frames* is one process that does
  nothing else, `tests/src/bin/bulk.rs`.
- *Outage*: process killed and port cut at the same moment, as a client sees it that
  asks a thousand times a second.
- *Lost at a clean stop*: SIGTERM, under the same client.
- *At rest*: one node of three, interval 1 s, stale 3 s; keepalived has an instance
  for each group, adverts every second, each node the master of a third.
- *Frames* are those that a settled cluster of three sends; the bare HMAC is
  HMAC-SHA256 over the same bytes under a key that is ready. *Steps* of the engine
  include its flight recorder; an announcement of 10,000 groups is several frames.
"
    )
}
