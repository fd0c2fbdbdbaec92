//! The one status type that feeds text, JSON and metrics.
//!
//! [`Status`] begins with every field of the original program's `/status`, same
//! names and nesting, so that existing scripts go on working; what Vippy adds
//! stands beside them.

mod rollout;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::{Address, Group, SharedPart};
use crate::health::{Outcome, Verdict};
use crate::identity::{CheckName, Epoch, GroupId, Mac, NodeName};

pub use rollout::{
    AnswerStatus, FetchStatus, FileStatus, OutcomeStatus, ProposalStatus, RefusedStatus,
    RolloutStatus, TrialStatus,
};

/// The cluster as one node sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// This node's name.
    pub identity: NodeName,
    /// Counters.
    pub stats: Stats,
    /// How long the invariants did not hold, as this node saw it.
    #[serde(default)]
    pub invariants: Invariants,
    /// The running configuration.
    pub config: ConfigStatus,
    /// State and ownership, as the original program told them.
    pub state: StateStatus,
    /// This node, in full.
    pub node: NodeStatus,
    /// Every group, in configuration order.
    pub groups: Vec<GroupStatus>,
    /// Every other process heard of, configured nodes first, in their order.
    pub peers: Vec<PeerStatus>,
    /// How many neighbours this node knows that each node has shared; those of
    /// nodes that are gone count on.
    #[serde(default)]
    pub neighbours: BTreeMap<NodeName, usize>,
    /// This node's health checks, in configuration order.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
}

impl Status {
    /// Says on which interface each address belongs for which `interface_of` has
    /// a name: the daemon finds it, the engine does not know it.
    pub fn place<'n>(&mut self, interface_of: impl Fn(IpAddr) -> Option<&'n str>) {
        let owned = self.state.ownership.values_mut().flatten();
        for entry in self.config.vips.iter_mut().chain(owned).flatten() {
            match entry {
                VipEntry::Vip(vip) => vip.place(&interface_of),
                VipEntry::Preferred(_) => {}
            }
        }
        for group in &mut self.groups {
            for (net, interface) in group.addresses.iter().zip(&mut group.interfaces) {
                if let Some(name) = interface_of(net.addr()) {
                    *interface = Some(name.to_owned());
                }
            }
        }
    }
}

/// Counters since start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    /// Datagrams.
    pub net: NetStats,
    /// How often the set of groups held here changed.
    pub state_changes: u64,
    /// Datagrams without effect, by reason.
    pub rejects: BTreeMap<RejectReason, u64>,
    /// Frames forwarded for others (W2).
    pub relayed: u64,
}

/// How long groups had two holders or none since this node's start, judged by
/// what live nodes announce.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Invariants {
    /// This node counts: it has booted, knows the configuration that judges, and
    /// has seen the cluster at rest once.
    pub counting: bool,
    /// Two nodes announced the same group. A planned move of an ordinary group
    /// has this for the moment in which it loses nothing (O8).
    pub two_holders: Breach,
    /// Nobody announced a group that somebody could hold; from the last frame on
    /// where its holder was given up.
    pub unheld: Breach,
}

/// For how long something was so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// Milliseconds in which it was so for any group.
    pub ms: f64,
    /// The sum over all groups, in milliseconds.
    pub group_ms: f64,
    /// The group for which it was so longest.
    pub worst_group: Option<GroupId>,
    /// Its milliseconds.
    pub worst_ms: f64,
}

/// Datagram counters of the original.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NetStats {
    /// Datagrams that had no effect.
    pub ignore: u64,
    /// Announcements sent.
    pub send_announce: u64,
    /// Fresh announcements received.
    pub recv_announce: u64,
}

