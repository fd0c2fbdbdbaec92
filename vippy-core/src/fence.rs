//! The kernel lifetime as the fence (F1) and the end of silence (F2).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Lifetime;
use crate::time::{Instant, earliest};

/// The kernel removes an address up to this much after its lifetime (F1).
const KERNEL_LATE: Duration = Duration::from_millis(300);

/// Renewing may keep a processor busy for one part in this many of the time.
const THRIFT: u32 = 100;

/// So many renewals in a row must have been cheap before a lifetime shrinks.
const CALM: usize = 8;

/// No lifetime is stretched beyond this; the wire carries up to 71 minutes.
const LONGEST: Duration = Duration::from_secs(3_600);

/// When to renew, and whether this process slept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fence {
    setting: Lifetime,
    stale: Duration,
    lifetime: Option<Duration>,
    /// A longer lifetime that addresses may still have, and until when.
    outgoing: Option<(Duration, Instant)>,
    /// What the last renewals cost, the newest last.
    costs: VecDeque<Duration>,
    /// Renewing takes more of a processor than it may; said once.
    costly: Option<Duration>,
    renew_at: Option<Instant>,
    last_left: Instant,
    /// When `stale` was last lowered, and what it was before: until a frame has
    /// left since then, others go by that (W5).
    lowered: Option<(Instant, Duration)>,
}

impl Fence {
    pub(crate) fn new(now: Instant, setting: Lifetime, stale: Duration) -> Fence {
        Fence {
            setting,
            stale,
            lifetime: setting.valid_for(stale),
            outgoing: None,
            costs: VecDeque::new(),
            costly: None,
            renew_at: None,
            last_left: now,
            lowered: None,
        }
    }

