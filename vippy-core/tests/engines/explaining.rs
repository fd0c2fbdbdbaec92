use std::time::Duration;

use vippy_core::config::Failback;
use vippy_core::explanation::{CandidateStatus, Explanation, FailbackRule, Rule, Tier};
use vippy_core::identity::NodeIndex;
use vippy_core::input::{Command, ResourceReport};
use vippy_core::status::{NodeReason, NodeState};

use crate::lan::{Lan, MATURE, Plan, STALE, name};

fn explain(lan: &Lan, node: usize, group: &str) -> Explanation {
    lan.machines[&node].engine.explain(lan.now, group).unwrap()
}

fn candidate(explanation: &Explanation, node: usize) -> &CandidateStatus {
    explanation.candidates.iter().find(|candidate| candidate.node == name(node)).unwrap()
}

/// One group that prefers the first of these nodes.
fn preferring(nodes: usize, failback: Failback) -> Plan {
    let mut plan = Plan::new(nodes, 1);
    (plan.groups[0].prefer, plan.groups[0].failback) = (Some(NodeIndex(0)), failback);
    plan
}

#[test]
fn the_explained_owner_is_the_one_decided_on_whatever_happens() {
    let plan = Plan { standby: vec![3], weights: [(4, 0), (1, 2)].into(), ..Plan::new(5, 12) };
    let mut lan = Lan::settled(&plan);
    lan.command(0, Command::Drain { lasting: None });
    lan.report(1, "g3", ResourceReport::Unavailable("no interface eth0".into()));
    lan.run(STALE);
    lan.machines.remove(&2);
    lan.run(2 * STALE);
    for node in [0, 1, 3, 4] {
        for group in lan.status(node).groups {
            let explained = explain(&lan, node, group.id.as_str());
            assert_eq!(explained.owner, group.owner);
            assert_eq!(explained.holders, group.holders);
            assert_eq!(explained.candidates.len(), 5);
            let best = explained.candidates.iter().filter_map(|c| c.tier).min();
            let owner = explained.candidates.iter().find(|c| Some(&c.node) == group.owner.as_ref());
            assert_eq!(owner.unwrap().tier, best);
        }
    }
}

#[test]
fn every_candidate_shows_what_keeps_it_from_a_group() {
    let plan = Plan { standby: vec![3], weights: [(4, 0)].into(), ..preferring(6, Failback::Auto) };
    let mut lan = Lan::settled(&plan);
    lan.command(0, Command::Drain { lasting: None });
    lan.report(1, "g0", ResourceReport::Unavailable("no interface eth0".into()));
    lan.machines.remove(&2);
    lan.run(2 * STALE);
    let seen = explain(&lan, 1, "g0");
    assert_eq!((seen.owner.clone(), seen.rule), (Some(name(5)), Some(Rule::First)));
    assert_eq!((seen.prefer.clone(), seen.failback), (Some(name(0)), FailbackRule::Auto));
    assert_eq!(seen.candidates[0].node, name(0), "in the order of the succession");
    let drained = candidate(&seen, 0);
    assert_eq!((drained.tier, drained.reason), (Some(Tier::RatherNot), Some(NodeReason::Operator)));
    let unable = candidate(&seen, 1);
    assert_eq!((unable.tier, unable.cannot), (None, true));
    assert_eq!(unable.why.as_deref(), Some("no interface eth0"));
    let dead = candidate(&seen, 2);
    assert_eq!((dead.tier, dead.alive, dead.holds), (None, false, false));
    assert!(dead.age_ms.unwrap() >= 1_000);
    assert_eq!(
        (candidate(&seen, 3).tier, candidate(&seen, 3).standby),
        (Some(Tier::Standby), true)
    );
    let retired = candidate(&seen, 4);
    assert_eq!((retired.tier, retired.weight), (Some(Tier::RatherNot), 0));
    assert_eq!(retired.reason, Some(NodeReason::Retired));
    assert_eq!(seen.candidates[5].node, name(4), "retired nodes come last");
    let owner = candidate(&seen, 5);
    assert_eq!((owner.tier, owner.holds), (Some(Tier::Active), true));
    let elsewhere = explain(&lan, 5, "g0");
    let unable = candidate(&elsewhere, 1);
    assert_eq!((unable.cannot, unable.why.clone()), (true, None), "a reason is not announced");
}

