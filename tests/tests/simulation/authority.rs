//! "May I hold?": deaf and mute nodes, quorum,
//! witnesses and isolation (O6, O7).
//!
//! A test that fails prints what happened.

use std::time::Duration;

use vippy_core::status::{NodeReason, NodeState};
use vippy_tests::sim::change::Action;
use vippy_tests::sim::cluster::{Setup, Timing};
use vippy_tests::sim::fabric::{Effect, Rule, Stations};

use crate::lan::Lan;

const CUT_OFF: (NodeState, NodeReason) = (NodeState::Booting, NodeReason::Isolated);
const ISOLATED: (NodeState, NodeReason) = (NodeState::Active, NodeReason::Isolated);
const NO_QUORUM: (NodeState, NodeReason) = (NodeState::Booting, NodeReason::NoQuorum);
const FINE: (NodeState, NodeReason) = (NodeState::Active, NodeReason::None);

fn pair(seed: u64) -> Setup {
    Setup::new(seed, 2, 6)
}

fn triple(seed: u64) -> Setup {
    Setup::new(seed, 3, 6)
}

fn timings() -> [Timing; 4] {
    [
        Timing::millis(500, 5000, 5000),
        Timing::millis(100, 300, 500),
        Timing::millis(20, 60, 200),
        Timing::millis(100, 200, 300),
    ]
}

// ---- deaf and mute ----------------------------------------------------------

#[test]
fn a_deaf_owner_in_a_pair_is_relieved_within_stale_plus_interval() {
    for (seed, timing) in (0..).zip(timings()) {
        for witnesses in [0, 2] {
            let mut lan = Lan::settled(Setup { timing, witnesses, ..pair(seed) });
            assert!(!lan.held_by(0).is_empty());
            lan.run(timing.interval * u32::try_from(seed).unwrap() / 4);
            lan.act(Action::Fault(Rule::deaf(0)));
            lan.run_until(lan.patience(), "the other one serves", |lan| lan.serves_all(1));
            assert_eq!(lan.state(0), if witnesses > 0 { CUT_OFF } else { ISOLATED });
            lan.run(timing.stale);
            assert_eq!(lan.held_by(0).is_empty(), witnesses > 0, "kept without a witness");
            lan.stay_while(20 * timing.stale, "the other one serves", |lan| lan.serves_all(1));
            lan.act(Action::Heal);
            lan.settle();
        }
    }
}

#[test]
fn a_deaf_owner_without_neighbours_is_relieved_by_whoever_hears_it() {
    let mut lan = Lan::settled(Setup { neighbours: 0, ..pair(2) });
    lan.act(Action::Fault(Rule::deaf(0)));
    lan.run_until(lan.patience(), "the other one serves", |lan| lan.serves_all(1));
    assert_eq!(lan.state(0), ISOLATED);
    lan.act(Action::Heal);
    lan.settle();
}

#[test]
fn a_deaf_owner_in_a_triple_is_relieved_within_stale_plus_interval() {
    for (witnesses, quorum) in [(0, None), (1, None), (0, Some(2))] {
        let mut lan = Lan::settled(Setup { witnesses, quorum, ..triple(3) });
        lan.act(Action::Fault(Rule::deaf(0)));
        lan.run_until(lan.patience(), "the others serve", |lan| {
            lan.held_by(1).len() + lan.held_by(2).len() == 6
        });
        lan.run(lan.timing().stale);
        assert_eq!(lan.held_by(0).is_empty(), witnesses > 0 || quorum.is_some());
        lan.act(Action::Heal);
        lan.settle();
    }
}

#[test]
fn a_mute_node_in_a_pair_lets_go_and_the_other_one_serves() {
    for witnesses in [0, 1] {
        let mut lan = Lan::settled(Setup { witnesses, ..pair(4) });
        lan.act(Action::Fault(Rule::mute(0)));
        lan.run_until(lan.patience(), "the other one serves", |lan| lan.serves_all(1));
        let timing = lan.timing();
        let soon = 2 * timing.interval + Duration::from_millis(20);
        lan.run_until(soon, "it lets go", |lan| lan.held_by(0).is_empty());
        assert_eq!(lan.state(1), FINE);
        lan.stay_while(10 * timing.stale, "the other one serves", |lan| {
            lan.serves_all(1) && lan.held_by(0).is_empty()
        });
        lan.act(Action::Heal);
        lan.settle();
    }
}

