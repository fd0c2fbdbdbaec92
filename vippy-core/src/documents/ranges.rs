//! Which bytes of a document.

use serde::{Deserialize, Serialize};

/// Ranges of bytes, ascending and apart from each other, each from its first
/// byte up to the one after its last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// All bytes of a document.
    pub(crate) fn whole(size: u32) -> Ranges {
        Ranges(vec![(0, size)])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|(from, to)| u64::from(to - from)).sum()
    }

    pub(crate) fn add(&mut self, from: u32, to: u32) {
        if from >= to {
            return;
        }
        let touching = |range: &(u32, u32)| range.0 <= to && from <= range.1;
        let merged = self.0.iter().filter(|range| touching(range));
        let (from, to) = merged.fold((from, to), |(f, t), range| (f.min(range.0), t.max(range.1)));
        self.0.retain(|range| range.0 > to || from > range.1);
        let place = self.0.partition_point(|range| range.0 < from);
        self.0.insert(place, (from, to));
    }

    pub(crate) fn remove(&mut self, from: u32, to: u32) {
        let cut = |(first, last): (u32, u32)| [(first, last.min(from)), (first.max(to), last)];
        let rest = self.0.iter().copied().flat_map(cut).filter(|(first, last)| first < last);
        self.0 = rest.collect();
    }

    /// Takes at most `most` bytes off the front: their offset and how many.
    pub(crate) fn take_front(&mut self, most: u32) -> Option<(u32, u32)> {
        let (from, to) = *self.0.first()?;
        let end = to.min(from.saturating_add(most));
        self.remove(from, end);
        Some((from, end - from))
    }

    /// The ranges as (offset, length).
    pub(crate) fn lengths(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().map(|(from, to)| (*from, to - from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one() {
        let mut ranges = Ranges::default();
        for (from, to) in [(10, 20), (30, 40), (20, 30), (50, 60), (5, 5)] {
            ranges.add(from, to);
        }
        assert_eq!(ranges.lengths().collect::<Vec<_>>(), [(10, 30), (50, 10)]);
        ranges.add(0, 100);
        assert_eq!(ranges, Ranges::whole(100));
    }

    #[test]
    fn what_is_removed_leaves_what_stands_around_it() {
        let mut ranges = Ranges::whole(100);
        ranges.remove(0, 10);
        ranges.remove(40, 60);
        ranges.remove(90, 200);
        assert_eq!(ranges.lengths().collect::<Vec<_>>(), [(10, 30), (60, 30)]);
        assert_eq!(ranges.bytes(), 60);
        assert_eq!(ranges.take_front(20), Some((10, 20)));
        assert_eq!(ranges.take_front(20), Some((30, 10)));
        assert_eq!(ranges.take_front(100), Some((60, 30)));
        assert_eq!(ranges.take_front(1), None);
        assert!(ranges.is_empty());
    }
}
