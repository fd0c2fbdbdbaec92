//! Sequences of events that are hard on paper, one test each.

use std::time::Duration;

use vippy_core::status::NodeReason;
use vippy_core::time::micros;
use vippy_tests::sim::change::Action;
use vippy_tests::sim::cluster::{GroupPlan, Setup, Timing};
use vippy_tests::sim::fabric::{Effect, Rule, Stations};

use crate::lan::Lan;

#[test]
fn a_replayed_copy_of_a_nodes_own_frame_changes_nothing() {
    let mut lan = Lan::new(Setup::new(30, 3, 6));
    lan.simulation.world.record_frames();
    (0..3).for_each(|node| lan.act(Action::Start(node)));
    lan.settle();
    let boots: Vec<_> = (0..3).map(|node| lan.boot(node)).collect();
    let recorded = lan.simulation.world.recorded.clone();
    let now = lan.now();
    let mut copies = 0;
    for frame in recorded {
        copies += 1;
        let bytes = frame.bytes.clone();
        let at = now + copies * 1_000;
        lan.simulation.world.inject(at, frame.station, copies % 2 == 0, frame.station, bytes);
    }
    assert!(copies > 20);
    lan.stay(Duration::from_secs(20));
    assert_eq!((0..3).map(|node| lan.boot(node)).collect::<Vec<_>>(), boots);
}

#[test]
fn a_b_c_without_a_c_stays_one_cluster_under_loss() {
    // At a fifth of all frames lost, a third of what is relayed is lost: patience
    // has to grow with it.
    for (loss, stale) in [(50, 1_000), (100, 1_500), (200, 3_000)] {
        for seed in 0..5 {
            let timing = Timing::millis(100, stale, stale);
            let mut lan = Lan::settled(Setup { timing, ..Setup::new(seed, 3, 6) });
            lan.act(Action::Fault(Rule::between(0, 2, Effect::Cut)));
            lan.act(Action::Fault(Rule::everywhere(Effect::Lose(loss))));
            lan.stay(Duration::from_secs(60));
        }
    }
}

#[test]
fn pruned_ports_under_loss_move_nothing() {
    for seed in 0..5 {
        let timing = Timing::millis(100, 1_500, 1_500);
        let mut lan = Lan::settled(Setup { timing, ..Setup::new(seed, 3, 6) });
        lan.act(Action::Fault(Rule::everywhere(Effect::Prune)));
        lan.act(Action::Fault(Rule::everywhere(Effect::Lose(100))));
        lan.stay(Duration::from_secs(60));
    }
}

/// Each of three nodes hands its groups to the next one, all at once, by a
/// configuration that reaches them one after the other.
#[test]
fn a_ring_of_three_hand_overs_leaves_no_gap() {
    for seed in 0..40 {
        let plans = |shift: usize| -> Vec<GroupPlan> {
            let prefer = |group| Some((group + shift) % 3);
            (0..6)
                .map(|group| GroupPlan { prefer: prefer(group), ..GroupPlan::default() })
                .collect()
        };
        let setup = Setup::new(seed, 3, 6);
        let later = Some((plans(1), setup.timing));
        let setup = Setup { groups: plans(0), later, delay: (50, 20_000), ..setup };
        let mut lan = Lan::settled(setup);
        for node in 0..3 {
            assert!(lan.holders(node) == [node]);
        }
        for node in 0..3 {
            lan.act(Action::Configure(node, 2));
            lan.step_held(Duration::from_micros(seed * 3_700), 0..6);
        }
        lan.step_held(Duration::from_secs(10), 0..6);
        lan.settle();
        assert_eq!(lan.holders(0), [1]);
    }
}

/// A node that crashed comes back within the lifetime of what it had, as the node
/// that took it over meanwhile does the same: both find the groups on themselves.
#[test]
fn of_two_adopters_of_a_group_one_keeps_it() {
    for seed in 0..40 {
        let mut lan = Lan::settled(Setup::new(seed, 3, 6));
        let first = lan.holders(0)[0];
        lan.act(Action::Crash(first));
        lan.run(lan.timing().stale + 2 * lan.timing().interval);
        let others = lan.holders(0);
        let second = others.into_iter().find(|node| *node != first).expect("somebody took it");
        assert_eq!(lan.holders(0).len(), 2, "the dead one's kernel still has it");
        lan.act(Action::Crash(second));
        lan.act(Action::Start(first));
        lan.run(Duration::from_millis(7 * seed));
        lan.act(Action::Start(second));
        lan.settle();
        assert!(lan.groups().all(|group| lan.holders(group).len() == 1));
    }
}

