//! How late the loop wakes: what an overloaded host does to announcements.

use std::fmt;
use std::time::Duration;

use vippy_core::time::{Instant, micros};

/// A late loop is told again after this long.
const REMIND: Duration = Duration::from_secs(60);

/// Statistics of the loop's wakings.
#[derive(Debug, Default)]
pub struct Lateness {
    count: u64,
    sum: u64,
    worst: Duration,
    told: Option<Instant>,
}

impl Lateness {
    /// Notes that what was due at `due` is done at `now`. Returns the delay
    /// when it is over `tolerance` and was not told lately.
    pub fn note(&mut self, due: Instant, now: Instant, tolerance: Duration) -> Option<Duration> {
        let late = now.since(due);
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
