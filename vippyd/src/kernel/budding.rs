//! IPv6 addresses that the kernel acknowledged but does not serve yet.
//!
//! It leaves the route that takes an address's packets to a worker of its own,
//! even without duplicate address detection, and answers before that worker has
//! run: milliseconds before, on a busy machine. Who tells the neighbours on the
//! answer calls packets here that are then thrown away. The worker announces
//! the address just before it enters the route, under the lock that every
//! change of addresses takes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::addresses::Spot;

/// An announcement that does not come within this time was lost, or this is
/// another kernel: then the acknowledgement has to do.
const PATIENCE: Duration = Duration::from_millis(100);

/// What was put on and is not served yet.
#[derive(Debug, Default)]
pub(super) struct Budding {
    until: BTreeMap<Spot, Instant>,
    /// Announced, or waited for long enough, since [`Budding::take_news`].
    news: bool,
}

impl Budding {
    /// The kernel acknowledged a new address.
    pub(super) fn add(&mut self, spot: Spot, now: Instant) {
        if spot.ip.is_ipv6() {
            self.until.insert(spot, now + PATIENCE);
        }
    }

    /// The kernel announced it.
    pub(super) fn announced(&mut self, spot: &Spot) {
        self.news |= self.until.remove(spot).is_some();
    }

    /// It was taken off.
    pub(super) fn remove(&mut self, spot: &Spot) {
        self.until.remove(spot);
    }

    /// Its link went.
    pub(super) fn remove_link(&mut self, index: u32) {
        self.until.retain(|spot, _| spot.index != index);
    }

    /// Gives up what was waited for long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        let before = self.until.len();
        self.until.retain(|_, until| *until > now);
        self.news |= self.until.len() != before;
    }

    /// When to come back.
    pub(super) fn next(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }

    /// Whether this one is waited for.
    pub(super) fn holds(&self, spot: &Spot) -> bool {
        self.until.contains_key(spot)
    }

    /// Whether any is.
    pub(super) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// Whether fewer are waited for than when this was last asked.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(ip: &str) -> Spot {
        Spot { ip: ip.parse().unwrap(), prefix: 64, index: 2 }
    }

    #[test]
    fn only_ipv6_is_waited_for_and_only_until_it_is_announced() {
        let mut budding = Budding::default();
        budding.add(spot("10.0.0.1"), Instant::now());
        assert!(budding.is_empty());
        budding.add(spot("fd00::1"), Instant::now());
        assert!(budding.holds(&spot("fd00::1")) && !budding.take_news());
        budding.announced(&spot("fd00::1"));
        assert!(budding.is_empty() && budding.take_news() && !budding.take_news());
    }

    #[test]
    fn an_announcement_that_was_lost_is_not_waited_for_for_ever() {
        let mut budding = Budding::default();
        let now = Instant::now();
        budding.add(spot("fd00::1"), now);
        budding.expire(now + PATIENCE / 2);
        assert!(budding.holds(&spot("fd00::1")));
        assert_eq!(budding.next(), Some(now + PATIENCE));
        budding.expire(now + PATIENCE);
        assert!(budding.is_empty() && budding.take_news());
    }
}
