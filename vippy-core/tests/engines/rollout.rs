//! One configuration for all nodes: graduation, proposals, trials (O5, W4).

use std::sync::Arc;
use std::time::Duration;

use vippy_core::config::SharedPart;
use vippy_core::input::{Command, Input};
use vippy_core::output::{Kept, Output};
use vippy_core::status::{AnswerStatus, NodeReason, NodeState, OutcomeStatus};

use crate::lan::{INTERVAL, Lan, MATURE, Plan, STALE, group, name};

fn plan(nodes: usize, groups: u8) -> Plan {
    Plan { travels: true, ..Plan::new(nodes, groups) }
}

fn versions(lan: &Lan) -> Vec<u64> {
    lan.machines.values().map(|m| m.engine.status(lan.now).config.version).collect()
}

/// The configuration that a node's next process would find.
fn kept(lan: &Lan, node: usize) -> Option<Kept> {
    lan.machines[&node]
        .orders
        .iter()
        .rev()
        .find_map(|order| if let Output::Keep(kept) = order { Some(kept.clone()) } else { None })
}

fn propose(lan: &mut Lan, node: usize, plan: &Plan, confirm_within: Option<Duration>) {
    let config = Arc::unwrap_or_clone(plan.config());
    let (shared, document) = (Arc::new(config.shared), config.document);
    lan.tell(node, Input::Propose { shared, document, confirm_within });
}

fn outcome(lan: &Lan, node: usize) -> Option<OutcomeStatus> {
    let status = lan.machines[&node].engine.status(lan.now);
    status.config.rollout.proposal.and_then(|proposal| proposal.outcome)
}

#[test]
fn all_nodes_follow_the_one_that_loads_a_higher_version_and_keep_it() {
    let mut old = plan(5, 6);
    let mut lan = Lan::settled(&old);
    old.version = 2;
    old.groups.push(group("g6", 60));
    lan.configure(3, &old);
    lan.run(2 * INTERVAL);
    assert_eq!(versions(&lan), [2; 5]);
    for node in 0..5 {
        assert!(kept(&lan, node).unwrap().document.contains("\"version\": 2"));
    }
    lan.run(STALE);
    assert_eq!(lan.machines.values().filter(|machine| machine.holds("g6")).count(), 1);
}

#[test]
fn what_comes_into_force_is_looked_at_once_and_adopted_once() {
    let old = plan(3, 3);
    let mut lan = Lan::settled(&old);
    lan.configure(0, &Plan { version: 2, ..old });
    lan.run(STALE);
    let count = |wanted: fn(&Output) -> bool| {
        lan.machines[&1].orders.iter().filter(|order| wanted(order)).count()
    };
    assert_eq!(count(|order| matches!(order, Output::Examine { .. })), 1);
    assert_eq!(count(|order| matches!(order, Output::Adopt(_))), 1);
}

#[test]
fn nothing_that_stays_is_let_go_while_all_graduate() {
    let mut changed = plan(4, 8);
    let mut lan = Lan::settled(&changed);
    changed.version = 9;
    changed.groups.remove(3);
    changed.groups.push(group("new", 77));
    let before: Vec<_> = lan.machines.values().map(|machine| machine.kernel.len()).collect();
    assert_eq!(before.iter().sum::<usize>(), 8);
    lan.configure(0, &changed);
    let mut seen = Vec::new();
    for _ in 0..200 {
        lan.run(Duration::from_millis(5));
        for group in ["g0", "g1", "g2", "g4", "g5", "g6", "g7"] {
            let held = lan.machines.values().any(|machine| machine.holds(group));
            assert!(held, "{group} was let go at {:?}", lan.now);
        }
        seen = versions(&lan);
    }
    assert_eq!(seen, [9; 4]);
    assert!(lan.machines.values().all(|machine| !machine.holds("g3")), "a removed group goes");
}

#[test]
fn of_one_version_with_two_contents_the_higher_digest_wins_everywhere() {
    let one = plan(3, 3);
    let mut lan = Lan::settled(&one);
    let mut other = Plan { version: 2, ..one.clone() };
    other.groups.push(group("a", 70));
    let mut third = Plan { version: 2, ..one };
    third.groups.push(group("b", 71));
    lan.configure(0, &other);
    lan.configure(1, &third);
    lan.run(STALE);
    let highest = other.config().shared.digest.max(third.config().shared.digest).to_string();
    let lower = other.config().shared.digest.min(third.config().shared.digest).to_string();
    for machine in lan.machines.values() {
        let status = machine.engine.status(lan.now);
        assert_eq!(status.config.digest, highest);
        let both = |text: &String| text.contains(&highest) && text.contains(&lower);
        assert!(status.node.warnings.iter().any(both), "{:?}", status.node.warnings);
    }
}

