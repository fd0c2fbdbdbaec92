//! What a new configuration does to a running engine (O5, F1).

use std::time::Duration;

use vippy_core::config::Lifetime;
use vippy_core::identity::NodeIndex;
use vippy_core::input::Command;
use vippy_core::output::Output;

use crate::lan::{INTERVAL, Lan, Plan, STALE, group};

#[test]
fn a_group_that_is_being_let_go_stays_off_when_its_definition_changes() {
    let mut plan = Plan::new(2, 4);
    let mut lan = Lan::settled(&plan);
    let had = lan.machines[&0].kernel.clone();
    assert!(!had.is_empty());
    lan.machines.get_mut(&0).unwrap().answering = false;
    lan.command(0, Command::Drain { lasting: None });
    lan.run(2 * INTERVAL);
    let letting_go = |order: &Output| matches!(order, Output::Unplumb { .. });
    assert!(lan.machines[&0].orders.iter().any(letting_go));
    let before = lan.machines[&0].orders.len();
    plan.groups.iter_mut().for_each(|group| group.addresses[0].interface = Some("eth1".into()));
    lan.configure(0, &plan);
    let plumbed = |order: &Output| matches!(order, Output::Plumb { .. });
    assert!(!lan.machines[&0].orders[before..].iter().any(plumbed));
}

#[test]
fn turning_the_lifetime_on_gives_one_to_what_is_held() {
    let mut plan = Plan { lifetime: Lifetime::Off, ..Plan::new(1, 2) };
    let mut lan = Lan::settled(&plan);
    assert!(lan.machines[&0].kernel.values().all(Option::is_none));
    plan.lifetime = Lifetime::Auto;
    lan.configure(0, &plan);
    lan.run(INTERVAL);
    assert!(lan.machines[&0].kernel.values().all(Option::is_some));
}

#[test]
fn turning_the_lifetime_off_keeps_what_is_held_for_ever() {
    let mut plan = Plan::new(1, 2);
    let mut lan = Lan::settled(&plan);
    plan.lifetime = Lifetime::Off;
    lan.configure(0, &plan);
    lan.run(INTERVAL);
    assert!(lan.machines[&0].kernel.values().all(Option::is_none));
}

#[test]
fn new_addresses_of_a_held_group_are_told_to_the_neighbours() {
    let mut plan = Plan::new(1, 1);
    let mut lan = Lan::settled(&plan);
    let before = lan.machines[&0].orders.len();
    plan.groups[0] = group("g0", 77);
    lan.configure(0, &plan);
    lan.run(INTERVAL);
    let orders = &lan.machines[&0].orders[before..];
    let position = |what: fn(&Output) -> bool| orders.iter().position(what);
    let plumbed = position(|order| matches!(order, Output::Plumb { .. }));
    let told = position(|order| matches!(order, Output::Notify { .. }));
    assert!(plumbed.is_some() && plumbed < told, "{orders:?}");
}

#[test]
fn another_hint_moves_nothing() {
    let mut plan = Plan::new(1, 1);
    plan.groups[0].addresses[0].interface = None;
    let mut lan = Lan::settled(&plan);
    let before = lan.machines[&0].orders.len();
    plan.groups[0].addresses[0].hint = Some("eth7".into());
    lan.configure(0, &plan);
    lan.run(INTERVAL);
    let plumbed = |order: &Output| matches!(order, Output::Plumb { .. });
    assert!(!lan.machines[&0].orders[before..].iter().any(plumbed));
    plan.groups[0].addresses[0].interface = Some("eth7".into());
    lan.configure(0, &plan);
    assert!(lan.machines[&0].orders[before..].iter().any(plumbed));
}

#[test]
fn a_node_without_a_part_in_its_own_higher_configuration_takes_nothing_from_anybody() {
    let plan = Plan::new(3, 6);
    let mut lan = Lan::settled(&plan);
    let without = Plan { version: 2, nodes: vec![0, 1], ..plan };
    lan.configure(2, &without);
    lan.run(Duration::from_secs(5) + 4 * STALE);
    for g in ["g0", "g1", "g2", "g3", "g4", "g5"] {
        assert_eq!(lan.holders(g).len(), 1, "{g} is on {:?}", lan.holders(g));
    }
}

#[test]
fn a_long_lifetime_is_never_announced_as_a_short_fence() {
    use vippy_core::wire::{auth::Keyring, frame};
    let day = Duration::from_secs(86_400);
    let plan = Plan { lifetime: Lifetime::Fixed(day), ..Plan::new(1, 1) };
    let lan = Lan::settled(&plan);
    let config = plan.config();
    let keys = Keyring::new(&config.local.secrets, "");
    let (_, bytes) = lan.frames.last().unwrap();
    let fence = frame::open(bytes, &keys).unwrap().header.fence;
    assert!(fence.is_none_or(|fence| fence >= day), "{fence:?}");
}

/// Runs and asserts at every step that every group is on some node.
fn run_without_a_gap(lan: &mut Lan, plan: &Plan, span: Duration) {
    let end = lan.now + span;
    let held =
        |lan: &Lan| plan.groups.iter().all(|group| !lan.holders(group.id.as_str()).is_empty());
    assert!(!lan.run_until(span, |lan| !held(lan)), "a group is nowhere at {:?}", lan.now);
    lan.now = end;
}

#[test]
fn a_rollout_from_node_to_node_moves_only_what_changed_and_without_a_gap() {
    let plan = Plan::new(3, 9);
    let mut lan = Lan::settled(&plan);
    let place = |lan: &Lan| -> Vec<Vec<usize>> {
        plan.groups.iter().map(|group| lan.holders(group.id.as_str())).collect()
    };
    let before = place(&lan);
    let moving = before.iter().position(|holders| *holders == [2]).unwrap();
    let mut changed = Plan { version: 2, ..Plan::new(3, 9) };
    changed.groups[moving].prefer = Some(NodeIndex(0));
    for node in 0..3 {
        lan.configure(node, &changed);
        run_without_a_gap(&mut lan, &plan, Duration::from_secs(5));
        let moved: Vec<usize> =
            (0..9).filter(|group| place(&lan)[*group] != before[*group]).collect();
        assert!(node > 0 || moved.is_empty(), "one node alone moves nothing: {moved:?}");
    }
    assert_eq!(lan.holders(plan.groups[moving].id.as_str()), [0]);
    let moved = (0..9).filter(|group| place(&lan)[*group] != before[*group]).count();
    assert!(moved <= 3, "levelling moves few others: {moved}");
}

#[test]
fn what_a_dying_node_held_goes_to_the_higher_configuration_in_a_rollout() {
    let plan = Plan::new(3, 9);
    let mut lan = Lan::settled(&plan);
    lan.configure(0, &Plan { version: 2, ..Plan::new(3, 9) });
    lan.run(STALE);
    lan.machines.remove(&2);
    lan.run(3 * STALE);
    for group in &plan.groups {
        assert_eq!(lan.holders(group.id.as_str()).len(), 1, "{}", group.id);
    }
}

#[test]
fn a_node_that_its_own_configuration_leaves_out_hands_over_first() {
    let plan = Plan::new(3, 6);
    let mut lan = Lan::settled(&plan);
    let without = Plan { version: 2, nodes: vec![0, 1], ..Plan::new(3, 6) };
    for node in [0, 1, 2] {
        lan.configure(node, &without);
        run_without_a_gap(&mut lan, &plan, Duration::from_secs(3));
    }
    assert!(lan.machines[&2].kernel.is_empty());
}
