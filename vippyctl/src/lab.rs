//! `vippyctl lab`: a cluster of real daemons in namespaces, to play with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vippy_lab::cli::LabOptions;
use vippy_lab::options::{vip, vip4};

use crate::Failure;

/// Boot a cluster of real daemons in network namespaces and play with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    nodes: u8,
    /// How many groups of one IPv4 address each [default: six of several kinds].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=150))]
    groups: Option<u8>,
    /// Seconds between two announcements.
    #[arg(long, value_name = "SECONDS", default_value = "0.1", value_parser = seconds)]
    interval: Duration,
    /// Seconds of silence after which a node counts as gone.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    stale: Duration,
    /// The daemon's program [default: beside this one, else from PATH].
    #[arg(long, value_name = "PATH")]
    vippyd: Option<PathBuf>,
}

/// Runs until the lab is over. The process must have a single thread: an
/// ordinary user moves into a user namespace first.
pub(crate) fn run(options: Options) -> Result<(), Failure> {
    vippy_lab::enter_user_namespace_if_needed()?;
    Ok(vippy_lab::cli::run(lab_options(options)?)?)
}

fn lab_options(options: Options) -> Result<LabOptions, Failure> {
    let vippyd = match options.vippyd {
        Some(path) => path,
        None => find_vippyd()?,
    };
    let lab = LabOptions::new(vippyd).with_nodes(options.nodes.into());
    let mature = lab.mature.max(options.stale);
    let mut lab = lab.with_times(options.interval, options.stale, mature);
    if let Some(groups) = options.groups {
        lab.groups = (1..=groups).map(|number| vec![vip(vip4(number))]).collect();
    }
    Ok(lab)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let expected = "expected a number of seconds above 0, such as 0.5";
    let number: f64 = text.parse().map_err(|_| expected)?;
    match Duration::try_from_secs_f64(number) {
        Ok(span) if !span.is_zero() => Ok(span),
        Ok(_) | Err(_) => Err(expected.to_owned()),
    }
}

/// The daemon that was built or installed together with this program.
fn find_vippyd() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let beside = own.parent().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join("vippyd"))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            let own = own.display();
            format!("no vippyd beside {own} nor in PATH; expected one, or --vippyd PATH").into()
        })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(line: &str) -> Result<LabOptions, String> {
        let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        lab_options(line.options).map_err(|error| error.to_string())
    }

    #[test]
    fn options_reach_the_lab() {
        let lab =
            parsed("lab --nodes 5 --groups 20 --interval 0.02 --stale 2 --vippyd /x").unwrap();
        assert_eq!((lab.nodes, lab.groups.as_array().unwrap().len()), (5, 20));
        assert_eq!(lab.interval, Duration::from_millis(20));
        assert_eq!((lab.stale, lab.mature), (Duration::from_secs(2), Duration::from_secs(2)));
        assert_eq!(lab.vippyd, PathBuf::from("/x"));
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        for line in ["lab --interval 0", "lab --stale soon", "lab --stale -1", "lab --nodes 0"] {
            let refused = parsed(line);
            assert!(refused.is_err(), "{line}");
        }
        assert!(parsed("lab --stale soon").unwrap_err().contains("expected a number of seconds"));
    }
}
