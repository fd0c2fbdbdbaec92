//! Which health checks a seed gives its cluster, and when they are not good (H1).

use super::Micros;
use super::change::Action;
use super::cluster::Setup;
use super::plan::Phase;
use super::random::Random;

/// Apart from everything else that a seed decides.
const LABEL: u64 = 0xc4ec;

/// Groups that may have a check.
const MOST: usize = 6;

/// Draws the checks of a setup that is complete otherwise.
pub(super) fn draw(setup: &mut Setup) {
    let mut dice = Random::labelled(setup.seed, &[LABEL]);
    if !dice.chance(300) {
        return;
    }
    let checks = (0..setup.groups.len().min(MOST)).map(|_| dice.pick(&[(1, 1), (2, 1), (3, 2)]));
    setup.checks = checks.collect();
}

/// Lets checks fail now and then, for as long as a phase at most: on one node, on all
/// of them at once, or back and forth.
pub(super) fn disturb(setup: &Setup, phases: &mut [Phase]) {
    if setup.checks.is_empty() {
        return;
    }
    let mut dice = Random::labelled(setup.seed, &[LABEL, 1]);
    for phase in phases {
        let last = phase.actions.last().map_or(0, |(at, _)| *at);
        let span = last + phase.lull + 4 * setup.pace();
        for _ in 0..dice.between(0, 4) {
            let group = dice.index(setup.checks.len());
            let nodes: Vec<usize> = match dice.chance(250) {
                true => (0..setup.nodes).collect(),
                false => vec![dice.index(setup.nodes)],
            };
            for node in nodes {
                fail(phase, (node, group), span, &mut dice);
            }
        }
        phase.actions.sort_by_key(|(at, _)| *at);
    }
}

/// One check of one node fails a few times.
fn fail(phase: &mut Phase, (node, group): (usize, usize), span: Micros, dice: &mut Random) {
    for _ in 0..dice.pick(&[1, 1, 1, 4]) {
        let from = dice.between(0, span);
        phase.actions.push((from, Action::Sicken(node, group)));
        if dice.chance(500) {
            phase.actions.push((dice.between(from, span), Action::Cure(node, group)));
        }
    }
    phase.repair.push(Action::Cure(node, group));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan::Plan;

    #[test]
    fn some_seeds_have_checks_and_all_of_them_are_good_in_the_end() {
        let plans: Vec<Plan> = (0..200).map(Plan::draw).collect();
        let with = plans.iter().filter(|plan| !plan.setup.checks.is_empty());
        assert!((30..100).contains(&with.count()));
        for phase in plans.iter().flat_map(|plan| &plan.phases) {
            for (_, action) in &phase.actions {
                if let Action::Sicken(node, group) = action {
                    assert!(phase.repair.contains(&Action::Cure(*node, *group)));
                }
            }
        }
    }
}
