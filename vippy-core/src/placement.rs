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

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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
            std::cmp::Reverse((
                weigh(self.nodes[usize::from(*node)], self.groups[group.get()]),
                *node,
            ))
        });
        self.head(group).chain(tail.into_iter().map(|node| self.members[usize::from(node)]))
    }
}

struct Builder {
    order: Order,
    preferred: Vec<u16>,
    /// Groups led, per node, in order of position.
    led: Vec<Vec<usize>>,
    /// How many those are.
    leads: Vec<u32>,
    /// Groups led by `f` whose second is `n`, at `[f][n]`.
    follows: Vec<Vec<u32>>,
}

impl Builder {
    fn new(
        members: Vec<NodeIndex>,
        nodes: Vec<u64>,
        groups: Vec<u64>,
        preferred: Vec<u16>,
    ) -> Builder {
        let led = vec![Vec::new(); nodes.len()];
        let leads = vec![0; nodes.len()];
        let follows = vec![vec![0; nodes.len()]; nodes.len()];
        let leaders = vec![NOBODY; groups.len()];
        let seconds = vec![NOBODY; groups.len()];
        let order = Order { members, leaders, seconds, nodes, groups };
        Builder { order, preferred, led, leads, follows }
    }

    fn build(mut self) -> Order {
        for node in 0..count(&self.order.nodes) {
            self.start(node);
            self.take_leads(node);
            for leader in 0..node {
                self.take_seconds(leader, node);
            }
        }
        for leader in 0..count(&self.order.nodes) {
            self.level_seconds(leader);
        }
        self.order
    }

    /// Groups that prefer `node`, and for the first node all that prefer nobody.
    /// A group waits outside the lists until the node it prefers is inserted.
    fn start(&mut self, node: u16) {
        let mut mine: Vec<usize> = (0..self.preferred.len())
            .filter(|group| {
                let prefers = self.preferred[*group];
                prefers == node || (prefers == NOBODY && node == 0)
            })
            .collect();
        mine.sort_unstable_by_key(|group| self.weight(node, *group));
        for &group in &mine {
            self.lead(group, node);
            if node > 0 {
                let second = self.least_loaded_without(node);
                self.second(group, second);
            }
        }
        mine.sort_unstable();
        self.led[usize::from(node)] = mine;
    }

    fn weight(&self, node: u16, group: usize) -> u64 {
        weigh(self.order.nodes[usize::from(node)], self.order.groups[group])
    }

    /// Gives a group's first place to `node`.
    fn lead(&mut self, group: usize, node: u16) {
        if let Some(former) = self.leads.get_mut(usize::from(self.order.leaders[group])) {
            *former -= 1;
        }
        self.order.leaders[group] = node;
        self.leads[usize::from(node)] += 1;
    }

    /// Gives a group's second place to `node`; its leader stays.
    fn second(&mut self, group: usize, node: u16) {
        let follows = &mut self.follows[usize::from(self.order.leaders[group])];
        if let Some(former) = follows.get_mut(usize::from(self.order.seconds[group])) {
            *former -= 1;
        }
        self.order.seconds[group] = node;
        follows[usize::from(node)] += 1;
    }

    /// Whoever of the earlier nodes would have least to do were `node` down.
    fn least_loaded_without(&self, node: u16) -> u16 {
        (0..node).min_by_key(|n| (self.load_without(node, *n), *n)).unwrap_or(NOBODY)
    }

    /// What node `n` would have to do were `leader` down.
    fn load_without(&self, leader: u16, n: u16) -> u32 {
        self.leads[usize::from(n)] + self.follows[usize::from(leader)][usize::from(n)]
    }

    /// First places, from whoever leads most. The former leader becomes second.
    fn take_leads(&mut self, node: u16) {
        let free = |group: &usize| self.preferred[*group] == NOBODY;
        let available: Vec<u32> = self.led[..usize::from(node)]
            .iter()
            .map(|led| led.iter().map(|group| u32::from(free(group))).sum())
            .collect();
        let quotas =
            level(&self.leads[..usize::from(node)], &available, self.leads[usize::from(node)]);
        let mut taken = Vec::new();
        for (leader, quota) in (0u16..).zip(quotas).filter(|(_, quota)| *quota > 0) {
            let led = &self.led[usize::from(leader)];
            let pool = led.iter().copied().filter(|group| self.preferred[*group] == NOBODY);
            for group in self.lightest(node, pool, quota, available[usize::from(leader)]) {
                self.hand_over(group, leader, node);
                taken.push(group);
            }
            let leaders = &self.order.leaders;
            self.led[usize::from(leader)].retain(|group| leaders[*group] == leader);
        }
        let led = &mut self.led[usize::from(node)];
        led.extend(taken);
        led.sort_unstable();
    }

