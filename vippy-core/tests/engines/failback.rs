use std::time::Duration;

use vippy_core::config::Failback;
use vippy_core::event::Event;
use vippy_core::identity::NodeIndex;
use vippy_core::input::{Command, ResourceReport};
use vippy_core::status::NodeState;

use crate::lan::{INTERVAL, Lan, MATURE, Plan, STALE};

const DELAY: Duration = Duration::from_secs(20);

/// Groups that all prefer the first node.
fn plan(nodes: usize, groups: u8, failback: Failback) -> Plan {
    let mut plan = Plan::new(nodes, groups);
    for group in &mut plan.groups {
        (group.prefer, group.failback) = (Some(NodeIndex(0)), failback);
    }
    plan
}

fn drain(lan: &mut Lan, node: usize) {
    lan.command(node, Command::Drain { lasting: None });
    lan.run(STALE);
}

/// Ends a node's process at once, and starts it again after `pause`.
fn restart(lan: &mut Lan, node: usize, plan: &Plan, pause: Duration) {
    lan.machines.remove(&node).unwrap();
    lan.run(pause);
    lan.start(node, plan, &[]);
}

/// How often a node took anything.
fn takes(lan: &Lan, node: usize) -> usize {
    lan.machines[&node].events().filter(|event| matches!(event, Event::Taking { .. })).count()
}

#[test]
fn a_standby_node_holds_only_what_no_other_can() {
    let plan = Plan { standby: vec![0], ..Plan::new(3, 6) };
    let mut lan = Lan::settled(&plan);
    assert_eq!(lan.status(0).node.state, NodeState::Standby);
    assert!(lan.machines[&0].kernel.is_empty());
    assert_eq!((lan.machines[&1].kernel.len(), lan.machines[&2].kernel.len()), (3, 3));
    lan.machines.remove(&1);
    lan.run(2 * STALE);
    assert!(lan.machines[&0].kernel.is_empty());
    lan.machines.remove(&2);
    lan.run(2 * STALE);
    assert_eq!(lan.machines[&0].kernel.len(), 6);
    lan.start(1, &plan, &[]);
    lan.run(2 * MATURE);
    assert_eq!((lan.machines[&0].kernel.len(), lan.machines[&1].kernel.len()), (0, 6));
}

#[test]
fn a_standby_node_takes_a_group_that_no_other_can_hold_here() {
    let plan = Plan { standby: vec![2], ..plan(3, 2, Failback::Auto) };
    let mut lan = Lan::settled(&plan);
    for node in 0..2 {
        lan.report(node, "g0", ResourceReport::Unavailable("link down".into()));
    }
    lan.run(STALE);
    assert_eq!((lan.holders("g0"), lan.holders("g1")), (vec![2], vec![0]));
}

#[test]
fn what_a_standby_node_keeps_for_others_stays_with_it_when_another_standby_node_returns() {
    let plan = Plan { standby: vec![1, 2, 3], ..Plan::new(4, 3) };
    let mut lan = Lan::settled(&plan);
    lan.machines.remove(&0);
    lan.run(2 * STALE);
    let holder = lan.holders("g0")[0];
    restart(&mut lan, holder, &plan, 2 * STALE);
    let other = lan.holders("g0")[0];
    lan.run(3 * MATURE);
    assert_eq!(lan.holders("g0"), [other]);
}

#[test]
fn without_failback_a_group_stays_where_it_is_when_its_node_returns() {
    for exclusive in [false, true] {
        let mut plan = plan(3, 3, Failback::Never);
        plan.groups.iter_mut().for_each(|group| group.exclusive = exclusive);
        let mut lan = Lan::settled(&plan);
        assert_eq!(lan.machines[&0].kernel.len(), 3);
        restart(&mut lan, 0, &plan, Duration::from_secs(5));
        let holders = lan.holders("g1");
        assert_eq!(holders.len(), 1, "exclusive: {exclusive}");
        lan.run(3 * MATURE);
        assert_eq!(lan.holders("g1"), holders);
        drain(&mut lan, holders[0]);
        assert_eq!(lan.holders("g1"), [0], "exclusive: {exclusive}");
        lan.command(holders[0], Command::Resume);
        lan.run(STALE);
        assert_eq!(lan.holders("g1"), [0], "exclusive: {exclusive}");
    }
}

#[test]
fn without_failback_two_holders_become_one_after_a_heal_and_nobody_else_takes() {
    let plan = plan(3, 4, Failback::Never);
    let mut lan = Lan::settled(&plan);
    drain(&mut lan, 0);
    lan.command(0, Command::Resume);
    lan.run(STALE);
    // Whatever is on node 1 or 2 comes to be on both.
    for (one, other) in [(0, 2), (1, 2), (0, 1)] {
        lan.cut_between(one, other);
    }
    lan.run(3 * STALE);
    assert_eq!(lan.holders("g0").len(), 3);
    lan.cut.clear();
    lan.run(STALE);
    for group in ["g0", "g1", "g2", "g3"] {
        assert_eq!(lan.holders(group), [0], "the earliest holder of the succession");
    }
}

