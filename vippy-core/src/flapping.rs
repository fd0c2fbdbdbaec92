//! Who comes and goes too often is held down (O4): a node, or a group whose
//! interface fails and returns.
//!
//! Every return is noted. More than [`FREE`] within [`WINDOW`] are flapping: then
//! what flaps is held down for a time that doubles with every further return.
//! [`WINDOW`] of quiet, not counting the time held down, and all is forgotten.
//!
//! Owns the counting only. What being held down means is told in
//! [`standing`](crate::standing) for a node and in
//! [`reluctance`](crate::reluctance) for a group.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// Returns within [`WINDOW`] that nobody minds.
const FREE: usize = 3;

const WINDOW: Duration = Duration::from_secs(600);

/// However often it doubles.
const LONGEST: Duration = Duration::from_secs(1_800);

/// The returns of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flapping {
    /// The latest returns, newest first, at most [`FREE`].
    returns: Vec<Return>,
    /// Returns that were too many.
    strikes: u32,
}

/// When it returned; before this process as an age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Return {
    noted: Instant,
    age: Duration,
}

impl Return {
    fn age(self, now: Instant) -> Duration {
        now.since(self.noted) + self.age
    }
}

impl Flapping {
    /// What was remembered: ages of returns, newest first.
    pub(crate) fn recalled(now: Instant, ages: &[Duration], strikes: u32) -> Flapping {
        let returns = ages.iter().map(|age| Return { noted: now, age: *age });
        Flapping { returns: returns.take(FREE).collect(), strikes }
    }

    /// Ages of the latest returns, newest first, and how many were too many.
    pub(crate) fn remembered(&self, now: Instant) -> (Vec<Duration>, u32) {
        (self.returns.iter().map(|back| back.age(now)).collect(), self.strikes)
    }

    /// Notes a return. `first` is the first time of being held down.
    pub(crate) fn note(&mut self, now: Instant, first: Duration) {
        let held = self.hold(first);
        let quiet = self.returns.first().map(|back| back.age(now).saturating_sub(held));
        if quiet.is_some_and(|quiet| quiet >= WINDOW) {
            *self = Flapping::default();
        }
        self.returns.retain(|back| back.age(now) < WINDOW);
        if self.strikes > 0 || self.returns.len() >= FREE {
            self.strikes = self.strikes.saturating_add(1);
        }
        self.returns.insert(0, Return { noted: now, age: Duration::ZERO });
        self.returns.truncate(FREE);
    }

    /// Until when it is held down, if it is.
    pub(crate) fn held_until(&self, now: Instant, first: Duration) -> Option<Instant> {
        let age = self.returns.first()?.age(now);
        let left = self.hold(first).checked_sub(age).filter(|left| !left.is_zero())?;
        Some(now + left)
    }

    /// How long it is held down from its last return on.
    fn hold(&self, first: Duration) -> Duration {
        match self.strikes.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => first.saturating_mul(2u32.saturating_pow(doublings)).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(30);
    const MINUTE: Duration = Duration::from_secs(60);

    /// Returns at these seconds; how long it is held down after each.
    fn held(seconds: &[u64]) -> Vec<u64> {
        let mut flapping = Flapping::default();
        let held = seconds.iter().map(|at| {
            let now = Instant::ZERO + Duration::from_secs(*at);
            flapping.note(now, FIRST);
            flapping.held_until(now, FIRST).map_or(0, |until| until.since(now).as_secs())
        });
        held.collect()
    }

    #[test]
    fn three_returns_in_ten_minutes_are_free_and_each_further_one_doubles() {
        assert_eq!(held(&[0, 60, 120, 180, 240, 300]), [0, 0, 0, 30, 60, 120]);
    }

    #[test]
    fn it_never_takes_longer_than_half_an_hour() {
        let often: Vec<u64> = (0..40).collect();
        assert_eq!(held(&often).last(), Some(&1_800));
    }

    #[test]
    fn four_returns_within_more_than_ten_minutes_are_free() {
        assert_eq!(held(&[0, 200, 400, 600, 800, 1_000]), [0; 6]);
        assert_eq!(held(&[0, 200, 400, 599]), [0, 0, 0, 30]);
    }

    #[test]
    fn ten_quiet_minutes_after_the_hold_down_and_all_is_forgotten() {
        let flaps = [0, 1, 2, 3];
        assert_eq!(held(&[&flaps[..], &[3 + 30 + 599]].concat())[4], 60);
        assert_eq!(held(&[&flaps[..], &[3 + 30 + 600]].concat())[4], 0);
        assert_eq!(held(&[&flaps[..], &[700, 701, 702, 703]].concat())[4..], [0, 0, 0, 30]);
    }

    #[test]
    fn the_hold_down_ends_at_its_time() {
        let mut flapping = Flapping::default();
        let start = Instant::from_micros(5);
        (0..4).for_each(|_| flapping.note(start, FIRST));
        assert_eq!(flapping.held_until(start + FIRST / 3, FIRST), Some(start + FIRST));
        assert_eq!(flapping.held_until(start + FIRST, FIRST), None);
    }

    #[test]
    fn the_next_process_goes_on_counting() {
        let mut flapping = Flapping::default();
        let now = Instant::ZERO + 100 * MINUTE;
        (0..4).for_each(|_| flapping.note(now, FIRST));
        let (ages, strikes) = flapping.remembered(now + MINUTE / 6);
        let mut recalled = Flapping::recalled(Instant::ZERO, &ages, strikes);
        let left = recalled.held_until(Instant::ZERO, FIRST);
        assert_eq!(left, Some(Instant::ZERO + FIRST - MINUTE / 6));
        recalled.note(Instant::ZERO, FIRST);
        assert_eq!(recalled.held_until(Instant::ZERO, FIRST), Some(Instant::ZERO + 2 * FIRST));
    }
}
