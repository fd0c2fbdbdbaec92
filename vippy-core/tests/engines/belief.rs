use std::time::Duration;

use vippy_core::event::Event;
use vippy_core::identity::Mac;
use vippy_core::input::Command;
use vippy_core::output::Output;
use vippy_core::status::BeliefStatus;
use vippy_core::timeline::Belief;

use crate::lan::{self, INTERVAL, Lan, MATURE, Plan, STALE, id, name};

const STRANGER: Mac = Mac([2, 9, 9, 9, 9, 9]);

fn count(lan: &Lan, node: usize, what: impl Fn(&Output) -> bool) -> usize {
    lan.machines[&node].orders.iter().filter(|order| what(order)).count()
}

fn tellings(lan: &Lan, node: usize) -> usize {
    count(lan, node, |order| matches!(order, Output::Notify { .. }))
}

fn looks(lan: &Lan, node: usize) -> usize {
    count(lan, node, |order| matches!(order, Output::Look { .. }))
}

fn belief(lan: &Lan, node: usize, group: &str) -> Option<BeliefStatus> {
    let groups = lan.status(node).groups;
    groups.into_iter().find(|status| status.id == id(group)).unwrap().belief
}

fn by(believed: u8, of: u8) -> Belief {
    Belief { believed, of }
}

/// All nodes of a plan, with everything at `node`; and one group's former holder.
fn moved(plan: &Plan, stranger: Option<Option<Mac>>) -> (Lan, usize) {
    let mut lan = Lan::settled(plan);
    let former = lan.holders("g0")[0];
    if let Some(instead) = stranger {
        lan.answering_for.insert(id("g0"), instead);
    }
    lan.command(former, Command::Drain { lasting: None });
    assert!(lan.run_until(STALE, |lan| !lan.holders("g0").contains(&former)));
    // The neighbours are told once more when the former holder has let go (O8).
    lan.run(INTERVAL);
    (lan, former)
}

#[test]
fn a_planned_move_is_believed_by_two_others_and_everybody_can_tell() {
    let (mut lan, former) = moved(&Plan::new(4, 4), None);
    let holder = lan.holders("g0")[0];
    let told = tellings(&lan, holder);
    lan.run(2 * INTERVAL);
    let found = belief(&lan, holder, "g0").unwrap();
    assert_eq!((found.believed, found.of, found.repeated), (2, 2, 0));
    assert_eq!((found.doubted_by, found.instead), (None, None));
    assert!((50..200).contains(&found.after_ms.unwrap()), "{:?}", found.after_ms);
    assert_eq!(tellings(&lan, holder), told, "nobody had to be told again");
    assert_eq!(belief(&lan, former, "g0"), None);
    for teller in 0..4 {
        let story = lan.machines[&teller].engine.timeline(lan.now).failovers.pop().unwrap();
        for part in story.moves {
            assert_eq!(part.belief, by(2, 2), "{teller}");
            assert!(part.believed_ms.unwrap() > part.announced_ms.unwrap(), "{part:?}");
        }
    }
}

#[test]
fn of_two_nodes_the_other_one_looks_also_when_it_is_drained_and_alone_nobody_does() {
    let (mut lan, former) = moved(&Plan::new(2, 1), None);
    let holder = 1 - former;
    lan.run(2 * INTERVAL);
    let found = belief(&lan, holder, "g0").unwrap();
    assert_eq!((found.believed, found.of), (1, 1));
    let alone = Lan::settled(&Plan::new(1, 1));
    let found = belief(&alone, 0, "g0").unwrap();
    assert_eq!((found.believed, found.of, found.after_ms), (0, 0, None));
}

#[test]
fn a_death_is_believed_while_the_dead_nodes_kernel_no_longer_answers() {
    let mut lan = Lan::settled(&Plan::new(3, 6));
    lan.machines.remove(&2);
    lan.run(STALE + 4 * INTERVAL);
    for group in (0..6).map(|n| format!("g{n}")) {
        let holder = lan.holders(&group)[0];
        let found = belief(&lan, holder, &group).unwrap();
        assert!(found.of > 0 && found.believed == found.of, "{group}: {found:?}");
    }
}

#[test]
fn what_is_not_believed_is_told_again_with_growing_gaps_until_it_is() {
    let (mut lan, _) = moved(&Plan::new(3, 1), Some(Some(STRANGER)));
    let holder = lan.holders("g0")[0];
    let first = tellings(&lan, holder);
    let mut told = vec![lan.now];
    let seconds = Duration::from_secs(5);
    while told.len() < 4 {
        let last = tellings(&lan, holder);
        assert!(lan.run_until(seconds, |lan| tellings(lan, holder) > last));
        told.push(lan.now);
    }
    let gaps: Vec<Duration> = told.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(gaps.windows(2).all(|pair| pair[1] > pair[0] * 3 / 2), "{gaps:?}");
    let doubt = belief(&lan, holder, "g0").unwrap();
    assert_eq!((doubt.believed, doubt.of, doubt.instead), (0, 2, Some(STRANGER)));
    assert!(doubt.doubted_by.is_some());
    lan.answering_for.clear();
    lan.run(seconds);
    let found = belief(&lan, holder, "g0").unwrap();
    assert_eq!((found.believed, found.of, found.instead), (2, 2, None));
    assert_eq!(tellings(&lan, holder), first + 3, "and then no more");
    assert_eq!(found.repeated, 3);
}

