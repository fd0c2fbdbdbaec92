use std::time::Duration;

use vippy_core::config::checks::{Check, Kind};
use vippy_core::config::{Failback, Group};
use vippy_core::event::Event;
use vippy_core::health::{Outcome, Verdict};
use vippy_core::identity::{CheckName, NodeIndex};
use vippy_core::input::{Command, ResourceReport};
use vippy_core::output::Output;
use vippy_core::status::OutcomeKind;

use crate::lan::{self, INTERVAL, Lan, MATURE, Plan, STALE, id};

/// From one run of a check to the next.
const PACE: Duration = Duration::from_millis(200);
/// A move of an ordinary group on this wire, each step of it at once.
const AT_ONCE: Duration = Duration::from_millis(30);

/// A check of some groups; none: all.
fn check(name: &str, groups: &[&str]) -> Check {
    Check {
        name: name.into(),
        kind: Kind::Process(name.into()),
        interval: PACE,
        timeout: PACE,
        fall: 3,
        rise: 2,
        first: Verdict::Unknown,
        groups: groups.iter().map(|group| id(group)).collect(),
        nodes: Vec::new(),
    }
}

/// Three nodes and two groups that prefer the first one; one check of the first group.
fn plan() -> Plan {
    let prefer = |group: Group| Group { prefer: Some(NodeIndex(0)), ..group };
    let plan = Plan::new(3, 2);
    let groups = plan.groups.clone().into_iter().map(prefer).collect();
    Plan { groups, checks: vec![check("web", &["g0"])], ..plan }
}

fn bad() -> Outcome {
    Outcome::Bad("connection refused".into())
}

fn ail(lan: &mut Lan, node: usize, check: &str, outcome: Outcome) {
    let machine = lan.machines.get_mut(&node).unwrap();
    machine.ailments.insert(check.into(), outcome);
}

fn heal(lan: &mut Lan, node: usize, check: &str) {
    lan.machines.get_mut(&node).unwrap().ailments.remove(&CheckName::from(check));
}

/// Every node runs every check so many times.
fn rounds(lan: &mut Lan, plan: &Plan, times: usize) {
    for _ in 0..times {
        let nodes: Vec<usize> = lan.machines.keys().copied().collect();
        for node in nodes {
            plan.checks.iter().for_each(|check| lan.check(node, &check.name));
        }
        lan.run(PACE);
    }
}

/// All nodes, settled, and everything known to be good.
fn settled(plan: &Plan) -> Lan {
    let mut lan = Lan::settled(plan);
    rounds(&mut lan, plan, 3);
    lan
}

fn changes(lan: &Lan, node: usize) -> Vec<(Verdict, OutcomeKind)> {
    let events = lan.machines[&node].events();
    let changes = events.filter_map(|event| {
        let Event::CheckChanged { verdict, outcome, .. } = event else { return None };
        Some((*verdict, *outcome))
    });
    changes.collect()
}

/// How often a node's groups came up.
fn takes(lan: &Lan) -> usize {
    let events = lan.machines.values().flat_map(|machine| machine.events());
    events.filter(|event| matches!(event, Event::Taking { .. })).count()
}

#[test]
fn a_bad_check_moves_its_group_alone_without_a_gap() {
    let plan = plan();
    let mut lan = settled(&plan);
    assert_eq!((lan.holders("g0"), lan.holders("g1")), (vec![0], vec![0]));
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 2);
    assert_eq!(lan.holders("g0"), [0], "two bad runs are not enough");
    let web = CheckName::from("web");
    lan.check(0, &web);
    assert!(lan.run_until(AT_ONCE, |lan| {
        assert!(!lan.holders("g0").is_empty());
        !lan.holders("g0").contains(&0)
    }));
    assert_eq!(lan.holders("g1"), [0]);
    assert_eq!(changes(&lan, 0).last(), Some(&(Verdict::Bad, OutcomeKind::Bad)));
}

#[test]
fn a_good_check_brings_its_group_back() {
    let plan = plan();
    let mut lan = settled(&plan);
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 4);
    assert!(!lan.holders("g0").contains(&0));
    heal(&mut lan, 0, "web");
    rounds(&mut lan, &plan, 1);
    assert!(!lan.holders("g0").contains(&0), "one good run is not enough");
    rounds(&mut lan, &plan, 2);
    assert_eq!(lan.holders("g0"), [0]);
}

