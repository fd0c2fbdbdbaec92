//! What a simulated cluster looks like before anything happens to it, and the
//! configurations its engines get.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use vippy_core::config::checks::{Check, Kind};
use vippy_core::config::hooks::NODE_DOWN;
use vippy_core::config::{
    Address, ChatInterface, Config, Digest, Failback, Group, Hook, Lifetime, LocalPart, Logging,
    LoggingDriver, Node, NotifyTarget, Secret, SharedPart, document,
};
use vippy_core::health::Verdict;
use vippy_core::identity::{CheckName, GroupId, NodeIndex, NodeName};
use zeroize::Zeroizing;

use super::Micros;
use super::fabric;
use super::random::Random;

/// The secret of every simulated cluster.
pub const SECRET: &[u8] = b"simulated secret";

/// The protocol's three times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two announcements.
    pub interval: Duration,
    /// Silence after which a peer is gone.
    pub stale: Duration,
    /// Length of booting.
    pub mature: Duration,
}

impl Timing {
    /// Times in milliseconds.
    pub fn millis(interval: u64, stale: u64, mature: u64) -> Timing {
        let [interval, stale, mature] = [interval, stale, mature].map(Duration::from_millis);
        Timing { interval, stale, mature }
    }

    /// `interval` in microseconds.
    pub fn interval(&self) -> Micros {
        vippy_core::time::micros(self.interval)
    }

    /// `stale` in microseconds.
    pub fn stale(&self) -> Micros {
        vippy_core::time::micros(self.stale)
    }

    /// `mature` in microseconds.
    pub fn mature(&self) -> Micros {
        vippy_core::time::micros(self.mature)
    }
}

/// What is special about a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupPlan {
    /// The node it prefers.
    pub prefer: Option<usize>,
    /// Break before make.
    pub exclusive: bool,
    /// Whether it goes back by itself.
    pub failback: Failback,
}

/// A cluster and its surroundings.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Nodes of the configuration; station `n` runs node `n`.
    pub nodes: usize,
    /// Stations beyond those: each runs a second process of node 0's name when started.
    pub twins: usize,
    /// Groups of the configuration.
    pub groups: Vec<GroupPlan>,
    /// The protocol's times.
    pub timing: Timing,
    /// The same groups, and the times, of every configuration after the first, if
    /// they differ from those of the first.
    pub later: Option<(Vec<GroupPlan>, Timing)>,
    /// Whether multicast is used; otherwise every node sends to its `peers`.
    pub multicast: bool,
    /// Whether every node's address is configured.
    pub peers: bool,
    /// Time on the wire.
    pub delay: (Micros, Micros),
    /// Time to put addresses on or take them off.
    pub plumbing: (Micros, Micros),
    /// Time until the neighbours are told for the first time.
    pub telling: (Micros, Micros),
    /// Time to make an epoch durable.
    pub storing: (Micros, Micros),
    /// How late a process wakes after a deadline.
    pub lateness: (Micros, Micros),
    /// Whether a process that goes on after a pause always sees its timer
    /// before its sockets; otherwise either may come first.
    pub timer_first: bool,
    /// Datagrams that wait for a paused process.
    pub socket_buffer: usize,
    /// How long a stopping node waits for takers.
    pub stop_timeout: Duration,
    /// Kernel lifetime of addresses.
    pub lifetime: Lifetime,
    /// Nodes that stand by.
    pub standby: Vec<usize>,
    /// How long a node or a group that comes and goes is held down first.
    pub hold_down: Option<Duration>,
    /// How long an operator's drains last; `None`: until they are resumed.
    pub drains: Option<Duration>,
    /// Hosts on the LAN outside the cluster. Their numbers follow those of the
    /// stations: see [`Setup::outsiders`].
    pub neighbours: usize,
    /// How many of them are set as witnesses; 0: nodes guess whom to ask.
    pub witnesses: usize,
    /// How many live nodes it takes to hold anything.
    pub quorum: Option<u16>,
    /// How long an isolated node without witnesses takes nothing.
    pub isolation: Duration,
    /// How long cleaning up after a dead node takes; `None`: nothing is to be done.
    pub cleaning: Option<(Micros, Micros)>,
    /// Whether nodes give each other their configuration; otherwise each gets it
    /// from its own file alone.
    pub travels: bool,
    /// After how many outcomes the check of each of the first groups is bad, and good
    /// again.
    pub checks: Vec<(u8, u8)>,
}

