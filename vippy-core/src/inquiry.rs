//! Asking whether anybody beside the peers still hears this node (O7): when to
//! ask, and what the answers are worth.
//!
//! An inquiry runs while everybody whom this node could hear is missing. What
//! follows from its outcome is decided in [`authority`](crate::authority).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Instant, earliest};

/// Nobody is asked more often than this for long, however short the interval.
const SHORTEST_GAP: Duration = Duration::from_millis(100);
/// Addresses remembered as having answered: whom to ask is the daemon's choice.
const MAX_ANSWERS: usize = 64;
/// Guessed neighbours asked below which silence proves nothing: one alone may
/// have been switched off together with the peers.
const ENOUGH_GUESSED: usize = 2;

/// The times by which an inquiry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rhythm {
    pub(crate) interval: Duration,
    pub(crate) stale: Duration,
}

impl Rhythm {
    /// Between two requests until the outcome matters, and shortly after: several
    /// fit into `stale`, so that one lost answer decides nothing.
    fn hurried(self) -> Duration {
        self.interval.max(SHORTEST_GAP.min(self.stale / 4))
    }

    fn calm(self) -> Duration {
        self.interval.max(SHORTEST_GAP)
    }

    /// How long an answer may take.
    fn answer(self) -> Duration {
        self.hurried().min(self.stale / 4)
    }
}

/// What is known so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// Somebody was heard lately.
    Contact,
    /// Answers may still be on their way, or nobody has been asked yet.
    Pending,
    /// Nobody answers, and somebody should have.
    Silence,
    /// Nothing at all is heard, and too few were asked for that to mean anything.
    TooFew,
}

/// One inquiry, from the first request on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Inquiry {
    /// The witnesses are set; otherwise they are guessed.
    set: bool,
    /// From when on silence means something: the first request has had the time
    /// that an answer takes.
    decided_at: Instant,
    next_ask: Instant,
    /// Most addresses that were asked at once, as far as reported: a node that is
    /// cut off forgets its neighbours one after the other.
    asked: Option<usize>,
    answers: BTreeMap<IpAddr, Instant>,
    /// Until when what was heard last counts.
    counts_until: Option<Instant>,
    patience: Duration,
}

impl Inquiry {
    /// Begins; the first request is due at once.
    pub(crate) fn new(now: Instant, set: bool, rhythm: Rhythm) -> Inquiry {
        let gap = rhythm.hurried();
        Inquiry {
            set,
            decided_at: now + rhythm.answer(),
            next_ask: now,
            asked: None,
            answers: BTreeMap::new(),
            counts_until: None,
            patience: rhythm.stale.max(3 * gap),
        }
    }

    /// Whether to ask now. `lost` is when the last peer was given up: a while
    /// after it requests become rare, and each answer counts for longer.
    pub(crate) fn ask(&mut self, now: Instant, lost: Option<Instant>, rhythm: Rhythm) -> bool {
        let calm = lost.is_some_and(|lost| now >= lost + rhythm.stale);
        let gap = if calm { rhythm.calm() } else { rhythm.hurried() };
        if now < self.next_ask {
            return false;
        }
        if now > self.next_ask + self.patience {
            // Nobody was asked in time: this node was asleep.
            self.decided_at = now + rhythm.answer();
        }
        self.patience = rhythm.stale.max(3 * gap);
        self.next_ask = now + gap;
        true
    }

    /// Whether it asks the witnesses that are set, not guessed ones.
    pub(crate) fn is_set(&self) -> bool {
        self.set
    }

    pub(crate) fn asked(&mut self, targets: usize) {
        self.asked = self.asked.max(Some(targets));
    }

    /// An address that was asked has answered.
    pub(crate) fn answered(&mut self, now: Instant, from: IpAddr) {
        if self.answers.len() < MAX_ANSWERS || self.answers.contains_key(&from) {
            self.answers.insert(from, now);
        }
        self.counts_until = Some(now + self.patience);
    }

    /// Something else came in. To set witnesses it means nothing: it may come
    /// from this node's own half of a network that was cut.
    pub(crate) fn arrived(&mut self, now: Instant) {
        if !self.set {
            self.counts_until = Some(now + self.patience);
        }
    }

