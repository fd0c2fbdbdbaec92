//! Whole labs as processes: with daemons, killed from outside, as an ordinary
//! user. Needs root or a user namespace; fails without.
//!
//! One program in three parts: called as a daemon is called, it is a daemon that
//! does nothing but say so; called with `--lab`, it is a lab; else it is the
//! tests. A word on the command line picks the tests whose names contain it.

#![allow(clippy::unwrap_used, reason = "a test may panic anywhere")]

mod daemon;
mod lab;
#[path = "../support/mod.rs"]
mod support;
mod tests;

use std::panic::catch_unwind;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--management") {
        daemon::run(&arguments);
        return ExitCode::SUCCESS;
    }
    if let [first, role, ..] = arguments.as_slice()
        && first == "--lab"
    {
        lab::run(role);
        return ExitCode::SUCCESS;
    }
    run_tests(arguments.iter().find(|argument| !argument.starts_with('-')).map(String::as_str))
}

/// One after the other; a failure leaves the others their chance.
fn run_tests(wanted: Option<&str>) -> ExitCode {
    // As an ordinary user the tests live in a user namespace as well.
    vippy_lab::enter_user_namespace_if_needed().unwrap();
    let mut failed = 0;
    for (name, test) in tests::ALL {
        if !wanted.is_none_or(|wanted| name.contains(wanted)) {
            continue;
        }
        let passed = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u8::from(!passed);
    }
    ExitCode::from(failed)
}
