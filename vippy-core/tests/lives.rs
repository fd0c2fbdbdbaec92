//! Lives that end and begin: sleeping, waking, goodbyes (F2, O6, O8).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lan;

use lan::{INTERVAL, Lan, MATURE, Plan};
use vippy_core::event::Event;
use vippy_core::input::Command;

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
