//! What would move if: what `vippyctl plan` asks and shows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::SharedPart;
use crate::identity::{GroupId, NodeName};
use crate::status::QuorumStatus;

/// What might happen. Everything else stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// These nodes are not there.
    pub down: BTreeSet<NodeName>,
    /// These are there, and well.
    pub up: BTreeSet<NodeName>,
    /// Every node takes over this configuration.
    pub config: Option<SharedPart>,
}

/// What would come of a [`Change`], as one node knows the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The node that says so.
    pub identity: NodeName,
    /// The nodes that are not there.
    pub down: Vec<NodeName>,
    /// Those that are.
    pub up: Vec<NodeName>,
    /// What is assumed, each in one sentence.
    pub assumptions: Vec<String>,
    /// What deserves a look, each in one sentence.
    pub warnings: Vec<String>,
    /// What the other configuration changes; `None` without one.
    pub config: Option<ConfigChange>,
    /// The quorum, where it is lost (O7): then nobody holds anything.
    pub quorum_lost: Option<QuorumStatus>,
    /// How many groups there are.
    pub groups: usize,
    /// How many of them move, between each pair of nodes.
    pub pairs: Vec<Pair>,
    /// Every move.
    pub moves: Vec<Move>,
    /// Groups that nobody could hold.
    pub unheld: Vec<GroupId>,
}

/// What another configuration changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigChange {
    /// The running version.
    pub from_version: u64,
    /// The other one.
    pub version: u64,
    /// The other one's digest, in hexadecimal.
    pub digest: String,
    /// Keys beside `vips` whose values differ.
    pub keys: Vec<String>,
    /// Nodes that it adds.
    pub nodes_added: Vec<NodeName>,
    /// Nodes that it leaves out.
    pub nodes_removed: Vec<NodeName>,
    /// Groups that it adds.
    pub added: Vec<GroupId>,
    /// Groups that it leaves out.
    pub removed: Vec<GroupId>,
    /// Groups that it describes otherwise.
    pub changed: Vec<GroupChange>,
}

/// A group in two configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupChange {
    /// The group.
    pub group: GroupId,
    /// The keys whose values differ.
    pub keys: Vec<String>,
}

/// Moves between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Who has them; `None` when nobody has.
    pub from: Option<NodeName>,
    /// Who gets them.
    pub to: NodeName,
    /// How many groups.
    pub groups: usize,
}

/// A move of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The group.
    pub group: GroupId,
    /// Who has it; `None` when nobody has.
    pub from: Option<NodeName>,
    /// Who gets it.
    pub to: NodeName,
    /// How long the group's `failback` delays that, in milliseconds.
    pub delay_ms: Option<u64>,
}

/// A change that cannot be thought through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unplannable(pub(crate) String);
