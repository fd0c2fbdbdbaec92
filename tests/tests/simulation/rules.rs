//! Random seeds, and the rules one by one.

use std::time::Duration;

use vippy_core::status::{NodeReason, NodeState};
use vippy_core::time::micros;
use vippy_tests::replay::Summary;
use vippy_tests::sim::change::{Action, Change};
use vippy_tests::sim::cluster::{GroupPlan, Setup, Timing};
use vippy_tests::sim::fabric::{Effect, Rule, Stations};
use vippy_tests::sim::notes::Doing;
use vippy_tests::sim::referee::Violation;
use vippy_tests::sim::scenario;
use vippy_tests::sim::simulation::Simulation;

use crate::lan::Lan;

fn three_nodes_six_groups(seed: u64) -> Setup {
    Setup::new(seed, 3, 6)
}

// ---- random seeds ---------------------------------------------------------

fn run_seeds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        if let Err(failure) = scenario::run(seed) {
            panic!("{failure}");
        }
    }
}

#[test]
fn every_invariant_holds_for_random_seeds() {
    run_seeds(0..2500);
}

#[test]
fn every_invariant_holds_for_more_random_seeds() {
    run_seeds(1_000_000..1_002_500);
}

/// Its last peer dies, and it finds itself isolated, while its claim on an exclusive
/// group is unanswered: no frame will come to make it look again.
#[test]
fn a_claim_is_followed_through_when_nobody_is_left_to_answer() {
    run_seeds(62_395..62_396);
}

