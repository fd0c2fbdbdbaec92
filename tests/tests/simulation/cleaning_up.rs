//! For each death one survivor cleans up, the next one if that dies too.

use std::collections::BTreeSet;
use std::time::Duration;

use vippy_core::identity::Epoch;
use vippy_tests::sim::change::Action;
use vippy_tests::sim::cluster::Setup;
use vippy_tests::sim::fabric::{Rule, Stations};
use vippy_tests::sim::world::CleanUp;

use crate::lan::Lan;

const NODES: usize = 6;

impl Lan {
    fn clean_ups(&self) -> Vec<CleanUp> {
        self.simulation.world.clean_ups.clone()
    }

    /// Those for one node that ran to their end.
    fn done_for(&self, node: usize) -> Vec<CleanUp> {
        let name = format!("node{node}");
        let done = self.clean_ups().into_iter();
        done.filter(|run| run.done && run.node.as_str() == name).collect()
    }
}

/// Six nodes at rest; cleaning up takes as long as two intervals.
fn six(seed: u64) -> Lan {
    Lan::settled(Setup { cleaning: Some((150_000, 250_000)), ..Setup::new(seed, NODES, 6) })
}

fn long(lan: &Lan) -> Duration {
    20 * lan.timing().stale
}

fn index(seed: u64) -> usize {
    usize::try_from(seed).expect("seeds are small here")
}

#[test]
fn one_survivor_cleans_up_and_its_run_has_a_number_of_its_own() {
    for seed in 0..50 {
        let mut lan = six(seed);
        let mut newest = Epoch(0);
        for death in 0..3 {
            let victim = (index(seed) + 2 * death) % NODES;
            let before = lan.clean_ups().len();
            lan.act(if death == 1 { Action::Crash(victim) } else { Action::PowerFail(victim) });
            lan.run_until(2 * lan.patience(), "somebody is done", |lan| {
                lan.clean_ups().get(before).is_some_and(|run| run.done)
            });
            lan.run(long(&lan));
            let runs = lan.clean_ups();
            assert_eq!(runs.len(), before + 1, "seed {seed}: {runs:?}");
            let run = runs.last().unwrap();
            assert_eq!(
                (run.station, run.node.as_str()),
                ((victim + 1) % NODES, &*format!("node{victim}"))
            );
            assert!(run.epoch > newest, "{runs:?}");
            newest = run.epoch;
            lan.act(Action::Start(victim));
            lan.settle();
        }
    }
}

#[test]
fn the_next_one_cleans_up_when_the_designated_node_dies_too() {
    for seed in 0..50 {
        let mut lan = six(seed);
        let victim = index(seed) % NODES;
        let [second, third] = [(victim + 1) % NODES, (victim + 2) % NODES];
        lan.act(Action::PowerFail(victim));
        if seed % 2 == 0 {
            // At any time before it is found out, or while it cleans up.
            lan.run(Duration::from_millis(10 * (seed % 40)));
        } else {
            lan.run_until(2 * lan.patience(), "it begins", |lan| lan.clean_ups().len() == 1);
        }
        lan.act(Action::PowerFail(second));
        lan.run(long(&lan));
        let (of_first, of_second) = (lan.done_for(victim), lan.done_for(second));
        assert_eq!((of_first.len(), of_second.len()), (1, 1), "seed {seed}: {:?}", lan.clean_ups());
        assert_eq!((of_first[0].station, of_second[0].station), (third, third));
        let runs = lan.clean_ups();
        let epochs: BTreeSet<Epoch> = runs.iter().map(|run| run.epoch).collect();
        assert_eq!(epochs.len(), runs.len(), "{runs:?}");
        let of_first: Vec<Epoch> =
            runs.iter().filter(|run| run.node == of_first[0].node).map(|run| run.epoch).collect();
        assert!(of_first.is_sorted(), "a later run has a lower number: {runs:?}");
    }
}

#[test]
fn a_node_that_stops_in_order_leaves_nothing_behind_and_one_that_was_paused_dies_anew() {
    let mut lan = six(3);
    lan.act(Action::Stop(1));
    lan.run(long(&lan));
    assert_eq!(lan.clean_ups(), []);
    for deaths in 1..=2 {
        lan.act(Action::Pause(2));
        lan.run(long(&lan));
        assert_eq!(lan.done_for(2).len(), deaths, "{:?}", lan.clean_ups());
        lan.act(Action::Wake(2));
        lan.settle();
    }
    let [one, two] = &lan.done_for(2)[..] else { panic!() };
    assert_eq!(one.boot, two.boot);
    assert!(one.epoch < two.epoch);
    assert_eq!(lan.clean_ups().len(), 2, "the one that woke up cleaned up, too");
}

#[test]
fn each_side_of_a_partition_may_clean_up_and_after_it_nobody_does_again() {
    for seed in 0..10 {
        let mut lan = six(seed);
        let side = Stations::one(0).with(1).with(2);
        lan.act(Action::Fault(Rule::partition(side)));
        lan.run(long(&lan));
        let runs = lan.clean_ups();
        // Each of the six is dead to the other side, and its own side has one for it.
        let of: BTreeSet<_> = runs.iter().map(|run| (run.node.clone(), run.station < 3)).collect();
        assert_eq!((runs.len(), of.len()), (6, 6), "seed {seed}: {runs:?}");
        let epochs: BTreeSet<Epoch> = runs.iter().map(|run| run.epoch).collect();
        assert_eq!(epochs.len(), 6, "{runs:?}");
        lan.act(Action::Heal);
        lan.settle();
        lan.act(Action::PowerFail(4));
        lan.run(long(&lan));
        assert_eq!(lan.clean_ups().len(), 7, "seed {seed}: {:?}", lan.clean_ups());
    }
}

#[test]
fn a_node_without_a_quorum_cleans_up_after_nobody() {
    let setup = Setup { cleaning: Some((0, 1_000)), quorum: Some(4), ..Setup::new(5, NODES, 6) };
    let mut lan = Lan::settled(setup);
    lan.act(Action::Fault(Rule::partition(Stations::one(0).with(1))));
    lan.run(long(&lan));
    let runs = lan.clean_ups();
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert!(runs.iter().all(|run| run.station > 1), "{runs:?}");
}
