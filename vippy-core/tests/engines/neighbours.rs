use vippy_core::event::Event;
use vippy_core::input::Command;
use vippy_core::output::Output;

use crate::lan::{INTERVAL, Lan, MATURE, Plan, STALE, id};

/// How often a node was told to tell the neighbours of `g0`.
fn tellings(lan: &Lan, node: usize) -> usize {
    let told = |order: &&Output| matches!(order, Output::Notify { group } if *group == id("g0"));
    lan.machines[&node].orders.iter().filter(told).count()
}

/// How often a node lost a peer.
fn losses(lan: &Lan, node: usize) -> usize {
    let lost = |event: &&Event| matches!(event, Event::PeerLost { .. });
    lan.machines[&node].events().filter(lost).count()
}

#[test]
fn the_neighbours_are_told_again_when_a_rival_dies() {
    let mut lan = Lan::settled(&Plan::new(2, 1));
    let owner = lan.holders("g0")[0];
    let rival = 1 - owner;
    lan.cut_between(0, 1);
    lan.run(4 * STALE);
    assert_eq!(lan.holders("g0"), [0, 1]);
    // They meet, but the rival waits for neighbours that are never told.
    lan.machines.get_mut(&owner).unwrap().answering = false;
    lan.cut.clear();
    lan.run(2 * INTERVAL);
    assert_eq!(lan.holders("g0"), [0, 1]);
    lan.machines.remove(&rival);
    let (told, lost) = (tellings(&lan, owner), losses(&lan, owner));
    lan.run(2 * STALE);
    assert_eq!(losses(&lan, owner), lost + 1);
    assert_eq!(tellings(&lan, owner), told + 1);
}

#[test]
fn the_neighbours_are_told_again_when_somebody_leaves_whom_nobody_met() {
    let plan = Plan::new(2, 1);
    let mut lan = Lan::settled(&plan);
    let former = lan.holders("g0")[0];
    let taker = 1 - former;
    lan.command(former, Command::Drain { lasting: None });
    assert!(lan.run_until(STALE, |lan| lan.holders("g0") == [taker]));
    lan.run(INTERVAL);
    // The next process finds the addresses, tells of them, and is stopped before
    // the one before it can have been given up.
    lan.start(former, &plan, &["g0"]);
    lan.run(INTERVAL / 4);
    let told = tellings(&lan, taker);
    lan.command(former, Command::Stop);
    lan.run(INTERVAL);
    assert_eq!(losses(&lan, taker), 0);
    assert_eq!(tellings(&lan, taker), told + 1);
}

#[test]
fn the_neighbours_are_told_again_when_a_holder_dies_that_could_not_be_understood() {
    let plan = Plan::new(2, 1);
    let mut lan = Lan::settled(&plan);
    let owner = lan.holders("g0")[0];
    let stranger = 1 - owner;
    lan.machines.remove(&stranger);
    lan.run(2 * STALE);
    let next = Plan { version: 2, ..plan };
    lan.start(stranger, &next, &["g0"]);
    lan.run(MATURE / 2);
    lan.machines.remove(&stranger);
    let told = tellings(&lan, owner);
    lan.run(2 * STALE);
    assert_eq!(tellings(&lan, owner), told + 1);
}

#[test]
fn a_process_tells_of_what_it_found_when_it_has_met_somebody_or_booted_alone() {
    let plan = Plan::new(2, 1);
    let mut lan = Lan::settled(&plan);
    let former = lan.holders("g0")[0];
    lan.machines.remove(&former);
    lan.run(2 * STALE);
    // The other one has taken over, and connections of clients live there.
    lan.start(former, &plan, &["g0"]);
    assert!(lan.run_until(2 * INTERVAL, |lan| lan.status(former).peers.iter().any(|p| p.alive)));
    assert_eq!(tellings(&lan, former), 0);
    let mut alone = Lan::new();
    alone.start(0, &plan, &["g0"]);
    alone.run(MATURE / 2);
    assert_eq!(tellings(&alone, 0), 0);
    alone.run(MATURE);
    assert_eq!(tellings(&alone, 0), 1);
}
