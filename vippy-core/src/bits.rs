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
        (0u32..).zip(&self.words).flat_map(|(index, word)| ones(index, *word))
    }

    /// Members within `first..=last`, in ascending order.
    pub(crate) fn range(&self, first: u32, last: u32) -> impl Iterator<Item = u32> + '_ {
        (first / WIDTH..=last / WIDTH)
            .flat_map(move |index| ones(index, self.within(index, first, last)))
    }

    /// How many members are within `first..=last`.
    pub(crate) fn count_within(&self, first: u32, last: u32) -> usize {
        let words = first / WIDTH..=last / WIDTH;
        words.map(|index| self.within(index, first, last).count_ones() as usize).sum()
    }

    /// The members within `first..=last`, as a set of their own.
    pub(crate) fn cut(&self, first: u32, last: u32) -> Bits {
        let end = (last / WIDTH + 1).min(u32::try_from(self.words.len()).unwrap_or(u32::MAX));
        Bits { words: (0..end).map(|index| self.within(index, first, last)).collect() }
    }

    /// Replaces the members within `first..=last`; returns those that changed.
    pub(crate) fn replace(&mut self, first: u32, last: u32, members: &Bits) -> Vec<u32> {
        let mut changed = Vec::new();
        for index in first / WIDTH..=last / WIDTH {
            let differs = (self.word(index) ^ members.word(index)) & mask(index, first, last);
            if differs != 0 {
                changed.extend(ones(index, differs));
                let index = index as usize;
                self.words.resize(self.words.len().max(index + 1), 0);
                self.words[index] ^= differs;
            }
        }
        changed
    }

    /// Writes eight members a byte from `first` on, the lowest bit first; as many
    /// bytes as `first..=last` fill.
    pub(crate) fn write(&self, first: u32, last: u32, out: &mut Vec<u8>) {
        let end = out.len() + ((last - first) / 8 + 1) as usize;
        let shift = first % WIDTH;
        let mut low = self.within(first / WIDTH, first, last);
        for index in first / WIDTH..=last / WIDTH {
            let high = self.within(index + 1, first, last);
            let word = low >> shift | high.checked_shl(WIDTH - shift).unwrap_or(0);
            let bytes = word.to_le_bytes();
            out.extend_from_slice(&bytes[..bytes.len().min(end - out.len())]);
            low = high;
        }
    }

    /// The set that [`Bits::write`] wrote; every bit counts.
    pub(crate) fn from_bytes(first: u32, bytes: &[u8]) -> Bits {
        let (start, shift) = ((first / WIDTH) as usize, first % WIDTH);
        let (whole, rest) = bytes.as_chunks();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let mut words = Vec::with_capacity(start + whole.len() + 2);
        words.resize(start, 0);
        let mut carried = 0;
        for eight in whole.iter().chain([&last]) {
            let word = u64::from_le_bytes(*eight);
            words.push(word << shift | carried);
            carried = word.checked_shr(WIDTH - shift).unwrap_or(0);
        }
        words.push(carried);
        Bits { words }
    }

    fn word(&self, index: u32) -> u64 {
        self.words.get(index as usize).copied().unwrap_or(0)
    }

    /// The word at `index` without what is outside `first..=last`.
    fn within(&self, index: u32, first: u32, last: u32) -> u64 {
        self.word(index) & mask(index, first, last)
    }
}

/// Members of the word at `index`, in ascending order.
fn ones(index: u32, word: u64) -> impl Iterator<Item = u32> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let bit = rest.trailing_zeros();
        if bit == WIDTH {
            return None;
        }
        rest &= rest - 1;
        Some(index * WIDTH + bit)
    })
}

/// The bits of the word at `index` that are within `first..=last`.
fn mask(index: u32, first: u32, last: u32) -> u64 {
    let start = index * WIDTH;
    let end = start + (WIDTH - 1);
    if end < first || last < start {
        return 0;
    }
    let low = u64::MAX << (first.max(start) - start);
    let high = u64::MAX >> (end - last.min(end));
    low & high
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Equal when they have the same members, however long they once were.
impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        let (long, short) = match self.words.len() < other.words.len() {
            true => (&other.words, &self.words),
            false => (&self.words, &other.words),
        };
        let (head, tail) = long.split_at(short.len());
        head == short && tail.iter().all(|word| *word == 0)
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

    #[test]
    fn a_slice_is_cut_out_counted_and_written_down_wherever_it_begins_and_ends() {
        let all: Bits = (0..400).filter(|n| n % 3 == 0 || n % 64 == 0).collect();
        for (first, last) in [(0, 0), (0, 399), (1, 63), (5, 200), (64, 127), (70, 71), (128, 900)]
        {
            let within: Vec<u32> =
                all.iter().filter(|member| (first..=last).contains(member)).collect();
            assert_eq!(all.range(first, last).collect::<Vec<_>>(), within);
            assert_eq!(all.count_within(first, last), within.len());
            let cut = all.cut(first, last);
            assert_eq!(cut.iter().collect::<Vec<_>>(), within);
            let mut bytes = Vec::new();
            all.write(first, last, &mut bytes);
            assert_eq!(bytes.len(), ((last - first) / 8 + 1) as usize);
            let written = |member: u32| {
                let place = member.wrapping_sub(first);
                bytes.get((place / 8) as usize).is_some_and(|byte| byte >> (place % 8) & 1 == 1)
            };
            assert!((0..1_000).all(|member| written(member) == cut.contains(member)));
            assert_eq!(Bits::from_bytes(first, &bytes), cut);
        }
    }
}
