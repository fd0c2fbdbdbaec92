//! Until when frames may leave.
//!
//! The thread that says them wakes up together with the loop after the process
//! was stopped, and would say what has been due for long before the loop notices
//! that others have taken over (F2). So the loop tells at every turn how long it
//! can vouch for what it ordered, and each frame is measured against that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vippy_core::time::Instant;

use crate::clock;

/// The moment at which the licence ends, as both threads see it. None was given
/// yet: nothing may leave.
#[derive(Clone, Debug, Default)]
pub(super) struct Licence {
    /// Microseconds of protocol time.
    until: Arc<AtomicU64>,
}

impl Licence {
    /// Gives a new one in place of the old one.
    pub(super) fn set(&self, until: Option<Instant>) {
        self.until.store(until.map_or(0, Instant::as_micros), Ordering::Release);
    }

    /// Whether a frame may leave now.
    pub(super) fn holds(&self) -> bool {
        clock::now().as_micros() < self.until.load(Ordering::Acquire)
    }
}
