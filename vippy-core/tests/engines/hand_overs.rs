use std::time::Duration;

use vippy_core::input::{Command, ResourceReport};
use vippy_core::output::Output;

use crate::lan::{INTERVAL, Lan, Plan, STALE, id, name};

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

#[test]
fn after_a_heal_two_holders_last_for_less_than_an_interval_whatever_their_phases() {
    let plan = Plan::new(2, 2);
    for phase in (0..100).step_by(7) {
        let mut lan = Lan::settled(&plan);
        lan.cut_between(0, 1);
        lan.run(4 * STALE + Duration::from_millis(phase));
        assert_eq!(lan.holders("g0"), [0, 1]);
        lan.cut.clear();
        let single = |lan: &Lan| ["g0", "g1"].iter().all(|group| lan.holders(group).len() == 1);
        let limit = INTERVAL + Duration::from_millis(20);
        assert!(lan.run_until(limit, single), "phase {phase} ms");
    }
}

#[test]
fn a_deaf_nodes_groups_are_taken_within_stale_and_an_interval() {
    let plan = Plan::new(3, 6);
    for phase in (0..100).step_by(7) {
        let mut lan = Lan::settled(&plan);
        lan.run(Duration::from_millis(phase));
        lan.cut.extend([(0, 1), (2, 1)]);
        let all = |lan: &Lan| (0..6).all(|g| lan.holders(&format!("g{g}")).iter().any(|n| *n != 1));
        let limit = STALE + INTERVAL + Duration::from_millis(10);
        assert!(lan.run_until(limit, all), "phase {phase} ms");
    }
}

#[test]
fn a_node_that_slept_says_nothing_until_everything_is_off() {
    let plan = Plan::new(2, 2);
    let mut lan = Lan::settled(&plan);
    let mut machine = lan.machines.remove(&0).unwrap();
    machine.answering = false;
    lan.run(STALE + 2 * INTERVAL);
    lan.machines.insert(0, machine);
    let before = lan.frames.len();
    lan.run(2 * INTERVAL);
    assert!(lan.frames[before..].iter().all(|(from, _)| *from != 0));
    assert!(lan.machines[&0].orders.iter().any(|o| matches!(o, Output::Unplumb { .. })));
    for group in ["g0", "g1"] {
        lan.report(0, group, ResourceReport::Down);
    }
    lan.run(INTERVAL);
    assert!(lan.frames[before..].iter().any(|(from, _)| *from == 0));
}
