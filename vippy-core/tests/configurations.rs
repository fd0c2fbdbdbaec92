//! What a new configuration does to a running engine (O5, F1).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lan;

use std::time::Duration;

use lan::{INTERVAL, Lan, Plan, STALE, group};
use vippy_core::config::Lifetime;
use vippy_core::input::Command;
use vippy_core::output::Output;

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
    plan.groups.iter_mut().for_each(|group| group.addresses[0].interface = "eth1".into());
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
fn a_node_without_a_part_in_its_own_higher_configuration_takes_nothing_from_anybody() {
    let plan = Plan::new(3, 6);
    let mut lan = Lan::settled(&plan);
    let without = Plan { version: 2, nodes: vec![0, 1], ..plan };
    lan.configure(2, &without);
    lan.run(4 * STALE);
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
