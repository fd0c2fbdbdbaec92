use std::time::Duration;

use vippy_core::event::Event;
use vippy_core::identity::Mac;
use vippy_core::input::{Command, Input};
use vippy_core::output::Output;
use vippy_core::status::ClaimStatus;

use crate::lan::{INTERVAL, Lan, MATURE, Plan, STALE, id, mac};

const STRANGER: Mac = Mac([2, 9, 9, 9, 9, 9]);

fn claim(lan: &mut Lan, node: usize, mac: Mac) {
    lan.tell(node, Input::Claimed { group: id("g0"), mac, times: 1 });
}

fn claimed(lan: &Lan, node: usize) -> Option<ClaimStatus> {
    lan.status(node).groups[0].claimed.clone()
}

fn tellings(lan: &Lan, node: usize) -> usize {
    let told = |order: &&Output| matches!(order, Output::Notify { .. });
    lan.machines[&node].orders.iter().filter(told).count()
}

fn warnings(lan: &Lan, node: usize) -> usize {
    let told = |event: &&Event| matches!(event, Event::Claimed { mac: STRANGER, .. });
    lan.machines[&node].events().filter(told).count()
}

#[test]
fn a_claim_is_noticed_counted_told_of_once_and_defended() {
    let mut lan = Lan::settled(&Plan::new(3, 1));
    lan.run(MATURE);
    let holder = lan.holders("g0")[0];
    let told = tellings(&lan, holder);
    claim(&mut lan, holder, STRANGER);
    lan.run(2 * INTERVAL - Duration::from_millis(1));
    assert_eq!((claimed(&lan, holder), tellings(&lan, holder)), (None, told));
    lan.run(Duration::from_millis(2));
    assert_eq!((warnings(&lan, holder), tellings(&lan, holder)), (1, told + 1));
    for _ in 0..30 {
        claim(&mut lan, holder, STRANGER);
        lan.run(Duration::from_millis(500));
    }
    let found = claimed(&lan, holder).unwrap();
    assert_eq!((found.mac, found.defended), (STRANGER, 2));
    assert!((29..=31).contains(&found.times), "{found:?}");
    assert_eq!((warnings(&lan, holder), tellings(&lan, holder)), (1, told + 2));
    assert_eq!(lan.holders("g0"), [holder], "it is never given up");
}

#[test]
fn what_a_peer_says_that_takes_over_is_no_claim() {
    let mut lan = Lan::settled(&Plan::new(3, 1));
    let former = lan.holders("g0")[0];
    lan.command(former, Command::Drain { lasting: None });
    assert!(lan.run_until(STALE, |lan| lan.holders("g0").len() == 2));
    let taker = *lan.holders("g0").iter().find(|node| **node != former).unwrap();
    // Its frame to the neighbours comes before its announcement.
    claim(&mut lan, former, mac(taker));
    assert!(lan.run_until(STALE, |lan| lan.holders("g0") == [taker]));
    // And a last frame of the former holder's kernel after it has let go.
    claim(&mut lan, taker, mac(former));
    let told = tellings(&lan, taker);
    lan.run(10 * INTERVAL);
    assert_eq!([former, taker].map(|node| claimed(&lan, node)), [None, None]);
    assert!(tellings(&lan, taker) <= told + 1, "no more than once its predecessor has gone");
}

#[test]
fn nobody_defends_what_it_does_not_hold() {
    let mut lan = Lan::settled(&Plan::new(3, 1));
    let holder = lan.holders("g0")[0];
    let other = (holder + 1) % 3;
    let told = tellings(&lan, other);
    claim(&mut lan, other, STRANGER);
    lan.run(STALE);
    assert_eq!((claimed(&lan, other), tellings(&lan, other)), (None, told));
}
