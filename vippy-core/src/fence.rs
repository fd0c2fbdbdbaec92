//! The kernel lifetime as the fence (F1) and the end of silence (F2).

use std::time::Duration;

use crate::config::Lifetime;
use crate::time::{Instant, earliest};

/// The kernel removes an address up to this much after its lifetime (F1).
const KERNEL_LATE: Duration = Duration::from_millis(300);

/// When to renew, and whether this process slept.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    lifetime: Option<Duration>,
    stale: Duration,
    renew_at: Option<Instant>,
    last_left: Instant,
}

impl Fence {
    pub(crate) fn new(now: Instant, lifetime: Lifetime, stale: Duration) -> Fence {
        let lifetime = lifetime.valid_for(stale);
        Fence { lifetime, stale, renew_at: None, last_left: now }
    }

    /// Takes over new settings; the next renewal comes at once. True when
    /// addresses come to have a lifetime or lose it: no renewal does that.
    pub(crate) fn configure(&mut self, now: Instant, lifetime: Lifetime, stale: Duration) -> bool {
        let former = std::mem::replace(&mut self.lifetime, lifetime.valid_for(stale));
        self.stale = stale;
        self.renew_at = self.renew_at.map(|_| now);
        former.is_some() != self.lifetime.is_some()
    }

    /// The kernel's valid_lft; `None` is for ever.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// How long after its last frame this node may still hold an address: it may
    /// have renewed its addresses until it was silent for `stale` (F2), and died
    /// then.
    pub(crate) fn time(&self) -> Option<Duration> {
        self.lifetime.map(|lifetime| self.stale + lifetime + KERNEL_LATE)
    }

    /// Something was plumbed with a full lifetime.
    pub(crate) fn plumbed(&mut self, now: Instant) {
        let next = self.lifetime.map(|lifetime| now + self.period(lifetime));
        self.renew_at = earliest(self.renew_at, next);
    }

    /// The lifetime to renew with, when it is time and something is `held`.
    pub(crate) fn renewal(&mut self, now: Instant, held: bool) -> Option<Duration> {
        if self.renew_at.is_none_or(|at| now < at) {
            return None;
        }
        self.renew_now(now, held)
    }

    /// The same before it is time.
    pub(crate) fn renew_now(&mut self, now: Instant, held: bool) -> Option<Duration> {
        let lifetime = self.lifetime.filter(|_| held);
        self.renew_at = lifetime.map(|lifetime| now + self.period(lifetime));
        lifetime
    }

    /// A renewal is due when half of what the lifetime has beyond `stale` is used.
    fn period(&self, lifetime: Duration) -> Duration {
        lifetime.saturating_sub(self.stale) / 2
    }

    /// A frame left this node.
    pub(crate) fn left(&mut self, now: Instant) {
        self.last_left = now;
    }

    /// Others must have given this node up: it was silent for longer than
    /// `stale`, because it slept or because its frames did not leave (F2).
    pub(crate) fn slept(&self, now: Instant, stale: Duration) -> bool {
        now.since(self.last_left) > stale
    }

    /// When the next renewal is due.
    pub(crate) fn next_renewal(&self) -> Option<Instant> {
        self.renew_at
    }

    /// When silence will have been too long.
    pub(crate) fn silent_at(&self, stale: Duration) -> Instant {
        self.last_left + stale + Duration::from_micros(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn renewals_leave_more_than_stale_on_the_clock() {
        let stale = Duration::from_secs(5);
        let mut fence = Fence::new(at(0), Lifetime::Auto, stale);
        fence.plumbed(at(0));
        assert_eq!(fence.renewal(at(2_499), true), None);
        assert_eq!(fence.renewal(at(2_500), true), Some(Duration::from_secs(10)));
        assert_eq!(fence.next_renewal(), Some(at(5_000)));
    }

    #[test]
    fn nothing_held_is_nothing_renewed() {
        let mut fence = Fence::new(at(0), Lifetime::Auto, Duration::from_secs(1));
        fence.plumbed(at(0));
        assert_eq!(fence.renewal(at(9_000), false), None);
        assert_eq!(fence.next_renewal(), None);
    }

    #[test]
    fn silence_for_longer_than_stale_is_sleep() {
        let stale = Duration::from_secs(1);
        let mut fence = Fence::new(at(0), Lifetime::Off, stale);
        assert!(!fence.slept(at(1_000), stale));
        assert!(fence.slept(at(1_001), stale));
        fence.left(at(1_001));
        assert!(!fence.slept(at(2_000), stale));
    }
}