#[test]
fn a_node_that_was_away_during_two_changes_gets_the_last_one() {
    let mut changed = plan(3, 3);
    let first = changed.clone();
    let mut lan = Lan::settled(&changed);
    lan.machines.remove(&2);
    for version in [2, 3] {
        changed.version = version;
        lan.configure(0, &changed);
        lan.run(STALE);
    }
    lan.start(2, &first, &[]);
    lan.run(MATURE);
    assert_eq!(versions(&lan), [3; 3]);
}

#[test]
fn a_new_node_brings_the_configuration_that_names_it() {
    let old = plan(2, 4);
    let mut lan = Lan::settled(&old);
    let new = Plan { version: 2, ..plan(3, 4) };
    lan.start(2, &new, &[]);
    lan.run(2 * MATURE);
    assert_eq!(versions(&lan), [2; 3]);
    assert!(!lan.machines[&2].kernel.is_empty(), "it has its share");
}

#[test]
fn a_node_that_is_left_out_hands_over_and_idles() {
    let all = plan(3, 6);
    let mut lan = Lan::settled(&all);
    let fewer = Plan { version: 2, nodes: vec![0, 1], ..all };
    lan.configure(0, &fewer);
    lan.run(2 * MATURE);
    let status = lan.machines[&2].engine.status(lan.now);
    assert_eq!((status.config.version, status.node.reason), (2, NodeReason::Idle));
    assert!(lan.machines[&2].kernel.is_empty());
    assert_eq!(lan.machines[&0].kernel.len() + lan.machines[&1].kernel.len(), 6);
}

#[test]
fn a_node_that_cannot_read_the_new_configuration_drains_and_says_why() {
    let old = plan(3, 6);
    let mut lan = Lan::settled(&old);
    lan.illiterate.insert(1);
    lan.configure(0, &Plan { version: 2, ..old });
    lan.run(2 * STALE);
    assert_eq!(versions(&lan), [2, 1, 2]);
    let status = lan.machines[&1].engine.status(lan.now);
    assert_eq!(status.node.state, NodeState::Draining);
    assert!(status.node.detail.contains("unknown key"), "{}", status.node.detail);
    assert!(lan.machines[&1].kernel.is_empty(), "it gave everything away");
    let seen = lan.machines[&0].engine.status(lan.now);
    let peer = seen.peers.iter().find(|peer| peer.name == name(1)).unwrap();
    assert!(peer.detail.contains("unknown key"), "whoever loaded it reads why: {}", peer.detail);
}

#[test]
fn a_chain_of_nodes_passes_a_configuration_on() {
    let old = plan(3, 3);
    let mut lan = Lan::settled(&old);
    lan.cut_between(0, 2);
    lan.run(2 * STALE);
    lan.configure(0, &Plan { version: 2, ..old });
    lan.run(2 * STALE);
    assert_eq!(versions(&lan), [2; 3]);
}

#[test]
fn without_multicast_a_configuration_travels_as_well() {
    let old = Plan { unicast: true, ..plan(3, 3) };
    let mut lan = Lan::settled(&old);
    lan.configure(0, &Plan { version: 2, ..old });
    lan.run(STALE);
    assert_eq!(versions(&lan), [2; 3]);
}

#[test]
fn what_all_accept_is_adopted_by_all() {
    let old = plan(3, 3);
    let mut lan = Lan::settled(&old);
    propose(&mut lan, 1, &Plan { version: 2, ..old }, None);
    assert_eq!(lan.machines[&0].engine.proposer(), None, "not heard of yet");
    lan.run(STALE);
    assert_eq!(outcome(&lan, 1), Some(OutcomeStatus::Adopted));
    assert_eq!(versions(&lan), [2; 3]);
}

#[test]
fn one_objection_and_nothing_changes_anywhere() {
    let old = plan(3, 3);
    let mut lan = Lan::settled(&old);
    lan.objecting.insert(2);
    propose(&mut lan, 0, &Plan { version: 2, ..old.clone() }, None);
    lan.run(STALE);
    assert_eq!(outcome(&lan, 0), Some(OutcomeStatus::Refused("refused by node2".into())));
    let answers = lan.machines[&0].engine.status(lan.now).config.rollout.proposal.unwrap().answers;
    assert_eq!(answers[&name(1)], AnswerStatus::Accepts);
    assert_eq!(answers[&name(2)], AnswerStatus::Objects("no interface eth7".into()));
    assert_eq!(versions(&lan), [1; 3]);
    // Once the reason is gone the same file is accepted.
    lan.objecting.clear();
    lan.run(STALE);
    propose(&mut lan, 0, &Plan { version: 2, ..old }, None);
    lan.run(STALE);
    assert_eq!(versions(&lan), [2; 3]);
}

#[test]
fn who_does_not_answer_is_named() {
    let old = plan(3, 3);
    let mut lan = Lan::settled(&old);
    lan.machines.get_mut(&2).unwrap().answering = false;
    propose(&mut lan, 0, &Plan { version: 2, ..old }, None);
    lan.run(Duration::from_secs(20));
    assert_eq!(outcome(&lan, 0), Some(OutcomeStatus::Refused("no answer from node2".into())));
    assert_eq!(versions(&lan), [1; 3]);
}

