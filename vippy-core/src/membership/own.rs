//! This node's own life: boot, numbers, and when each number left.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, Seq};
use crate::time::Instant;

/// What became of a frame that bears this node's own boot (W1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirror {
    /// A copy of a frame that this process did send.
    Copy,
    /// Somebody else speaks with this boot: a clone or a restored snapshot.
    Clone,
}

/// This process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Own {
    pub(crate) boot: BootId,
    pub(crate) last: Seq,
    sent: VecDeque<Sent>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Sent {
    seq: Seq,
    at: Instant,
    fingerprint: [u8; 8],
}

impl Own {
    pub(crate) fn new(boot: BootId) -> Own {
        Own { boot, last: Seq(0), sent: VecDeque::new() }
    }

    /// The number of the next frame.
    pub(crate) fn next(&self) -> Seq {
        Seq(self.last.0 + 1)
    }

    /// Notes a frame as sent; forgets those older than `memory`.
    pub(crate) fn sent(&mut self, now: Instant, seq: Seq, fingerprint: [u8; 8], memory: Duration) {
        self.last = seq;
        self.sent.push_back(Sent { seq, at: now, fingerprint });
        while self.sent.front().is_some_and(|sent| now.since(sent.at) > memory) {
            self.sent.pop_front();
        }
    }

    /// Changes the fingerprints of frames remembered.
    pub(crate) fn reprint(&mut self, other: impl Fn([u8; 8]) -> [u8; 8]) {
        self.sent.iter_mut().for_each(|sent| sent.fingerprint = other(sent.fingerprint));
    }

    /// When a frame left; `None` for one too old to matter.
    pub(crate) fn left_at(&self, seq: Seq) -> Option<Instant> {
        self.find(seq).map(|sent| sent.at)
    }

    /// When its frames left is no longer known.
    pub(crate) fn forget_sent(&mut self) {
        self.sent.clear();
    }

    /// Judges a frame that bears this boot.
    pub(crate) fn mirror(&self, seq: Seq, fingerprint: [u8; 8]) -> Mirror {
        let differs = self.find(seq).is_some_and(|sent| sent.fingerprint != fingerprint);
        if seq > self.last || differs { Mirror::Clone } else { Mirror::Copy }
    }

    fn find(&self, seq: Seq) -> Option<&Sent> {
        let position = self.sent.binary_search_by_key(&seq, |sent| sent.seq).ok()?;
        self.sent.get(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(1);

    fn own() -> Own {
        let mut own = Own::new(BootId(7));
        own.sent(Instant::from_micros(10), Seq(1), [1; 8], MEMORY);
        own.sent(Instant::from_micros(20), Seq(2), [2; 8], MEMORY);
        own
    }

    #[test]
    fn a_copy_of_my_frame_is_a_copy() {
        assert_eq!(own().mirror(Seq(1), [1; 8]), Mirror::Copy);
    }

    #[test]
    fn my_number_under_another_tag_is_a_clone() {
        assert_eq!(own().mirror(Seq(1), [9; 8]), Mirror::Clone);
    }

    #[test]
    fn a_number_i_never_used_is_a_clone() {
        assert_eq!(own().mirror(Seq(3), [3; 8]), Mirror::Clone);
    }

    #[test]
    fn frames_older_than_memory_are_forgotten() {
        let mut own = own();
        own.sent(Instant::from_micros(1_000_015), Seq(3), [3; 8], MEMORY);
        assert_eq!(own.left_at(Seq(1)), None);
        assert_eq!(own.left_at(Seq(2)), Some(Instant::from_micros(20)));
    }
}
