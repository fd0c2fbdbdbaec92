//! What can go wrong in a lab, in words that name the place.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why the lab could not do as it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A system call failed. What was begun stays until the lab is dropped.
    #[error("cannot {what}")]
    System {
        /// What was tried, as in "cannot …".
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a netlink request; nothing changed by that request.
    #[error("{machine}: cannot {what}")]
    Netlink {
        /// The machine in whose namespace it happened.
        machine: String,
        /// What was tried, as in "cannot …".
        what: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// The process already has several threads, and a user namespace can only
    /// be entered by a process with one. Nothing changed.
    #[error(
        "cannot enter a user namespace with {threads} threads: it must be the first thing in main"
    )]
    TooManyThreads {
        /// How many threads there are.
        threads: usize,
    },
    /// The thread inside a namespace has ended: an earlier job panicked.
    #[error("{machine}: its thread has ended")]
    MachineGone {
        /// The machine's name.
        machine: String,
    },
    /// A machine that is not part of the lab. Nothing changed.
    #[error("no such machine: {found}; expected {expected}")]
    NoSuchMachine {
        /// What was asked for.
        found: String,
        /// What there is.
        expected: String,
    },
    /// An option outside its limits. Nothing changed.
    #[error("{option}: found {found}, expected {expected}")]
    BadOption {
        /// The option's name.
        option: &'static str,
        /// What was given.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A node's daemon runs already, or does not run. Nothing changed.
    #[error("{node}: its daemon {state}")]
    DaemonState {
        /// The node's name.
        node: String,
        /// "is running already" or "is not running".
        state: &'static str,
    },
    /// A daemon ended although it should run.
    #[error("{node}: its daemon ended ({status}); its last words:\n{log}")]
    DaemonEnded {
        /// The node's name.
        node: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {after:?}; last seen: {last}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen instead.
        last: String,
    },
    /// A daemon's management socket did not give its status.
    #[error("{node}: no status from its management socket")]
    Status {
        /// The node's name.
        node: String,
        /// What the client says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Turns a failed system call into a [`LabError`] that says what was tried.
pub(crate) trait Context<T> {
    /// `what` completes the sentence "cannot …".
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|error| LabError::System { what: what(), source: error.into() })
    }
}