/// The machine forgets its addresses and is back before anybody misses it.
#[test]
fn a_power_cycle_within_stale_leaves_nothing_unserved_for_longer_than_a_death() {
    for seed in 0..40 {
        let mut lan = Lan::settled(Setup::new(seed, 3, 6));
        let timing = lan.timing();
        lan.act(Action::PowerFail(1));
        lan.run(timing.stale / 4 + Duration::from_millis(10 * seed));
        lan.act(Action::Start(1));
        let most = timing.stale + 2 * timing.interval + timing.mature;
        lan.run_until(most, "every group is served", |lan| {
            lan.groups().all(|group| lan.holders(group).len() == 1)
        });
        lan.settle();
    }
}

#[test]
fn when_the_only_neighbour_is_gone_nothing_moves_and_a_death_is_still_noticed() {
    let setup = Setup { neighbours: 1, ..Setup::new(31, 2, 6) };
    let neighbour = setup.outsiders().start;
    let mut lan = Lan::settled(setup);
    lan.act(Action::Fault(Rule::partition(Stations::one(neighbour))));
    lan.stay(Duration::from_secs(20));
    lan.act(Action::PowerFail(0));
    let most = lan.timing().stale + lan.timing().interval + Duration::from_millis(5);
    lan.run_until(most, "the other one serves", |lan| lan.held_by(1).len() == 6);
}

#[test]
fn nodes_with_different_timers_judge_each_other_by_the_slower_ones() {
    let slow = Timing::millis(400, 3_000, 3_000);
    let setup = Setup { timing: Timing::millis(50, 250, 400), ..Setup::new(32, 3, 6) };
    let later = Some((setup.groups.clone(), slow));
    let mut lan = Lan::settled(Setup { later, ..setup });
    lan.act(Action::Configure(0, 2));
    let since = lan.now();
    lan.run(Duration::from_secs(20));
    // The new configuration has a group more, which node0 takes.
    let moves = lan.moves_since(since);
    assert!(moves.len() <= 1 && lan.holders(6) == [0], "nobody is given up: {moves:?}");
    let had = lan.held_by(0);
    lan.act(Action::PowerFail(0));
    // It has promised to speak once in three seconds, and is given that long.
    lan.stay(Duration::from_secs(2));
    let most = Duration::from_secs(1) + slow.interval + Duration::from_millis(50);
    lan.run_until(most, "its groups are served", |lan| {
        had.iter().filter(|group| **group < 6).all(|group| lan.holders(*group).len() == 1)
    });
}

/// A rollout node by node: nothing moves before the last one has it.
#[test]
fn two_configurations_alive_at_once_move_nothing() {
    let mut lan = Lan::settled(Setup::new(33, 3, 6));
    lan.act(Action::Configure(0, 2));
    lan.run_until(lan.timing().stale, "the new group is taken", |lan| lan.holders(6) == [0]);
    lan.stay(Duration::from_secs(10));
    lan.act(Action::Configure(1, 2));
    lan.stay(Duration::from_secs(10));
    lan.act(Action::Configure(2, 2));
    lan.step_held(Duration::from_secs(1), 0..6);
    lan.settle();
    assert_eq!(lan.holders(6).len(), 1, "the new group is served");
    assert_eq!(lan.state(2).1, NodeReason::None);
}

/// The one that lets go after a partition is relied on by clients until the other
/// one has told them anew, which takes time.
#[test]
fn a_healed_partition_leads_no_client_astray() {
    for seed in 0..40 {
        let telling = (20_000, 20_000);
        let mut lan = Lan::settled(Setup { telling, ..Setup::new(seed, 2, 6) });
        lan.act(Action::Fault(Rule::between(0, 1, Effect::Cut)));
        lan.run(Duration::from_secs(5));
        let clients: Vec<usize> = (0..2).collect();
        lan.act(Action::Heal);
        let until = lan.now() + 1_000_000;
        let mut astray = None;
        while lan.step(until) {
            let lost = |group| {
                let world = &lan.simulation.world;
                let believed = clients.iter().filter_map(|c| world.clients.believes(*c, group));
                believed.into_iter().any(|node| !world.holders[group].contains(node))
            };
            let since = match lan.groups().any(lost) {
                true => *astray.get_or_insert(lan.now()),
                false => *astray.insert(lan.now()),
            };
            // Its word and its announcement may overtake each other on the wire.
            assert!(lan.now() - since < 2_000, "a client is led astray");
        }
        lan.settle();
    }
}

impl Lan {
    /// Runs for a while in which each of these groups is somewhere all the time.
    fn step_held(&mut self, span: Duration, groups: std::ops::Range<usize>) {
        let until = self.now() + micros(span);
        while self.step(until) {
            for group in groups.clone() {
                assert!(!self.holders(group).is_empty(), "g{group} is nowhere");
            }
        }
    }
}
