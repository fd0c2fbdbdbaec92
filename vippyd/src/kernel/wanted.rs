//! Which groups this node should have on, and for how long.
//!
//! Lifetimes are the loop's to give (F1): what it ordered runs out, here as in
//! the kernel, unless it orders again. Nothing in here extends it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vippy_core::config::Group;

/// Lifetime of a group's addresses since the loop last spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// Whole seconds; `None` is for ever.
    seconds: Option<u32>,
    /// When it was ordered.
    since: Instant,
}

impl Term {
    /// The kernel counts whole seconds; a fraction is rounded up.
    pub(super) fn new(lifetime: Option<Duration>, since: Instant) -> Term {
        let whole = |span: Duration| {
            let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
            // One less than the kernel's "for ever".
            u32::try_from(seconds).unwrap_or(u32::MAX - 1).clamp(1, u32::MAX - 1)
        };
        Term { seconds: lifetime.map(whole), since }
    }

    /// What an address found at the start has left.
    pub(super) fn found(seconds: Option<u32>, since: Instant) -> Term {
        Term { seconds, since }
    }

    /// Seconds as ordered; `None` is for ever.
    pub(super) fn ordered(&self) -> Option<u32> {
        self.seconds
    }

    /// Whole seconds that are left, rounded down, so that an address put back
    /// never outlives the order. `Some(0)`: it has run out.
    pub(super) fn left(&self, now: Instant) -> Option<u32> {
        let passed = now.saturating_duration_since(self.since);
        let left = Duration::from_secs(self.seconds?.into()).saturating_sub(passed);
        Some(u32::try_from(left.as_secs()).unwrap_or(u32::MAX - 1))
    }

    /// Nothing may be put on any more until the loop orders again.
    pub(super) fn has_run_out(&self, now: Instant) -> bool {
        self.left(now) == Some(0)
    }
}

/// A group that should be on.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The group.
    pub(super) group: Arc<Group>,
    /// For how long.
    pub(super) term: Term,
    /// The loop gave the order just now: everything is put on or renewed with
    /// the full lifetime.
    pub(super) fresh: bool,
    /// The loop waits for `Up` or `Failed`.
    pub(super) pending: bool,
    /// Its end was noticed and told.
    pub(super) lapsed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_rounded_up_when_ordered_and_down_when_it_runs() {
        let start = Instant::now();
        let term = Term::new(Some(Duration::from_millis(2_500)), start);
        assert_eq!(term.ordered(), Some(3));
        assert_eq!(term.left(start + Duration::from_millis(10)), Some(2));
        assert!(!term.has_run_out(start + Duration::from_millis(1_900)));
        assert!(term.has_run_out(start + Duration::from_millis(2_100)));
    }

    #[test]
    fn for_ever_never_runs_out() {
        let start = Instant::now();
        let term = Term::new(None, start);
        assert_eq!(term.left(start + Duration::from_secs(1 << 30)), None);
        assert!(!term.has_run_out(start + Duration::from_secs(1 << 30)));
    }
}
