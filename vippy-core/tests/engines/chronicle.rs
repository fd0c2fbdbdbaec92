use std::time::Duration;

use vippy_core::input::{Command, ResourceReport};
use vippy_core::timeline::{Failover, MoveCause};

use crate::lan::{INTERVAL, Lan, MATURE, Plan, STALE, id, name};

fn failovers(lan: &Lan, node: usize) -> Vec<Failover> {
    lan.machines[&node].engine.timeline(lan.now).failovers
}

/// The last failover that a node tells of.
fn last(lan: &Lan, node: usize) -> Failover {
    failovers(lan, node).pop().unwrap()
}

/// A node that runs and has a share of everything, and its groups.
fn groups_of(lan: &Lan, node: usize) -> u32 {
    u32::try_from(lan.machines[&node].kernel.len()).unwrap()
}

#[test]
fn every_survivor_tells_the_whole_story_of_a_death() {
    let mut lan = Lan::settled(&Plan::new(3, 12));
    let share = groups_of(&lan, 2);
    lan.machines.remove(&2);
    lan.run(STALE + 3 * INTERVAL);
    for teller in [0, 1] {
        let story = last(&lan, teller);
        assert_eq!((story.cause, story.from), (MoveCause::Death, Some(name(2))));
        assert_eq!(story.moves.len(), 2, "{:?}", story.moves);
        assert_eq!(story.moves.iter().map(|part| part.groups).sum::<u32>(), share);
        for part in &story.moves {
            let found = part.found_ms.unwrap();
            assert!((400.0..=510.0).contains(&found), "{part:?}");
            assert!(part.heard_ms.unwrap() < 2.0, "{part:?}");
            let order = [part.decided_ms, part.plumbed_ms.unwrap(), part.announced_ms.unwrap()];
            assert!(found <= order[0] && order.is_sorted(), "{part:?}");
            assert!(order[2] - order[0] < 5.0, "{part:?}");
            assert_eq!(part.released_ms, None);
            assert!(part.first.is_some());
        }
    }
}

#[test]
fn a_drain_is_a_planned_move_that_ends_when_the_old_holder_has_let_go() {
    let mut lan = Lan::settled(&Plan::new(3, 12));
    let share = groups_of(&lan, 0);
    lan.command(0, Command::Drain { lasting: None });
    lan.run(3 * INTERVAL);
    let story = last(&lan, 0);
    assert_eq!((story.cause, story.from), (MoveCause::Planned, Some(name(0))));
    assert_eq!(story.moves.iter().map(|part| part.groups).sum::<u32>(), share);
    for part in story.moves {
        assert!(part.released_ms.unwrap() >= part.plumbed_ms.unwrap(), "{part:?}");
        assert_eq!((part.heard_ms, part.found_ms), (None, None));
    }
}

#[test]
fn an_exclusive_group_remembers_who_let_it_go() {
    let mut plan = Plan::new(2, 1);
    plan.groups[0].exclusive = true;
    let mut lan = Lan::settled(&plan);
    let old = lan.holders("g0")[0];
    lan.command(old, Command::Drain { lasting: None });
    lan.run(3 * INTERVAL);
    let story = last(&lan, old);
    assert_eq!((story.cause, story.from), (MoveCause::Planned, Some(name(old))));
}

#[test]
fn a_link_that_fails_and_a_first_start_are_told_as_what_they_are() {
    let mut lan = Lan::settled(&Plan::new(2, 1));
    let start = last(&lan, 0);
    assert_eq!((start.cause, start.from), (MoveCause::Start, None));
    assert_eq!(start.moves[0].first, Some(id("g0")));
    let old = lan.holders("g0")[0];
    lan.report(old, "g0", ResourceReport::Unavailable("link down".into()));
    lan.run(3 * INTERVAL);
    let story = last(&lan, 1 - old);
    assert_eq!((story.cause, story.from), (MoveCause::Unavailable, Some(name(old))));
}

#[test]
fn a_heal_is_told_by_the_rival_that_keeps_its_groups() {
    let mut lan = Lan::settled(&Plan::new(2, 4));
    lan.cut_between(0, 1);
    lan.run(2 * STALE);
    assert_eq!((groups_of(&lan, 0), groups_of(&lan, 1)), (4, 4));
    lan.cut.clear();
    lan.run(5 * INTERVAL);
    for (teller, other) in [(0, 1), (1, 0)] {
        let story = failovers(&lan, teller);
        let story = story
            .iter()
            .find(|story| story.cause == MoveCause::Rival && story.from == Some(name(other)));
        let part = &story.unwrap().moves[0];
        assert!(part.announced_ms.is_some() && part.released_ms.is_some(), "{part:?}");
    }
}

#[test]
fn what_is_told_is_told_for_a_while_and_costs_nothing_after_it() {
    let sizes = |lan: &Lan| lan.frames.last().unwrap().1.len();
    let mut lan = Lan::settled(&Plan::new(3, 12));
    lan.run(5 * MATURE);
    let idle = sizes(&lan);
    lan.machines.remove(&2);
    lan.run(STALE + 3 * INTERVAL);
    assert!(sizes(&lan) > idle);
    lan.run(Duration::from_secs(4));
    // One process less is heard.
    assert!(sizes(&lan) < idle);
}