/// Why a datagram had no effect (W3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum RejectReason {
    /// Too short, too long, or a field out of range.
    Malformed,
    /// Another program's datagram: wrong magic.
    Foreign,
    /// A protocol version this program does not speak.
    Version,
    /// The key id is none of ours.
    UnknownKey,
    /// The tag does not match.
    Forged,
    /// A `seq` that is not above the highest heard of that boot.
    Replayed,
    /// A second copy within an interval: networks and relays (W2) do that.
    Duplicate,
    /// A process that has not proven that it hears this node now (W1).
    NotFresh,
    /// A boot that was replaced or said goodbye (W6).
    Burnt,
    /// A copy of a frame this node sent itself.
    Own,
    /// Authentic, but of a kind this program does not handle.
    Unsupported,
}

/// The running configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Its version.
    pub version: u64,
    /// Its groups: the preferred node's name, if any, then the addresses.
    pub vips: Vec<Vec<VipEntry>>,
    /// Its nodes.
    pub nodes: Vec<NodeName>,
    /// Its digest, in hexadecimal.
    pub digest: String,
    /// What is under way with configurations.
    #[serde(default)]
    pub rollout: RolloutStatus,
}

/// State and ownership in the original's words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateStatus {
    /// Booting has ended.
    pub mature: bool,
    /// This node takes part.
    pub active: bool,
    /// Why it does not, if it does not.
    pub inactive_reason: Option<String>,
    /// Groups by owner; `_` holds the unowned, inactive nodes have no key.
    pub ownership: BTreeMap<String, Vec<Vec<VipEntry>>>,
}

/// An item of a group in the original's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VipEntry {
    /// The preferred node's name, always first.
    Preferred(NodeName),
    /// An address.
    Vip(Vip),
}

/// An address in the original's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Vip {
    /// IPv4.
    V4 {
        /// The address.
        ip: IpAddr,
        /// Its network mask.
        netmask: IpAddr,
        /// Its network's broadcast address.
        broadcast: IpAddr,
        /// Its network's address.
        network: IpAddr,
        /// The interface; empty where there is none.
        name: String,
    },
    /// IPv6.
    V6 {
        /// The address.
        ip: IpAddr,
        /// The length of its network's prefix.
        prefixlen: u8,
        /// The interface; empty where there is none.
        name: String,
    },
}

impl Vip {
    fn place<'n>(&mut self, interface_of: &impl Fn(IpAddr) -> Option<&'n str>) {
        let (Vip::V4 { ip, name, .. } | Vip::V6 { ip, name, .. }) = self;
        if let Some(interface) = interface_of(*ip) {
            interface.clone_into(name);
        }
    }
}

impl From<&Address> for Vip {
    fn from(address: &Address) -> Vip {
        let name = address.interface.clone().unwrap_or_default();
        match address.net {
            IpNet::V4(net) => Vip::V4 {
                ip: net.addr().into(),
                netmask: net.netmask().into(),
                broadcast: net.broadcast().into(),
                network: net.network().into(),
                name,
            },
            IpNet::V6(net) => Vip::V6 { ip: net.addr().into(), prefixlen: net.prefix_len(), name },
        }
    }
}

/// A group in the original's form.
pub fn original_form(shared: &SharedPart, group: &Group) -> Vec<VipEntry> {
    let preferred = group.prefer.map(|index| shared.nodes[index.get()].name.clone());
    let addresses = group.addresses.iter().map(|address| VipEntry::Vip(address.into()));
    preferred.map(VipEntry::Preferred).into_iter().chain(addresses).collect()
}

/// What a node is doing (section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Listening; takes nothing yet (O6).
    Booting,
    /// Takes part.
    Active,
    /// Takes part when no active node can (O3).
    Standby,
    /// Gives away what it can (O3).
    Draining,
    /// Stopping (O8).
    Leaving,
}

/// Why a node is in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum NodeReason {
    /// Nothing special.
    None,
    /// An operator asked for it.
    Operator,
    /// It lost all peers and its neighbours do not answer (O7).
    Isolated,
    /// Nobody hears it (O6).
    Mute,
    /// Another process uses its name (W6).
    Twin,
    /// Its name is not in the configuration.
    Idle,
    /// A peer has a higher configuration that it does not have (O5).
    Outranked,
    /// It was suspended, or its frames did not leave, for longer than `stale` (F2).
    Suspended,
    /// Everything is let go: the goodbye (O8).
    Goodbye,
    /// Too few nodes are alive for a quorum (O7).
    NoQuorum,
    /// It came and went too often (O4).
    HeldDown,
    /// Its configuration gives it weight 0 (O2).
    Retired,
}

