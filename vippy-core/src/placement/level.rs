//! When loads are level: for their weights, no group moved from one node to
//! another would make them more so (the method of Webster).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A node's part of a load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Groups.
    pub(super) load: u32,
    /// What it is worth; at least 1.
    pub(super) weight: u8,
    /// How many of the groups it may give away.
    pub(super) available: u32,
}

/// Half groups per weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burden {
    halves: u32,
    weight: u8,
}

impl Share {
    /// The burden up to the middle of its last group.
    pub(super) fn last(self) -> Burden {
        Burden { halves: (2 * self.load).saturating_sub(1), weight: self.weight }
    }

    /// The burden up to the middle of one group more.
    pub(super) fn next(self) -> Burden {
        Burden { halves: 2 * self.load + 1, weight: self.weight }
    }
}

impl Ord for Burden {
    fn cmp(&self, other: &Burden) -> Ordering {
        let cross = |one: &Burden, other: &Burden| u64::from(one.halves) * u64::from(other.weight);
        cross(self, other).cmp(&cross(other, self))
    }
}

impl PartialOrd for Burden {
    fn partial_cmp(&self, other: &Burden) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Burden {
    fn eq(&self, other: &Burden) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Burden {}

/// How many to take from each of several givers so that the highest of their
/// burdens and the taker's own, which grows with every one taken, come level.
/// Ties go to the earliest; nobody gives more than it has available.
pub(super) fn level(givers: &[Share], taker: Share) -> Vec<u32> {
    let gives = |giver: &Share| giver.available > 0 && giver.last() > taker.next();
    let mut heap: BinaryHeap<(Burden, Reverse<usize>)> = (0..givers.len())
        .filter(|n| gives(&givers[*n]))
        .map(|n| (givers[n].last(), Reverse(n)))
        .collect();
    let mut quotas = vec![0; givers.len()];
    let mut own = taker;
    while let Some((burden, Reverse(n))) = heap.pop() {
        if burden <= own.next() {
            break;
        }
        own.load += 1;
        quotas[n] += 1;
        if quotas[n] < givers[n].available {
            let rest = Share { load: givers[n].load - quotas[n], ..givers[n] };
            heap.push((rest.last(), Reverse(n)));
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(load: u32, weight: u8) -> Share {
        Share { load, weight, available: load }
    }

    #[test]
    fn equal_weights_level_to_within_one_whatever_they_are() {
        for weight in [1, 7, 100] {
            assert_eq!(level(&[share(9, weight), share(4, weight)], share(0, weight)), [4, 0]);
            assert_eq!(level(&[share(5, weight)], share(4, weight)), [0]);
        }
    }

    #[test]
    fn a_taker_of_more_weight_takes_so_much_more() {
        assert_eq!(level(&[share(40, 1), share(30, 1)], share(0, 2)), [23, 12]);
        assert_eq!(level(&[share(35, 1), share(35, 1)], share(30, 3)), [15, 15]);
    }

    #[test]
    fn nobody_gives_more_than_it_may() {
        let bound = Share { available: 2, ..share(20, 1) };
        assert_eq!(level(&[bound, share(3, 1)], share(0, 1)), [2, 0]);
    }
}
