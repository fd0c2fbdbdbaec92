//! Health checks: what moves because of them, and what does not (H3, H4).

use std::time::Duration;

use vippy_tests::sim::change::Action;
use vippy_tests::sim::cluster::Setup;

use crate::lan::Lan;

/// Enough for every check to be run until it has another verdict.
const VERDICT: Duration = Duration::from_secs(2);

#[test]
fn a_bad_check_moves_its_group_alone_and_one_that_is_bad_everywhere_moves_nothing() {
    for seed in 0..20 {
        let setup = Setup { checks: vec![(2, 1)], ..Setup::new(seed, 3, 3) };
        let mut lan = Lan::settled(setup);
        let before = [0, 1, 2].map(|group| lan.holders(group));
        let first = before[0][0];
        lan.act(Action::Sicken(first, 0));
        lan.run(VERDICT);
        let keeper = lan.holders(0);
        assert!(keeper.len() == 1 && keeper != before[0], "{keeper:?}");
        (0..3).for_each(|node| lan.act(Action::Sicken(node, 0)));
        lan.run(VERDICT);
        assert_eq!(lan.holders(0), keeper);
        (0..3).for_each(|node| lan.act(Action::Cure(node, 0)));
        lan.settle();
        assert_eq!([0, 1, 2].map(|group| lan.holders(group)), before);
    }
}

#[test]
fn a_node_that_is_ill_without_knowing_it_takes_nothing_over() {
    for seed in 0..20 {
        // It would take a second until its own checks have found out.
        let setup = Setup { checks: vec![(5, 1)], ..Setup::new(seed, 3, 3) };
        let mut lan = Lan::settled(setup);
        let first = lan.holders(0)[0];
        lan.act(Action::Sicken(first, 0));
        lan.run(VERDICT);
        let second = lan.holders(0)[0];
        lan.act(Action::Cure(first, 0));
        lan.settle();
        assert_eq!(lan.holders(0), [first]);
        let third = 3 - first - second;
        lan.act(Action::Sicken(first, 0));
        lan.act(Action::Sicken(second, 0));
        lan.run(VERDICT);
        assert_eq!(lan.holders(0), [third]);
    }
}
