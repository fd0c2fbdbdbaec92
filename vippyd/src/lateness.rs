//! How late the loop wakes, and how late announcements leave because of that: what
//! an overloaded host does to them.

use std::fmt;
use std::time::Duration;

use vippy_core::time::{Instant, micros};

use crate::histogram::Histogram;

/// A late loop is told again after this long.
const REMIND: Duration = Duration::from_secs(60);

/// Upper bounds for announcements, in seconds.
const ANNOUNCING: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Statistics of the loop's wakings.
#[derive(Debug)]
pub struct Lateness {
    count: u64,
    sum: u64,
    worst: Duration,
    told: Option<Instant>,
    /// The deadline that is being seen to.
    due: Option<Instant>,
    announcing: Histogram,
}

impl Default for Lateness {
    fn default() -> Lateness {
        let announcing = Histogram::new(&ANNOUNCING);
        let (count, sum, worst) = (0, 0, Duration::ZERO);
        Lateness { count, sum, worst, told: None, due: None, announcing }
    }
}

impl Lateness {
    /// The deadline that was noted last is seen to: what is sent from now on has
    /// other reasons.
    pub fn settle(&mut self) {
        self.due = None;
    }

    /// An announcement has left. It counts if it is the first that the deadline led
    /// to.
    pub fn announced(&mut self, now: Instant) {
        if let Some(due) = self.due.take() {
            self.announcing.note(now.since(due));
        }
    }

    /// How long after they were due announcements left.
    pub fn announcing(&self) -> &Histogram {
        &self.announcing
    }

    /// Notes that what was due at `due` is done at `now`. Returns the delay
    /// when it is over `tolerance` and was not told lately.
    pub fn note(&mut self, due: Instant, now: Instant, tolerance: Duration) -> Option<Duration> {
        let late = now.since(due);
        self.due = Some(due);
        self.count += 1;
        self.sum = self.sum.saturating_add(micros(late));
        self.worst = self.worst.max(late);
        let silent = self.told.is_none_or(|told| now.since(told) >= REMIND);
        if late <= tolerance || !silent {
            return None;
        }
        self.told = Some(now);
        Some(late)
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = self.sum.checked_div(self.count).unwrap_or(0);
        let worst = micros(self.worst);
        write!(f, "deadlines={} late_mean_us={mean} late_worst_us={worst}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_announcement_after_a_deadline_counts_and_no_other() {
        let mut lateness = Lateness::default();
        let at = |millis: u64| Instant::from_micros(millis * 1_000);
        let tolerance = Duration::from_secs(1);
        // Because of something that arrived.
        lateness.announced(at(50));
        lateness.note(at(100), at(101), tolerance);
        lateness.announced(at(103));
        lateness.announced(at(104));
        // A deadline of another kind.
        lateness.note(at(200), at(201), tolerance);
        lateness.settle();
        lateness.announced(at(250));
        assert_eq!(lateness.announcing().count(), 1);
        assert!((lateness.announcing().sum() - 0.003).abs() < 1e-9);
    }

    #[test]
    fn delay_is_told_once_a_minute() {
        let mut lateness = Lateness::default();
        let at = |millis: u64| Instant::from_micros(millis * 1_000);
        let tolerance = Duration::from_millis(20);
        assert_eq!(lateness.note(at(100), at(110), tolerance), None);
        assert_eq!(lateness.note(at(200), at(250), tolerance), Some(Duration::from_millis(50)));
        assert_eq!(lateness.note(at(300), at(400), tolerance), None);
        assert!(lateness.note(at(60_250), at(60_300), tolerance).is_some());
        assert_eq!(lateness.to_string(), "deadlines=4 late_mean_us=52500 late_worst_us=100000");
    }
}