    /// Takes over new settings; the next renewal comes at once. True when
    /// addresses come to have a lifetime or lose it: no renewal does that.
    pub(crate) fn configure(&mut self, now: Instant, setting: Lifetime, stale: Duration) -> bool {
        let former = self.lifetime;
        self.setting = setting;
        self.stale = stale;
        let target = self.target(self.worst_cost());
        self.set_lifetime(now, target);
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
    pub(crate) fn time(&self, now: Instant) -> Option<Duration> {
        let lifetime = self.lifetime?;
        let outgoing = self.outgoing.filter(|(_, until)| now < *until);
        let longest = outgoing.map_or(lifetime, |(longer, _)| lifetime.max(longer));
        Some(self.stale + longest + KERNEL_LATE)
    }

    /// A renewal kept a processor busy for this long. What to say about it, if
    /// that is news.
    pub(crate) fn renewed(&mut self, now: Instant, took: Duration) -> Option<String> {
        self.costs.push_back(took);
        if self.costs.len() > CALM {
            self.costs.pop_front();
        }
        // One that was dear for once is none: it takes two in a row.
        let before = self.costs.iter().nth_back(1).copied().unwrap_or_default();
        let steady = took.min(before);
        let worst = self.worst_cost();
        let (grown, shrunk) = (self.target(steady), self.target(worst + worst / 4));
        if grown > self.lifetime {
            self.set_lifetime(now, grown);
        } else if self.costs.len() == CALM && shrunk < self.lifetime {
            self.set_lifetime(now, shrunk);
        }
        self.judge(steady)
    }

    /// Why renewing costs more than it may, for the status.
    pub(crate) fn complaint(&self) -> Option<String> {
        let cost = self.costly?.as_secs_f64() * 1_000.0;
        let lifetime = self.lifetime?.as_secs();
        let what = format!("renewing all addresses takes {cost:.1} ms of a processor");
        Some(if self.is_stretched() {
            format!("{what}: their lifetime is stretched to {lifetime} s")
        } else {
            format!("{what}, more than 1 % of it: a longer `lifetime` would save that")
        })
    }

    fn judge(&mut self, steady: Duration) -> Option<String> {
        let dear = self
            .lifetime
            .is_some_and(|lifetime| self.is_stretched() || steady * THRIFT > self.period(lifetime));
        let cost = steady.max(self.costly.unwrap_or_default());
        let news = dear && self.costly.is_none();
        self.costly = dear.then_some(cost);
        if news { self.complaint() } else { None }
    }

    fn is_stretched(&self) -> bool {
        self.lifetime > self.setting.valid_for(self.stale)
    }

    fn worst_cost(&self) -> Duration {
        self.costs.iter().max().copied().unwrap_or_default()
    }

    /// The lifetime that makes renewals of this cost rare enough, with a quarter
    /// to spare; the one that is set where that is for ever or fixed.
    fn target(&self, cost: Duration) -> Option<Duration> {
        let usual = self.setting.valid_for(self.stale)?;
        if self.setting != Lifetime::Auto || cost * THRIFT <= self.period(usual) {
            return Some(usual);
        }
        let needed = self.stale + 2 * THRIFT * (cost + cost / 4);
        let seconds = needed.as_secs() + u64::from(needed.subsec_nanos() > 0);
        Some(Duration::from_secs(seconds).min(LONGEST).max(usual))
    }

    /// Addresses have the longer of two lifetimes until it has run out.
    fn set_lifetime(&mut self, now: Instant, next: Option<Duration>) {
        let former = std::mem::replace(&mut self.lifetime, next);
        if let (Some(former), Some(next)) = (former, next)
            && former > next
        {
            let rest = self.outgoing.filter(|(_, until)| now < *until);
            let longer = rest.map_or(former, |(longer, _)| longer.max(former));
            self.outgoing = Some((longer, now + longer + KERNEL_LATE));
        }
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
        self.lowered = None;
    }

    /// The silence after which others give this node up gets shorter than `former`.
    pub(crate) fn lower(&mut self, now: Instant, former: Duration) {
        self.lowered = Some((now, former));
    }

    /// When this node will have been silent for longer than `stale`, or than it
    /// was before while others can know of nothing else.
    fn given_up_at(&self, stale: Duration) -> Instant {
        match self.lowered {
            Some((since, former)) => {
                (since + stale).min(self.last_left + former).max(self.last_left + stale)
            }
            None => self.last_left + stale,
        }
    }

    /// Others must have given this node up: it was silent for longer than
    /// `stale`, because it slept or because its frames did not leave (F2).
    pub(crate) fn slept(&self, now: Instant, stale: Duration) -> bool {
        now > self.given_up_at(stale)
    }

    /// When the next renewal is due.
    pub(crate) fn next_renewal(&self) -> Option<Instant> {
        self.renew_at
    }

    /// When silence will have been too long.
    pub(crate) fn silent_at(&self, stale: Duration) -> Instant {
        self.given_up_at(stale) + Duration::from_micros(1)
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

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn dear_renewals_become_rare_and_that_is_said_once() {
        let stale = Duration::from_secs(1);
        let mut fence = Fence::new(at(0), Lifetime::Auto, stale);
        assert_eq!(fence.lifetime(), Some(Duration::from_secs(2)));
        assert_eq!(fence.renewed(at(0), millis(5)), None, "1 % is allowed");
        assert_eq!(fence.renewed(at(500), millis(40)), None, "once is never");
        let said = fence.renewed(at(1_000), millis(40)).unwrap();
        // 1 s + 2 x 100 x 50 ms, for a cost of 40 ms and a quarter.
        assert_eq!(fence.lifetime(), Some(Duration::from_secs(11)));
        assert_eq!(
            said,
            "renewing all addresses takes 40.0 ms of a processor: their lifetime is stretched \
             to 11 s"
        );
        assert!(fence.time(at(1_000)).unwrap() > Duration::from_secs(12), "at once");
        assert!(fence.period(Duration::from_secs(11)) >= THRIFT * millis(40));
        for n in 0..20 {
            assert_eq!(fence.renewed(at(2_000 + n), millis(41)), None);
        }
    }

    #[test]
    fn a_lifetime_shrinks_after_many_cheap_renewals_and_the_fence_time_after_it() {
        let stale = Duration::from_secs(1);
        let mut fence = Fence::new(at(0), Lifetime::Auto, stale);
        fence.renewed(at(0), millis(40));
        fence.renewed(at(0), millis(40));
        let long = fence.time(at(0)).unwrap();
        for _ in 0..CALM - 1 {
            fence.renewed(at(10_000), millis(1));
            assert_eq!(fence.lifetime(), Some(Duration::from_secs(11)));
        }
        fence.renewed(at(10_000), millis(1));
        assert_eq!(fence.lifetime(), Some(Duration::from_secs(2)));
        assert_eq!(fence.time(at(21_200)), Some(long), "addresses may still have the old one");
        assert_eq!(fence.time(at(21_300)), Some(millis(3_300)));
        assert_eq!(fence.complaint(), None);
    }

    #[test]
    fn a_lifetime_that_is_set_is_not_stretched_but_its_cost_is_told() {
        let set = Lifetime::Fixed(Duration::from_secs(3));
        let mut fence = Fence::new(at(0), set, Duration::from_secs(1));
        fence.renewed(at(0), millis(40));
        let said = fence.renewed(at(0), millis(40)).unwrap();
        assert!(said.ends_with("a longer `lifetime` would save that"), "{said}");
        assert_eq!(fence.lifetime(), Some(Duration::from_secs(3)));
        assert_eq!(fence.renewed(at(0), millis(40)), None);
        fence.configure(at(0), Lifetime::Auto, Duration::from_secs(1));
        assert_eq!(fence.lifetime(), Some(Duration::from_secs(11)));
    }

    #[test]
    fn for_ever_is_never_renewed_and_costs_nothing() {
        let mut fence = Fence::new(at(0), Lifetime::Off, Duration::from_secs(1));
        assert_eq!(fence.renewed(at(0), Duration::from_secs(9)), None);
        assert_eq!((fence.lifetime(), fence.time(at(0))), (None, None));
    }

    #[test]
    fn a_lower_stale_counts_from_the_moment_it_is_set() {
        let (long, short) = (Duration::from_secs(5), Duration::from_millis(100));
        let mut fence = Fence::new(at(0), Lifetime::Off, long);
        fence.lower(at(400), long);
        assert!(!fence.slept(at(400), short), "nobody can know of it yet");
        assert!(!fence.slept(at(500), short));
        assert!(fence.slept(at(501), short));
        fence.left(at(450));
        assert!(!fence.slept(at(550), short) && fence.slept(at(551), short));
    }

    #[test]
    fn a_lower_stale_does_not_prolong_the_one_before() {
        let (long, short) = (Duration::from_secs(5), Duration::from_secs(4));
        let mut fence = Fence::new(at(0), Lifetime::Off, long);
        fence.lower(at(4_900), long);
        assert!(!fence.slept(at(5_000), short) && fence.slept(at(5_001), short));
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
