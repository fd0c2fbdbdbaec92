//! This node: its state, its configuration.

use std::fmt;

use vippy_client::Status;
use vippy_client::status::{NodeReason, NodeState};

use super::kebab;
use super::page::{Page, one, yes};

pub(super) fn write(page: &mut Page<'_>, status: &Status) -> fmt::Result {
    let node = &status.node;
    page.info("vippy_build_info", "The daemon's version.", [("version", &node.program)])?;
    let uptime = seconds(node.uptime_ms);
    page.gauge("vippy_uptime_seconds", "Time since the daemon started.", one(uptime))?;
    let states = NodeState::ALL.map(|state| (kebab(&state), yes(state == node.state)));
    page.gauge(
        "vippy_node_state",
        "1 for the state that this node is in.",
        states.iter().map(|(name, is)| ([("state", name.as_str())], *is)),
    )?;
    let reasons = NodeReason::ALL.map(|reason| (kebab(&reason), yes(reason == node.reason)));
    page.gauge(
        "vippy_node_reason",
        "1 for the reason of this node's state.",
        reasons.iter().map(|(name, is)| ([("reason", name.as_str())], *is)),
    )?;
    let warnings = node.warnings.len() as u64;
    page.gauge("vippy_warnings", "Things that should not be.", one(warnings))?;
    timing(page, status)?;
    quorum(page, status)?;
    configuration(page, status)
}

fn timing(page: &mut Page<'_>, status: &Status) -> fmt::Result {
    let node = &status.node;
    page.gauge(
        "vippy_interval_seconds",
        "Time between two announcements.",
        one(node.interval_ms / 1e3),
    )?;
    page.gauge(
        "vippy_stale_seconds",
        "Age at which a peer counts as dead.",
        one(node.stale_ms / 1e3),
    )?;
    page.gauge(
        "vippy_address_lifetime_seconds",
        "Kernel lifetime of addresses, 0 for ever.",
        one(node.lifetime_s),
    )
}

fn quorum(page: &mut Page<'_>, status: &Status) -> fmt::Result {
    let quorum = &status.node.quorum;
    let present = u32::from(quorum.present);
    page.gauge("vippy_quorum_present", "Live nodes, this one included.", one(present))?;
    page.gauge(
        "vippy_quorum_needed",
        "Live nodes it takes to hold anything, where a quorum is set.",
        quorum.needed.map(|needed| ([], u32::from(needed))),
    )
}

fn configuration(page: &mut Page<'_>, status: &Status) -> fmt::Result {
    let config = &status.config;
    let version = config.version;
    page.gauge("vippy_config_version", "Version of the running configuration.", one(version))?;
    page.info(
        "vippy_config_info",
        "Digest of the running configuration.",
        [("digest", &config.digest)],
    )?;
    let trial = config.rollout.trial.as_ref().is_some_and(|trial| !trial.confirmed);
    page.gauge(
        "vippy_config_on_trial",
        "1 while the running configuration goes unless it is confirmed.",
        one(yes(trial)),
    )
}

/// Milliseconds as seconds.
pub(super) fn seconds(millis: u64) -> f64 {
    millis as f64 / 1e3
}
