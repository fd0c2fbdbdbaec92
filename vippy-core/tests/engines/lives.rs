use std::time::Duration;

use vippy_core::event::Event;
use vippy_core::input::{Command, Input};
use vippy_core::status::NodeState;

use crate::lan::{INTERVAL, Lan, MATURE, Plan, STALE};

/// Lets a node sleep: nothing reaches it and nothing leaves it.
fn sleep(lan: &mut Lan, node: usize, span: Duration) {
    let asleep = lan.machines.remove(&node).unwrap();
    lan.run(span);
    lan.machines.insert(node, asleep);
    lan.tell(node, Input::Tick);
}

#[test]
fn after_a_sleep_booting_ends_when_all_peers_are_back() {
    let mut lan = Lan::settled(&Plan::new(3, 6));
    sleep(&mut lan, 1, 2 * STALE);
    assert_eq!(lan.status(1).node.state, NodeState::Booting);
    lan.run(4 * INTERVAL);
    assert_eq!(lan.status(1).node.state, NodeState::Active);
}

#[test]
fn after_frames_left_again_booting_awaits_the_peers_of_before() {
    let mut lan = Lan::settled(&Plan::new(3, 6));
    lan.machines.get_mut(&1).unwrap().uplink = false;
    lan.run(2 * MATURE + 2 * STALE);
    assert_eq!(lan.status(1).node.state, NodeState::Booting);
    // Frames leave again, but one peer's way back is still closed.
    lan.cut_between(1, 2);
    lan.cut_between(0, 2);
    lan.machines.get_mut(&1).unwrap().uplink = true;
    lan.run(6 * INTERVAL);
    assert_eq!(lan.status(1).node.state, NodeState::Booting);
    lan.run(MATURE);
    assert_eq!(lan.status(1).node.state, NodeState::Active);
}

#[test]
fn a_goodbye_reaches_those_who_hear_the_leaving_node_through_others() {
    let mut lan = Lan::new();
    lan.cut_between(0, 2);
    let mut plan = Plan::new(3, 6);
    plan.groups.iter_mut().for_each(|group| group.exclusive = true);
    for node in 0..3 {
        lan.start(node, &plan, &[]);
    }
    lan.run(2 * MATURE);
    assert!(!lan.machines[&0].kernel.is_empty());
    lan.command(0, Command::Stop);
    lan.run(2 * INTERVAL);
    let left = |event: &Event| matches!(event, Event::PeerLeft { .. });
    assert!(lan.machines[&1].events().any(left));
    assert!(lan.machines[&2].events().any(left));
    for g in ["g0", "g1", "g2", "g3", "g4", "g5"] {
        assert_eq!(lan.holders(g).len(), 1, "{g} is on {:?}", lan.holders(g));
    }
}

#[test]
fn who_is_met_is_answered_at_once() {
    let mut lan = Lan::new();
    let plan = Plan::new(2, 1);
    lan.start(0, &plan, &[]);
    lan.run(INTERVAL / 4);
    lan.start(1, &plan, &[]);
    // The elder echoes the newcomer when its interval is over; what the newcomer
    // says to that need not wait for one of its own.
    lan.run(INTERVAL * 7 / 8);
    let met = |event: &Event| matches!(event, Event::PeerUp { .. });
    assert!(lan.machines[&1].events().any(met));
    assert!(lan.machines[&0].events().any(met));
}
