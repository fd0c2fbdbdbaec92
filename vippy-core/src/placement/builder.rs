//! How the two first places of every succession come about: nodes are inserted
//! one by one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{NOBODY, Order, count, weigh};
use crate::identity::NodeIndex;

pub(super) struct Builder {
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
    pub(super) fn new(
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

    pub(super) fn build(mut self) -> Order {
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
            heap.push((load - 1, Reverse(n)));
        }
    }
    quotas
}

fn length<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
