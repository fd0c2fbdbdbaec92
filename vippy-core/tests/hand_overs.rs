//! Groups on their way from one node to another (O8).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lan;

use lan::{INTERVAL, Lan, Plan, STALE, id, name};
use vippy_core::input::Command;

/// A plan of one group that nobody may share.
fn exclusive(nodes: usize) -> Plan {
    let mut plan = Plan::new(nodes, 1);
    plan.groups[0].exclusive = true;
    plan
}

#[test]
fn an_exclusive_group_is_announced_while_its_addresses_are_not_up_yet() {
    let mut lan = Lan::settled(&exclusive(2));
    let old = lan.holders("g0")[0];
    let new = 1 - old;
    lan.machines.get_mut(&new).unwrap().answering = false;
    lan.command(old, Command::Drain { lasting: None });
    lan.run(STALE + 2 * INTERVAL);
    let group = lan.status(old).groups.into_iter().find(|group| group.id == id("g0")).unwrap();
    assert_eq!(group.holders, [name(new)]);
}