#[test]
fn what_is_bad_everywhere_moves_nothing() {
    let plan = plan();
    let mut lan = settled(&plan);
    let before = takes(&lan);
    (0..3).for_each(|node| ail(&mut lan, node, "web", bad()));
    rounds(&mut lan, &plan, 10);
    assert_eq!((lan.holders("g0"), takes(&lan)), (vec![0], before));
    for node in 0..3 {
        assert_eq!(changes(&lan, node).last(), Some(&(Verdict::Bad, OutcomeKind::Bad)));
    }
}

#[test]
fn a_check_of_the_whole_node_moves_all_its_groups() {
    let plan = Plan { checks: vec![check("node", &[])], ..plan() };
    let mut lan = settled(&plan);
    ail(&mut lan, 0, "node", Outcome::TimedOut);
    rounds(&mut lan, &plan, 4);
    assert!(!lan.holders("g0").contains(&0) && !lan.holders("g1").contains(&0));
    assert_eq!(changes(&lan, 0).last(), Some(&(Verdict::Bad, OutcomeKind::TimedOut)));
}

#[test]
fn a_check_is_for_the_nodes_it_names() {
    let mut plan = plan();
    plan.checks[0].nodes = vec![lan::name(1)];
    let mut lan = settled(&plan);
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 5);
    assert_eq!(lan.holders("g0"), [0]);
    assert!(lan.status(0).checks.is_empty());
    assert_eq!(lan.status(1).checks.len(), 1);
}

#[test]
fn unknown_is_not_bad_and_what_cannot_be_asked_is_unknown() {
    let plan = plan();
    let mut lan = Lan::settled(&plan);
    assert_eq!(lan.holders("g0"), [0], "never asked");
    rounds(&mut lan, &plan, 3);
    ail(&mut lan, 0, "web", Outcome::NotStarted("no such command".into()));
    rounds(&mut lan, &plan, 5);
    assert_eq!(lan.holders("g0"), [0]);
    let web = &lan.status(0).checks[0];
    assert_eq!((web.verdict, web.outcome), (Verdict::Unknown, Some(OutcomeKind::NotStarted)));
    assert_eq!(web.why.as_deref(), Some("no such command"));
    let told = changes(&lan, 0);
    assert_eq!(told.last(), Some(&(Verdict::Unknown, OutcomeKind::NotStarted)));
    assert_eq!(told.len(), 2, "told once: {told:?}");
}

#[test]
fn what_was_bad_and_cannot_be_asked_stays_bad() {
    let plan = plan();
    let mut lan = settled(&plan);
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 4);
    ail(&mut lan, 0, "web", Outcome::NotStarted("too many processes".into()));
    rounds(&mut lan, &plan, 6);
    assert_eq!(lan.status(0).checks[0].verdict, Verdict::Bad);
    assert!(!lan.holders("g0").contains(&0));
}

#[test]
fn a_first_verdict_counts_until_there_is_another() {
    let mut plan = plan();
    plan.checks[0].first = Verdict::Bad;
    plan.checks[0].nodes = vec![lan::name(0)];
    let mut lan = Lan::settled(&plan);
    assert!(!lan.holders("g0").contains(&0));
    rounds(&mut lan, &plan, 3);
    assert_eq!(lan.holders("g0"), [0]);
}

