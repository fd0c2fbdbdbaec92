//! The validated configuration.
//!
//! Split in what the cluster must agree on ([`SharedPart`], covered by the
//! digest) and what is this node's own business ([`LocalPart`]).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::checks::Check;
use super::hooks::Hook;
use super::plugins::Plugin;
use super::secret::{Secret, SecretFile};
use crate::identity::{GroupId, GroupIndex, NodeIndex, NodeName};

/// Everything one file says, validated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// What all nodes must agree on.
    pub shared: SharedPart,
    /// What this node alone decides.
    pub local: LocalPart,
    /// The shared part as a document; empty where none is to be given to others.
    pub document: Arc<str>,
}

/// The part that every node of the cluster shares (O5).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SharedPart {
    /// Rises with every change; the highest (version, digest) judges.
    pub version: u64,
    /// First 16 bytes of SHA-256 over the canonical text of this part
    /// (no interface names, no local keys, no layout).
    pub digest: Digest,
    /// All nodes, in configuration order; at most 1,024 (W7: 10 bits).
    pub nodes: Vec<Node>,
    /// All groups, in configuration order.
    pub groups: Vec<Arc<Group>>,
    /// Time between two announcements.
    pub interval: Duration,
    /// How long a node boots before it takes part (O6).
    pub mature: Duration,
    /// Age at which the latest fresh frame no longer counts (W1).
    pub stale: Duration,
    /// How many live nodes, this one included, it takes to hold anything (O7).
    pub quorum: Option<u16>,
    /// Addresses that answer a node which is not cut off (O7); may be empty.
    pub witness: Vec<IpAddr>,
    /// How long an isolated node without a set witness waits before it takes
    /// part after all (O7).
    pub isolation: Duration,
    /// How long a node that comes and goes too often stands by the first time
    /// (O4); `None` when it never does.
    pub hold_down: Option<Duration>,
    /// What tells whether a node can serve (H1).
    #[serde(default)]
    pub checks: Vec<Arc<Check>>,
    /// Programs that run when something happens.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// Programs that run beside the daemon.
    #[serde(default)]
    pub plugins: Vec<Plugin>,
}

/// Whether a group goes back to an earlier node of its succession (O4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub enum Failback {
    /// As soon as that node takes part.
    #[default]
    Auto,
    /// Not while its holder can hold it.
    Never,
    /// When that node has taken part for this long.
    After(Duration),
}

/// The weight of a node that has none written down.
pub(super) const DEFAULT_WEIGHT: u8 = 1;

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name: unique, 1 to 63 bytes of letters, digits, `-`, `_` and `.`.
    pub name: NodeName,
    /// It takes only what no active node can hold (O3).
    pub standby: bool,
    /// Its share of the groups beside those of the others, up to 100 (O2). With 0
    /// it is retired: it holds only what nobody else can.
    pub weight: u8,
}

impl Node {
    /// A node of which nothing but the name is said.
    pub fn new(name: impl Into<NodeName>) -> Node {
        Node { name: name.into(), standby: false, weight: DEFAULT_WEIGHT }
    }

    /// It holds only what nobody else can (O2).
    pub fn is_retired(&self) -> bool {
        self.weight == 0
    }
}

/// Addresses that move together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Group {
    /// What makes it the same group in another configuration.
    pub id: GroupId,
    /// The name the operator gave it, if any.
    pub name: Option<String>,
    /// The node that comes first in its succession, if any (O2).
    pub prefer: Option<NodeIndex>,
    /// Break before make: never two holders, at the price of a gap (O8).
    pub exclusive: bool,
    /// Whether it goes back to an earlier node of its succession (O4).
    pub failback: Failback,
    /// Its addresses in the order of the file; at least one.
    pub addresses: Vec<Address>,
}

impl Group {
    /// What puts its addresses elsewhere, or others on, when it changes. Hints do
    /// not: an address that is on stays where it is.
    pub fn places(&self) -> impl Iterator<Item = (IpNet, Option<&str>)> {
        self.addresses.iter().map(|address| (address.net, address.interface.as_deref()))
    }
}

/// One virtual address.
///
/// Names of interfaces are local, and no part of the digest. An address belongs
/// on the interface that this node's own file names for it; where that names
/// none, on the interface that carries the address's network; where none does,
/// on the one that was named with the configuration, if this node has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Address {
    /// The address and the length of its network's prefix.
    pub net: IpNet,
    /// The interface that this node's own file names for it, if it names one.
    pub interface: Option<String>,
    /// The interface that another node's file names for it, if the configuration
    /// came from there ([`localize`](super::localize)).
    pub hint: Option<String>,
}

impl Address {
    /// An address for which this node's own file names the interface.
    pub fn on(interface: &str, net: IpNet) -> Address {
        Address { net, interface: Some(interface.to_owned()), hint: None }
    }

    /// An address for which nobody names an interface.
    pub fn anywhere(net: IpNet) -> Address {
        Address { net, interface: None, hint: None }
    }

    /// The address without its prefix.
    pub fn ip(&self) -> IpAddr {
        self.net.addr()
    }
}

