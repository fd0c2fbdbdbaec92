//! The command line and the exit codes. What the options cause is in
//! [`crate::startup`].

use std::path::PathBuf;

use clap::Parser;

/// What every exit code means; also the end of `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  fine: stopped on request, or the file checked is fine
  1  an internal error
  2  wrong usage
  3  the configuration was refused, cannot be read, or does not name this node
  4  cannot run: a capability is missing, an address, port or socket is in use,
     another vippyd runs as this node, the state directory cannot be written, …

Signals: TERM, INT and QUIT hand over and leave (a second one leaves at once);
HUP reads the configuration again.";

/// Why the process ends, as its parent learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Stopped on request, or the file checked is fine.
    Fine = 0,
    /// An internal error.
    Internal = 1,
    /// Wrong usage.
    Usage = 2,
    /// The configuration was refused.
    Refused = 3,
    /// The configuration is fine, but the daemon cannot run here and now.
    CannotRun = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// Keeps virtual IP groups alive on a cluster of nodes.
#[derive(Clone, Debug, Parser)]
#[command(name = "vippyd", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "/etc/vippy.conf")]
    pub config: PathBuf,

    /// This node's name in the configuration [default: the host name, in full or up to its first dot]
    #[arg(short, long, value_name = "NAME")]
    pub node: Option<String>,

    /// Only check the configuration, for this host or with -n for a node, and say what is wrong with it
    #[arg(long, conflicts_with = "release")]
    pub check: bool,

    /// Only remove the addresses that an earlier run of this node left behind
    #[arg(long)]
    pub release: bool,

    /// Allow core dumps and debuggers: they show the secrets
    #[arg(long)]
    pub core_dumps: bool,

    /// The management socket, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub management: Option<PathBuf>,

    /// The state directory, instead of the configured one
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// A plugin, beside the configured ones; may be repeated
    #[arg(short, long = "plugin", value_name = "FILE")]
    pub plugins: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn option_letters_are_those_of_the_original() {
        let cli = Cli::parse_from(["vippyd", "-c", "f", "-n", "node1", "-p", "a.js", "-p", "b.js"]);
        assert_eq!(cli.config, PathBuf::from("f"));
        assert_eq!(cli.node.as_deref(), Some("node1"));
        assert_eq!(cli.plugins.len(), 2);
    }
}
