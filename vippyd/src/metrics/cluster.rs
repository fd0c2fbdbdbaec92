//! What was sent and received, what moved, what should not have been.

use std::fmt;

use vippy_client::status::{Breach, RejectReason};

use super::page::{Page, one, yes};
use super::{Facts, kebab};
use crate::history::Tally;

pub(super) fn write(page: &mut Page<'_>, facts: &Facts, tally: &Tally) -> fmt::Result {
    frames(page, facts)?;
    moves(page, facts, tally)?;
    invariants(page, facts)
}

fn frames(page: &mut Page<'_>, facts: &Facts) -> fmt::Result {
    let stats = &facts.status.stats;
    page.counter(
        "vippy_announcements_sent_total",
        "Announcements sent.",
        one(stats.net.send_announce),
    )?;
    page.counter(
        "vippy_announcements_received_total",
        "Announcements received and fresh.",
        one(stats.net.recv_announce),
    )?;
    page.counter("vippy_frames_relayed_total", "Frames forwarded for others.", one(stats.relayed))?;
    let rejects = RejectReason::ALL
        .map(|reason| (kebab(&reason), stats.rejects.get(&reason).copied().unwrap_or_default()));
    page.counter(
        "vippy_frames_rejected_total",
        "Datagrams without effect, by reason.",
        rejects.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count)),
    )?;
    page.histogram(
        "vippy_announcement_lateness_seconds",
        "How long after they were due announcements left.",
        &facts.announcing,
    )
}

fn moves(page: &mut Page<'_>, facts: &Facts, tally: &Tally) -> fmt::Result {
    page.counter(
        "vippy_transitions_total",
        "How often the set of groups held here changed.",
        one(facts.status.stats.state_changes),
    )?;
    page.histogram(
        "vippy_takeover_duration_seconds",
        "From the decision to take a group to its being announced here.",
        &tally.takeovers,
    )?;
    page.counter(
        "vippy_events_total",
        "Events since the start, by name.",
        tally.events.iter().map(|(event, count)| ([("event", event.as_str())], *count)),
    )
}

fn invariants(page: &mut Page<'_>, facts: &Facts) -> fmt::Result {
    let invariants = &facts.status.invariants;
    page.gauge(
        "vippy_invariants_counting",
        "1 while this node judges the invariants.",
        one(yes(invariants.counting)),
    )?;
    let (two, none) = (&invariants.two_holders, &invariants.unheld);
    page.counter(
        "vippy_two_holders_seconds_total",
        "Time in which some group had two holders.",
        one(any(two)),
    )?;
    page.counter(
        "vippy_two_holders_group_seconds_total",
        "Time with two holders, summed over groups.",
        one(two.group_ms / 1e3),
    )?;
    page.counter(
        "vippy_unheld_seconds_total",
        "Time in which nobody held some group that somebody could hold.",
        one(any(none)),
    )?;
    page.counter(
        "vippy_unheld_group_seconds_total",
        "Time without a holder, summed over groups.",
        one(none.group_ms / 1e3),
    )
}

fn any(breach: &Breach) -> f64 {
    breach.ms / 1e3
}