#[test]
fn a_candidate_takes_over_only_after_a_good_run_of_its_own() {
    let plan = plan();
    let mut lan = settled(&plan);
    let second = lan.status(0).groups[0].succession[1].clone();
    let second = (0..3).find(|node| lan::name(*node) == second).unwrap();
    let third = 3 - second;
    // Ill already, and its checks have not noticed.
    ail(&mut lan, second, "web", bad());
    ail(&mut lan, 0, "web", bad());
    let web = CheckName::from("web");
    for _ in 0..3 {
        lan.check(0, &web);
        lan.run(AT_ONCE);
    }
    lan.run(AT_ONCE);
    assert_eq!(lan.holders("g0"), [third], "{second} was asked and said no");
    let asked = |node: usize| {
        lan.machines[&node].orders.iter().any(|order| matches!(order, Output::Check { .. }))
    };
    assert!(asked(second) && asked(third) && !asked(0));
    let taking = lan.machines[&second].events();
    assert_eq!(taking.filter(|event| matches!(event, Event::Taking { .. })).count(), 0);
    assert!(lan.status(second).groups[0].rather_not.is_some());
    heal(&mut lan, second, "web");
    rounds(&mut lan, &plan, 2);
    assert_eq!(lan.holders("g0"), [second]);
    assert!(lan.status(second).groups[0].rather_not.is_none());
}

#[test]
fn a_candidate_that_cannot_be_asked_does_not_take_over() {
    let plan = plan();
    let mut lan = settled(&plan);
    for node in [1, 2] {
        ail(&mut lan, node, "web", Outcome::NotStarted("no such command".into()));
    }
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 6);
    assert_eq!(lan.holders("g0"), [0]);
}

#[test]
fn a_candidate_waits_for_nothing_when_the_holder_is_dead() {
    let plan = plan();
    let mut lan = settled(&plan);
    for node in [1, 2] {
        ail(&mut lan, node, "web", Outcome::NotStarted("no such command".into()));
        rounds(&mut lan, &plan, 1);
    }
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 5);
    assert_eq!(lan.holders("g0"), [0]);
    lan.machines.remove(&0);
    assert!(lan.run_until(STALE + 2 * INTERVAL, |lan| !lan.holders("g0").is_empty()));
}

#[test]
fn a_candidate_waits_for_nothing_when_the_holder_stops() {
    for command in [Command::Stop, Command::Drain { lasting: None }] {
        let plan = Plan { checks: vec![check("web", &[])], ..Plan::new(2, 1) };
        let mut lan = settled(&plan);
        (0..2).for_each(|node| ail(&mut lan, node, "web", bad()));
        rounds(&mut lan, &plan, 4);
        let holder = lan.holders("g0")[0];
        lan.command(holder, command);
        rounds(&mut lan, &plan, 4);
        let expected = if command == Command::Stop { 1 - holder } else { holder };
        assert_eq!(lan.holders("g0"), [expected], "{command:?}");
    }
}

#[test]
fn a_run_that_began_before_the_candidate_knew_does_not_count() {
    let plan = plan();
    let mut lan = settled(&plan);
    for node in [1, 2] {
        lan.machines.get_mut(&node).unwrap().answering = false;
    }
    ail(&mut lan, 0, "web", bad());
    let began = lan.now;
    rounds(&mut lan, &Plan { checks: Vec::new(), ..plan.clone() }, 1);
    for _ in 0..3 {
        lan.check(0, &CheckName::from("web"));
        lan.run(AT_ONCE);
    }
    for node in [1, 2] {
        let run = vippy_core::health::Run { began, took: PACE, outcome: Outcome::Good };
        let check = CheckName::from("web");
        lan.tell(node, vippy_core::input::Input::Checked { check, run });
    }
    lan.run(AT_ONCE);
    let taking = |lan: &Lan| {
        let events = [1, 2].into_iter().flat_map(|node| lan.machines[&node].events());
        events.filter(|event| matches!(event, Event::Taking { .. })).count()
    };
    assert_eq!(taking(&lan), 0);
    [1, 2].into_iter().for_each(|node| lan.check(node, &CheckName::from("web")));
    lan.run(AT_ONCE);
    assert_eq!(taking(&lan), 1);
}

#[test]
fn an_exclusive_group_is_claimed_only_after_a_good_run_too() {
    let mut plan = plan();
    plan.groups[0].exclusive = true;
    let mut lan = settled(&plan);
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 6);
    let holders = lan.holders("g0");
    assert!(holders.len() == 1 && holders != [0], "{holders:?}");
}

#[test]
fn a_check_that_flaps_faster_than_it_falls_moves_nothing() {
    let plan = plan();
    let mut lan = settled(&plan);
    let before = takes(&lan);
    for _ in 0..20 {
        ail(&mut lan, 0, "web", bad());
        rounds(&mut lan, &plan, 2);
        heal(&mut lan, 0, "web");
        rounds(&mut lan, &plan, 1);
    }
    assert_eq!((lan.holders("g0"), takes(&lan)), (vec![0], before));
}