    fn hand_over(&mut self, group: usize, leader: u16, node: u16) {
        let second = self.order.seconds[group];
        if second != NOBODY {
            self.follows[usize::from(leader)][usize::from(second)] -= 1;
        }
        self.order.seconds[group] = NOBODY;
        self.lead(group, node);
        self.second(group, leader);
    }

    /// Second places among `leader`'s groups, from whoever would be most loaded
    /// were `leader` down.
    fn take_seconds(&mut self, leader: u16, node: u16) {
        let led = std::mem::take(&mut self.led[usize::from(leader)]);
        if node == 1 {
            led.iter().for_each(|group| self.second(*group, node));
        }
        let available = &self.follows[usize::from(leader)][..usize::from(node)];
        let loads: Vec<u32> = (0..node).map(|n| self.load_without(leader, n)).collect();
        let quotas = level(&loads, available, self.load_without(leader, node));
        for (second, quota) in (0u16..).zip(quotas).filter(|(_, quota)| *quota > 0) {
            let seconds = &self.order.seconds;
            let pool = led.iter().copied().filter(|group| seconds[*group] == second);
            let size = self.follows[usize::from(leader)][usize::from(second)];
            for group in self.lightest(node, pool, quota, size) {
                self.second(group, node);
            }
        }
        self.led[usize::from(leader)] = led;
    }

    /// What insertion leaves uneven in the situation «`leader` is down»: the most
    /// loaded gives second places to the least loaded until they are level.
    fn level_seconds(&mut self, leader: u16) {
        let led = std::mem::take(&mut self.led[usize::from(leader)]);
        let others: Vec<u16> =
            (0..count(&self.order.nodes)).filter(|node| *node != leader).collect();
        for _ in 0..led.len() {
            let load = |n: &u16| (self.load_without(leader, *n), *n);
            let follows = &self.follows[usize::from(leader)];
            let givers = others.iter().filter(|n| follows[usize::from(**n)] > 0);
            let ends = (givers.copied().max_by_key(load), others.iter().copied().min_by_key(load));
            let (Some(giver), Some(taker)) = ends else { return };
            if load(&giver).0 <= load(&taker).0 + 1 {
                return;
            }
            let pool = led.iter().copied().filter(|g| self.order.seconds[*g] == giver);
            if let Some(group) = pool.min_by_key(|group| (self.weight(taker, *group), *group)) {
                self.second(group, taker);
            }
        }
    }

    /// The `quota` groups of least weight for `node` out of a pool of `size`.
    fn lightest(
        &self,
        node: u16,
        pool: impl Iterator<Item = usize> + Clone,
        quota: u32,
        size: u32,
    ) -> Vec<usize> {
        // Weights are spread evenly: three times the share nearly always holds
        // enough, and selecting among few is cheap.
        let share = u64::MAX / u64::from(size.max(1)) * u64::from(quota);
        let light = self.below(node, pool.clone(), share.saturating_mul(3));
        let mut light =
            if length(&light) < quota { self.below(node, pool, u64::MAX) } else { light };
        let quota = (quota as usize).min(light.len());
        if 0 < quota && quota < light.len() {
            light.select_nth_unstable(quota - 1);
        }
        light.into_iter().take(quota).map(|(_, group)| group).collect()
    }

    fn below(&self, node: u16, pool: impl Iterator<Item = usize>, limit: u64) -> Vec<(u64, usize)> {
        pool.map(|group| (self.weight(node, group), group)).filter(|(w, _)| *w <= limit).collect()
    }
}

/// How many to take from each of several loads so that the highest of them and
/// the taker's own load, which grows with every one taken, come level. Ties go
/// to the earliest; nobody gives more than it has `available`.
fn level(loads: &[u32], available: &[u32], own: u32) -> Vec<u32> {
    let mut heap: BinaryHeap<(u32, Reverse<usize>)> = (0..loads.len())
        .filter(|n| available[*n] > 0 && loads[*n] > own + 1)
        .map(|n| (loads[n], Reverse(n)))
        .collect();
    let mut quotas = vec![0; loads.len()];
    let mut own = own;
    while let Some((load, Reverse(n))) = heap.pop() {
        if load <= own + 1 {
            break;
        }
        own += 1;
        quotas[n] += 1;
        if quotas[n] < available[n] {
            heap.push((load - 1, std::cmp::Reverse(n)));
        }
    }
    quotas
}

fn count<T>(items: &[T]) -> u16 {
    u16::try_from(items.len()).unwrap_or(NOBODY)
}

fn length<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
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
