//! How far a process's uptime is ahead of this node's clock (F2).
//!
//! The two clocks have nothing in common but their speed. Each fresh frame shows
//! how far one is ahead of the other, less the time the frame took. If that grows
//! by more than a frame can be late, this node's clock stood still meanwhile, as
//! that of a paused guest does.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Instant, micros};

/// Spans of `stale` that the window covers: frames that queued up while the clock
/// stood still come in one burst, and a clock may stand still by instalments.
const SPANS: u32 = 4;
/// Parts into which each span is divided.
const PARTS: u32 = 2;

/// The lead of one process's uptime, lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lead {
    /// The smallest lead in each part of the window, oldest first.
    lowest: VecDeque<(Instant, i64)>,
    newest: i64,
}

impl Lead {
    /// Takes note of a fresh frame. None is later than `stale`, so what is made
    /// of a frame that took long stays below that; a replayed one is older still.
    pub(super) fn note(&mut self, now: Instant, uptime: Duration, stale: Duration) {
        let signed = |micros: u64| i64::try_from(micros).unwrap_or(i64::MAX);
        let lead = signed(micros(uptime)).saturating_sub(signed(now.as_micros()));
        self.newest = lead;
        while self.lowest.front().is_some_and(|(since, _)| now.since(*since) > SPANS * stale) {
            self.lowest.pop_front();
        }
        match self.lowest.back_mut() {
            Some((since, lowest)) if now.since(*since) <= stale / PARTS => {
                *lowest = lead.min(*lowest);
            }
            Some(_) | None => self.lowest.push_back((now, lead)),
        }
    }

    /// How much it has grown within the window.
    pub(super) fn growth(&self) -> Duration {
        let lowest = self.lowest.iter().map(|(_, lead)| *lead).min().unwrap_or(self.newest);
        let growth = self.newest.saturating_sub(lowest);
        Duration::from_micros(u64::try_from(growth).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_millis(500);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn growth(frames: &[(u64, u64)]) -> u64 {
        let mut lead = Lead::default();
        for (now, uptime) in frames {
            lead.note(at(*now), Duration::from_millis(*uptime), STALE);
        }
        u64::try_from(lead.growth().as_millis()).unwrap()
    }

    #[test]
    fn clocks_that_both_run_keep_their_distance() {
        let frames: Vec<(u64, u64)> = (0..100).map(|n| (n * 100, 7_000 + n * 100)).collect();
        assert_eq!(growth(&frames), 0);
    }

    #[test]
    fn a_clock_that_stood_still_shows_with_the_next_frame() {
        assert_eq!(growth(&[(0, 7_000), (100, 7_100), (110, 7_900)]), 790);
    }

    #[test]
    fn a_burst_of_queued_frames_shows_their_sum() {
        let mut frames = vec![(0, 7_000), (100, 7_100)];
        frames.extend((2..12).map(|n| (101, 7_000 + n * 100)));
        assert_eq!(growth(&frames), 999);
    }

    #[test]
    fn standing_still_by_instalments_adds_up() {
        let frames: Vec<(u64, u64)> = (0..10).map(|n| (n * 100, 7_000 + n * 200)).collect();
        assert_eq!(growth(&frames), 900);
    }

    #[test]
    fn a_frame_that_comes_late_takes_nothing_away_and_adds_no_more_than_it_was_late() {
        assert_eq!(growth(&[(0, 7_000), (500, 7_100)]), 0);
        assert_eq!(growth(&[(0, 7_000), (500, 7_100), (510, 7_510)]), 400);
        assert_eq!(growth(&[(499, 7_000), (500, 7_500)]), 499, "the first one was late");
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut frames = vec![(0, 7_000), (100, 7_500)];
        frames.extend((2..40).map(|n| (n * 100, 7_400 + n * 100)));
        assert_eq!(growth(&frames), 0);
    }
}
