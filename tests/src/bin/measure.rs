//! Measures what `docs/MEASUREMENTS.md` reports: real daemons in network
//! namespaces, figures on standard output, nothing asserted.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use vippy_tests::measure::experiments::{
    Bench, Outcome, deleted, flood, idle, killed, moves, one_way, outage, partition, renewal,
    restart, smallest, stop, strangers, suspended,
};

/// Measures clusters of real daemons on this machine.
#[derive(Debug, Parser)]
struct Cli {
    /// What to measure
    #[arg(value_enum)]
    what: What,

    /// How often what happens once is repeated
    #[arg(long, value_name = "N", default_value_t = 10)]
    runs: usize,

    /// How many seconds what goes on is watched
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    watch: u64,

    /// Tell what happened, with the daemons' logs, wherever something was lost
    #[arg(long)]
    tell: bool,

    /// The daemon [default: beside this program]
    #[arg(long, value_name = "FILE")]
    vippyd: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// What a client notices when a node dies; beside keepalived, if installed
    Outage,
    /// Announcements under 50,000 bad datagrams a second
    Flood,
    /// A daemon killed and started again
    Restart,
    /// A daemon that is asked to stop
    Stop,
    /// Planned moves; beside keepalived
    Moves,
    /// kill -9 of the daemon, and nobody starts it again; beside keepalived
    Killed,
    /// SIGSTOP for longer than stale, then SIGCONT; beside keepalived
    Suspended,
    /// A LAN that falls apart and heals; beside keepalived
    Partition,
    /// A holder that hears nobody or that nobody hears; beside keepalived
    OneWay,
    /// An address deleted by hand; beside keepalived
    Deleted,
    /// 5 ms and 15 ms, beside busy loops, with and without real-time scheduling;
    /// beside keepalived at its floor
    Smallest,
    /// Recorded announcements and garbage, clocks apart
    Strangers,
    /// What the lifetime of 1,000 and 10,000 addresses costs
    Renewal,
    /// What a daemon costs when nothing happens
    Idle,
    /// All of it
    All,
}

type Measurement = fn(&Bench) -> Outcome<()>;

fn main() -> ExitCode {
    match measure(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> Outcome<()> {
    vippy_lab::enter_user_namespace_if_needed()?;
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("vippyd"));
    let vippyd = cli.vippyd.clone().map_or_else(beside, Ok)?;
    if !vippyd.exists() {
        return Err(
            format!("{} is missing: cargo build --release -p vippyd", vippyd.display()).into()
        );
    }
    let bench =
        Bench { vippyd, runs: cli.runs, watch: Duration::from_secs(cli.watch), tell: cli.tell };
    let all: [(What, Measurement); 14] = [
        (What::Outage, outage),
        (What::Flood, flood),
        (What::Restart, restart),
        (What::Stop, stop),
        (What::Moves, moves),
        (What::Killed, killed),
        (What::Suspended, suspended),
        (What::Partition, partition),
        (What::OneWay, one_way),
        (What::Deleted, deleted),
        (What::Smallest, smallest),
        (What::Strangers, strangers),
        (What::Renewal, renewal),
        (What::Idle, idle),
    ];
    for (what, measurement) in all {
        if cli.what == what || cli.what == What::All {
            measurement(&bench)?;
            println!();
        }
    }
    Ok(())
}
