//! What makes this node stand back as a whole although it could take part: an
//! operator drained it, or it came and went too often (O4).
//!
//! Owns both and what the next process of this node must know of them
//! ([`Memory`]). What others see of it is [`standing`](crate::standing)'s work.
//!
//! A return is noted when booting ends: a process that dies before that has taken
//! nothing, so nothing was moved for it. The first booting of a process counts
//! unless the process before it ended in order ([`Conduct::ends_in_order`]).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::flapping::Flapping;
use crate::memory::{Drained, Memory};
use crate::time::{Instant, earliest};

/// Drain and hold-down of this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Conduct {
    drained: Option<Drain>,
    flapping: Flapping,
    /// First time of being held down; `None` when it never is.
    first: Option<Duration>,
    /// Until when it is held down, if it is.
    held_until: Option<Instant>,
    /// The process before ended in order, and this one has not booted yet.
    in_order: bool,
    /// Something must be remembered.
    news: bool,
}

/// How long a drain lasts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Drain {
    /// `None` until an operator resumes.
    until: Option<Instant>,
}

impl Conduct {
    /// Goes on from what the process before remembered.
    pub(crate) fn recalled(now: Instant, memory: &Memory, first: Option<Duration>) -> Conduct {
        let drained = memory.drained.map(|drained| match drained {
            Drained::UntilResumed => Drain { until: None },
            Drained::For(left) => Drain { until: Some(now + left) },
        });
        Conduct {
            drained,
            flapping: Flapping::recalled(now, &memory.returns, memory.strikes),
            first,
            held_until: None,
            in_order: memory.stopped,
            news: false,
        }
    }

    pub(crate) fn configure(&mut self, first: Option<Duration>) {
        self.first = first;
    }

    /// An operator drains this node; a later word replaces an earlier one.
    pub(crate) fn drain(&mut self, now: Instant, lasting: Option<Duration>) {
        self.drained = Some(Drain { until: lasting.map(|lasting| now + lasting) });
        self.news = true;
    }

    /// An operator wants this node to take part, whatever it did before.
    pub(crate) fn resume(&mut self) {
        self.drained = None;
        self.flapping = Flapping::default();
        self.news = true;
    }

    /// Booting has ended.
    pub(crate) fn booted(&mut self, now: Instant) {
        if !std::mem::take(&mut self.in_order)
            && let Some(first) = self.first
        {
            self.flapping.note(now, first);
        }
        self.news = true;
    }

    /// This process is about to end as it should.
    pub(crate) fn ends_in_order(&mut self) {
        self.in_order = true;
        self.news = true;
    }

    /// Ends what has had its time, and works out what follows from the rest.
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.drained.is_some_and(|drain| drain.until.is_some_and(|until| now >= until)) {
            self.drained = None;
            self.news = true;
        }
        self.held_until = self.first.and_then(|first| self.flapping.held_until(now, first));
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.drained.is_some()
    }

    /// When the drain ends by itself, if it does.
    pub(crate) fn drained_until(&self) -> Option<Instant> {
        self.drained?.until
    }

    /// Until when this node is held down, if it is.
    pub(crate) fn held_down_until(&self) -> Option<Instant> {
        self.held_until
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        earliest(self.drained_until(), self.held_until)
    }

    /// What to remember, if it is news.
    pub(crate) fn take_news(&mut self, now: Instant) -> Option<Memory> {
        if !std::mem::take(&mut self.news) {
            return None;
        }
        let (returns, strikes) = self.flapping.remembered(now);
        let drained = self.drained.map(|drain| match drain.until {
            None => Drained::UntilResumed,
            Some(until) => Drained::For(until.since(now)),
        });
        Some(Memory { returns, strikes, drained, stopped: self.in_order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(30);
    const MINUTE: Duration = Duration::from_secs(60);

    /// A process that starts from this memory and has just booted.
    fn booted(now: Instant, memory: &Memory) -> Conduct {
        let mut conduct = Conduct::recalled(now, memory, Some(FIRST));
        conduct.booted(now);
        conduct.settle(now);
        conduct
    }

    #[test]
    fn a_drain_ends_by_itself_or_with_a_word() {
        let now = Instant::ZERO;
        let mut conduct = booted(now, &Memory::default());
        conduct.drain(now, Some(MINUTE));
        conduct.settle(now + MINUTE / 2);
        assert!(conduct.is_drained());
        conduct.settle(now + MINUTE);
        assert!(!conduct.is_drained());
        conduct.drain(now, Some(MINUTE));
        conduct.drain(now, None);
        conduct.settle(now + 2 * MINUTE);
        assert!(conduct.is_drained(), "the later word counts");
        conduct.resume();
        assert!(!conduct.is_drained());
    }

    #[test]
    fn the_next_process_is_drained_for_what_is_left() {
        let now = Instant::ZERO;
        let mut conduct = booted(now, &Memory::default());
        conduct.drain(now, Some(MINUTE));
        let memory = conduct.take_news(now + MINUTE / 4).unwrap();
        assert_eq!(memory.drained, Some(Drained::For(MINUTE * 3 / 4)));
        assert_eq!(conduct.take_news(now), None);
        let next = Conduct::recalled(now, &memory.aged(MINUTE / 4), Some(FIRST));
        assert_eq!(next.drained_until(), Some(now + MINUTE / 2));
    }

    #[test]
    fn the_fourth_process_that_follows_a_crash_is_held_down() {
        let mut memory = Memory::default();
        for crash in 0..4 {
            let mut conduct = booted(Instant::ZERO, &memory);
            assert_eq!(conduct.held_down_until().is_some(), crash == 3);
            memory = conduct.take_news(Instant::ZERO + FIRST / 3).unwrap().aged(FIRST / 3);
        }
        let mut next = Conduct::recalled(Instant::ZERO, &memory, Some(FIRST));
        next.settle(Instant::ZERO);
        assert_eq!(next.held_down_until(), Some(Instant::ZERO + FIRST / 3));
    }

    #[test]
    fn processes_that_end_in_order_are_not_counted() {
        let mut memory = Memory::default();
        for _ in 0..9 {
            let mut conduct = booted(Instant::ZERO, &memory);
            assert_eq!(conduct.held_down_until(), None);
            assert!(!conduct.take_news(Instant::ZERO).unwrap().stopped, "not yet");
            conduct.ends_in_order();
            memory = conduct.take_news(Instant::ZERO).unwrap();
        }
        assert_eq!(memory.returns.len(), 1, "the very first start");
    }

    #[test]
    fn an_operator_ends_a_hold_down() {
        let mut conduct = booted(Instant::ZERO, &Memory::default());
        (0..4).for_each(|_| conduct.booted(Instant::ZERO));
        conduct.settle(Instant::ZERO);
        assert!(conduct.held_down_until().is_some());
        conduct.resume();
        conduct.settle(Instant::ZERO);
        assert_eq!(conduct.held_down_until(), None);
    }

    #[test]
    fn without_hold_down_nothing_is_counted() {
        let mut conduct = Conduct::recalled(Instant::ZERO, &Memory::default(), None);
        (0..9).for_each(|_| conduct.booted(Instant::ZERO));
        conduct.configure(Some(FIRST));
        conduct.settle(Instant::ZERO);
        assert_eq!(conduct.held_down_until(), None);
    }
}