#[test]
fn what_a_stranger_sends_changes_nothing() {
    for seed in 0..100 {
        if let Err(failure) = scenario::compare(seed) {
            panic!("{failure}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_outputs_byte_for_byte() {
    for seed in 0..20 {
        let once = scenario::outputs(seed).unwrap_or_else(|failure| panic!("{failure}"));
        let twice = scenario::outputs(seed).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(!once.is_empty(), "seed {seed}");
        assert!(once == twice, "seed {seed}: two runs differ");
    }
}

// ---- failover and return ---------------------------------------------------

#[test]
fn a_dead_nodes_groups_are_taken_within_stale_plus_interval() {
    for (seed, timing) in [
        Timing::millis(500, 5000, 5000),
        Timing::millis(100, 300, 500),
        Timing::millis(20, 60, 200),
    ]
    .into_iter()
    .enumerate()
    {
        let seed = u64::try_from(seed).unwrap();
        let mut lan = Lan::settled(Setup { timing, ..three_nodes_six_groups(seed) });
        for victim in 0..3 {
            let orphans = lan.held_by(victim);
            assert!(!orphans.is_empty());
            // Deaths come at any moment of the interval.
            lan.run(timing.interval * u32::try_from(victim).unwrap() / 3);
            lan.act(Action::PowerFail(victim));
            let most = timing.stale + timing.interval;
            lan.run_until(most, "every orphan is taken", |lan| {
                orphans.iter().all(|group| !lan.holders(*group).is_empty())
            });
            lan.settle();
            lan.act(Action::Start(victim));
            lan.settle();
        }
    }
}

#[test]
fn a_returning_node_gets_exactly_its_groups_back() {
    let mut lan = Lan::settled(Setup::new(1, 4, 13));
    let before = lan.assignment();
    lan.act(Action::PowerFail(2));
    lan.settle();
    assert!(lan.held_by(2).is_empty());
    for group in lan.groups() {
        if before[group] != [2] {
            assert_eq!(lan.holders(group), before[group], "g{group} moved");
        }
    }
    let start = lan.now();
    lan.act(Action::Start(2));
    lan.settle();
    assert_eq!(lan.assignment(), before);
    let gained = |change: &Change| matches!(change, Change::Gained { .. });
    let returned = lan.moves_since(start).into_iter().filter(gained).count();
    let own = before.iter().filter(|holders| **holders == [2]).count();
    assert_eq!(returned, own, "each of its groups moved once and no other did");
}

#[test]
fn all_nodes_boot_together_without_double_taking() {
    for seed in 0..20 {
        let lan = Lan::settled(Setup::new(seed, 5, 20));
        let moves = lan.moves_since(0);
        assert_eq!(moves.len(), 20, "each group was taken once: {moves:?}");
    }
}

#[test]
fn a_crash_and_restart_within_stale_moves_nothing() {
    let mut lan = Lan::settled(three_nodes_six_groups(3));
    for node in 0..3 {
        let since = lan.now();
        lan.act(Action::Crash(node));
        lan.run(lan.timing().stale / 2);
        lan.act(Action::Start(node));
        lan.settle();
        lan.run(Duration::from_secs(5));
        assert_eq!(lan.moves_since(since), []);
    }
}

/// An address found in its last moment is gone before it is put on anew: nobody
/// is told of it meanwhile, whoever comes to life.
#[test]
fn an_adopted_address_is_not_announced_before_it_is_there_again() {
    let setup = Setup { plumbing: (300_000, 300_000), ..three_nodes_six_groups(4) };
    let mut lan = Lan::settled(setup);
    let had = lan.held_by(1);
    lan.act(Action::Crash(1));
    let ends = |lan: &Lan| {
        let kernel = &lan.simulation.world.stations[1].kernel;
        had.iter().filter_map(|group| kernel.end_of(*group)).min()
    };
    let end = ends(&lan).expect("a lifetime");
    lan.simulation.run_until(end - 1_000).unwrap();
    lan.act(Action::Start(1));
    lan.settle();
}

#[test]
fn a_crashed_nodes_addresses_end_with_their_lifetime() {
    let mut lan = Lan::settled(three_nodes_six_groups(4));
    lan.act(Action::Crash(1));
    // F1: whole seconds, and the kernel is late by up to 0.3 s.
    lan.run_until(Duration::from_millis(2_300), "no address of the dead is left", |lan| {
        lan.held_by(1).is_empty()
    });
}

// ---- planned moves ---------------------------------------------------------

#[test]
fn a_stopping_node_hands_over_before_it_lets_go() {
    for seed in 0..20 {
        let mut lan = Lan::settled(Setup::new(seed, 3, 12));
        for node in 0..2 {
            lan.act(Action::Stop(node));
            let limit = lan.now() + micros(lan.timing().stale);
            while lan.simulation.world.stations[node].process.is_some() {
                assert!(lan.step(limit), "still stopping");
                for group in lan.groups() {
                    assert!(!lan.holders(group).is_empty(), "g{group} is nowhere");
                }
            }
            lan.settle();
        }
        assert_eq!(lan.held_by(2).len(), 12);
    }
}

#[test]
fn draining_the_last_node_keeps_its_groups() {
    let mut lan = Lan::settled(three_nodes_six_groups(5));
    for node in 0..3 {
        lan.act(Action::Drain(node));
        lan.settle();
    }
    assert_eq!(lan.state(2), (NodeState::Draining, NodeReason::Operator));
    assert_eq!(lan.held_by(2).len(), 6, "the last one drained keeps everything");
    let since = lan.now();
    lan.act(Action::PowerFail(0));
    lan.settle();
    lan.act(Action::Undrain(1));
    lan.settle();
    assert_eq!(lan.held_by(1).len(), 6);
    let gained = |change: &&Change| matches!(change, Change::Gained { .. });
    assert_eq!(lan.moves_since(since).iter().filter(gained).count(), 6);
}

#[test]
fn crossing_hand_overs_leave_no_gap() {
    for seed in 0..40 {
        let setup = Setup { delay: (50, 20_000), ..Setup::new(seed, 3, 6) };
        let mut lan = Lan::settled(setup);
        lan.act(Action::Drain(0));
        lan.settle();
        // The owner changes its mind while the groups are on their way.
        for turn in 0..12_u32 {
            let gap = Duration::from_micros(u64::from(turn) * 7_300 + seed * 1_100);
            let (one, other) = if turn % 2 == 0 { (1, 0) } else { (0, 1) };
            lan.act(Action::Drain(one));
            lan.act(Action::Undrain(other));
            let until = lan.now() + micros(gap);
            while lan.step(until) {
                for group in lan.groups() {
                    assert!(!lan.holders(group).is_empty(), "g{group} is nowhere");
                }
            }
        }
        lan.settle();
    }
}

/// A late copy of the dead process's last words makes a deaf node wait for it; as
/// it learns of the restart, the new owner has long shown what it holds.
#[test]
fn learning_of_a_restart_late_does_not_delay_a_hand_over_to_somebody_else() {
    for seed in 0..600 {
        let (delay, plumbing) = ((20, 2_000), (100, 2_000));
        let mut lan = Lan::new(Setup { delay, plumbing, ..Setup::new(seed, 4, 6) });
        (0..3).for_each(|node| lan.act(Action::Start(node)));
        lan.settle();
        lan.run(Duration::from_millis(seed % 100));
        lan.act(Action::Fault(Rule::mute(1)));
        lan.run(Duration::from_millis(54));
        lan.act(Action::Fault(Rule::deaf(0)));
        lan.run(Duration::from_millis(25));
        lan.act(Action::Drain(0));
        lan.run(Duration::from_millis(21));
        for action in [Action::Crash(2), Action::Heal, Action::Start(2), Action::Start(3)] {
            lan.act(action);
        }
        // The referee bounds the time with two holders.
        lan.settle();
    }
}

#[test]
fn an_exclusive_group_never_has_two_holders() {
    for seed in 0..20 {
        let mut setup = Setup::new(seed, 3, 6);
        setup.groups.iter_mut().for_each(|plan| plan.exclusive = true);
        let mut lan = Lan::settled(setup);
        let script = [
            Action::Drain(0),
            Action::Undrain(0),
            Action::Stop(1),
            Action::Start(1),
            Action::Crash(2),
            Action::Start(2),
            Action::PowerFail(0),
            Action::Start(0),
            Action::Pause(1),
            Action::Wake(1),
        ];
        for action in script {
            lan.act(action);
            let until = lan.now() + 4_000_000;
            while lan.step(until) {
                for group in lan.groups() {
                    assert!(
                        lan.holders(group).len() < 2,
                        "g{group} is on {:?}",
                        lan.holders(group)
                    );
                }
            }
        }
        lan.settle();
    }
}

// ---- who hears whom ---------------------------------------------------------

#[test]
fn a_mute_node_lets_go() {
    let mut lan = Lan::settled(three_nodes_six_groups(6));
    assert!(!lan.held_by(0).is_empty());
    lan.act(Action::Fault(Rule::mute(0)));
    let timing = lan.timing();
    lan.run_until(2 * timing.stale + 3 * timing.interval, "it lets go", |lan| {
        lan.held_by(0).is_empty()
    });
    lan.run(Duration::from_secs(3));
    assert!(lan.groups().all(|group| lan.holders(group).len() == 1));
    assert!(lan.held_by(0).is_empty());
    lan.act(Action::Heal);
    lan.settle();
    assert!(!lan.held_by(0).is_empty());
}

#[test]
fn a_node_whose_frames_do_not_leave_lets_go() {
    let mut lan = Lan::settled(three_nodes_six_groups(7));
    lan.act(Action::UplinkDown(0));
    let timing = lan.timing();
    lan.run_until(2 * timing.stale + 3 * timing.interval, "it lets go", |lan| {
        lan.held_by(0).is_empty()
    });
    lan.act(Action::UplinkUp(0));
    lan.settle();
}

#[test]
fn a_b_c_without_a_c_is_one_cluster() {
    for (one, other) in [(0, 2), (0, 1), (1, 2)] {
        // A relay starts after one and a half intervals, and the frame that it
        // forwards is the next one: three intervals of patience are too few.
        let timing = Timing::millis(100, 500, 500);
        let mut lan = Lan::new(Setup { timing, ..three_nodes_six_groups(8) });
        lan.act(Action::Fault(Rule::between(one, other, Effect::Cut)));
        (0..3).for_each(|node| lan.act(Action::Start(node)));
        lan.settle();
        // The middle one keeps everybody together.
        lan.act(Action::Heal);
        lan.stay(Duration::from_secs(5));
        lan.act(Action::Fault(Rule::between(one, other, Effect::Cut)));
        lan.stay(Duration::from_secs(10));
    }
}

#[test]
fn one_deaf_pair_moves_nothing() {
    let mut lan = Lan::settled(Setup::new(9, 4, 8));
    lan.act(Action::Fault(Rule::one_way(0, 3, Effect::Cut)));
    lan.stay(Duration::from_secs(10));
}

#[test]
fn pruned_multicast_falls_back_to_unicast() {
    let mut lan = Lan::settled(three_nodes_six_groups(10));
    // Addresses of peers are known from before.
    lan.act(Action::Fault(Rule::everywhere(Effect::Prune)));
    lan.stay(Duration::from_secs(20));

    let mut lan = Lan::new(Setup { peers: true, ..three_nodes_six_groups(10) });
    lan.act(Action::Fault(Rule::everywhere(Effect::Prune)));
    (0..3).for_each(|node| lan.act(Action::Start(node)));
    lan.settle();
}

#[test]
fn a_partition_gives_each_side_every_group_and_healing_leaves_one_holder() {
    let mut lan = Lan::settled(Setup::new(11, 4, 8));
    let before = lan.assignment();
    let side: Stations = [0, 1].into_iter().collect();
    lan.act(Action::Fault(Rule::partition(side)));
    lan.run(2 * lan.timing().stale + 3 * lan.timing().interval);
    for group in lan.groups() {
        let holders = lan.simulation.world.holders[group];
        assert_eq!((holders.and(side).len(), holders.len()), (1, 2), "g{group}");
    }
    lan.act(Action::Heal);
    let one = lan.timing().interval + Duration::from_millis(20);
    let took = lan.run_until(3 * one, "one holder each", |lan| {
        lan.groups().all(|group| lan.holders(group).len() == 1)
    });
    assert!(took <= 2 * one, "two holders for {took:?} after the heal");
    lan.settle();
    assert_eq!(lan.assignment(), before);
}

/// Both sides hear the other's first frame before theirs is answered; that makes
/// neither of them mute.
#[test]
fn no_group_is_without_a_holder_while_a_partition_heals() {
    for nodes in [2, 3] {
        for seed in 0..20 {
            let mut lan = Lan::settled(Setup::new(seed, nodes, 6));
            lan.act(Action::Fault(Rule::partition(Stations::one(0))));
            lan.run(3 * lan.timing().stale + Duration::from_millis(7 * seed));
            lan.act(Action::Heal);
            let until = lan.now() + 2 * lan.timing().stale();
            while lan.step(until) {
                for group in lan.groups() {
                    assert!(!lan.holders(group).is_empty(), "g{group}, seed {seed}, {nodes} nodes");
                }
            }
            lan.settle();
        }
    }
}

#[test]
fn a_tenth_of_all_frames_lost_moves_nothing() {
    let timing = Timing::millis(100, 1000, 1000);
    let mut lan = Lan::settled(Setup { timing, ..Setup::new(12, 4, 12) });
    lan.act(Action::Fault(Rule::everywhere(Effect::Lose(100))));
    lan.stay(Duration::from_secs(120));
}

// ---- lives and names --------------------------------------------------------

/// Runs a cluster, restarts all of it, and goes on; with the frames of the
/// first lives replayed to everybody or not.
fn second_lives(replay: bool) -> Vec<Doing> {
    let setup = Setup { lateness: (0, 0), ..three_nodes_six_groups(13) };
    let mut lan = Lan::new(setup);
    lan.simulation.world.record_frames();
    (0..3).for_each(|node| lan.act(Action::Start(node)));
    lan.settle();
    (0..3).for_each(|node| lan.act(Action::PowerFail(node)));
    lan.run(Duration::from_secs(1));
    let old = lan.simulation.world.recorded.clone();
    assert!(old.len() > 20);
    let start = lan.now();
    (0..3).for_each(|node| lan.act(Action::Start(node)));
    if replay {
        for (turn, frame) in (0..3).flat_map(|turn| old.iter().map(move |frame| (turn, frame))) {
            for to in 0..3 {
                let at = start + frame.at + turn * 777_777;
                let bytes = frame.bytes.clone();
                lan.simulation.world.inject(at, to, turn % 2 == 0, frame.station, bytes);
            }
        }
    }
    lan.settle();
    lan.run(Duration::from_secs(10));
    lan.doings_since(start)
}

#[test]
fn a_replayed_earlier_life_changes_nothing() {
    let (calm, attacked) = (second_lives(false), second_lives(true));
    let different = calm.iter().zip(&attacked).find(|(one, other)| one != other);
    assert_eq!(different, None);
    assert_eq!(calm.len(), attacked.len());
}

#[test]
fn two_processes_of_one_name_do_not_both_hold() {
    let mut lan = Lan::settled(Setup { twins: 1, ..three_nodes_six_groups(14) });
    let before = lan.assignment();
    let twin = 3;
    lan.act(Action::Start(twin));
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.held_by(twin), [0usize; 0], "the elder lives, so the younger waits");
    assert_eq!(lan.assignment(), before);
    assert_eq!(lan.state(twin).1, NodeReason::Twin);
    lan.act(Action::PowerFail(0));
    lan.settle();
    assert!(lan.groups().all(|group| lan.holders(group).len() == 1));
    assert!(!lan.held_by(twin).is_empty(), "the elder is gone, the younger takes its place");
}

#[test]
fn a_clone_takes_a_new_boot() {
    let mut lan = Lan::settled(Setup { twins: 1, ..three_nodes_six_groups(15) });
    lan.act(Action::StartClone(3, 0));
    lan.run(Duration::from_secs(10));
    let boot = |station: usize| {
        lan.simulation.world.stations[station].process.as_ref().map(|process| process.boot)
    };
    assert_ne!(boot(0), boot(3));
    for group in lan.groups() {
        assert_eq!(lan.holders(group).len(), 1, "g{group} is on {:?}", lan.holders(group));
    }
}

#[test]
fn a_restored_snapshot_of_a_silent_node_takes_a_new_boot() {
    let mut lan = Lan::settled(Setup { twins: 1, ..three_nodes_six_groups(15) });
    lan.act(Action::Pause(0));
    lan.run(2 * lan.timing().stale);
    // It counts anew from a number that its peers heard long ago.
    lan.act(Action::StartClone(3, 0));
    lan.run(4 * lan.timing().interval);
    let boot = |station: usize| {
        lan.simulation.world.stations[station].process.as_ref().map(|process| process.boot)
    };
    assert_ne!(boot(0), boot(3));
    lan.run(Duration::from_secs(10));
    for group in lan.groups() {
        assert_eq!(lan.holders(group).len(), 1, "g{group} is on {:?}", lan.holders(group));
    }
}

#[test]
fn beside_a_namesake_that_has_peers_a_cut_off_process_takes_nothing() {
    let mut lan = Lan::settled(Setup { twins: 1, ..Setup::new(17, 2, 6) });
    let had = lan.held_by(0);
    let twin = 2;
    lan.act(Action::Start(twin));
    lan.run(lan.timing().mature + lan.timing().stale);
    lan.act(Action::Fault(Rule::between(0, 1, Effect::Cut)));
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.held_by(0), had);
    assert_eq!(lan.state(0).1, NodeReason::Twin);
    assert_eq!(lan.held_by(twin), had, "the twin took its place among the others");
}

#[test]
fn a_paused_node_drops_everything_on_waking() {
    let mut lan = Lan::settled(three_nodes_six_groups(16));
    let had = lan.held_by(1);
    assert!(!had.is_empty());
    lan.act(Action::Pause(1));
    lan.run(2 * lan.timing().stale);
    assert_eq!(lan.held_by(1), had, "the kernel keeps them for their lifetime");
    let since = lan.now();
    lan.act(Action::Wake(1));
    let first: Vec<String> = lan
        .doings_since(since)
        .into_iter()
        .filter(|doing| doing.station == 1)
        .map(|doing| doing.what)
        .filter(|what| !what.starts_with("silence"))
        .take(had.len())
        .collect();
    assert!(first.iter().all(|what| what.starts_with("unplumb")), "{first:?}");
    lan.run_until(Duration::from_millis(10), "all are gone", |lan| lan.held_by(1).is_empty());
    lan.settle();
    assert_eq!(lan.held_by(1), had);
}

#[test]
fn a_pause_shorter_than_stale_moves_nothing() {
    let timing = Timing::millis(100, 1000, 1000);
    let mut lan = Lan::settled(Setup { timing, ..three_nodes_six_groups(17) });
    let since = lan.now();
    lan.act(Action::Pause(1));
    lan.run(timing.stale / 2);
    lan.act(Action::Wake(1));
    lan.settle();
    assert_eq!(lan.moves_since(since), []);
}

// ---- resources and configurations -------------------------------------------

#[test]
fn failed_plumbing_hands_the_group_to_the_next_in_succession() {
    let mut setup = three_nodes_six_groups(18);
    setup.groups[2] = GroupPlan { prefer: Some(1), ..GroupPlan::default() };
    let mut lan = Lan::new(setup);
    lan.act(Action::BreakPlumbing(1, 2));
    (0..3).for_each(|node| lan.act(Action::Start(node)));
    lan.settle();
    let status = lan.simulation.world.status(0).unwrap();
    let succession = &status.groups[2].succession;
    assert_eq!(succession[0].as_str(), "node1");
    let next = (0..3).find(|node| succession[1].as_str() == format!("node{node}"));
    assert_eq!(lan.holders(2), next.into_iter().collect::<Vec<_>>());
}

#[test]
fn an_unavailable_group_moves_alone_and_comes_back() {
    let mut lan = Lan::settled(three_nodes_six_groups(19));
    let before = lan.assignment();
    let (group, node) = (3, before[3][0]);
    lan.act(Action::Unavailable(node, group));
    lan.settle();
    assert_ne!(lan.holders(group), [node]);
    lan.act(Action::Available(node, group));
    lan.settle();
    assert_eq!(lan.assignment(), before);
}

#[test]
fn nodes_with_an_older_configuration_drain() {
    let mut lan = Lan::settled(three_nodes_six_groups(20));
    lan.act(Action::Configure(0, 2));
    lan.act(Action::Configure(1, 2));
    lan.run(Duration::from_secs(40));
    assert_eq!(lan.state(2), (NodeState::Draining, NodeReason::Outranked));
    assert_eq!(lan.held_by(2), [0usize; 0]);
    // Version 2 has a group more.
    assert!((0..7).all(|group| lan.holders(group).len() == 1), "{:?}", lan.assignment());
    lan.act(Action::Configure(2, 2));
    lan.settle();
    assert!(!lan.held_by(2).is_empty());
}

// ---- the referee itself -----------------------------------------------------

/// What the referee says when told of a change that did not happen.
fn verdict(lan: &mut Lan, change: Change) -> Result<(), Violation> {
    let Simulation { world, referee, .. } = &mut lan.simulation;
    referee.observe(world, vec![change])
}

#[test]
fn the_referee_notices_a_group_that_moves_without_a_cause() {
    let mut lan = Lan::settled(three_nodes_six_groups(21));
    let thief = (lan.holders(0)[0] + 1) % 3;
    let outcome = verdict(&mut lan, Change::Gained { station: thief, group: 0 });
    assert!(outcome.unwrap_err().rule.starts_with("invariant 4"));
}

#[test]
fn the_referee_notices_two_holders_and_excuses_those_who_cannot_hear_each_other() {
    for (cut, noticed) in [(false, true), (true, false)] {
        let mut lan = Lan::settled(Setup::new(22, 2, 2));
        let thief = 1 - lan.holders(0)[0];
        let rule = if cut { Effect::Cut } else { Effect::Double(1, 1) };
        lan.simulation.world.act(Action::Fault(Rule::between(0, 1, rule)));
        let changes = lan.simulation.world.changes();
        lan.simulation.referee.observe(&lan.simulation.world, changes).unwrap();
        // A move that is excused as such: something was done to the group.
        let done = Change::Acted(Action::Available(thief, 0));
        assert_eq!(verdict(&mut lan, done), Ok(()));
        assert_eq!(verdict(&mut lan, Change::Gained { station: thief, group: 0 }), Ok(()));
        let until = lan.now() + micros(lan.timing().stale) * 2;
        let mut outcome = Ok(true);
        while outcome == Ok(true) {
            outcome = lan.simulation.step(until);
        }
        let seen = outcome.is_err_and(|violation| violation.rule.starts_with("invariant 3"));
        assert_eq!(seen, noticed, "cut: {cut}");
    }
}

#[test]
fn the_referee_notices_a_gap_in_a_planned_move() {
    let mut lan = Lan::settled(three_nodes_six_groups(23));
    let holder = lan.holders(0)[0];
    lan.act(Action::Drain(holder));
    let left = vippy_tests::sim::change::Left::Unplumbed;
    let outcome = verdict(&mut lan, Change::Lost { station: holder, group: 0, left });
    assert!(outcome.unwrap_err().rule.starts_with("invariant 2"));
}

#[test]
fn what_any_station_recorded_happens_again_byte_for_byte() {
    let mut total = Summary::default();
    for seed in 0..120 {
        // So little that most recordings begin in the middle of a life.
        let one = scenario::replay(seed, 96 << 10).unwrap_or_else(|failure| panic!("{failure}"));
        total.inputs += one.inputs;
        total.outputs += one.outputs;
        total.states += one.states;
    }
    assert!(total.inputs > 50_000 && total.outputs > 10_000 && total.states > 100, "{total:?}");
}
