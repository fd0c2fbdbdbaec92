//! `vippyctl`: a thin shell over `vippy-client`.
//!
//! Reads the command line, asks one question, prints one answer. Exit codes:
//! 0 the answer is good, 1 it is not (one line on standard error says why),
//! 2 the command line makes no sense.

mod apply;
mod config;
mod confirm;
mod drain;
mod events;
mod explain;
mod file;
mod lab;
mod log_level;
mod metrics;
mod plan;
mod print;
mod recording;
mod reload;
mod render;
mod restart;
mod resume;
mod rollout;
mod status;
mod timeline;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vippy_client::{Client, DEFAULT_SOCKET};

/// Ask a Vippy daemon how the cluster is, and tell it what to do.
#[derive(Debug, Parser)]
#[command(name = "vippyctl", version)]
struct Cli {
    /// The daemon's management socket.
    #[arg(short, long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Options),
    Explain(explain::Options),
    Plan(plan::Command),
    Timeline(timeline::Options),
    Events(events::Options),
    Metrics(metrics::Options),
    Recording(recording::Options),
    Drain(drain::Options),
    Resume(resume::Options),
    Config(config::Options),
    Apply(apply::Options),
    Confirm(confirm::Options),
    Reload(reload::Options),
    Restart(restart::Options),
    LogLevel(log_level::Options),
    Lab(lab::Options),
}

/// Why the answer is not good; printed as it is.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vippyctl: {}", words::printable(&with_causes(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

/// The error and what caused it, unless it has told that already.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |told, cause| {
        if told.contains(&cause) { told } else { format!("{told}: {cause}") }
    })
}

fn run(cli: Cli) -> Result<(), Failure> {
    let client = Client::new(cli.socket);
    match cli.command {
        Command::Status(options) => wait(status::run(&options, &client)),
        Command::Explain(options) => wait(explain::run(&options, &client)),
        Command::Plan(command) => wait(plan::run(command, &client)),
        Command::Recording(options) => wait(recording::run(&options, &client)),
        Command::Events(options) => wait(events::run(&options, &client)),
        Command::Metrics(options) => wait(metrics::run(&options, &client)),
        Command::Timeline(options) => wait(timeline::run(&options, &client)),
        Command::Drain(options) => wait(drain::run(&options, &client)),
        Command::Resume(options) => wait(resume::run(&options, &client)),
        Command::Config(options) => wait(config::run(&options, &client)),
        Command::Apply(options) => wait(apply::run(&options, &client)),
        Command::Confirm(options) => wait(confirm::run(&options, &client)),
        Command::Reload(options) => wait(reload::run(&options, &client)),
        Command::Restart(options) => wait(restart::run(&options, &client)),
        Command::LogLevel(options) => wait(log_level::run(&options, &client)),
        // No runtime, no thread: see there.
        Command::Lab(options) => lab::run(options),
    }
}

fn wait(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_socket_may_come_before_or_after_the_subcommand() {
        for line in [["vippyctl", "-s", "/x", "status"], ["vippyctl", "status", "-s", "/x"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap().socket, PathBuf::from("/x"));
        }
        let plain = Cli::try_parse_from(["vippyctl", "drain"]).unwrap();
        assert_eq!(plain.socket, PathBuf::from("/var/run/vippy.socket"));
    }
}
