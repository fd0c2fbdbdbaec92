//! Clients reach a holder: what O8 and O9 announce to the neighbours for.

use std::collections::BTreeMap;

use super::truth::{is_exclusive, one_version, process};
use super::{Referee, Violation, broken};
use crate::sim::Micros;
use crate::sim::fabric::Stations;
use crate::sim::world::World;

/// Groups whose packets some client sends to a machine that has not got them.
#[derive(Clone, Debug, Default)]
pub(super) struct Astray {
    since: BTreeMap<usize, Micros>,
}

impl Referee {
    /// Looks where clients send a group's packets, after any of that changed.
    pub(super) fn follow_clients(&mut self, world: &World, group: usize) -> Result<(), Violation> {
        let Some((client, station)) = self.lost_client(world, group) else {
            self.astray.since.remove(&group);
            return Ok(());
        };
        if self.rest {
            let text = format!(
                "g{group} is on {:?}, but the client beside s{client} was just told to send its \
                 packets to s{station}",
                self.held[group]
            );
            return broken(world, "O9: a node that does not hold told the neighbours", text);
        }
        // Where nobody had it whom they could rely on, its new holder has yet to tell them.
        let fresh = self
            .staying(world, group)
            .iter()
            .all(|holder| self.gained.get(&(holder, group)).is_some_and(|at| *at == world.now()));
        let telling = if fresh { world.setup.telling.1 } else { 0 };
        self.astray.since.entry(group).or_insert(world.now() + telling);
        Ok(())
    }

    /// A client that sends a group's packets to somebody who has not got it
    /// although somebody has whom it could have heard say so.
    fn lost_client(&self, world: &World, group: usize) -> Option<(usize, usize)> {
        let holders = self.staying(world, group);
        if holders.is_empty() {
            return None;
        }
        let informed = |client: &usize| {
            !holders.iter().any(|holder| {
                !world.fabric.hears(*client, holder) || world.clients.missed(*client, group, holder)
            })
        };
        world.places().iter().filter(informed).find_map(|client| {
            let believed = world.clients.believes(client, group)?;
            (!self.held[group].contains(believed)).then_some((client, believed))
        })
    }

    /// Holders that are not about to stop.
    fn staying(&self, world: &World, group: usize) -> Stations {
        let stays = |s: &usize| process(world, *s).is_some_and(|process| !process.stopping);
        self.held[group].and(world.awake()).iter().filter(stays).collect()
    }

    /// Invariant 2: in a planned move clients never send to a node that has let
    /// go, longer than a word of the new one takes to reach them.
    pub(super) fn judge_astray(&self, world: &World) -> Result<(), Violation> {
        let planned = self.window.as_ref().is_some_and(|window| window.planned);
        // Those left behind in a rollout are not answered in a language they know.
        if !planned || !one_version(world) {
            return Ok(());
        }
        let setup = &world.setup;
        // Whoever started meanwhile has to be met first.
        let since = self.rested.unwrap_or(0);
        let lives = world.stations.iter().filter_map(|station| station.process.as_ref());
        let anybody_new = lives.into_iter().any(|process| process.started >= since);
        let restarted = if anybody_new { 2 * world.timing().interval() } else { 0 };
        let plain = self.astray.since.iter().filter(|(group, _)| !is_exclusive(world, **group));
        for (group, since) in plain {
            let (client, station) = self.lost_client(world, *group).unwrap_or_default();
            // Their words crossed, or a move was taken back half-way: the one who has
            // it tells the neighbours anew as the other lets go (O9).
            let theirs = world.clients.said(station, *group).unwrap_or(0);
            let word = |holder| Some((world.clients.said(holder, *group)?, holder));
            let last = self.held[*group].iter().filter_map(word).max();
            let crossed = last.is_some_and(|(own, _)| theirs + setup.delay.1 >= own);
            let under_way = last.is_some_and(|(own, _)| world.now() <= own + setup.delay.1);
            // The wire brought its word, which was the last one, before theirs.
            let overtaken = last.is_some_and(|(own, holder)| {
                own >= theirs && repeats_itself(world, *group, (holder, station))
            });
            if overtaken || under_way {
                continue;
            }
            // Twice a merged announcement, and the word itself.
            let merged = world.timing().interval() / 10 + 2 * setup.lateness.1 + restarted;
            let anew = setup.telling.1 + 4 * world.fabric.slowest() + merged;
            let telling = if crossed { anew } else { 0 };
            if world.now() > since + setup.delay.1 + telling + 1 {
                let text = format!(
                    "g{group} is on {:?}, but the client beside s{client} sends its packets to \
                     s{station}, for {} µs",
                    self.held[*group],
                    world.now().saturating_sub(*since)
                );
                return broken(world, "invariant 2: clients sent astray in a planned move", text);
            }
        }
        Ok(())
    }

    /// At rest every client that could hear the holder sends to it.
    pub(super) fn judge_clients(&self, world: &World) -> Result<(), Violation> {
        for group in 0..self.held.len() {
            let Some(holder) = self.held[group].and(world.awake()).iter().next() else { continue };
            let informed = |client: &usize| {
                world.fabric.hears(*client, holder) && !world.clients.missed(*client, group, holder)
            };
            let lost = world
                .places()
                .without(holder)
                .iter()
                .filter(informed)
                // A machine that bears another one's name is nobody's contact.
                .filter(|client| {
                    let believed = world.clients.believes(*client, group);
                    believed.is_none_or(|believed| {
                        believed < world.setup.nodes
                            && !repeats_itself(world, group, (holder, believed))
                    })
                })
                .find(|client| world.clients.believes(*client, group) != Some(holder));
            if let Some(client) = lost {
                let text = format!(
                    "g{group} is on s{holder}; the client beside s{client} sends to {:?}",
                    world.clients.believes(client, group)
                );
                return broken(world, "O9: clients do not reach the holder", text);
            }
        }
        Ok(())
    }
}

/// The holder has yet to repeat what it told the neighbours before, or at the same
/// time as, another one did: that is what repetitions are for.
fn repeats_itself(world: &World, group: usize, (holder, other): (usize, usize)) -> bool {
    let said = |station: usize| world.clients.said(station, group).unwrap_or(0);
    let crossed = said(other) + world.setup.delay.1 >= said(holder);
    let process = process(world, holder);
    crossed && process.is_some_and(|process| process.telling.contains_key(&group))
}