#[test]
fn what_is_never_believed_is_told_five_times_more_and_then_warned_of() {
    for instead in [Some(STRANGER), None] {
        let (mut lan, _) = moved(&Plan::new(3, 1), Some(instead));
        let holder = lan.holders("g0")[0];
        let first = tellings(&lan, holder);
        lan.run(Duration::from_secs(60));
        assert_eq!(tellings(&lan, holder), first + 5);
        let warning = |event: &Event| {
            let Event::Warning { text } = event else { return None };
            text.contains("do not believe").then(|| text.clone())
        };
        let warnings: Vec<String> = lan.machines[&holder].events().filter_map(warning).collect();
        let who = instead.map_or("nobody".into(), |mac| mac.to_string());
        let [text] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(text.contains("g0") && text.contains(&who) && text.contains("node"), "{text}");
        assert_eq!(belief(&lan, holder, "g0").unwrap().repeated, 5);
        let story = lan.machines[&holder].engine.timeline(lan.now).failovers.pop().unwrap();
        assert_eq!(story.moves[0].belief, by(0, 2));
    }
}

#[test]
fn a_restarted_daemon_and_a_peer_that_returns_give_nobody_anything_to_look_for() {
    let plan = Plan::new(3, 6);
    let mut lan = Lan::settled(&plan);
    lan.run(MATURE);
    let kept: Vec<String> =
        lan.machines[&0].kernel.keys().map(|group| group.as_str().to_owned()).collect();
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    let before = [1, 2].map(|node| looks(&lan, node));
    lan.start(0, &plan, &kept);
    lan.run(2 * MATURE);
    assert!(!kept.is_empty() && kept.iter().all(|group| lan.holders(group) == [0]));
    assert_eq!([1, 2].map(|node| looks(&lan, node)), before);
    assert_eq!(looks(&lan, 0), 0);
}

#[test]
fn rivals_that_meet_have_it_looked_at_once_one_of_them_has_let_go() {
    let mut lan = Lan::settled(&Plan::new(3, 1));
    let owner = lan.holders("g0")[0];
    let others: Vec<usize> = (0..3).filter(|node| *node != owner).collect();
    others.iter().for_each(|other| lan.cut_between(owner, *other));
    lan.run(2 * STALE);
    assert_eq!(lan.holders("g0").len(), 2);
    lan.cut.clear();
    lan.run(5 * INTERVAL);
    assert_eq!(lan.holders("g0"), [owner]);
    let found = belief(&lan, owner, "g0").unwrap();
    assert_eq!((found.believed, found.of, found.repeated), (2, 2, 0));
}

#[test]
fn a_verifier_that_falls_silent_is_not_waited_for() {
    let mut lan = Lan::settled(&Plan::new(3, 1));
    let succession = lan.status(0).groups[0].succession.clone();
    let [former, holder, silent] =
        [0, 1, 2].map(|place| (0..3).find(|node| name(*node) == succession[place]).unwrap());
    // Its workers stand still; it goes on talking.
    lan.machines.get_mut(&silent).unwrap().answering = false;
    lan.command(former, Command::Drain { lasting: None });
    lan.run(STALE + Duration::from_secs(4));
    assert_eq!(lan.holders("g0"), [holder]);
    let found = belief(&lan, holder, "g0").unwrap();
    assert_eq!((found.believed, found.of, found.repeated), (1, 2, 0));
}

#[test]
fn a_verifier_that_dies_is_replaced_by_another_one() {
    let mut lan = Lan::settled(&Plan::new(4, 1));
    let succession = lan.status(0).groups[0].succession.clone();
    let [former, holder] =
        [0, 1].map(|place| (0..4).find(|node| name(*node) == succession[place]).unwrap());
    lan.command(former, Command::Drain { lasting: None });
    lan.machines.values_mut().for_each(|machine| machine.orders.clear());
    let asked = |lan: &Lan| (0..4).find(|node| looks(lan, *node) > 0);
    assert!(lan.run_until(STALE, |lan| asked(lan).is_some()));
    let victim = asked(&lan).unwrap();
    lan.machines.remove(&victim);
    lan.run(STALE + 3 * INTERVAL);
    let found = belief(&lan, holder, "g0").unwrap();
    assert_eq!((found.believed, found.of), (2, 2), "long before patience ends");
}

#[test]
fn thousands_of_groups_cost_few_questions_and_nothing_at_rest() {
    let groups = (0..3_000).map(|n| lan::group(&format!("g{n}"), u8::try_from(n % 250).unwrap()));
    let plan = Plan { groups: groups.collect(), ..Plan::new(3, 0) };
    let mut lan = Lan::settled(&plan);
    lan.run(4 * MATURE);
    let idle: usize = lan.frames.iter().rev().take(3).map(|(_, frame)| frame.len()).sum();
    lan.machines.remove(&2);
    let before = lan.frames.len();
    lan.run(STALE + 20 * INTERVAL);
    let sent = lan.frames.len() - before;
    assert!(sent < 400, "{sent} frames");
    let beliefs = [0, 1].map(|node| lan.status(node).groups);
    let taken: Vec<BeliefStatus> =
        beliefs.into_iter().flatten().filter_map(|group| group.belief).collect();
    assert!(taken.len() >= 3_000, "{}", taken.len());
    lan.run(Duration::from_secs(6));
    let after: usize = lan.frames.iter().rev().take(2).map(|(_, frame)| frame.len()).sum();
    assert!(after < idle, "{after} bytes of two nodes, {idle} of three");
}