/// This node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its state.
    pub state: NodeState,
    /// Why.
    pub reason: NodeReason,
    /// More about it, for people; may be empty.
    pub detail: String,
    /// Milliseconds until its drain ends by itself, if it does.
    #[serde(default)]
    pub drained_ms: Option<u64>,
    /// Milliseconds until it is no longer held down, while it is (O4).
    #[serde(default)]
    pub held_down_ms: Option<u64>,
    /// Milliseconds since start.
    pub uptime_ms: u64,
    /// Its boot id, in hexadecimal.
    pub boot: String,
    /// Id of the key it signs with, in hexadecimal.
    pub key: String,
    /// Ids of all keys it verifies, the one it signs with first.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Its epoch (W7).
    pub epoch: Epoch,
    /// The program's version.
    pub program: String,
    /// The kernel lifetime of its addresses, in seconds; 0 is for ever (F1).
    pub lifetime_s: u64,
    /// Interval in force, in milliseconds (W5).
    pub interval_ms: f64,
    /// `stale` in force, in milliseconds (W5).
    pub stale_ms: f64,
    /// Things that should not be, each in one sentence.
    pub warnings: Vec<String>,
    /// How many nodes there are, and how many it takes (O7).
    #[serde(default)]
    pub quorum: QuorumStatus,
    /// Who is asked while no peer is heard, and who answers (O7).
    #[serde(default)]
    pub inquiry: InquiryStatus,
}

/// How many nodes there are for a quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumStatus {
    /// Live nodes, this one included.
    pub present: u16,
    /// How many it takes to hold anything, if a quorum is configured.
    pub needed: Option<u16>,
}

/// What came of asking witnesses, or neighbours in their place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InquiryStatus {
    /// How many addresses are asked; `None` while nobody is.
    pub asked: Option<u32>,
    /// Who answered, and how many milliseconds ago last.
    pub answered: BTreeMap<IpAddr, u64>,
}

/// A health check on this node (H1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name.
    pub name: CheckName,
    /// What is thought of what it is about.
    pub verdict: Verdict,
    /// The groups that it is about; none: all.
    pub groups: Vec<GroupId>,
    /// Milliseconds since it has this verdict.
    pub since_ms: u64,
    /// What its last run came to; `None` before the first has ended.
    pub outcome: Option<OutcomeKind>,
    /// Why, unless it was good.
    pub why: Option<String>,
    /// How many outcomes in a row said the same.
    pub in_a_row: u8,
    /// Milliseconds since its last run ended.
    pub age_ms: Option<u64>,
    /// Milliseconds that it took.
    pub took_ms: Option<f64>,
}

/// What a run of a health check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// All is as it should be.
    Good,
    /// It is not.
    Bad,
    /// There was no answer in time.
    TimedOut,
    /// Nobody could be asked.
    NotStarted,
}

impl From<&Outcome> for OutcomeKind {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Good => OutcomeKind::Good,
            Outcome::Bad(_) => OutcomeKind::Bad,
            Outcome::TimedOut => OutcomeKind::TimedOut,
            Outcome::NotStarted(_) => OutcomeKind::NotStarted,
        }
    }
}

/// A group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its identity.
    pub id: GroupId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The node it prefers, if any.
    pub prefer: Option<NodeName>,
    /// Break before make.
    pub exclusive: bool,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// The interface of this node on which each of them belongs, in their order;
    /// `None` where there is none.
    #[serde(default)]
    pub interfaces: Vec<Option<String>>,
    /// Who should have it.
    pub owner: Option<NodeName>,
    /// Who has it, as announced; this node included.
    pub holders: Vec<NodeName>,
    /// The first nodes of its succession (O2), at most four.
    pub succession: Vec<NodeName>,
    /// What this node does with it.
    pub here: Holding,
    /// Why it cannot be held here, if so.
    pub cannot: Option<String>,
    /// Why this node would rather leave it to others, if so (O4).
    #[serde(default)]
    pub rather_not: Option<String>,
    /// The fencing number of this node's ownership, while it holds (W7).
    pub epoch: Option<Epoch>,
    /// Whether the neighbours believe that it is here, if this node took it.
    #[serde(default)]
    pub belief: Option<BeliefStatus>,
    /// What other stations claimed of it while it was here, if any did.
    #[serde(default)]
    pub claimed: Option<ClaimStatus>,
}

