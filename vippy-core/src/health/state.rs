//! One check: what it last said, and what is thought of it (H1, H2).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Outcome, Run, Verdict, millis};
use crate::config::SharedPart;
use crate::config::checks::Check;
use crate::event::Event;
use crate::identity::GroupIndex;
use crate::status::{CheckStatus, OutcomeKind};
use crate::time::Instant;

/// A check and what it has come to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) check: Arc<Check>,
    /// The groups that it names, by position; a check that names none is about all.
    pub(super) groups: BTreeSet<GroupIndex>,
    pub(super) verdict: Verdict,
    /// Since when.
    since: Instant,
    /// What the latest outcomes speak for, and how many of them.
    row: (Verdict, u8),
    last: Option<Run>,
}

/// News of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// There is another verdict.
    Verdict,
    /// It cannot be asked, as was seen often enough; the verdict stays.
    Unasked,
}

impl Change {
    /// It may change what this node says of groups.
    pub(super) fn matters(self) -> bool {
        self == Change::Verdict
    }

    pub(super) fn event(self, state: &State) -> Event {
        let why = state.last.as_ref().and_then(|run| run.outcome.why());
        Event::CheckChanged {
            check: state.check.name.clone(),
            verdict: state.verdict,
            groups: state.check.groups.clone(),
            outcome: state.last.as_ref().map_or(OutcomeKind::Good, |run| (&run.outcome).into()),
            why: why.map(str::to_owned),
        }
    }
}

impl State {
    pub(super) fn new(now: Instant, check: Arc<Check>, groups: BTreeSet<GroupIndex>) -> State {
        let verdict = check.first;
        State { check, groups, verdict, since: now, row: (verdict, 0), last: None }
    }

    /// The same where the groups have other places.
    pub(super) fn about_others(self, groups: BTreeSet<GroupIndex>) -> State {
        State { groups, ..self }
    }

    /// Takes note of a run. What could not be asked tells nothing: then what was good
    /// is unknown, and what was bad stays so.
    pub(super) fn note(&mut self, now: Instant, run: Run) -> Option<Change> {
        let says = match &run.outcome {
            Outcome::Good => Verdict::Good,
            Outcome::Bad(_) | Outcome::TimedOut => Verdict::Bad,
            Outcome::NotStarted(_) => Verdict::Unknown,
        };
        self.last = Some(run);
        let before = if self.row.0 == says { self.row.1 } else { 0 };
        self.row = (says, before.saturating_add(1));
        let enough = match says {
            Verdict::Good => self.check.rise,
            Verdict::Bad | Verdict::Unknown => self.check.fall,
        };
        if self.row.1 < enough {
            return None;
        }
        let verdict = match (self.verdict, says) {
            (Verdict::Bad, Verdict::Unknown) => Verdict::Bad,
            (_, says) => says,
        };
        if verdict != self.verdict {
            (self.verdict, self.since) = (verdict, now);
            return Some(Change::Verdict);
        }
        (says == Verdict::Unknown && self.row.1 == enough).then_some(Change::Unasked)
    }

    /// It is about a group.
    pub(super) fn concerns(&self, group: GroupIndex) -> bool {
        self.check.groups.is_empty() || self.groups.contains(&group)
    }

    /// The groups that it is about.
    pub(super) fn about(&self, shared: &SharedPart) -> Vec<GroupIndex> {
        shared.group_indexes().filter(|group| self.concerns(*group)).collect()
    }

    /// The last run was good.
    pub(super) fn is_well(&self) -> bool {
        self.last.as_ref().is_some_and(|run| run.outcome == Outcome::Good)
    }

    /// The last run began at some moment or later.
    pub(super) fn began_after(&self, moment: Instant) -> bool {
        self.last.as_ref().is_some_and(|run| run.began >= moment)
    }

    /// What the last run said, to be put behind a sentence.
    pub(super) fn because(&self) -> String {
        let why = self.last.as_ref().and_then(|run| run.outcome.why());
        why.map(|why| format!(": {why}")).unwrap_or_default()
    }

    pub(super) fn status(&self, now: Instant) -> CheckStatus {
        let last = self.last.as_ref();
        CheckStatus {
            name: self.check.name.clone(),
            verdict: self.verdict,
            groups: self.check.groups.clone(),
            since_ms: millis(now.since(self.since)),
            outcome: last.map(|run| (&run.outcome).into()),
            why: last.and_then(|run| run.outcome.why()).map(str::to_owned),
            in_a_row: self.row.1,
            age_ms: last.map(|run| millis(now.since(run.began + run.took))),
            took_ms: last.map(|run| run.took.as_secs_f64() * 1_000.0),
        }
    }
}