/// The owner hears its neighbours, so it goes on; whoever is not heard waits.
#[test]
fn a_one_way_cut_between_two_leaves_one_holder() {
    for (from, to) in [(0, 1), (1, 0)] {
        let mut lan = Lan::settled(pair(5));
        lan.act(Action::Fault(Rule::one_way(from, to, Effect::Cut)));
        lan.run_until(lan.patience(), "the one that does not hear serves", |lan| {
            lan.serves_all(to)
        });
        lan.run(lan.timing().stale);
        assert!(lan.held_by(from).is_empty());
        lan.act(Action::Heal);
        lan.settle();
    }
}

// ---- isolation without witnesses ---------------------------------------------

#[test]
fn a_pair_takes_over_as_fast_as_ever_while_somebody_answers() {
    for (seed, timing) in (0..).zip(timings()) {
        for witnesses in [0, 1] {
            let mut lan = Lan::settled(Setup { timing, witnesses, ..pair(seed) });
            let start = lan.now();
            lan.run(20 * timing.interval);
            assert_eq!(lan.count(0, start, "ask"), 0, "nobody is asked while nobody is missing");
            lan.act(Action::PowerFail(1));
            lan.run_until(lan.patience(), "the other one serves", |lan| lan.serves_all(0));
            lan.settle();
            assert_eq!(lan.state(0), FINE);
        }
    }
}

#[test]
fn one_guessed_neighbour_is_no_evidence() {
    let mut lan = Lan::settled(Setup { neighbours: 1, ..pair(6) });
    // The only neighbour is gone with the partner: switched off together.
    let gone = Stations::one(1).with(lan.outsider());
    lan.act(Action::Fault(Rule::partition(gone)));
    lan.run_until(lan.patience(), "it takes over all the same", |lan| lan.serves_all(0));
    assert_eq!(lan.state(0), ISOLATED, "but it says how it is");
}

#[test]
fn an_isolated_node_keeps_and_takes_nothing_until_isolation_is_over() {
    let isolation = Duration::from_secs(4);
    let mut lan = Lan::settled(Setup { isolation, ..pair(7) });
    let had = lan.held_by(0);
    assert!(!had.is_empty() && had.len() < 6);
    let since = lan.now();
    lan.act(Action::Fault(Rule::partition(Stations::one(0))));
    lan.run(lan.patience());
    assert_eq!(lan.state(0), ISOLATED);
    assert!(lan.serves_all(1), "the other one has answering neighbours");
    assert_eq!(lan.count(0, since, "silence"), had.len());
    let told = lan.now();
    lan.stay_while(isolation - lan.patience(), "it keeps what it has", |lan| lan.held_by(0) == had);
    assert_eq!(lan.count(0, told, "notify"), 0);
    lan.run_until(lan.patience(), "it takes part after all", |lan| lan.serves_all(0));
    lan.act(Action::Heal);
    lan.settle();
    assert_eq!(lan.state(0), FINE);
}

#[test]
fn any_answer_ends_isolation() {
    let mut lan = Lan::settled(pair(8));
    lan.act(Action::PowerFail(1));
    let neighbours: Stations = lan.simulation.world.setup.outsiders().collect();
    lan.act(Action::Fault(Rule::partition(neighbours)));
    lan.run(lan.patience());
    assert_eq!(lan.state(0), ISOLATED);
    assert!(!lan.serves_all(0));
    lan.act(Action::Heal);
    let soon = lan.timing().interval + Duration::from_millis(10);
    lan.run_until(soon, "it takes what its partner had", |lan| lan.serves_all(0));
    lan.settle();
}

// ---- witnesses ----------------------------------------------------------------

#[test]
fn of_a_cut_pair_only_the_side_of_the_witness_serves() {
    for (seed, timing) in (0..).zip(timings()) {
        let setup = Setup { timing, witnesses: 1, neighbours: 2, ..pair(seed) };
        let mut lan = Lan::settled(setup);
        // A neighbour that is no witness is on the wrong side.
        let side = Stations::one(0).with(lan.outsider() + 1);
        lan.act(Action::Fault(Rule::partition(side)));
        let most = timing.stale + 2 * timing.interval;
        lan.run(most);
        assert!(lan.held_by(0).is_empty() && lan.serves_all(1), "seed {seed}");
        assert_eq!(lan.state(0), CUT_OFF);
        lan.stay_while(20 * timing.stale, "only the witness's side serves", |lan| {
            lan.held_by(0).is_empty() && lan.serves_all(1)
        });
        lan.act(Action::Heal);
        lan.settle();
        assert_eq!(lan.state(0), FINE);
    }
}

