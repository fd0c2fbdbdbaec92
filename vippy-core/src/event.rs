//! What happened, as an operator would tell it: one enum for logs, `vippyctl`,
//! plugins, hooks and metrics.

use serde::{Deserialize, Serialize};

use crate::health::Verdict;
use crate::identity::{CheckName, Epoch, GroupId, Mac, NodeName};
use crate::status::{NodeReason, NodeState, OutcomeKind, RejectReason};

/// Something an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// This node's state changed.
    StateChanged {
        /// The new state.
        state: NodeState,
        /// Why.
        reason: NodeReason,
        /// More about it, for people; may be empty.
        detail: String,
    },
    /// A peer became alive (two-way).
    PeerUp {
        /// The peer.
        node: NodeName,
    },
    /// A peer was not heard for `stale`.
    PeerLost {
        /// The peer.
        node: NodeName,
        /// Milliseconds since its last fresh frame.
        silent_ms: u64,
    },
    /// A peer said goodbye.
    PeerLeft {
        /// The peer.
        node: NodeName,
    },
    /// A new process of a known name took the old one's place (W6).
    PeerRestarted {
        /// The peer.
        node: NodeName,
    },
    /// This node decided to take a group and ordered its addresses up.
    Taking {
        /// The group.
        group: GroupId,
        /// Who held it last, as far as this node knows.
        from: Option<NodeName>,
    },
    /// The group's addresses are on this node.
    GroupUp {
        /// The group.
        group: GroupId,
        /// The fencing number of this ownership (W7).
        epoch: Epoch,
    },
    /// The neighbours were told that the group is here: others may rely on it.
    Announced {
        /// The group.
        group: GroupId,
    },
    /// The group's addresses were already on this node at its start (F1).
    Adopted {
        /// The group.
        group: GroupId,
    },
    /// This node let a group go.
    LettingGo {
        /// The group.
        group: GroupId,
        /// Who holds it now, if anybody.
        to: Option<NodeName>,
        /// Why.
        why: String,
    },
    /// The group's addresses are off this node.
    GroupDown {
        /// The group.
        group: GroupId,
    },
    /// The group's addresses could not be put on this node.
    PlumbFailed {
        /// The group.
        group: GroupId,
        /// What the kernel said.
        error: String,
    },
    /// The group cannot be held here.
    Unavailable {
        /// The group.
        group: GroupId,
        /// Why.
        reason: String,
    },
    /// The group can be held here again.
    Available {
        /// The group.
        group: GroupId,
    },
    /// A node's configuration differs from ours.
    ConfigDiffers {
        /// The peer.
        node: NodeName,
        /// Its version and digest.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// This node takes over a configuration that came from others.
    ConfigAdopted {
        /// Its version and digest.
        configuration: String,
        /// Who had it; `None`: it comes from this node itself.
        from: Option<NodeName>,
    },
    /// This node cannot take the configuration of others.
    ConfigRefused {
        /// Its version and digest.
        configuration: String,
        /// Why not.
        why: String,
    },
    /// This node says what it thinks of a proposed configuration.
    ProposalJudged {
        /// Why it cannot take it; `None`: it can.
        objection: Option<String>,
    },
    /// A configuration that an operator proposed here was accepted by all, or not.
    ProposalEnded {
        /// Its version and digest.
        configuration: String,
        /// Why nothing changes; `None`: it is adopted.
        refused: Option<String>,
    },
    /// The configuration on trial stays.
    TrialConfirmed {
        /// Its version and digest.
        configuration: String,
    },
    /// The configuration on trial goes.
    RolledBack {
        /// Its version and digest.
        configuration: String,
        /// Why.
        why: String,
    },
    /// A datagram was not accepted; the first of its reason and source for a
    /// while (W3).
    Rejected {
        /// Why.
        reason: RejectReason,
        /// Its source address, and its sender's name when it was authentic.
        source: String,
    },
    /// Fewer nodes are alive than a quorum takes: nothing may be held (O7).
    QuorumLost {
        /// Live nodes, this one included.
        present: u16,
        /// How many it takes.
        needed: u16,
    },
    /// Enough nodes are alive again.
    QuorumBack {
        /// Live nodes, this one included.
        present: u16,
        /// How many it takes.
        needed: u16,
    },
    /// All peers are lost, and nobody else who was asked answers (O7).
    Isolated {
        /// How many addresses were asked.
        asked: u32,
        /// Everything held is let go; otherwise it is kept and nothing is taken.
        lets_go: bool,
    },
    /// This node takes part again.
    IsolationOver {
        /// Somebody is heard again; otherwise it lasted for long enough.
        heard: bool,
    },
    /// A station that is not of the cluster says that it has addresses of a group
    /// which is held here; told once until it was quiet for long.
    Claimed {
        /// The group.
        group: GroupId,
        /// The station.
        mac: Mac,
    },
    /// A health check has another verdict, or could not be asked for a while (H1).
    CheckChanged {
        /// The check.
        check: CheckName,
        /// Its verdict now.
        verdict: Verdict,
        /// The groups that it is about; none: all.
        groups: Vec<GroupId>,
        /// What its last run came to.
        outcome: OutcomeKind,
        /// Why, unless it was good.
        why: Option<String>,
    },
    /// Something that should not be, in one sentence.
    Warning {
        /// The sentence.
        text: String,
    },
}
