//! Takes that the neighbours believe, told again until they do; and others who claim
//! what is held.

use std::time::Duration;

use vippy_core::status::BeliefStatus;
use vippy_tests::sim::change::Action;
use vippy_tests::sim::cluster::Setup;
use vippy_tests::sim::world::neighbourhood::STRAY;

use crate::lan::Lan;

impl Lan {
    fn belief(&self, group: usize) -> Option<BeliefStatus> {
        let [holder] = self.holders(group)[..] else { return None };
        self.simulation.world.status(holder)?.groups.swap_remove(group).belief
    }

    fn is_believed(&self, group: usize) -> bool {
        self.belief(group).is_some_and(|belief| belief.of == 2 && belief.believed == 2)
    }
}

#[test]
fn every_kind_of_move_is_believed() {
    for seed in 0..10 {
        let mut lan = Lan::settled(Setup::new(seed, 4, 8));
        let fates = [Action::Drain(0), Action::Undrain(0), Action::Stop(1), Action::PowerFail(2)];
        for fate in fates {
            lan.act(fate);
            lan.settle();
            // The referee looks for itself when that is over.
            lan.run(Duration::from_secs(13));
        }
        let left: Vec<_> = lan.groups().filter_map(|group| lan.belief(group)).collect();
        assert_eq!(left.len(), 8);
    }
}

#[test]
fn a_dead_daemons_kernel_answers_until_its_lifetime_ends_and_is_told_over() {
    for seed in 0..10 {
        let mut lan = Lan::settled(Setup::new(seed, 4, 8));
        let group = lan.held_by(1)[0];
        lan.act(Action::Crash(1));
        let found = |lan: &Lan| {
            lan.simulation.world.status(0).is_some_and(|status| {
                let taker = status.groups[group].holders.first().cloned();
                taker.is_some_and(|taker| taker.as_str() != "node1")
            })
        };
        lan.run_until(lan.patience(), "somebody takes over", found);
        lan.run_until(Duration::from_secs(10), "it is believed", |lan| lan.is_believed(group));
        assert!(lan.belief(group).is_some_and(|belief| belief.repeated > 0));
    }
}

#[test]
fn a_stray_is_named_and_when_it_is_gone_in_time_the_take_is_believed() {
    let mut lan = Lan::settled(Setup::new(7, 4, 8));
    let group = lan.held_by(0)[0];
    lan.act(Action::Stray(group));
    lan.act(Action::Drain(0));
    lan.run_until(Duration::from_secs(2), "somebody doubts it", |lan| {
        lan.belief(group).is_some_and(|belief| belief.instead == Some(STRAY))
    });
    lan.act(Action::StrayGone(group));
    lan.run_until(Duration::from_secs(10), "it is believed", |lan| lan.is_believed(group));
}

#[test]
fn clients_led_astray_by_a_claim_are_back_soon_and_after_the_next_one_ten_seconds_later() {
    for seed in 0..10 {
        let mut lan = Lan::settled(Setup::new(seed, 4, 8));
        lan.run(Duration::from_secs(13));
        let [holder] = lan.holders(3)[..] else { panic!("not at rest") };
        let client = (holder + 1) % 4;
        let back = |lan: &Lan| lan.simulation.world.clients.believes(client, 3) == Some(holder);
        lan.act(Action::Claim(3));
        assert!(!back(&lan));
        let took = lan.run_until(Duration::from_secs(1), "clients are back", back);
        assert!(took >= 2 * lan.timing().interval, "{took:?}");
        lan.run(Duration::from_secs(5));
        lan.act(Action::Claim(3));
        let took = lan.run_until(Duration::from_secs(10), "clients are back", back);
        assert!(took > Duration::from_secs(3), "{took:?}");
        let claimed = lan.simulation.world.status(holder).and_then(|s| s.groups[3].claimed.clone());
        let claimed = claimed.expect("a claim");
        assert_eq!((claimed.mac, claimed.times, claimed.defended), (STRAY, 2, 2));
    }
}
