//! The health checks of this node: what they say, and how long they take.

use std::fmt;

use vippy_client::Status;
use vippy_client::health::Verdict;
use vippy_client::status::{CheckStatus, OutcomeKind};

use super::kebab;
use super::node::seconds;
use super::page::{Labels, Page, yes};

pub(super) fn write(page: &mut Page<'_>, status: &Status) -> fmt::Result {
    let checks = &status.checks;
    let verdicts = [Verdict::Unknown, Verdict::Good, Verdict::Bad].map(|each| (each, kebab(&each)));
    page.gauge(
        "vippy_check_verdict",
        "1 for the verdict of a health check.",
        checks.iter().flat_map(|check| {
            verdicts.iter().map(|(verdict, name)| {
                ([("check", name_of(check)), ("verdict", name)], yes(check.verdict == *verdict))
            })
        }),
    )?;
    let outcomes =
        [OutcomeKind::Good, OutcomeKind::Bad, OutcomeKind::TimedOut, OutcomeKind::NotStarted];
    let outcomes = outcomes.map(|each| (each, kebab(&each)));
    page.gauge(
        "vippy_check_outcome",
        "1 for what the last run of a health check came to.",
        checks.iter().filter(|check| check.outcome.is_some()).flat_map(|check| {
            outcomes.iter().map(|(outcome, name)| {
                let is = yes(check.outcome == Some(*outcome));
                ([("check", name_of(check)), ("outcome", name)], is)
            })
        }),
    )?;
    page.gauge(
        "vippy_check_duration_seconds",
        "How long the last run of a health check took.",
        checks.iter().filter_map(|check| Some((of(check), check.took_ms? / 1e3))),
    )?;
    page.gauge(
        "vippy_check_age_seconds",
        "Time since the last run of a health check ended.",
        checks.iter().filter_map(|check| Some((of(check), seconds(check.age_ms?)))),
    )
}

fn name_of(check: &CheckStatus) -> &str {
    check.name.as_str()
}

fn of(check: &CheckStatus) -> Labels<'_, 1> {
    [("check", name_of(check))]
}