#[test]
fn without_failback_a_new_preference_waits_for_the_next_move_and_loses_nobody() {
    let mut plan = plan(3, 1, Failback::Never);
    let mut lan = Lan::settled(&plan);
    (plan.version, plan.groups[0].prefer) = (2, Some(NodeIndex(2)));
    for node in 0..3 {
        lan.configure(node, &plan);
        lan.run(3 * INTERVAL);
        assert!(!lan.holders("g0").is_empty());
    }
    lan.run(2 * STALE);
    assert_eq!(lan.holders("g0").len(), 1);
    let holder = lan.holders("g0")[0];
    drain(&mut lan, holder);
    let next = if holder == 2 { lan.holders("g0") } else { vec![2] };
    assert_eq!(lan.holders("g0"), next);
}

#[test]
fn a_delayed_group_goes_back_when_its_node_has_taken_part_for_the_delay() {
    for exclusive in [false, true] {
        let mut plan = plan(3, 3, Failback::After(DELAY));
        plan.groups.iter_mut().for_each(|group| group.exclusive = exclusive);
        let mut lan = Lan::settled(&plan);
        assert_eq!(lan.machines[&0].kernel.len(), 3, "nothing is delayed at a first start");
        restart(&mut lan, 0, &plan, Duration::from_secs(5));
        let holders = lan.holders("g1");
        lan.run(MATURE + DELAY - INTERVAL);
        assert_eq!(lan.holders("g1"), holders, "exclusive: {exclusive}");
        lan.run(6 * INTERVAL);
        assert_eq!(lan.holders("g1"), [0], "exclusive: {exclusive}");
    }
}

#[test]
fn a_delayed_group_moves_to_whoever_else_can_have_it_and_else_to_the_returned_node_at_once() {
    let plan = plan(3, 1, Failback::After(DELAY));
    let mut lan = Lan::settled(&plan);
    restart(&mut lan, 0, &plan, 2 * STALE);
    lan.run(MATURE + STALE);
    let second = lan.holders("g0")[0];
    drain(&mut lan, second);
    let third = 3 - second;
    assert_eq!(lan.holders("g0"), [third]);
    drain(&mut lan, third);
    assert_eq!(lan.holders("g0"), [0]);
    lan.command(third, Command::Resume);
    lan.run(2 * DELAY);
    assert_eq!(lan.holders("g0"), [0]);
}

#[test]
fn when_all_start_together_nothing_is_delayed_and_nothing_moves_later() {
    let mut plan = Plan::new(3, 9);
    plan.groups.iter_mut().for_each(|group| group.failback = Failback::After(DELAY));
    let mut lan = Lan::new();
    for node in 0..3 {
        lan.start(node, &plan, &[]);
        lan.run(2 * INTERVAL);
    }
    lan.run(3 * MATURE);
    let shares: Vec<usize> = (0..3).map(|node| lan.machines[&node].kernel.len()).collect();
    assert_eq!(shares, [3, 3, 3]);
    lan.run(2 * DELAY);
    let taken: Vec<usize> = (0..3).map(|node| takes(&lan, node)).collect();
    assert_eq!(taken, [3, 3, 3]);
}

#[test]
fn a_node_that_finds_its_delayed_group_on_itself_keeps_it() {
    let plan = plan(2, 1, Failback::After(DELAY));
    let mut lan = Lan::settled(&plan);
    lan.machines.remove(&0);
    lan.run(INTERVAL);
    lan.start(0, &plan, &["g0"]);
    lan.run(2 * MATURE + DELAY);
    assert_eq!((takes(&lan, 0), takes(&lan, 1)), (0, 0));
}

#[test]
fn a_group_whose_interface_returns_is_delayed_by_itself() {
    let plan = plan(2, 2, Failback::After(DELAY));
    let mut lan = Lan::settled(&plan);
    lan.report(0, "g0", ResourceReport::Unavailable("link down".into()));
    lan.run(STALE);
    assert_eq!((lan.holders("g0"), lan.holders("g1")), (vec![1], vec![0]));
    lan.report(0, "g0", ResourceReport::Available);
    lan.run(DELAY - INTERVAL);
    assert_eq!(lan.holders("g0"), [1]);
    lan.run(4 * INTERVAL);
    assert_eq!(lan.holders("g0"), [0]);
}

#[test]
fn a_group_whose_interface_comes_and_goes_stays_elsewhere_for_a_while() {
    let hold_down = Duration::from_secs(30);
    let plan = Plan { hold_down: Some(hold_down), ..plan(2, 2, Failback::Auto) };
    let mut lan = Lan::settled(&plan);
    for _ in 0..4 {
        assert_eq!(lan.holders("g0"), [0]);
        lan.report(0, "g0", ResourceReport::Unavailable("link down".into()));
        lan.run(STALE);
        lan.report(0, "g0", ResourceReport::Available);
        lan.run(STALE);
    }
    assert_eq!((lan.holders("g0"), lan.holders("g1")), (vec![1], vec![0]));
    lan.run(hold_down - 2 * STALE);
    assert_eq!(lan.holders("g0"), [1]);
    lan.run(3 * STALE);
    assert_eq!(lan.holders("g0"), [0]);
}

#[test]
fn an_operator_ends_a_delay() {
    let plan = plan(3, 1, Failback::After(DELAY));
    let mut lan = Lan::settled(&plan);
    restart(&mut lan, 0, &plan, 2 * STALE);
    lan.run(MATURE + STALE);
    let group = &lan.status(0).groups[0];
    assert_eq!(group.rather_not.as_deref(), Some("its failback is delayed"));
    lan.command(0, Command::Resume);
    lan.run(STALE);
    assert_eq!((lan.holders("g0"), &lan.status(0).groups[0].rather_not), (vec![0], &None));
}
