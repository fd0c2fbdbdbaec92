//! Many nodes, many groups.

use std::time::Duration;

use vippy_tests::sim::change::Action;
use vippy_tests::sim::cluster::{Setup, Timing};
use vippy_tests::sim::notes::Notes;
use vippy_tests::sim::simulation::Simulation;

use crate::lan::Lan;

/// The node that dies.
const VICTIM: usize = 17;
/// Most groups that a part of an announcement speaks of.
const SLICE: usize = 2_048;

/// Largest and smallest number of groups that one of these nodes holds.
fn spread(lan: &Lan, nodes: impl IntoIterator<Item = usize>) -> (usize, usize) {
    let held = nodes.into_iter().map(|node| lan.held_by(node).len());
    held.fold((0, usize::MAX), |(most, least), held| (most.max(held), least.min(held)))
}

/// Announcements that a node has sent, in parts.
fn sent(lan: &Lan, node: usize) -> u64 {
    lan.simulation.world.status(node).expect("it runs").stats.net.send_announce
}

#[test]
fn a_thousand_groups_on_forty_nodes() {
    share_evenly(40, 1_000);
}

#[test]
#[ignore = "takes minutes; make scale"]
fn ten_thousand_groups_on_a_hundred_nodes() {
    share_evenly(100, 10_000);
}

/// So many nodes start together, rest, and lose one of them.
fn share_evenly(nodes: usize, groups: usize) {
    let timing = Timing::millis(1_000, 3_000, 3_000);
    // A switch keeps the parts of an announcement in order.
    let delay = (100, 100);
    let setup = Setup { timing, delay, ..Setup::new(1, nodes, groups) };
    let notes = Notes { timeline: 600, ..Notes::default() };
    let mut lan = Lan { simulation: Simulation::new(setup, notes) };
    (0..nodes).for_each(|node| lan.act(Action::Start(node)));
    lan.settle();
    let share = groups / nodes;
    assert_eq!(spread(&lan, 0..nodes), (share, share));

    let before: Vec<u64> = (0..nodes).map(|node| sent(&lan, node)).collect();
    lan.stay(Duration::from_secs(3));
    let parts = (groups.div_ceil(SLICE) + 1) as u64;
    for (node, before) in before.into_iter().enumerate() {
        let sent = sent(&lan, node) - before;
        assert!(sent <= 4 * parts, "node{node} sent {sent} frames in three intervals of rest");
    }

    let before = lan.assignment();
    lan.act(Action::PowerFail(VICTIM));
    lan.settle();
    let (most, least) = spread(&lan, (0..nodes).filter(|node| *node != VICTIM));
    assert!(most - least <= 2, "{least} to {most}");
    for (group, holders) in before.iter().enumerate().filter(|(_, holders)| **holders != [VICTIM]) {
        assert_eq!(lan.holders(group), *holders, "g{group} moved without need");
    }
}
