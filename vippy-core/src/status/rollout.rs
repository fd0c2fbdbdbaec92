//! Configurations on their way from node to node, as status tells them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::identity::NodeName;

/// What is under way with configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutStatus {
    /// This node's own file; `None` where nobody told the status of it.
    pub file: Option<FileStatus>,
    /// A higher configuration that this node is getting.
    pub fetching: Option<FetchStatus>,
    /// Configurations that this node cannot take.
    pub refused: Vec<RefusedStatus>,
    /// The last configuration that was proposed on this node.
    pub proposal: Option<ProposalStatus>,
    /// The running configuration is on trial, or was and is confirmed.
    pub trial: Option<TrialStatus>,
}

/// This node's own configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Its path.
    pub path: PathBuf,
    /// Its version, when it was last read.
    pub version: u64,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// It is what runs; otherwise a higher one came from other nodes.
    pub runs: bool,
}

/// A document on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchStatus {
    /// The configuration's version.
    pub version: u64,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// Who announces it.
    pub from: NodeName,
    /// Bytes that are there.
    pub bytes: u32,
    /// Bytes of all of it.
    pub size: u32,
}

/// A configuration that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStatus {
    /// Its version.
    pub version: u64,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// Why.
    pub why: String,
}

/// A configuration that was proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalStatus {
    /// Its version.
    pub version: u64,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// Milliseconds within which it must be confirmed, if so.
    pub confirm_within_ms: Option<u64>,
    /// Every live peer, and what it says.
    pub answers: BTreeMap<NodeName, AnswerStatus>,
    /// How it ended; `None`: somebody has yet to answer.
    pub outcome: Option<OutcomeStatus>,
}

/// What a node says to a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerStatus {
    /// Nothing yet.
    Waiting,
    /// It can take it.
    Accepts,
    /// It cannot, for this reason.
    Objects(String),
}

/// How a proposal ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeStatus {
    /// It runs here, and the others follow.
    Adopted,
    /// Nothing changed, for this reason.
    Refused(String),
}

/// The running configuration goes unless it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStatus {
    /// Milliseconds until it goes.
    pub left_ms: u64,
    /// It stays.
    pub confirmed: bool,
    /// The version whose content comes back.
    pub former_version: u64,
}
