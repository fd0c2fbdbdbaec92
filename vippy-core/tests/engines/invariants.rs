use std::time::Duration;

use vippy_core::input::Command;
use vippy_core::status::Invariants;

use crate::lan::{INTERVAL, Lan, Plan, STALE, id};

fn seen(lan: &Lan, node: usize) -> Invariants {
    lan.status(node).invariants
}

#[test]
fn a_start_counts_nothing() {
    let lan = Lan::settled(&Plan::new(3, 12));
    for node in 0..3 {
        let seen = seen(&lan, node);
        assert_eq!(seen, Invariants { counting: true, ..Invariants::default() });
    }
}

#[test]
fn a_dead_node_s_groups_are_unheld_from_its_last_frame_until_they_are_up_elsewhere() {
    let mut lan = Lan::settled(&Plan::new(3, 12));
    let groups = lan.machines[&2].kernel.len();
    lan.machines.remove(&2);
    lan.run(STALE + 2 * INTERVAL);
    for node in 0..2 {
        let seen = seen(&lan, node);
        assert_eq!(seen.two_holders.ms, 0.0, "{seen:?}");
        // Until it is given up, half a millisecond for the kernel, as much for the
        // other's frame, and what the two clocks of liveness differ by.
        let unheld = &seen.unheld;
        let stale = STALE.as_secs_f64() * 1000.0;
        assert!((stale..stale + 110.0).contains(&unheld.ms), "{seen:?}");
        assert!(unheld.group_ms <= unheld.ms * groups as f64, "{seen:?}");
        assert!(unheld.worst_ms <= unheld.ms && unheld.worst_group.is_some(), "{seen:?}");
    }
}

#[test]
fn rivals_are_counted_while_they_meet_and_again_no_longer() {
    let mut lan = Lan::settled(&Plan::new(2, 1));
    lan.cut_between(0, 1);
    lan.run(2 * STALE);
    lan.cut.clear();
    lan.run(5 * INTERVAL);
    for node in 0..2 {
        let seen = seen(&lan, node);
        assert!(seen.two_holders.ms > 0.0 && seen.two_holders.ms < 200.0, "{seen:?}");
        assert_eq!(seen.two_holders.worst_group, Some(id("g0")), "{seen:?}");
    }
    let before = seen(&lan, 0);
    lan.run(Duration::from_secs(5));
    assert_eq!(seen(&lan, 0), before);
}

#[test]
fn a_planned_move_is_held_twice_for_a_moment_and_never_unheld() {
    let mut lan = Lan::settled(&Plan::new(3, 12));
    lan.command(0, Command::Drain { lasting: None });
    lan.run(3 * INTERVAL);
    for node in 0..3 {
        let seen = seen(&lan, node);
        assert_eq!(seen.unheld.ms, 0.0, "node{node}: {seen:?}");
        // The one that lets go does so when it sees the other.
        let seen_twice = seen.two_holders.ms > 0.0;
        assert_eq!(seen_twice, node != 0, "node{node}: {seen:?}");
        assert!(seen.two_holders.ms < 10.0, "node{node}: {seen:?}");
    }
}