#[test]
fn a_holder_that_keeps_its_group_is_named_with_the_rule() {
    let plan = preferring(2, Failback::Never);
    let mut lan = Lan::settled(&plan);
    lan.machines.remove(&0);
    lan.run(2 * STALE);
    lan.start(0, &plan, &[]);
    lan.run(2 * MATURE);
    for node in 0..2 {
        let seen = explain(&lan, node, "g0");
        assert_eq!((seen.owner, seen.rule), (Some(name(1)), Some(Rule::FailbackNever)));
    }
}

#[test]
fn a_delayed_failback_tells_how_long_it_takes_yet() {
    let plan = preferring(2, Failback::After(Duration::from_secs(20)));
    let mut lan = Lan::settled(&plan);
    lan.machines.remove(&0);
    lan.run(2 * STALE);
    lan.start(0, &plan, &[]);
    let booting = explain(&lan, 0, "g0");
    assert_eq!(candidate(&booting, 0).state, Some(NodeState::Booting));
    lan.run(MATURE + Duration::from_secs(5));
    let seen = explain(&lan, 0, "g0");
    assert_eq!((seen.owner.clone(), seen.failback_ms), (Some(name(1)), Some(20_000)));
    let back = candidate(&seen, 0);
    assert_eq!((back.tier, back.rather_not), (Some(Tier::RatherNot), true));
    assert_eq!(back.why.as_deref(), Some("its failback is delayed"));
    assert!((14_000..=16_000).contains(&back.left_ms.unwrap()), "{back:?}");
    assert_eq!(candidate(&explain(&lan, 1, "g0"), 0).left_ms, None);
}

#[test]
fn a_node_that_said_goodbye_is_no_candidate() {
    let plan = Plan::new(2, 1);
    let mut lan = Lan::settled(&plan);
    lan.command(0, Command::Stop);
    lan.run(2 * STALE);
    let seen = explain(&lan, 1, "g0");
    let gone = candidate(&seen, 0);
    assert_eq!((gone.left, gone.alive, gone.tier), (true, false, None));
}

#[test]
fn a_configuration_that_cannot_be_read_is_told() {
    let plan = Plan::new(3, 2);
    let mut lan = Lan::settled(&plan);
    let mut higher = Plan { version: 2, ..plan };
    higher.groups.reverse();
    lan.configure(2, &higher);
    lan.run(STALE / 5);
    let seen = explain(&lan, 0, "g0");
    assert!(!candidate(&seen, 2).readable);
    assert!(seen.outranked.unwrap().contains("node2 has configuration version 2"));
}

#[test]
fn a_group_is_found_by_name_address_and_number() {
    let lan = Lan::settled(&Plan::new(1, 9));
    for of in ["g4", "10.0.0.5", "10.0.0.5/24", "#5"] {
        assert_eq!(explain(&lan, 0, of).group.as_str(), "g4", "{of}");
    }
}

#[test]
fn an_unknown_group_is_told_with_what_was_meant_or_what_there_is() {
    let lan = Lan::settled(&Plan::new(1, 9));
    let error = |of: &str| lan.machines[&0].engine.explain(lan.now, of).unwrap_err().to_string();
    let start = "expected a group's name, one of its addresses, or its number as in #1";
    assert_eq!(error("G4"), format!("found \"G4\", {start} (did you mean \"g4\"?)"));
    let rest = "; there are \"g0\", \"g1\", \"g2\", \"g3\", \"g4\", 4 more";
    for of in ["webserver", "10.0.0.99", "#10", "#99", ""] {
        assert_eq!(error(of), format!("found {of:?}, {start}{rest}"));
    }
}