/// Stations that are not of the cluster say that they have a group's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimStatus {
    /// The last of them.
    pub mac: Mac,
    /// How often they said so.
    pub times: u64,
    /// Milliseconds since they last did.
    pub last_ms: u64,
    /// How often the neighbours were told again because of that.
    pub defended: u32,
}

/// Whether the neighbours believe that a group is here: other nodes ask the LAN
/// where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeliefStatus {
    /// How many nodes found it here.
    pub believed: u8,
    /// How many were asked.
    pub of: u8,
    /// Milliseconds from the decision to take it to the last answer of these nodes.
    pub after_ms: Option<u64>,
    /// A node that was not answered from here.
    pub doubted_by: Option<NodeName>,
    /// The station that answered it instead, if any.
    pub instead: Option<Mac>,
    /// How often the neighbours were told again because of that.
    pub repeated: u8,
}

/// What a node does with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holding {
    /// Nothing.
    No,
    /// It is claimed, its addresses are being put on, or the neighbours are
    /// being told.
    Taking,
    /// It holds the group.
    Held,
    /// Its addresses are being taken off.
    LettingGo,
}

/// Another node, or a stranger with the secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: NodeName,
    /// Whether the configuration names it.
    pub configured: bool,
    /// Whether it is the process that this name belongs to (W6).
    pub counts: bool,
    /// Whether it is alive: heard, and hearing this node (W1).
    pub alive: bool,
    /// Its announced state, if it was ever fresh.
    pub state: Option<NodeState>,
    /// Its announced reason.
    pub reason: Option<NodeReason>,
    /// Its announced detail, for people.
    pub detail: String,
    /// Milliseconds since its last fresh frame; of one that left, its goodbye.
    pub age_ms: Option<u64>,
    /// Its boot id, in hexadecimal.
    pub boot: Option<String>,
    /// Source address of its newest direct frame.
    pub address: Option<String>,
    /// How it was heard lately.
    pub hears_by: Vec<HeardBy>,
    /// The nodes it says it hears, with the paths.
    pub hears: BTreeMap<NodeName, Vec<HeardBy>>,
    /// Its configuration's version.
    pub version: Option<u64>,
    /// Its configuration's digest, in hexadecimal.
    pub digest: Option<String>,
    /// Id of the key it signs with, in hexadecimal.
    pub key: Option<String>,
    /// How many groups it holds.
    pub holding: u32,
    /// Its uptime in milliseconds.
    pub uptime_ms: Option<u64>,
}

/// The way a frame came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeardBy {
    /// By multicast.
    Multicast,
    /// Sent to this node alone.
    Unicast,
    /// Forwarded by a third node (W2).
    Relayed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_interface_wherever_the_status_has_it() {
        let vip = |name: &str| Vip::V6 {
            ip: "fd00::9".parse().unwrap(),
            prefixlen: 64,
            name: name.into(),
        };
        let mut placed = Vip::from(&Address::anywhere("fd00::9/64".parse().unwrap()));
        assert_eq!(placed, vip(""));
        assert_eq!(Vip::from(&Address::on("eth0", "fd00::9/64".parse().unwrap())), vip("eth0"));
        placed.place(&|ip| (ip == "fd00::9".parse::<IpAddr>().unwrap()).then_some("ens3"));
        assert_eq!(placed, vip("ens3"));
        placed.place(&|_| None);
        assert_eq!(placed, vip("ens3"));
    }
}
