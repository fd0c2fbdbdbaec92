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
        /// The fencing number of this ownership (W7).
        epoch: Epoch,
    },
    /// The group stays here against a rival, by a higher number than its (W7, O9).
    Kept {
        /// The group.
        group: GroupId,
        /// The fencing number of this ownership from here on.
        epoch: Epoch,
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
    /// A node's process is gone without a goodbye: what it left behind may need
    /// cleaning up. Told once for each process, however it was noticed.
    NodeDown {
        /// The node.
        node: NodeName,
        /// Its process: the boot id, 16 hexadecimal digits.
        life: String,
    },
    /// This node is the one that runs the `once` hooks for a process that is gone.
    CleaningUp {
        /// The node that is gone.
        node: NodeName,
        /// Its process.
        life: String,
        /// The number of this run, above that of every earlier one (W7).
        epoch: Epoch,
    },
    /// The `once` hooks have run for a process that is gone.
    CleanedUp {
        /// The node that is gone.
        node: NodeName,
        /// Its process.
        life: String,
        /// Who ran them.
        by: NodeName,
        /// The number of the run.
        epoch: Epoch,
    },
    /// A hook ended, or could not begin.
    HookEnded {
        /// Its command.
        run: String,
        /// The event that it was run for.
        on: String,
        /// The group it was run for, if any.
        group: Option<GroupId>,
        /// How.
        outcome: HookOutcome,
        /// The exit code, the signal, what the system said, in words; may be empty.
        detail: String,
        /// How long it ran, in milliseconds.
        ms: u64,
    },
    /// A plugin's process is running.
    PluginStarted {
        /// The plugin.
        plugin: String,
    },
    /// A plugin's process ended, or could not begin: what it said of this node is
    /// forgotten.
    PluginEnded {
        /// The plugin.
        plugin: String,
        /// How, in words.
        detail: String,
        /// When it is started again, in milliseconds; `None`: it was told to stop.
        again_ms: Option<u64>,
    },
    /// A plugin came to think otherwise of this node.
    OpinionChanged {
        /// The plugin.
        plugin: String,
        /// Why this node should own nothing; `None`: it may, or the plugin does not say
        /// any more.
        unfit: Option<String>,
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

/// What an event tells of the addresses of a group on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// They are here, under this fencing number.
    Here(Epoch),
    /// They are about to go. Of a group that left the configuration that is the last.
    Leaving,
    /// They are gone.
    Gone,
}

impl Event {
    /// The group that this node came to have, or has no more.
    pub fn tenure(&self) -> Option<(&GroupId, Tenure)> {
        match self {
            Event::GroupUp { group, epoch }
            | Event::Adopted { group, epoch }
            | Event::Kept { group, epoch } => Some((group, Tenure::Here(*epoch))),
            Event::LettingGo { group, .. } => Some((group, Tenure::Leaving)),
            Event::GroupDown { group } | Event::PlumbFailed { group, .. } => {
                Some((group, Tenure::Gone))
            }
            Event::StateChanged { .. }
            | Event::PeerUp { .. }
            | Event::PeerLost { .. }
            | Event::PeerLeft { .. }
            | Event::PeerRestarted { .. }
            | Event::Taking { .. }
            | Event::Announced { .. }
            | Event::Unavailable { .. }
            | Event::Available { .. }
            | Event::ConfigDiffers { .. }
            | Event::ConfigAdopted { .. }
            | Event::ConfigRefused { .. }
            | Event::ProposalJudged { .. }
            | Event::ProposalEnded { .. }
            | Event::TrialConfirmed { .. }
            | Event::RolledBack { .. }
            | Event::Rejected { .. }
            | Event::QuorumLost { .. }
            | Event::QuorumBack { .. }
            | Event::Isolated { .. }
            | Event::IsolationOver { .. }
            | Event::Claimed { .. }
            | Event::NodeDown { .. }
            | Event::CleaningUp { .. }
            | Event::CleanedUp { .. }
            | Event::HookEnded { .. }
            | Event::PluginStarted { .. }
            | Event::PluginEnded { .. }
            | Event::OpinionChanged { .. }
            | Event::CheckChanged { .. }
            | Event::Warning { .. } => None,
        }
    }

    /// The names of all events, as their `event` field has them.
    pub const NAMES: [&'static str; 37] = [
        "state-changed",
        "peer-up",
        "peer-lost",
        "peer-left",
        "peer-restarted",
        "taking",
        "group-up",
        "announced",
        "adopted",
        "kept",
        "letting-go",
        "group-down",
        "plumb-failed",
        "unavailable",
        "available",
        "config-differs",
        "config-adopted",
        "config-refused",
        "proposal-judged",
        "proposal-ended",
        "trial-confirmed",
        "rolled-back",
        "rejected",
        "quorum-lost",
        "quorum-back",
        "isolated",
        "isolation-over",
        "claimed",
        "node-down",
        "cleaning-up",
        "cleaned-up",
        "hook-ended",
        "plugin-started",
        "plugin-ended",
        "opinion-changed",
        "check-changed",
        "warning",
    ];
}

/// How a hook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum HookOutcome {
    /// With exit code 0.
    Succeeded,
    /// With another exit code, or by a signal.
    Failed,
    /// It took too long and was ended with everything it had started.
    TimedOut,
    /// It could not be started.
    NotStarted,
    /// What it was run for is over, so it was ended.
    Cancelled,
}

/// The name of [`Event::HookEnded`].
pub(crate) const HOOK_ENDED: &str = "hook-ended";

/// Names of the events that are about one group.
pub const OF_GROUPS: [&str; 11] = [
    "taking",
    "group-up",
    "announced",
    "adopted",
    "kept",
    "letting-go",
    "group-down",
    "plumb-failed",
    "unavailable",
    "available",
    "claimed",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_are_serialized() {
        // What is no name is answered with all that are.
        let told = serde_json::from_str::<Event>("{\"event\": \"?\"}").unwrap_err().to_string();
        let names: Vec<&str> = told.split('`').skip(3).step_by(2).collect();
        assert_eq!(names, Event::NAMES);
        assert!(OF_GROUPS.iter().chain([&HOOK_ENDED]).all(|name| names.contains(name)));
    }
}