#[test]
fn a_witness_that_never_answered_costs_nothing_while_a_peer_lives() {
    let mut lan = Lan::new(Setup { witnesses: 1, neighbours: 1, ..pair(9) });
    lan.act(Action::Fault(Rule::deaf(lan.outsider())));
    (0..2).for_each(|node| lan.act(Action::Start(node)));
    lan.run(Duration::from_secs(3));
    assert_eq!(lan.held_by(0).len() + lan.held_by(1).len(), 6);
    lan.act(Action::PowerFail(1));
    lan.run(lan.patience());
    assert!(lan.held_by(0).is_empty(), "with a witness that is silent nothing is held");
    assert_eq!(lan.state(0), CUT_OFF);
    lan.act(Action::Heal);
    let soon = 5 * lan.timing().interval;
    lan.run_until(soon, "it boots again and serves", |lan| lan.serves_all(0));
    lan.settle();
}

#[test]
fn a_node_that_starts_alone_asks_its_witness_first() {
    for silent in [false, true] {
        let mut lan = Lan::new(Setup { witnesses: 1, neighbours: 1, ..pair(10) });
        if silent {
            lan.act(Action::Fault(Rule::mute(lan.outsider())));
        }
        lan.act(Action::Start(0));
        lan.run(lan.timing().mature + 3 * lan.timing().stale);
        assert_eq!(lan.serves_all(0), !silent);
        assert_eq!(lan.held_by(0).is_empty(), silent);
    }
}

#[test]
fn who_said_goodbye_is_not_missed() {
    let mut lan = Lan::settled(Setup { witnesses: 1, neighbours: 1, ..pair(11) });
    lan.act(Action::Stop(1));
    lan.settle();
    let since = lan.now();
    lan.act(Action::Fault(Rule::deaf(lan.outsider())));
    lan.stay_while(Duration::from_secs(5), "the survivor serves", |lan| lan.serves_all(0));
    assert_eq!(lan.count(0, since, "ask"), 0);
}

// ---- quorum --------------------------------------------------------------------

#[test]
fn of_a_partition_only_the_side_with_quorum_serves() {
    for (seed, timing) in (0..).zip(timings()) {
        let mut lan = Lan::settled(Setup { timing, quorum: Some(3), ..Setup::new(seed, 5, 10) });
        let minority: Stations = [0, 3].into_iter().collect();
        lan.act(Action::Fault(Rule::partition(minority)));
        lan.run(timing.stale + 2 * timing.interval);
        let alone = |lan: &Lan| {
            lan.held_by(0).is_empty()
                && lan.held_by(3).is_empty()
                && lan.groups().all(|group| lan.holders(group).len() == 1)
        };
        lan.stay_while(10 * timing.stale, "one holder each, on the larger side", alone);
        assert_eq!(lan.state(3), NO_QUORUM);
        let status = lan.simulation.world.status(3).unwrap();
        assert_eq!(status.node.detail, "2 of the 3 nodes that quorum needs");
        assert_eq!((status.node.quorum.present, status.node.quorum.needed), (2, Some(3)));
        lan.act(Action::Heal);
        lan.settle();
    }
}

#[test]
fn a_quorum_that_is_lost_and_regained_serves_again() {
    let mut lan = Lan::settled(Setup { quorum: Some(2), ..triple(12) });
    lan.act(Action::PowerFail(1));
    lan.settle();
    assert_eq!(lan.held_by(0).len() + lan.held_by(2).len(), 6);
    lan.act(Action::PowerFail(2));
    lan.run_until(lan.patience(), "the last one lets go", |lan| lan.held_by(0).is_empty());
    lan.stay_while(Duration::from_secs(5), "it holds nothing", |lan| lan.held_by(0).is_empty());
    assert_eq!(lan.state(0), NO_QUORUM);
    lan.act(Action::Start(1));
    lan.settle();
    assert_eq!(lan.held_by(0).len() + lan.held_by(1).len(), 6);
}

#[test]
fn a_node_that_starts_without_quorum_takes_nothing() {
    let mut lan = Lan::new(Setup { quorum: Some(2), ..triple(13) });
    lan.act(Action::Start(0));
    lan.stay_while(Duration::from_secs(5), "it holds nothing", |lan| lan.held_by(0).is_empty());
    assert_eq!(lan.state(0), NO_QUORUM);
    lan.act(Action::Start(2));
    lan.settle();
    assert_eq!(lan.held_by(0).len() + lan.held_by(2).len(), 6);
}