    pub(crate) fn evidence(&self, now: Instant) -> Evidence {
        if self.counts_until.is_some_and(|until| now < until) {
            return Evidence::Contact;
        }
        if now < self.decided_at {
            return Evidence::Pending;
        }
        match self.asked {
            _ if self.set => Evidence::Silence,
            None => Evidence::Pending,
            Some(asked) if asked >= ENOUGH_GUESSED => Evidence::Silence,
            // It was heard that this node is not deaf: a quiet network goes on
            // being quiet.
            Some(_) if self.counts_until.is_some() => Evidence::Contact,
            Some(_) => Evidence::TooFew,
        }
    }

    /// When to look again; moments that have passed are left out.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let ends = [Some(self.decided_at), self.counts_until];
        let ends = ends.into_iter().filter(|at| at.is_some_and(|at| at > now));
        ends.fold(Some(self.next_ask), earliest)
    }

    /// How many addresses were asked.
    pub(crate) fn targets(&self) -> usize {
        self.asked.unwrap_or_default()
    }

    /// Who answered, and when last.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (IpAddr, Instant)> + '_ {
        self.answers.iter().map(|(from, at)| (*from, *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm =
        Rhythm { interval: Duration::from_millis(500), stale: Duration::from_secs(5) };

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn router() -> IpAddr {
        [10, 0, 0, 1].into()
    }

    #[test]
    fn requests_are_made_once_an_interval() {
        let mut inquiry = Inquiry::new(at(0), true, RHYTHM);
        assert!(inquiry.ask(at(0), None, RHYTHM));
        assert!(!inquiry.ask(at(499), None, RHYTHM));
        assert!(inquiry.ask(at(500), None, RHYTHM));
    }

    #[test]
    fn tiny_intervals_are_hurried_only_until_the_outcome_is_known() {
        let tiny = Rhythm { interval: Duration::from_millis(5), stale: Duration::from_millis(60) };
        let mut inquiry = Inquiry::new(at(0), true, tiny);
        assert!(inquiry.ask(at(0), None, tiny));
        assert!(inquiry.ask(at(15), None, tiny), "several times within stale");
        assert!(inquiry.ask(at(200), Some(at(60)), tiny));
        assert!(!inquiry.ask(at(299), Some(at(60)), tiny));
    }

    #[test]
    fn a_set_witness_that_never_answers_is_silence() {
        let mut inquiry = Inquiry::new(at(0), true, RHYTHM);
        assert_eq!(inquiry.evidence(at(499)), Evidence::Pending);
        inquiry.arrived(at(499));
        assert_eq!(inquiry.evidence(at(500)), Evidence::Silence);
    }

    #[test]
    fn an_answer_counts_for_stale() {
        let mut inquiry = Inquiry::new(at(0), true, RHYTHM);
        inquiry.answered(at(100), router());
        assert_eq!(inquiry.evidence(at(5_099)), Evidence::Contact);
        assert_eq!(inquiry.evidence(at(5_100)), Evidence::Silence);
    }

    #[test]
    fn silence_of_guessed_neighbours_needs_two_of_them() {
        let outcome = |targets: Option<usize>| {
            let mut inquiry = Inquiry::new(at(0), false, RHYTHM);
            targets.into_iter().for_each(|targets| inquiry.asked(targets));
            inquiry.evidence(at(1_000))
        };
        assert_eq!(outcome(None), Evidence::Pending);
        assert_eq!(outcome(Some(0)), Evidence::TooFew);
        assert_eq!(outcome(Some(1)), Evidence::TooFew);
        assert_eq!(outcome(Some(2)), Evidence::Silence);
    }

    #[test]
    fn neighbours_forgotten_one_by_one_still_were_two() {
        let mut inquiry = Inquiry::new(at(0), false, RHYTHM);
        inquiry.asked(2);
        inquiry.asked(0);
        assert_eq!(inquiry.evidence(at(1_000)), Evidence::Silence);
    }

    #[test]
    fn whoever_heard_anything_is_not_deaf_for_want_of_neighbours() {
        let mut inquiry = Inquiry::new(at(0), false, RHYTHM);
        inquiry.asked(1);
        inquiry.arrived(at(10));
        assert_eq!(inquiry.evidence(at(60_000)), Evidence::Contact);
    }
}
