//! One document on its way from this node to whoever asked for it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use crate::identity::BootId;
use crate::time::Instant;
use crate::wire::document::DocumentRequest;

/// Bytes that are wanted of a document, and by whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Service {
    wanted: Ranges,
    pub(crate) askers: BTreeSet<BootId>,
    pub(crate) next: Instant,
}

impl Service {
    /// Begins at `starts`.
    pub(crate) fn new(starts: Instant) -> Service {
        Service { wanted: Ranges::default(), askers: BTreeSet::new(), next: starts }
    }

    /// Somebody wants these bytes.
    pub(crate) fn want(&mut self, asker: BootId, request: &DocumentRequest, size: u32) {
        self.askers.insert(asker);
        for (offset, length) in &request.ranges {
            self.wanted.add(*offset, offset.saturating_add(*length).min(size));
        }
    }

    /// Another node has just sent these bytes to everybody.
    pub(crate) fn served(&mut self, offset: u32, length: u32) {
        self.wanted.remove(offset, offset.saturating_add(length));
    }

    /// The next piece, at most `most` bytes: its offset and length.
    pub(crate) fn piece(&mut self, most: u32) -> Option<(u32, u32)> {
        self.wanted.take_front(most)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.wanted.is_empty()
    }
}
