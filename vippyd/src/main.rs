//! `vippyd`: see `vippyd --help` and `docs/`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    vippyd::startup::main(&vippyd::cli::Cli::parse())
}
