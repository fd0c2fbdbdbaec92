//! Succession lists (O2): for every group an order of all configured nodes
//! that follows from the configuration alone.
//!
//! Nodes are inserted one by one in configuration order. The new node first
//! takes first places from whoever leads most groups until leads are level;
//! then, for every other node `f`, it takes second places among `f`'s groups
//! until loads are level in the situation «`f` is down». Which groups it takes
//! is decided by hash of (node, group), so that one group more or less
//! disturbs only its neighbours in hash order. From the third place on the
//! order is by hash alone (rendezvous).
//!
//! Appending a node therefore moves groups only to the new node, and removing
//! the last node undoes exactly that.
//!
//! That is done twice: among the nodes that do not stand by, and among those
//! that do. A succession is the first order and behind it the second, so a
//! standby node moves nothing by coming or going, and standby nodes share evenly
//! what falls to them (O3).

mod builder;

use std::cmp::Reverse;

use self::builder::Builder;
use crate::config::SharedPart;
use crate::identity::{GroupIndex, NodeIndex};

/// The succession of every group of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    ordinary: Order,
    standby: Order,
}

/// An order of some of the nodes for every group. Nodes are counted among
/// these alone.
#[derive(Clone, Debug, Default)]
struct Order {
    /// Their positions in the configuration.
    members: Vec<NodeIndex>,
    leaders: Vec<u16>,
    seconds: Vec<u16>,
    nodes: Vec<u64>,
    groups: Vec<u64>,
}

/// «Nobody yet», while lists are being built and where there is one node only.
const NOBODY: u16 = u16::MAX;

impl Placement {
    /// Computes all successions; milliseconds for 10,000 groups on 100 nodes.
    pub fn new(shared: &SharedPart) -> Placement {
        Placement { ordinary: Order::new(shared, false), standby: Order::new(shared, true) }
    }

    /// The first node of a succession; `None` without nodes.
    pub fn leader(&self, group: GroupIndex) -> Option<NodeIndex> {
        self.head(group).next()
    }

    /// The second node of a succession; `None` with fewer than two nodes.
    pub fn second(&self, group: GroupIndex) -> Option<NodeIndex> {
        self.head(group).nth(1)
    }

    /// The whole succession of a group.
    pub fn succession(&self, group: GroupIndex) -> Vec<NodeIndex> {
        self.ordinary.succession(group).chain(self.standby.succession(group)).collect()
    }

    fn head(&self, group: GroupIndex) -> impl Iterator<Item = NodeIndex> {
        self.ordinary.head(group).chain(self.standby.head(group))
    }
}

impl Order {
    /// The order of the nodes that stand by, or of those that do not.
    fn new(shared: &SharedPart, standby: bool) -> Order {
        let nodes = (0u16..).map(NodeIndex).zip(&shared.nodes);
        let members: Vec<NodeIndex> =
            nodes.filter(|(_, node)| node.standby == standby).map(|(index, _)| index).collect();
        let hash = |node: &NodeIndex| fnv1a(shared.nodes[node.get()].name.as_str());
        let nodes = members.iter().map(hash).collect();
        let groups = shared.groups.iter().map(|group| fnv1a(group.id.as_str())).collect();
        let place = |node: NodeIndex| members.binary_search(&node).ok();
        let preferred = shared.groups.iter().map(|group| {
            let place = group.prefer.and_then(place);
            place.and_then(|place| u16::try_from(place).ok()).unwrap_or(NOBODY)
        });
        let preferred = preferred.collect();
        Builder::new(members, nodes, groups, preferred).build()
    }

    /// The first two at most.
    fn head(&self, group: GroupIndex) -> impl Iterator<Item = NodeIndex> {
        let head = [self.leaders[group.get()], self.seconds[group.get()]];
        head.into_iter().filter_map(|node| self.members.get(usize::from(node)).copied())
    }

    fn succession(&self, group: GroupIndex) -> impl Iterator<Item = NodeIndex> {
        let head = [self.leaders[group.get()], self.seconds[group.get()]];
        let mut tail: Vec<u16> =
            (0..count(&self.nodes)).filter(|node| !head.contains(node)).collect();
        tail.sort_by_key(|node| {
            Reverse((weigh(self.nodes[usize::from(*node)], self.groups[group.get()]), *node))
        });
        self.head(group).chain(tail.into_iter().map(|node| self.members[usize::from(node)]))
    }
}

fn count<T>(items: &[T]) -> u16 {
    u16::try_from(items.len()).unwrap_or(NOBODY)
}

/// FNV-1a, 64 bits, over the UTF-8 of a name.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The weight of a node for a group: both hashes through the finalizer of
/// SplitMix64.
fn weigh(node: u64, group: u64) -> u64 {
    let mut mixed = node.rotate_left(32) ^ group;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
