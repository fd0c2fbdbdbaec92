//! A set of small numbers: group positions, one bit each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A growing set of `u32`, stored as a bitmap.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

const WIDTH: u32 = u64::BITS;

fn place(position: u32) -> (usize, u64) {
    ((position / WIDTH) as usize, 1 << (position % WIDTH))
}

impl Bits {
    pub(crate) const fn new() -> Self {
        Bits { words: Vec::new() }
    }

    pub(crate) fn contains(&self, position: u32) -> bool {
        let (word, bit) = place(position);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether both have a member in common.
    pub(crate) fn meets(&self, other: &Bits) -> bool {
        self.words.iter().zip(&other.words).any(|(one, two)| one & two != 0)
    }

    /// Sets or clears one bit; returns whether that changed anything.
    pub(crate) fn set(&mut self, position: u32, value: bool) -> bool {
        let (word, bit) = place(position);
        if word >= self.words.len() {
            if !value {
                return false;
            }
            self.words.resize(word + 1, 0);
        }
        let changed = (self.words[word] & bit != 0) != value;
        if value {
            self.words[word] |= bit;
        } else {
            self.words[word] &= !bit;
        }
        changed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(crate) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Adds the members of another set.
    pub(crate) fn add(&mut self, other: &Bits) {
        self.words.resize(self.words.len().max(other.words.len()), 0);
        self.words.iter_mut().zip(&other.words).for_each(|(word, more)| *word |= more);
    }

    /// Adds what two other sets have in common.
    pub(crate) fn add_common(&mut self, one: &Bits, other: &Bits) {
        let common = one.words.iter().zip(&other.words).map(|(a, b)| a & b);
        self.add(&Bits { words: common.collect() });
    }

    /// Members in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.words).flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                if bit == WIDTH {
                    return None;
                }
                rest &= rest - 1;
                Some(index * WIDTH + bit)
            })
        })
    }

    /// Members within `first..=last`, in ascending order.
    pub(crate) fn range(&self, first: u32, last: u32) -> impl Iterator<Item = u32> + '_ {
        let from = (first / WIDTH) as usize;
        let to = ((last / WIDTH) as usize + 1).min(self.words.len());
        let words = self.words.get(from..to).unwrap_or_default();
        let base = first / WIDTH * WIDTH;
        (0u32..)
            .zip(words)
            .flat_map(move |(index, &word)| {
                (0..WIDTH)
                    .filter(move |bit| word >> bit & 1 == 1)
                    .map(move |bit| base + index * WIDTH + bit)
            })
            .filter(move |member| (first..=last).contains(member))
    }

    /// Replaces the members within `first..=last`; returns those that changed.
    pub(crate) fn replace(&mut self, first: u32, last: u32, members: &Bits) -> Vec<u32> {
        let differs = |a: &Bits, b: &Bits| {
            a.range(first, last).filter(|m| !b.contains(*m)).collect::<Vec<u32>>()
        };
        let mut changed = differs(self, members);
        changed.extend(differs(members, self));
        changed.sort_unstable();
        for &position in &changed {
            self.set(position, members.contains(position));
        }
        changed
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Equal when they have the same members, however long they once were.
impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        let longest = self.words.len().max(other.words.len());
        let word = |bits: &Bits, index: usize| bits.words.get(index).copied().unwrap_or(0);
        (0..longest).all(|index| word(self, index) == word(other, index))
    }
}

impl Eq for Bits {}

impl FromIterator<u32> for Bits {
    fn from_iter<T: IntoIterator<Item = u32>>(members: T) -> Self {
        let mut bits = Bits::new();
        for member in members {
            bits.set(member, true);
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_out_in_order() {
        let bits: Bits = [700, 3, 64, 63].into_iter().collect();
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3, 63, 64, 700]);
        assert_eq!(bits.range(4, 64).collect::<Vec<_>>(), [63, 64]);
        assert_eq!(bits.range(701, 9000).count(), 0);
        assert_eq!(bits.count(), 4);
    }

    #[test]
    fn replacing_a_slice_leaves_the_rest_alone() {
        let mut bits: Bits = [1, 10, 20].into_iter().collect();
        let changed = bits.replace(5, 15, &[11, 40].into_iter().collect());
        assert_eq!(changed, [10, 11]);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [1, 11, 20]);
    }
}
