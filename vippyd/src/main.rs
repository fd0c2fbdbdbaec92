//! `vippyd`: see `vippyd --help` and `docs/`.

use std::process::ExitCode;

use clap::Parser;
use vippyd::extend::launch::inside;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == inside::NAME) {
        return inside::main(arguments);
    }
    vippyd::startup::main(&vippyd::cli::Cli::parse())
}
