//! This node's own timers while they change (W5).
//!
//! New values are announced at once. A lower one also acts at once; a higher
//! one acts only when every live peer has echoed a frame that carries it, for
//! until then some peer still judges by the lower one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::group::UNANNOUNCED;
use crate::identity::Seq;
use crate::membership::Timers;

/// Announced and acting timers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Timing {
    announced: Timers,
    acting: Timers,
    /// The frame that first carried values which do not act yet.
    since: Option<Seq>,
}

impl Timing {
    pub(crate) fn new(timers: Timers) -> Timing {
        Timing { announced: timers, acting: timers, since: None }
    }

    pub(crate) fn configure(&mut self, timers: Timers) {
        let lower = |old: Duration, new: Duration| old.min(new);
        self.announced = timers;
        self.acting = Timers {
            interval: lower(self.acting.interval, timers.interval),
            stale: lower(self.acting.stale, timers.stale),
        };
        self.since = (self.acting != timers).then_some(UNANNOUNCED);
    }

    /// An announcement whose last frame is `last` left.
    pub(crate) fn announced_by(&mut self, last: Seq) {
        if self.since == Some(UNANNOUNCED) {
            self.since = Some(last);
        }
    }

    /// Lets higher values act once the lowest number that every live peer has
    /// echoed (`None` without peers) has reached them.
    pub(crate) fn echoed(&mut self, lowest: Option<Seq>) {
        let reached = |since: Seq| lowest.map_or(since != UNANNOUNCED, |lowest| lowest >= since);
        if self.since.is_some_and(reached) {
            self.acting = self.announced;
            self.since = None;
        }
    }

    /// What the header says.
    pub(crate) fn announced(&self) -> Timers {
        self.announced
    }

    /// What this node's own announcements and rule F2 go by.
    pub(crate) fn acting(&self) -> Timers {
        self.acting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timers(interval: u64, stale: u64) -> Timers {
        Timers { interval: Duration::from_millis(interval), stale: Duration::from_millis(stale) }
    }

    #[test]
    fn lower_values_act_at_once_and_higher_ones_when_all_know() {
        let mut timing = Timing::new(timers(100, 500));
        timing.configure(timers(50, 1000));
        assert_eq!(timing.announced(), timers(50, 1000));
        assert_eq!(timing.acting(), timers(50, 500));
        timing.announced_by(Seq(7));
        timing.echoed(Some(Seq(6)));
        assert_eq!(timing.acting(), timers(50, 500));
        timing.echoed(Some(Seq(7)));
        assert_eq!(timing.acting(), timers(50, 1000));
    }

    #[test]
    fn alone_a_higher_value_acts_once_it_was_announced() {
        let mut timing = Timing::new(timers(100, 500));
        timing.configure(timers(100, 1000));
        timing.echoed(None);
        assert_eq!(timing.acting(), timers(100, 500));
        timing.announced_by(Seq(1));
        timing.echoed(None);
        assert_eq!(timing.acting(), timers(100, 1000));
    }
}
