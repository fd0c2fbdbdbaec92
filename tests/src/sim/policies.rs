//! Which policies a seed gives its cluster: failback, standby nodes, hold-down,
//! drains that end by themselves (O3, O4).

use std::time::Duration;

use vippy_core::config::Failback;

use super::cluster::Setup;
use super::random::Random;

/// Apart from everything else that a seed decides.
const LABEL: u64 = 0x0b0c;

/// Draws the policies of a setup that is complete otherwise.
pub(super) fn draw(setup: &mut Setup) {
    let mut dice = Random::labelled(setup.seed, &[LABEL]);
    let stale = setup.timing.stale;
    if dice.chance(400) {
        let delays = [Failback::Auto, Failback::Never, Failback::After(stale * 3)];
        let everywhere = dice.pick(&delays);
        let mixed = dice.chance(500);
        for plan in &mut setup.groups {
            plan.failback = if mixed { dice.pick(&delays) } else { everywhere };
        }
    }
    if dice.chance(250) && setup.nodes > 2 {
        setup.standby = vec![dice.index(setup.nodes)];
        setup.groups.iter_mut().for_each(|plan| {
            plan.prefer = plan.prefer.filter(|node| !setup.standby.contains(node));
        });
    }
    if dice.chance(200) {
        let least = Duration::from_secs(1);
        let span = dice.pick(&[stale, stale * 4, Duration::from_secs(30)]);
        setup.hold_down = Some(span.max(least));
    }
    if dice.chance(300) {
        setup.drains = Some(dice.pick(&[stale, stale * 2, stale * 8]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_have_every_policy_and_most_have_none() {
        let setups: Vec<Setup> = (0..400)
            .map(|seed| {
                let mut setup = Setup::new(seed, 3, 5);
                draw(&mut setup);
                setup
            })
            .collect();
        let count = |has: fn(&Setup) -> bool| setups.iter().filter(|setup| has(setup)).count();
        assert!(count(|setup| setup.groups.iter().all(|g| g.failback == Failback::Auto)) > 200);
        assert!(count(|setup| setup.groups.iter().any(|g| g.failback == Failback::Never)) > 50);
        let delayed =
            |group: &super::super::cluster::GroupPlan| matches!(group.failback, Failback::After(_));
        assert!(setups.iter().filter(|setup| setup.groups.iter().any(delayed)).count() > 50);
        assert!(count(|setup| !setup.standby.is_empty()) > 50);
        assert!(count(|setup| setup.hold_down.is_some()) > 50);
        assert!(count(|setup| setup.drains.is_some()) > 50);
    }
}
