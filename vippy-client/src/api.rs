//! What is said on the management socket beside the status.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vippy_core::status::{NodeReason, NodeState};
use zeroize::Zeroizing;

use crate::level::Level;

/// Where the daemon listens unless its configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/vippy.socket";

/// A command was taken: the node as it is right after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The node's state.
    pub state: NodeState,
    /// Why.
    pub reason: NodeReason,
    /// More about it, for people; may be empty.
    pub detail: String,
}

/// The configuration file was read again and is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Its version.
    pub version: u64,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// What is allowed but deserves a look, each in one sentence.
    pub warnings: Vec<String>,
}

/// A configuration is proposed to all live nodes; what they say is in the
/// status, `config.rollout.proposal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applying {
    /// The version under which it is proposed: above all others.
    pub version: u64,
    /// Its digest, in hexadecimal.
    pub digest: String,
}

/// What runs, and what this node's file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configurations {
    /// The running configuration.
    pub running: SharedText,
    /// This node's file, as it was last read.
    pub file: SharedText,
    /// The file's path.
    pub path: PathBuf,
}

/// The part of a configuration that all nodes share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedText {
    /// Its version.
    pub version: u64,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// All of it: a configuration file with the shared keys alone.
    pub text: String,
}

/// Another process is about to take this one's place. Addresses and the process
/// id stay; the new process has another `boot` in its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarting {
    /// The version that goes.
    pub program: String,
    /// The version that comes.
    pub successor: String,
}

/// What the daemon writes to its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevel {
    /// The least grave level that is written; `None` when nothing is.
    pub level: Option<Level>,
    /// All levels that are written, the gravest first.
    pub levels: Vec<Level>,
}

/// What might happen to nodes, for a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhatIf {
    /// These nodes are not there.
    pub down: Vec<String>,
    /// These are there, and well.
    pub up: Vec<String>,
}

/// A configuration file to be sent; wiped when dropped, as a secret may be in it.
#[derive(Clone)]
pub struct ConfigFile {
    /// What its problems are said to be in.
    pub name: String,
    /// What it says.
    pub text: Zeroizing<String>,
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A request was not carried out; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct ApiError {
    /// What went wrong, in one line.
    pub error: String,
    /// Everything that is wrong with what was sent or read, each in one line
    /// (for a configuration: file, line, column, found, expected).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl ApiError {
    /// An error without a list of problems.
    pub fn new(error: impl Into<String>) -> ApiError {
        ApiError { error: error.into(), problems: Vec::new() }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_without_problems_is_what_the_original_program_sent() {
        let text = serde_json::to_string(&ApiError::new("no such command")).unwrap();
        assert_eq!(text, r#"{"error":"no such command"}"#);
        let back: ApiError = serde_json::from_str(&text).unwrap();
        assert_eq!(back, ApiError::new("no such command"));
    }

    #[test]
    fn problems_are_listed_one_a_line() {
        let error = ApiError {
            error: "the file is not valid".into(),
            problems: vec!["a:1:2: x".into(), "a:3:4: y".into()],
        };
        assert_eq!(error.to_string(), "the file is not valid\n  a:1:2: x\n  a:3:4: y");
    }
}