/// First 16 bytes of a SHA-256.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The part that only this node reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalPart {
    /// Multicast group and port; `None` where only `peers` are used.
    pub chat: Option<SocketAddr>,
    /// Where to join and from where to send.
    pub chat_interface: ChatInterface,
    /// Unicast addresses of nodes, this one's own included (it is bound to).
    pub peers: BTreeMap<NodeName, SocketAddr>,
    /// Keys: the first signs, all verify; at least one, as soon as the files
    /// that hold them are read. Never written anywhere.
    #[serde(skip)]
    pub secrets: Vec<Secret>,
    /// The files that hold the secrets, if the configuration does not.
    pub secret_files: Vec<SecretFile>,
    /// Tells clusters with the same secret apart; empty by default.
    pub cluster: String,
    /// How often the neighbour table is read.
    pub arp_cache: Duration,
    /// Whom to tell about a new owner beside the broadcast.
    pub notify: Vec<NotifyTarget>,
    /// At what pace, in frames a second.
    pub notify_rate: u32,
    /// Path of the management socket.
    pub management: PathBuf,
    /// State directory.
    pub state: PathBuf,
    /// Logging.
    pub logging: Logging,
    /// Plugin files that the command line names beside the configured ones.
    pub plugins: Vec<PathBuf>,
    /// How long a stopping node waits for others to take over (O8).
    pub stop_timeout: Duration,
    /// Kernel lifetime of our addresses (F1).
    pub lifetime: Lifetime,
    /// Real-time priority of the daemon's threads, 1 to 99; `None` leaves them
    /// as they were started.
    pub realtime: Option<u8>,
    /// Where metrics are served over TCP, beside the management socket.
    pub metrics: Option<SocketAddr>,
}

impl LocalPart {
    /// Addresses of nodes that this part names: they stay where they are.
    pub(super) fn fixed_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let own = match self.chat_interface {
            ChatInterface::Address(ip) => Some(ip),
            ChatInterface::All | ChatInterface::Name(_) => None,
        };
        own.into_iter().chain(self.peers.values().map(SocketAddr::ip))
    }
}

/// Where the chat joins its multicast group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChatInterface {
    /// Every interface that is up and can multicast.
    All,
    /// The interface that carries this address.
    Address(IpAddr),
    /// The interface of this name.
    Name(String),
}

/// An entry of `notify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotifyTarget {
    /// Everybody in the cluster's collective neighbour cache.
    ArpCache,
    /// Every address of a network on an interface.
    Network {
        /// The interface's name.
        interface: String,
        /// The network; host bits are kept as written and ignored.
        net: IpNet,
    },
}

/// How long the kernel keeps an address that nobody renews (F1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// max(2 s, ⌈2 × stale⌉).
    Auto,
    /// For ever: a killed daemon's addresses stay.
    Off,
    /// This long, in whole seconds.
    Fixed(Duration),
}

impl Lifetime {
    /// The kernel's valid_lft for a given `stale`; `None` is for ever.
    pub fn valid_for(self, stale: Duration) -> Option<Duration> {
        match self {
            Lifetime::Auto => {
                let twice = (2 * stale).as_millis().div_ceil(1000);
                let seconds = u64::try_from(twice).unwrap_or(u64::MAX).max(2);
                Some(Duration::from_secs(seconds))
            }
            Lifetime::Off => None,
            Lifetime::Fixed(span) => Some(span),
        }
    }
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// The backend.
    pub driver: LoggingDriver,
    /// Syslog facility name, such as `local7`.
    pub facility: String,
    /// Levels that are written, `emerg` (0) to `debug` (7).
    pub mask: [bool; 8],
}

/// A logging backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoggingDriver {
    /// Lines on standard error.
    Console,
    /// The local syslog socket.
    Syslog,
    /// The journal's own socket, with fields.
    Journald,
}

impl Config {
    /// The same configuration for whoever must not know the secrets.
    #[must_use]
    pub fn without_secrets(&self) -> Config {
        let mut config = self.clone();
        // Each is wiped as it goes.
        config.local.secrets.clear();
        config
    }
}

impl SharedPart {
    /// Position of a node by name.
    pub fn node_index(&self, name: &NodeName) -> Option<NodeIndex> {
        let position = self.nodes.iter().position(|node| node.name == *name)?;
        u16::try_from(position).ok().map(NodeIndex)
    }

    /// All group positions in order.
    pub fn group_indexes(&self) -> impl Iterator<Item = GroupIndex> + use<> {
        (0..u32::try_from(self.groups.len()).unwrap_or(u32::MAX)).map(GroupIndex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_lifetime_is_twice_stale_rounded_up_and_at_least_two_seconds() {
        let auto = |millis| Lifetime::Auto.valid_for(Duration::from_millis(millis));
        assert_eq!(auto(60), Some(Duration::from_secs(2)));
        assert_eq!(auto(1_250), Some(Duration::from_secs(3)));
        assert_eq!(auto(5_000), Some(Duration::from_secs(10)));
        assert_eq!(Lifetime::Off.valid_for(Duration::from_secs(5)), None);
    }
}