impl Setup {
    /// A quiet, direct LAN of `nodes` nodes and `groups` plain groups.
    pub fn new(seed: u64, nodes: usize, groups: usize) -> Setup {
        Setup {
            seed,
            nodes,
            twins: 0,
            groups: vec![GroupPlan::default(); groups],
            timing: Timing::millis(100, 300, 500),
            later: None,
            multicast: true,
            peers: false,
            delay: (50, 500),
            plumbing: (500, 3_000),
            telling: (100, 2_000),
            storing: (100, 4_000),
            lateness: (0, 200),
            timer_first: false,
            socket_buffer: 64,
            stop_timeout: Duration::from_secs(5),
            lifetime: Lifetime::Auto,
            standby: Vec::new(),
            hold_down: None,
            drains: None,
            neighbours: 2,
            witnesses: 0,
            quorum: None,
            isolation: Duration::from_secs(10),
            cleaning: None,
            travels: false,
            checks: Vec::new(),
        }
    }

    /// Groups that have a check, under the same positions in every configuration.
    pub fn checked(&self) -> std::ops::Range<usize> {
        0..self.checks.len()
    }

    /// From one run of a check to the next.
    pub fn pace(&self) -> Micros {
        2 * self.fastest_interval()
    }

    /// Machines: nodes and twins.
    pub fn stations(&self) -> usize {
        self.nodes + self.twins
    }

    /// Hosts outside the cluster, by their numbers on the wire: faults concern
    /// them like stations, but nothing else happens to them.
    pub fn outsiders(&self) -> std::ops::Range<usize> {
        self.stations()..self.stations() + self.neighbours
    }

    /// Those that are set as witnesses.
    pub fn witnesses(&self) -> std::ops::Range<usize> {
        self.stations()..self.stations() + self.witnesses
    }

    /// The name that a station's process uses.
    pub fn node_of(&self, station: usize) -> NodeName {
        node_name(if station < self.nodes { station } else { 0 })
    }

    /// The longest that a failback delay or a hold-down keeps a cluster from
    /// coming to rest: a hold-down doubles a few times in a plan, not for ever.
    pub fn longest_policy(&self) -> Micros {
        let delay = |plan: &GroupPlan| match plan.failback {
            Failback::After(delay) => delay,
            Failback::Auto | Failback::Never => Duration::ZERO,
        };
        let delay = self.groups.iter().map(delay).max().unwrap_or_default();
        let hold_down = self.hold_down.unwrap_or_default() * 16;
        vippy_core::time::micros(delay.max(hold_down) + self.timing.mature)
    }

    /// The longest that a kernel keeps an address that nobody renews.
    pub fn valid_lifetime(&self) -> Option<Micros> {
        self.lifetime.valid_for(self.slowest().stale).map(vippy_core::time::micros)
    }

    /// Groups and times of a version.
    fn terms(&self, version: u64) -> (&[GroupPlan], Timing) {
        match &self.later {
            Some((groups, timing)) if version > 1 => (groups, *timing),
            Some(_) | None => (&self.groups, self.timing),
        }
    }

    /// The longest times of all configurations.
    pub fn slowest(&self) -> Timing {
        let (one, other) = (self.timing, self.terms(2).1);
        Timing {
            interval: one.interval.max(other.interval),
            stale: one.stale.max(other.stale),
            mature: one.mature.max(other.mature),
        }
    }

    /// The shortest interval of all configurations.
    pub fn fastest_interval(&self) -> Micros {
        self.timing.interval().min(self.terms(2).1.interval())
    }

    /// The shortest booting of all configurations.
    pub fn shortest_mature(&self) -> Micros {
        self.timing.mature().min(self.terms(2).1.mature())
    }

    /// How many groups a version has.
    pub fn group_count(&self, version: u64) -> usize {
        self.groups.len() + usize::try_from(version.saturating_sub(1)).unwrap_or(0)
    }

    /// The node that a group prefers in a version.
    pub fn preferred(&self, version: u64, group: usize) -> Option<usize> {
        self.terms(version).0.get(group)?.prefer
    }

    /// The configuration of this version: version 1 has all groups, each higher
    /// version one group more.
    pub fn config(&self, version: u64) -> Arc<Config> {
        let (shared, local) = (self.shared(version), self.local());
        if !self.travels {
            return Arc::new(Config { shared, local, document: "".into() });
        }
        let shared = shared.with_version(version);
        let document = document(&shared);
        Arc::new(Config { shared, local, document })
    }

