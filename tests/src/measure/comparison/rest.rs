//! Both programs at rest, three nodes each, with the same number of groups.

use std::time::Duration;

use vippy_lab::{Lan, LanOptions};

use super::super::experiments::{Bench, MANY_PREFIX, Outcome, idle, many};
use super::super::{AtRest, Instance, Keepalived, at_rest};

const INTERVAL: Duration = Duration::from_secs(1);
/// keepalived has become master, and told the neighbours for the last time.
const QUIET: Duration = Duration::from_secs(15);
const NODES: usize = 3;

/// What a node costs with so many groups.
#[derive(Debug)]
pub(super) struct Rests {
    /// The groups.
    pub(super) count: usize,
    /// A daemon of three.
    pub(super) vippy: AtRest,
    /// Its processes on one of three nodes, an instance a group, each node the
    /// master of a third of them.
    pub(super) keepalived: Option<AtRest>,
}

/// One program after the other.
///
/// # Errors
/// A cluster does not start or does not settle.
pub(super) fn rest(bench: &Bench, count: usize) -> Outcome<Rests> {
    Ok(Rests { count, vippy: idle::rest(bench, count)?, keepalived: keepalived(bench, count)? })
}

fn keepalived(bench: &Bench, count: usize) -> Outcome<Option<AtRest>> {
    let instance = |number: usize| Instance {
        addresses: vec![(many(number).into(), MANY_PREFIX)],
        home: number % NODES + 1,
    };
    let instances = (0..count).map(instance).collect();
    let Some(keepalived) = Keepalived::with(INTERVAL, instances)? else { return Ok(None) };
    let lan = Lan::new(LanOptions { nodes: NODES, clients: 0 })?;
    (1..=NODES).try_for_each(|node| keepalived.start(&lan, node))?;
    std::thread::sleep(QUIET);
    at_rest(&lan, bench.watch, |node| Ok(keepalived.processes(node))).map(Some)
}
