//! A hundred nodes.

use std::time::Duration;

use vippy_tests::sim::change::Action;
use vippy_tests::sim::cluster::{Setup, Timing};

use crate::lan::Lan;

const NODES: usize = 100;
const GROUPS: usize = 1_000;
/// Nodes that die.
const VICTIMS: [usize; 3] = [0, 41, 99];

/// Largest and smallest number of groups that one of these nodes holds.
fn spread(lan: &Lan, nodes: impl IntoIterator<Item = usize>) -> (usize, usize) {
    let held = nodes.into_iter().map(|node| lan.held_by(node).len());
    held.fold((0, usize::MAX), |(most, least), held| (most.max(held), least.min(held)))
}

#[test]
fn a_thousand_groups_on_a_hundred_nodes() {
    let timing = Timing::millis(1_000, 3_000, 3_000);
    let mut lan = Lan::settled(Setup { timing, ..Setup::new(1, NODES, GROUPS) });
    assert_eq!(spread(&lan, 0..NODES), (10, 10));

    // At rest an announcement is at most three frames, once an interval.
    let since = lan.now();
    lan.stay(Duration::from_secs(3));
    let sent: Vec<usize> = (0..NODES).map(|node| lan.count(node, since, "sends ")).collect();
    assert!(sent.iter().all(|sent| *sent <= 3 * 4), "{sent:?}");

    let before = lan.assignment();
    for victim in VICTIMS {
        lan.act(Action::PowerFail(victim));
    }
    lan.settle();
    let left = (0..NODES).filter(|node| !VICTIMS.contains(node));
    let (most, least) = spread(&lan, left);
    assert!(most - least <= 1, "{least} to {most}");
    for (group, holders) in before.iter().enumerate() {
        let orphan = VICTIMS.iter().any(|victim| holders == &[*victim]);
        assert!(orphan || lan.holders(group) == *holders, "g{group} moved without need");
    }
}