#[test]
fn while_one_proposal_is_open_nobody_makes_another() {
    let old = plan(3, 3);
    let mut lan = Lan::settled(&old);
    lan.machines.get_mut(&2).unwrap().answering = false;
    propose(&mut lan, 0, &Plan { version: 2, ..old }, None);
    lan.run(INTERVAL);
    assert_eq!(lan.machines[&0].engine.proposer(), Some(name(0)));
    assert_eq!(lan.machines[&1].engine.proposer(), Some(name(0)));
}

#[test]
fn what_nobody_confirms_is_taken_back_on_every_node_also_without_the_proposer() {
    let old = plan(3, 3);
    let content = |shared: &SharedPart| shared.with_version(0).digest;
    let mut lan = Lan::settled(&old);
    let mut new = Plan { version: 2, ..old.clone() };
    new.groups.push(group("new", 90));
    propose(&mut lan, 0, &new, Some(Duration::from_secs(5)));
    lan.run(STALE);
    assert_eq!(versions(&lan), [2; 3]);
    assert!(kept(&lan, 1).unwrap().trial.is_some(), "a power cut does not make it stay");
    lan.machines.remove(&0);
    lan.run(Duration::from_secs(6));
    assert_eq!(versions(&lan), [3; 2]);
    let digest = lan.machines[&1].engine.status(lan.now).config.digest;
    let back = old.config().shared.with_version(3);
    assert_eq!(digest, back.digest.to_string());
    assert_eq!(content(&back), content(&old.config().shared));
    assert!(lan.machines.values().all(|machine| !machine.holds("new")));
}

#[test]
fn whoever_adopts_what_is_on_trial_knows_that_from_the_beginning() {
    let old = plan(3, 3);
    let mut lan = Lan::settled(&old);
    propose(&mut lan, 0, &Plan { version: 2, ..old }, Some(Duration::from_secs(5)));
    let adopted = |lan: &Lan| lan.machines[&2].engine.status(lan.now).config;
    while adopted(&lan).version == 1 {
        lan.run(Duration::from_micros(100));
    }
    assert!(adopted(&lan).rollout.trial.is_some());
}

#[test]
fn what_is_confirmed_on_any_node_stays_everywhere() {
    let old = plan(3, 3);
    let mut lan = Lan::settled(&old);
    propose(&mut lan, 0, &Plan { version: 2, ..old }, Some(Duration::from_secs(5)));
    lan.run(STALE);
    lan.command(2, Command::Confirm);
    lan.run(Duration::from_secs(20));
    assert_eq!(versions(&lan), [2; 3]);
    assert_eq!(kept(&lan, 0).unwrap().trial, None);
}

#[test]
fn a_trial_that_leaves_a_group_without_a_node_ends_at_once() {
    let old = plan(2, 2);
    let mut lan = Lan::settled(&old);
    propose(&mut lan, 0, &Plan { version: 2, ..old }, Some(Duration::from_secs(600)));
    lan.run(STALE);
    for node in 0..2 {
        let report = vippy_core::input::ResourceReport::Unavailable("no interface".into());
        lan.report(node, "g1", report);
    }
    lan.run(3 * STALE);
    assert_eq!(versions(&lan), [3; 2]);
}

#[test]
fn what_is_forgotten_everywhere_is_gone() {
    let old = plan(2, 2);
    let mut lan = Lan::settled(&old);
    lan.configure(0, &Plan { version: 900, ..old.clone() });
    lan.run(STALE);
    assert_eq!(versions(&lan), [900; 2]);
    for node in 0..2 {
        lan.command(node, Command::Forget);
        lan.configure(node, &old);
        lan.run(STALE);
    }
    assert_eq!(versions(&lan), [1; 2]);
    lan.run(2 * MATURE);
    assert_eq!(lan.machines.values().map(|machine| machine.kernel.len()).sum::<usize>(), 2);
}

#[test]
fn forgetting_on_one_node_after_the_other_leaves_no_group_without_a_holder() {
    for pause in 1..40 {
        let old = plan(3, 6);
        let mut lan = Lan::settled(&old);
        lan.configure(0, &Plan { version: 900, ..old.clone() });
        lan.run(2 * STALE);
        assert_eq!(versions(&lan), [900; 3]);
        for node in 0..3 {
            lan.configure(node, &old);
        }
        lan.run(STALE);
        let unheld = |lan: &Lan| (0..6).any(|group| lan.holders(&format!("g{group}")).is_empty());
        for node in 0..3 {
            lan.command(node, Command::Forget);
            let pause = Duration::from_millis(5 * pause);
            assert!(!lan.run_until(pause, unheld), "after node {node}, {pause:?}");
        }
        assert!(!lan.run_until(2 * MATURE, unheld), "in the end, {pause}");
        assert_eq!(versions(&lan), [1; 3]);
    }
}
