use std::time::Duration;

use vippy_core::identity::NodeIndex;
use vippy_core::input::{Command, Input};
use vippy_core::memory::Drained;
use vippy_core::status::{NodeReason, NodeState};

use crate::lan::{INTERVAL, Lan, MATURE, Plan, STALE};

const HOLD_DOWN: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);

/// Groups that all prefer the first node.
fn plan() -> Plan {
    let mut plan = Plan { hold_down: Some(HOLD_DOWN), ..Plan::new(3, 2) };
    plan.groups.iter_mut().for_each(|group| group.prefer = Some(NodeIndex(0)));
    plan
}

/// Kills a node's process and starts the next one, which recalls what it said.
fn crash(lan: &mut Lan, node: usize, plan: &Plan) {
    let memory = lan.machines.remove(&node).unwrap().memory();
    lan.run(2 * STALE);
    lan.start_recalling(node, plan, &[], memory.aged(2 * STALE));
    lan.run(MATURE + STALE);
}

fn state(lan: &Lan, node: usize) -> (NodeState, NodeReason) {
    let status = lan.status(node).node;
    (status.state, status.reason)
}

const ACTIVE: (NodeState, NodeReason) = (NodeState::Active, NodeReason::None);
const HELD_DOWN: (NodeState, NodeReason) = (NodeState::Standby, NodeReason::HeldDown);

#[test]
fn a_drain_ends_by_itself() {
    let mut lan = Lan::settled(&plan());
    lan.command(0, Command::Drain { lasting: Some(MINUTE) });
    lan.run(MINUTE / 2);
    assert_eq!(state(&lan, 0), (NodeState::Draining, NodeReason::Operator));
    let left = lan.status(0).node.drained_ms.unwrap();
    assert_eq!(left, 30_000);
    assert!(lan.machines[&0].kernel.is_empty());
    lan.run(MINUTE / 2 + STALE);
    assert_eq!((state(&lan, 0), lan.status(0).node.drained_ms), (ACTIVE, None));
    assert_eq!(lan.machines[&0].kernel.len(), 2);
}

#[test]
fn a_drain_outlasts_the_process() {
    let plan = plan();
    let mut lan = Lan::settled(&plan);
    lan.command(0, Command::Drain { lasting: Some(MINUTE) });
    crash(&mut lan, 0, &plan);
    assert_eq!(state(&lan, 0), (NodeState::Draining, NodeReason::Operator));
    lan.run(MINUTE);
    assert_eq!(state(&lan, 0), ACTIVE);
    lan.command(0, Command::Drain { lasting: None });
    assert_eq!(lan.machines[&0].memory().drained, Some(Drained::UntilResumed));
    crash(&mut lan, 0, &plan);
    assert_eq!(state(&lan, 0), (NodeState::Draining, NodeReason::Operator));
    lan.command(0, Command::Resume);
    assert_eq!((state(&lan, 0), lan.machines[&0].memory().drained), (ACTIVE, None));
}

#[test]
fn a_node_that_crashes_too_often_holds_only_what_no_other_can() {
    let plan = plan();
    let mut lan = Lan::settled(&plan);
    crash(&mut lan, 0, &plan);
    crash(&mut lan, 0, &plan);
    assert_eq!((state(&lan, 0), lan.machines[&0].kernel.len()), (ACTIVE, 2));
    crash(&mut lan, 0, &plan);
    assert_eq!((state(&lan, 0), lan.machines[&0].kernel.len()), (HELD_DOWN, 0));
    assert!(lan.status(0).node.held_down_ms.is_some());
    lan.machines.remove(&1);
    lan.machines.remove(&2);
    lan.run(2 * STALE);
    assert_eq!((state(&lan, 0), lan.machines[&0].kernel.len()), (HELD_DOWN, 2));
    lan.run(HOLD_DOWN);
    assert_eq!(state(&lan, 0), ACTIVE);
}

#[test]
fn a_node_that_is_held_down_takes_nothing_from_a_standby_node() {
    let plan = Plan { standby: vec![1, 2], ..plan() };
    let mut lan = Lan::settled(&plan);
    (0..3).for_each(|_| crash(&mut lan, 0, &plan));
    assert_eq!((state(&lan, 0), lan.machines[&0].kernel.len()), (HELD_DOWN, 0));
    lan.run(HOLD_DOWN);
    assert_eq!((state(&lan, 0), lan.machines[&0].kernel.len()), (ACTIVE, 2));
}

#[test]
fn sleeping_counts_like_crashing() {
    let mut lan = Lan::settled(&plan());
    for times in 1..=3 {
        let asleep = lan.machines.remove(&0).unwrap();
        lan.run(2 * STALE);
        lan.machines.insert(0, asleep);
        lan.tell(0, Input::Tick);
        lan.run(MATURE);
        assert_eq!(state(&lan, 0), if times < 3 { ACTIVE } else { HELD_DOWN });
    }
}

#[test]
fn processes_that_stop_or_are_replaced_do_not_count() {
    let plan = plan();
    let mut lan = Lan::settled(&plan);
    for times in 0..8 {
        let command = if times % 2 == 0 { Command::Stop } else { Command::Restart };
        lan.command(0, command);
        lan.run(6 * INTERVAL);
        crash(&mut lan, 0, &plan);
        assert_eq!(state(&lan, 0), ACTIVE, "start {times}");
    }
}

#[test]
fn an_operator_ends_a_hold_down() {
    let plan = plan();
    let mut lan = Lan::settled(&plan);
    (0..3).for_each(|_| crash(&mut lan, 0, &plan));
    lan.command(0, Command::Resume);
    lan.run(STALE);
    assert_eq!((state(&lan, 0), lan.machines[&0].kernel.len()), (ACTIVE, 2));
}
