//! How fast addresses are put back that somebody else takes off: at once, but
//! slower and slower for one address, so that two managers of one address do
//! not fight at full speed (F3).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::addresses::Spot;

/// Wait before the second restoration; doubles with each one after it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The wait grows no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// An address left alone for this long starts afresh.
const FORGIVEN: Duration = Duration::from_secs(60);
/// One left alone for so many times its wait, too: that was a person.
const PATIENT: u32 = 10;

#[derive(Clone, Copy, Debug)]
struct History {
    times: u32,
    last: Instant,
    wait: Duration,
}

impl History {
    fn is_forgiven(&self, now: Instant) -> bool {
        now >= self.last + FORGIVEN.min(PATIENT * self.wait)
    }
}

/// Memory of what was put back.
#[derive(Debug, Default)]
pub(super) struct Restorations {
    by_spot: BTreeMap<Spot, History>,
}

impl Restorations {
    /// Asks to put an address back: how many times that makes, or from when on
    /// it may be.
    pub(super) fn ask(&mut self, spot: Spot, now: Instant) -> Result<u32, Instant> {
        let fresh = History { times: 0, last: now, wait: Duration::ZERO };
        let history = self.by_spot.entry(spot).or_insert(fresh);
        if history.is_forgiven(now) {
            *history = fresh;
        }
        if now < history.last + history.wait {
            return Err(history.last + history.wait);
        }
        history.wait = (history.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
        history.last = now;
        history.times += 1;
        Ok(history.times)
    }

    /// Forgets addresses that were left alone long enough.
    pub(super) fn forget(&mut self, now: Instant) {
        self.by_spot.retain(|_, history| !history.is_forgiven(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_at_once_and_every_next_one_waits_longer() {
        let spot = Spot { ip: "10.0.0.1".parse().unwrap(), prefix: 24, index: 2 };
        let mut restorations = Restorations::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for times in 1..=10 {
            assert_eq!(restorations.ask(spot, now), Ok(times));
            let next = restorations.ask(spot, now).unwrap_err();
            waits.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
        assert_eq!(restorations.ask(spot, now + FORGIVEN), Ok(1));
    }

    #[test]
    fn who_takes_one_off_now_and_then_is_never_made_to_wait() {
        let spot = Spot { ip: "10.0.0.1".parse().unwrap(), prefix: 24, index: 2 };
        let mut restorations = Restorations::default();
        let now = Instant::now();
        for times in 0..10 {
            assert_eq!(restorations.ask(spot, now + times * PATIENT * FIRST_WAIT), Ok(1));
        }
    }
}