#[test]
fn a_check_that_flaps_slowly_is_held_down_like_an_interface() {
    for period in [2, 4, 9] {
        let mut plan = Plan { hold_down: Some(Duration::from_secs(30)), ..plan() };
        (plan.checks[0].fall, plan.checks[0].rise) = (1, 1);
        let mut lan = settled(&plan);
        let before = takes(&lan);
        for _ in 0..12 {
            ail(&mut lan, 0, "web", bad());
            rounds(&mut lan, &plan, period);
            heal(&mut lan, 0, "web");
            rounds(&mut lan, &plan, period);
        }
        let moves = takes(&lan) - before;
        assert!((4..=9).contains(&moves), "{moves} moves with a period of {period}");
        assert!(lan.status(0).groups[0].rather_not.is_some());
        assert!(!lan.holders("g0").contains(&0));
    }
}

#[test]
fn a_group_without_failback_stays_when_the_check_is_good_again() {
    let mut plan = plan();
    plan.groups[0].failback = Failback::Never;
    let mut lan = settled(&plan);
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 4);
    let elsewhere = lan.holders("g0");
    assert!(!elsewhere.contains(&0));
    heal(&mut lan, 0, "web");
    rounds(&mut lan, &plan, 4);
    assert_eq!(lan.holders("g0"), elsewhere);
}

#[test]
fn a_delayed_failback_counts_from_the_good_check() {
    let mut plan = plan();
    plan.groups[0].failback = Failback::After(Duration::from_secs(10));
    let mut lan = settled(&plan);
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 4);
    heal(&mut lan, 0, "web");
    rounds(&mut lan, &plan, 10);
    assert!(!lan.holders("g0").contains(&0));
    rounds(&mut lan, &plan, 50);
    assert_eq!(lan.holders("g0"), [0]);
}

#[test]
fn an_unchanged_check_keeps_its_verdict_under_another_configuration() {
    let plan = plan();
    let mut lan = settled(&plan);
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 4);
    let mut next = Plan { version: 2, ..plan.clone() };
    next.groups.insert(0, lan::group("new", 9));
    (0..3).for_each(|node| lan.configure(node, &next));
    lan.run(STALE);
    assert_eq!(lan.status(0).checks[0].verdict, Verdict::Bad);
    assert!(!lan.holders("g0").contains(&0));
    let mut without = Plan { version: 3, ..next };
    without.checks.clear();
    (0..3).for_each(|node| lan.configure(node, &without));
    lan.run(STALE);
    assert_eq!(lan.holders("g0"), [0], "nobody speaks against it any more");
}

#[test]
fn a_node_whose_check_is_bad_still_takes_what_nobody_else_can_have() {
    let plan = plan();
    let mut lan = settled(&plan);
    ail(&mut lan, 1, "web", bad());
    ail(&mut lan, 2, "web", bad());
    rounds(&mut lan, &plan, 4);
    lan.report(0, "g0", ResourceReport::Unavailable("link down".into()));
    lan.run(STALE + MATURE);
    assert!(!lan.holders("g0").is_empty() && !lan.holders("g0").contains(&0));
}

#[test]
fn the_status_and_the_explanation_name_the_check() {
    let plan = plan();
    let mut lan = settled(&plan);
    ail(&mut lan, 0, "web", bad());
    rounds(&mut lan, &plan, 4);
    let status = lan.status(0);
    let wanted = "check web is bad: connection refused";
    assert_eq!(status.groups[0].rather_not.as_deref(), Some(wanted));
    assert_eq!(status.groups[1].rather_not, None);
    let web = &status.checks[0];
    assert_eq!((web.verdict, web.in_a_row >= 3), (Verdict::Bad, true));
    let explanation = lan.machines[&0].engine.explain(lan.now, "g0").unwrap();
    let own = explanation.candidates.iter().find(|one| one.node == lan::name(0)).unwrap();
    assert_eq!(own.why.as_deref(), Some(wanted));
}
