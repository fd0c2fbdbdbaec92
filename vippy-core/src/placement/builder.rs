//! How the two first places of every succession come about: nodes are inserted
//! one by one, then those of more weight take more.

use super::level::{Share, level};
use super::{NOBODY, Order, count, draw};

pub(super) struct Builder {
    order: Order,
    preferred: Vec<u16>,
    /// Per node, as far as it has come.
    weights: Vec<u8>,
    /// How many nodes are in the lists.
    inserted: u16,
    /// Groups led, per node, in order of position.
    led: Vec<Vec<usize>>,
    /// How many those are.
    leads: Vec<u32>,
    /// Groups led by `f` whose second is `n`, at `[f][n]`.
    follows: Vec<Vec<u32>>,
}

impl Builder {
    /// From an order without places.
    pub(super) fn new(order: Order, preferred: Vec<u16>) -> Builder {
        let nodes = order.members.len();
        Builder {
            order,
            preferred,
            weights: Vec::new(),
            inserted: 0,
            led: vec![Vec::new(); nodes],
            leads: vec![0; nodes],
            follows: vec![vec![0; nodes]; nodes],
        }
    }

    /// The two first places, for nodes of these weights. Weight 0 counts as the
    /// least of the others.
    pub(super) fn build(mut self, weights: Vec<u8>) -> Order {
        let least = weights.iter().copied().filter(|weight| *weight > 0).min().unwrap_or(1);
        self.weights = vec![least; weights.len()];
        for node in 0..count(&weights) {
            self.start(node);
            self.take(node);
            self.inserted += 1;
        }
        for (node, weight) in (0u16..).zip(weights).filter(|(_, weight)| *weight > least) {
            self.weights[usize::from(node)] = weight;
            self.take(node);
        }
        for leader in 0..self.inserted {
            self.level_seconds(leader);
        }
        self.order
    }

    /// First and second places for `node` from the others in the lists.
    fn take(&mut self, node: u16) {
        self.take_leads(node);
        for leader in (0..self.inserted).filter(|leader| *leader != node) {
            self.take_seconds(leader, node);
        }
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
        mine.sort_unstable_by_key(|group| self.lot(node, *group));
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

    fn lot(&self, node: u16, group: usize) -> u64 {
        draw(self.order.nodes[usize::from(node)], self.order.groups[group])
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

    /// A node's part of a load, of which it may give `available`.
    fn share(&self, node: u16, load: u32, available: u32) -> Share {
        Share { load, weight: self.weights[usize::from(node)], available }
    }

    /// First places, from whoever leads most. The former leader becomes second.
    fn take_leads(&mut self, node: u16) {
        let free = |group: &usize| self.preferred[*group] == NOBODY;
        let share = |n: u16| {
            let led = self.led[usize::from(n)].iter().filter(|_| n != node);
            let available = led.map(|group| u32::from(free(group))).sum();
            self.share(n, self.leads[usize::from(n)], available)
        };
        let givers: Vec<Share> = (0..self.inserted).map(share).collect();
        let quotas = level(&givers, share(node));
        let mut taken = Vec::new();
        for (leader, quota) in (0u16..).zip(quotas).filter(|(_, quota)| *quota > 0) {
            let led = &self.led[usize::from(leader)];
            let pool = led.iter().copied().filter(|group| self.preferred[*group] == NOBODY);
            for group in self.lowest(node, pool, quota, givers[usize::from(leader)].available) {
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
        if self.inserted == 1 {
            led.iter().for_each(|group| self.second(*group, node));
        }
        let share = |n: u16| {
            let available = self.follows[usize::from(leader)][usize::from(n)];
            let available = if n == node { 0 } else { available };
            self.share(n, self.load_without(leader, n), available)
        };
        let givers: Vec<Share> = (0..self.inserted).map(share).collect();
        let quotas = level(&givers, share(node));
        for (second, quota) in (0u16..).zip(quotas).filter(|(_, quota)| *quota > 0) {
            let seconds = &self.order.seconds;
            let pool = led.iter().copied().filter(|group| seconds[*group] == second);
            let size = self.follows[usize::from(leader)][usize::from(second)];
            for group in self.lowest(node, pool, quota, size) {
                self.second(group, node);
            }
        }
        self.led[usize::from(leader)] = led;
    }

    /// What taking leaves uneven in the situation «`leader` is down»: the most
    /// loaded gives second places to the least loaded until they are level.
    fn level_seconds(&mut self, leader: u16) {
        let led = std::mem::take(&mut self.led[usize::from(leader)]);
        let others: Vec<u16> = (0..self.inserted).filter(|node| *node != leader).collect();
        for _ in 0..led.len() {
            let share = |n: u16| {
                let available = self.follows[usize::from(leader)][usize::from(n)];
                (self.share(n, self.load_without(leader, n), available), n)
            };
            let shares = || others.iter().map(|n| share(*n));
            let giver = shares().filter(|(share, _)| share.available > 0);
            let giver = giver.max_by_key(|(share, n)| (share.last(), *n));
            let taker = shares().min_by_key(|(share, n)| (share.next(), *n));
            let (Some((most, giver)), Some((least, taker))) = (giver, taker) else { return };
            if most.last() <= least.next() {
                return;
            }
            let pool = led.iter().copied().filter(|g| self.order.seconds[*g] == giver);
            if let Some(group) = pool.min_by_key(|group| (self.lot(taker, *group), *group)) {
                self.second(group, taker);
            }
        }
    }

    /// The `quota` groups of the lowest lots for `node` out of a pool of `size`.
    fn lowest(
        &self,
        node: u16,
        pool: impl Iterator<Item = usize> + Clone,
        quota: u32,
        size: u32,
    ) -> Vec<usize> {
        // Lots are spread evenly: three times the share nearly always holds
        // enough, and selecting among few is cheap.
        let share = u64::MAX / u64::from(size.max(1)) * u64::from(quota);
        let low = self.below(node, pool.clone(), share.saturating_mul(3));
        let mut low = if length(&low) < quota { self.below(node, pool, u64::MAX) } else { low };
        let quota = (quota as usize).min(low.len());
        if 0 < quota && quota < low.len() {
            low.select_nth_unstable(quota - 1);
        }
        low.into_iter().take(quota).map(|(_, group)| group).collect()
    }

    fn below(&self, node: u16, pool: impl Iterator<Item = usize>, limit: u64) -> Vec<(u64, usize)> {
        pool.map(|group| (self.lot(node, group), group)).filter(|(lot, _)| *lot <= limit).collect()
    }
}

fn length<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
