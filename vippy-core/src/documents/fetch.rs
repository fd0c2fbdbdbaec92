//! One document on its way to this node.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ranges::Ranges;
use crate::config::Digest;
use crate::time::Instant;
use crate::wire::document::{DocumentChunk, DocumentName, DocumentRequest, MAX_RANGES};

/// First 16 bytes of the SHA-256 of a document's bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    let hash = Sha256::digest(bytes);
    let mut digest = Digest::default();
    digest.0.copy_from_slice(&hash[..16]);
    digest
}

/// What is there of a document, and when to ask for the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fetch {
    pub(crate) name: DocumentName,
    #[serde(with = "crate::recorder::hex")]
    bytes: Vec<u8>,
    missing: Ranges,
    ask_at: Instant,
    patience: Duration,
    /// This node has left the asking to another one since it last asked itself, or
    /// since anything came.
    left: bool,
    /// Requests of this node since anything came.
    unanswered: u32,
}

/// So many requests follow each other at the usual pace; then it slows down.
const EAGER: u32 = 3;

/// By how many doublings at most.
const SLOWEST: u32 = 5;

impl Fetch {
    /// Asks first after `wait`, and again whenever nothing came for `patience`.
    pub(crate) fn new(
        now: Instant,
        name: DocumentName,
        wait: Duration,
        patience: Duration,
    ) -> Fetch {
        let bytes = vec![0; name.size as usize];
        let missing = Ranges::whole(name.size);
        Fetch { name, bytes, missing, ask_at: now + wait, patience, left: false, unanswered: 0 }
    }

    pub(crate) fn next_deadline(&self) -> Instant {
        self.ask_at
    }

    /// How many bytes are there.
    pub(crate) fn have(&self) -> u32 {
        let missing = u32::try_from(self.missing.bytes()).unwrap_or(u32::MAX);
        self.name.size.saturating_sub(missing)
    }

    /// Somebody else has just asked for it, and everybody hears the answer: unless
    /// who could answer does not hear that one, so this node waits but once.
    pub(crate) fn asked_by_another(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.left, true) {
            self.ask_at = self.ask_at.max(now + self.patience);
        }
    }

    /// The request that is due.
    pub(crate) fn request(&mut self, now: Instant) -> Option<DocumentRequest> {
        if now < self.ask_at {
            return None;
        }
        let slower = self.unanswered.saturating_sub(EAGER).min(SLOWEST);
        self.ask_at = now + self.patience * (1 << slower);
        self.unanswered += 1;
        self.left = false;
        let ranges = self.missing.lengths().take(MAX_RANGES).collect();
        Some(DocumentRequest { digest: self.name.digest, ranges })
    }

    /// Takes a chunk of it. The whole document, once it is complete and its
    /// digest is right; with a wrong one everything begins anew.
    pub(crate) fn take(&mut self, now: Instant, chunk: &DocumentChunk) -> Option<Arc<str>> {
        let from = chunk.offset as usize;
        if chunk.document.size != self.name.size || self.missing.is_empty() {
            return None;
        }
        let place = self.bytes.get_mut(from..from + chunk.bytes.len())?;
        place.copy_from_slice(&chunk.bytes);
        let length = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
        self.missing.remove(chunk.offset, chunk.offset.saturating_add(length));
        self.ask_at = now + self.patience;
        (self.left, self.unanswered) = (false, 0);
        if !self.missing.is_empty() {
            return None;
        }
        match std::str::from_utf8(&self.bytes) {
            Ok(text) if digest_of(&self.bytes) == self.name.digest => Some(text.into()),
            Ok(_) | Err(_) => {
                self.missing = Ranges::whole(self.name.size);
                None
            }
        }
    }
}