#[test]
fn who_left_does_not_count_for_a_quorum() {
    let mut lan = Lan::settled(Setup { quorum: Some(2), ..triple(14) });
    lan.act(Action::Stop(1));
    lan.settle();
    lan.act(Action::Stop(2));
    lan.run(lan.patience());
    assert!(lan.held_by(0).is_empty());
    assert_eq!(lan.state(0), NO_QUORUM);
}

#[test]
fn a_restart_within_stale_moves_nothing_with_quorum_or_witness() {
    for (quorum, witnesses) in [(Some(2), 0), (None, 1)] {
        let mut lan = Lan::settled(Setup { quorum, witnesses, ..triple(15) });
        // The witness happens to be away: peers answer soon enough.
        lan.act(Action::Fault(Rule::mute(lan.outsider())));
        let before: Vec<_> = lan.groups().map(|group| lan.holders(group)).collect();
        lan.act(Action::Crash(1));
        lan.run(lan.timing().stale / 2);
        lan.act(Action::Start(1));
        lan.stay_while(Duration::from_secs(5), "everything stays", |lan| {
            lan.groups().map(|group| lan.holders(group)).eq(before.iter().cloned())
        });
    }
}

// ---- a clock that stands still ---------------------------------------------------

/// What it does within an interval of going on, and what it says.
fn thaw(lan: &mut Lan, frozen: Duration) {
    let had = lan.held_by(1);
    assert!(!had.is_empty());
    lan.act(Action::Freeze(1));
    lan.run(frozen);
    assert_eq!(lan.held_by(1), had, "its kernel's time stands still as well");
    lan.act(Action::Thaw(1));
    let soon = lan.timing().interval + Duration::from_millis(10);
    let suspended = (NodeState::Booting, NodeReason::Suspended);
    let thawed = lan.now();
    lan.run_until(soon, "it boots again", |lan| lan.state(1) == suspended);
    let status = lan.simulation.world.status(1).expect("it runs");
    assert!(status.node.detail.contains("clock"), "{}", status.node.detail);
    assert_eq!(lan.count(1, thawed, "unplumb"), had.len(), "everything goes first");
    lan.settle();
    assert_eq!(lan.held_by(1), had);
}

#[test]
fn a_guest_whose_clock_stood_still_lets_go_with_the_first_frame_of_a_peer() {
    for (seed, timing) in (0..).zip(timings()) {
        // What came meanwhile is queued, or lost.
        for socket_buffer in [0, 5, 1000] {
            for nodes in [2, 3] {
                let setup = Setup { timing, socket_buffer, ..Setup::new(seed, nodes, 6) };
                thaw(&mut Lan::settled(setup), 4 * timing.stale);
            }
        }
    }
}

#[test]
fn a_peer_that_died_meanwhile_does_not_vouch_for_the_clock() {
    let mut lan = Lan::settled(triple(16));
    lan.act(Action::Freeze(1));
    lan.run(4 * lan.timing().stale);
    lan.act(Action::PowerFail(2));
    lan.run(lan.timing().stale / 2);
    lan.act(Action::Thaw(1));
    let soon = 3 * lan.timing().interval;
    lan.run_until(soon, "it lets go", |lan| lan.held_by(1).is_empty());
}

#[test]
fn a_clock_that_stood_still_for_less_than_stale_moves_nothing() {
    let timing = Timing::millis(100, 1000, 1000);
    let mut lan = Lan::settled(Setup { timing, ..triple(17) });
    let before: Vec<_> = lan.groups().map(|group| lan.holders(group)).collect();
    let unmoved = |lan: &Lan| lan.groups().map(|g| lan.holders(g)).eq(before.iter().cloned());
    lan.act(Action::Freeze(1));
    lan.stay_while(timing.stale / 2, "everything stays", unmoved);
    lan.act(Action::Thaw(1));
    lan.stay_while(Duration::from_secs(5), "everything stays", unmoved);
}

#[test]
fn late_frames_are_no_clock_that_stood_still() {
    let timing = Timing::millis(100, 1000, 1000);
    for seed in 0..10 {
        let mut lan = Lan::settled(Setup { timing, ..triple(seed) });
        lan.act(Action::Fault(Rule::everywhere(Effect::Slow(0, 300_000))));
        lan.run(Duration::from_secs(5));
        lan.act(Action::Heal);
        lan.run(Duration::from_secs(5));
        assert_eq!(lan.count(0, 0, "unplumb") + lan.count(1, 0, "unplumb"), 0);
    }
}
