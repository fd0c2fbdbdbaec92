//! Which process a name belongs to, and which boots never return (W6).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, NodeName};
use crate::time::Instant;

/// The assignment of names to processes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Claims {
    holders: BTreeMap<NodeName, BootId>,
    /// Boots that are gone for good, and since when.
    burnt: BTreeMap<BootId, Instant>,
    /// Names whose last process said goodbye, and when.
    left: BTreeMap<NodeName, Instant>,
}

impl Claims {
    /// The process that counts for a name.
    pub(super) fn holder(&self, name: &NodeName) -> Option<BootId> {
        self.holders.get(name).copied()
    }

    pub(super) fn counts(&self, name: &NodeName, boot: BootId) -> bool {
        self.holder(name) == Some(boot)
    }

    /// Every process that counts.
    pub(super) fn current(&self) -> impl Iterator<Item = BootId> + '_ {
        self.holders.values().copied()
    }

    pub(super) fn assign(&mut self, name: NodeName, boot: BootId) {
        self.left.remove(&name);
        self.holders.insert(name, boot);
    }

    /// Remembers a boot as gone for good.
    pub(super) fn burn(&mut self, boot: BootId, now: Instant) {
        self.holders.retain(|_, holder| *holder != boot);
        self.burnt.insert(boot, now);
    }

    /// Notes that the process of a name said goodbye.
    pub(super) fn leave(&mut self, name: NodeName, now: Instant) {
        self.left.insert(name, now);
    }

    pub(super) fn left_at(&self, name: &NodeName) -> Option<Instant> {
        self.left.get(name).copied()
    }

    pub(super) fn is_burnt(&self, boot: BootId) -> bool {
        self.burnt.contains_key(&boot)
    }

    /// Forgets boots that have been gone for longer than `memory`.
    pub(super) fn forget(&mut self, now: Instant, memory: Duration) {
        self.burnt.retain(|_, since| now.since(*since) <= memory);
    }
}