    fn shared(&self, version: u64) -> SharedPart {
        let extra = usize::try_from(version.saturating_sub(1)).unwrap_or(0);
        let (plans, timing) = self.terms(version);
        let plans = plans.iter().copied().chain(vec![GroupPlan::default(); extra]);
        SharedPart {
            version,
            digest: self.digest(version),
            nodes: (0..self.nodes)
                .map(|node| Node {
                    standby: self.standby.contains(&node),
                    ..Node::new(node_name(node))
                })
                .collect(),
            groups: plans.enumerate().map(|(index, plan)| Arc::new(group(index, plan))).collect(),
            interval: timing.interval,
            mature: timing.mature,
            stale: timing.stale,
            quorum: self.quorum,
            witness: self.witnesses().map(|host| fabric::address(host).ip()).collect(),
            isolation: self.isolation,
            hold_down: self.hold_down,
            checks: self.checked().map(|group| Arc::new(self.check(group))).collect(),
            hooks: self.cleaning.map(|_| clean_up()).into_iter().collect(),
            plugins: Vec::new(),
        }
    }

    fn check(&self, group: usize) -> Check {
        let (fall, rise) = self.checks[group];
        let pace = Duration::from_micros(self.pace());
        Check {
            name: check_name(group),
            kind: Kind::Process("served".to_owned()),
            interval: pace,
            timeout: pace,
            fall,
            rise,
            first: Verdict::Unknown,
            groups: vec![group_id(group)],
            nodes: Vec::new(),
        }
    }

    /// Any distinct bytes for a distinct shared part will do.
    fn digest(&self, version: u64) -> Digest {
        let mut dice = Random::labelled(version, &[self.nodes as u64, self.groups.len() as u64]);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&dice.bits().to_le_bytes());
        bytes[8..].copy_from_slice(&dice.bits().to_le_bytes());
        Digest(bytes)
    }

    fn local(&self) -> LocalPart {
        let group = SocketAddr::from((Ipv4Addr::new(239, 77, 0, 1), fabric::PORT));
        let peers = (0..self.nodes).map(|node| (node_name(node), fabric::address(node)));
        LocalPart {
            chat: self.multicast.then_some(group),
            chat_interface: ChatInterface::All,
            peers: if self.peers || !self.multicast { peers.collect() } else { BTreeMap::new() },
            secrets: vec![Secret(Zeroizing::new(SECRET.to_vec()))],
            secret_files: Vec::new(),
            cluster: String::new(),
            arp_cache: Duration::from_secs(20),
            notify_rate: 25_000,
            notify: self.travels.then_some(NotifyTarget::ArpCache).into_iter().collect(),
            management: PathBuf::from("/run/vippy.sock"),
            state: PathBuf::from("/var/lib/vippy"),
            logging: Logging {
                driver: LoggingDriver::Console,
                facility: "local7".to_owned(),
                mask: [true; 8],
            },
            plugins: Vec::new(),
            stop_timeout: self.stop_timeout,
            lifetime: self.lifetime,
            realtime: None,
        }
    }
}

/// What is to be done about a death.
fn clean_up() -> Hook {
    Hook {
        on: vec![NODE_DOWN.to_owned()],
        run: vec!["clean-up".to_owned()],
        groups: Vec::new(),
        nodes: Vec::new(),
        once: true,
        required: false,
        timeout: Duration::from_secs(10),
        user: None,
    }
}

/// The name of a node.
pub fn node_name(node: usize) -> NodeName {
    NodeName::from(format!("node{node}").as_str())
}

/// The identity of a group.
pub fn group_id(index: usize) -> GroupId {
    GroupId::from(format!("g{index}").as_str())
}

/// The name of a group's check.
pub fn check_name(group: usize) -> CheckName {
    CheckName::from(format!("c{group}").as_str())
}

/// The position of the group of a check.
pub fn checked_group(name: &CheckName) -> Option<usize> {
    name.as_str().strip_prefix('c')?.parse().ok()
}

/// The position of a group, from its identity.
pub fn group_position(id: &GroupId) -> Option<usize> {
    id.as_str().strip_prefix('g')?.parse().ok()
}

fn group(index: usize, plan: GroupPlan) -> Group {
    let low = u8::try_from(index % 250 + 1).unwrap_or(u8::MAX);
    let high = u8::try_from(index / 250).unwrap_or(u8::MAX);
    let ip = Ipv4Addr::new(10, 1, high, low);
    // A prefix of 16 bits is always valid; the fallback only satisfies the type.
    let net = Ipv4Net::new(ip, 16).map_or(IpNet::from(IpAddr::V4(ip)), IpNet::V4);
    Group {
        id: group_id(index),
        name: Some(group_id(index).as_str().to_owned()),
        prefer: plan.prefer.and_then(|node| u16::try_from(node).ok()).map(NodeIndex),
        exclusive: plan.exclusive,
        failback: plan.failback,
        addresses: vec![Address::on("eth0", net)],
    }
}
