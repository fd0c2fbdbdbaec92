//! The epoch (W7): above every epoch heard, on disk before it is announced.

use serde::{Deserialize, Serialize};

use crate::identity::{Epoch, NodeIndex};

/// How far ahead of need the counter is made durable, so that a take never
/// waits for a disk. Lost by a restart, which starts above it.
const AHEAD: u64 = 4096 << Epoch::NODE_BITS;

/// This node's epoch counter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Epochs {
    highest: Epoch,
    stored: Epoch,
    announced: Epoch,
    storing: bool,
}

impl Epochs {
    /// `floor` is the higher of what is stored and the wall clock.
    pub(crate) fn new(floor: Epoch) -> Epochs {
        Epochs { highest: floor, stored: floor, announced: floor, storing: false }
    }

    /// Takes note of an epoch that somebody announced.
    pub(crate) fn heard(&mut self, epoch: Epoch) {
        self.highest = self.highest.max(epoch);
    }

    /// Raises the epoch above everything heard, for a take.
    pub(crate) fn raise(&mut self, node: NodeIndex) -> Epoch {
        self.highest = self.highest.next_for(node);
        self.highest
    }

    /// What must be made durable, if anything.
    pub(crate) fn take_unstored(&mut self) -> Option<Epoch> {
        let needed = !self.storing && self.highest > self.stored;
        needed.then(|| {
            self.storing = true;
            Epoch(self.highest.0.saturating_add(AHEAD))
        })
    }

    /// Notes that everything up to `epoch` is durable.
    pub(crate) fn stored(&mut self, epoch: Epoch) {
        self.stored = self.stored.max(epoch);
        self.storing = false;
    }

    /// What may be announced: the highest epoch that is safe on disk.
    pub(crate) fn announced(&mut self) -> Epoch {
        if self.highest <= self.stored {
            self.announced = self.highest;
        }
        self.announced
    }

    pub(crate) fn highest(&self) -> Epoch {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_epoch_is_announced_only_when_it_is_durable() {
        let mut epochs = Epochs::new(Epoch(1 << 20));
        let raised = epochs.raise(NodeIndex(1));
        assert!(epochs.announced() < raised);
        let ceiling = epochs.take_unstored().unwrap();
        assert_eq!(epochs.take_unstored(), None, "one write at a time");
        epochs.stored(ceiling);
        assert_eq!(epochs.announced(), raised);
        let next = epochs.raise(NodeIndex(1));
        assert_eq!(epochs.take_unstored(), None, "the next takes wait for nothing");
        assert_eq!(epochs.announced(), next);
    }

    #[test]
    fn a_take_is_above_every_epoch_heard() {
        let mut epochs = Epochs::new(Epoch(0));
        epochs.heard(Epoch(77 << Epoch::NODE_BITS | 5));
        assert!(epochs.raise(NodeIndex(0)) > Epoch(77 << Epoch::NODE_BITS | 5));
    }
}
