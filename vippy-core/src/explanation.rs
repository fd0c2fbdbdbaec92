//! Why a group is where it is, candidate by candidate: what `vippyctl explain`
//! shows.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::identity::{GroupId, NodeName};
use crate::status::{Holding, NodeReason, NodeState};

/// One group, and every node as a candidate for it, as one node sees them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The node that says so.
    pub identity: NodeName,
    /// The group.
    pub group: GroupId,
    /// Its name, if any.
    pub name: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// The node it prefers, if any.
    pub prefer: Option<NodeName>,
    /// Break before make (O8).
    pub exclusive: bool,
    /// When it goes back to an earlier node of its succession (O4).
    pub failback: FailbackRule,
    /// The delay, in milliseconds, where there is one.
    pub failback_ms: Option<u64>,
    /// Who should have it; `None` when nobody can.
    pub owner: Option<NodeName>,
    /// By which rule.
    pub rule: Option<Rule>,
    /// Who has it, as announced.
    pub holders: Vec<NodeName>,
    /// What this node does with it.
    pub here: Holding,
    /// Who has a higher configuration, in words: by that one the owner may be
    /// another (O5).
    pub outranked: Option<String>,
    /// All nodes, in the order of the group's succession (O2).
    pub candidates: Vec<CandidateStatus>,
}

/// `failback` of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailbackRule {
    /// At once.
    Auto,
    /// Not while its holder can hold it.
    Never,
    /// After a delay.
    After,
}

/// What made a node the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// It is the first of the succession in the best tier that anybody is in (O3).
    First,
    /// It holds the group, and `failback` is `never` (O4).
    FailbackNever,
    /// It holds the group while configurations differ (O5).
    Keeps,
}

/// The tiers of O3, best first. Behind [`Tier::Active`] a group is where it is only
/// until somebody better can have it: there the present holder comes first, as
/// another move would gain nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Holds it, and configurations differ (O5).
    Keeps,
    /// Takes part without reservation.
    Active,
    /// Stands by, and holds it.
    StandbyAndHolds,
    /// Stands by.
    Standby,
    /// Would rather not, and holds it.
    RatherNotButHolds,
    /// Would rather not: drained, retired, delayed, flapping.
    RatherNot,
}

/// A node as a candidate for one group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CandidateStatus {
    /// The node.
    pub node: NodeName,
    /// Its tier; `None` when it cannot have the group.
    pub tier: Option<Tier>,
    /// It announces the group as held.
    pub holds: bool,
    /// It is heard and hears this node; this node itself always is.
    pub alive: bool,
    /// It said goodbye.
    pub left: bool,
    /// Milliseconds since its last fresh frame; `None` for this node and for one
    /// that was not heard since this one's start.
    pub age_ms: Option<u64>,
    /// Its state, if known.
    pub state: Option<NodeState>,
    /// The reason of its state.
    pub reason: Option<NodeReason>,
    /// More about it, for people; may be empty.
    pub detail: String,
    /// This node can read what it announces about groups (O5).
    pub readable: bool,
    /// The configuration has it stand by (O3).
    pub standby: bool,
    /// Its weight (O2).
    pub weight: u8,
    /// It says that it cannot hold the group.
    pub cannot: bool,
    /// It says that it would rather not hold the group.
    pub rather_not: bool,
    /// Why it says so; known of this node alone.
    pub why: Option<String>,
    /// Milliseconds until that is over, where this node knows.
    pub left_ms: Option<u64>,
}

/// Nobody knows such a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {of:?}, expected a group's name, one of its addresses, or its number as in #1{known}"
)]
pub struct UnknownGroup {
    pub(crate) of: String,
    pub(crate) known: String,
}
