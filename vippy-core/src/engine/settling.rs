//! Everything that follows from time and facts, in the order in which one
//! follows from the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Engine;
use crate::authority::Scene;
use crate::bits::Bits;
use crate::config::{Digest, Group};
use crate::dialect::Dialect;
use crate::event::Event;
use crate::field::Field;
use crate::holdings::Hands;
use crate::identity::{GroupIndex, NodeName};
use crate::invariants::{Scope, Sight};
use crate::membership::{Passage, Timers};
use crate::output::Output;
use crate::standing::{Farewell, GOODBYES};
use crate::surroundings::{Leave, Surroundings};
use crate::time::Instant;

impl Engine {
    /// Everything that follows from time and facts, in the order in which one
    /// follows from the other.
    pub(super) fn settle(&mut self, now: Instant) {
        self.settle_members(now);
        self.settle_standing(now);
        self.settle_rollout(now);
        self.settle_groups(now);
        self.settle_belief(now);
        self.settle_claims(now);
        self.settle_clean_ups(now);
        self.settle_farewell(now);
        self.renew(now);
        self.hushed = self.hushed && !self.holdings.all_idle();
        self.speak(now);
        self.distribute(now);
        // What was claimed may have found nobody to ask.
        if self.holdings.is_touched() {
            self.settle_groups(now);
        }
        self.store_epoch();
        self.remember(now);
    }

    pub(super) fn settle_members(&mut self, now: Instant) {
        for passage in self.members.refresh(now, self.timing.announced()) {
            self.unsettled = true;
            match passage {
                Passage::Up { name, boot } => {
                    self.designation.returned(boot);
                    self.holdings.meet();
                    // Only this node's answer shows the other one that it is heard.
                    self.speaker.touch();
                    self.tell(Event::PeerUp { node: name });
                }
                Passage::Lost { name, boot, silent } => {
                    let life = boot.to_string();
                    let down = Event::NodeDown { node: name.clone(), life };
                    self.died(now, &name, boot, silent);
                    self.outlive(&name);
                    self.ask_others(&name);
                    let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
                    self.tell(Event::PeerLost { node: name, silent_ms });
                    self.tell(down);
                }
                Passage::Restarted { name } => {
                    self.ask_others(&name);
                    self.tell(Event::PeerRestarted { node: name });
                }
            }
        }
        let own = self.members.own.boot;
        let echoes = self.members.live_processes();
        self.timing.echoed(echoes.map(|p| p.hears(own).map_or(p.echoed, |h| h.seq)).min());
    }

    /// A peer fell silent. What it last showed held it may have told the neighbours
    /// of after this node did: where that is held here too, they are told anew (O9).
    fn outlive(&mut self, name: &NodeName) {
        let peer = self.members.counted(name);
        let Some(facts) = peer.and_then(|peer| peer.facts.as_ref()) else { return };
        if facts.speaks(self.config.shared.digest) {
            self.holdings.contact(facts.holding.iter().map(GroupIndex));
        } else if !facts.holding.is_empty() {
            self.holdings.meet();
        }
    }

    pub(super) fn settle_standing(&mut self, now: Instant) {
        self.settle_authority(now);
        let members = &self.members;
        let may_end = !self.asleep && !self.burnt && !self.authority.is_barred();
        if may_end && self.standing.mature(now, |name| members.live(name).is_some()) {
            self.conduct.booted(now);
        }
        self.conduct.settle(now);
        self.standing.set_drained(self.conduct.is_drained());
        self.standing.set_held_down(self.conduct.held_down_until().is_some());
        let shared = &self.config.shared;
        let differing = self.ranking.compare(now, shared, &self.members, &self.graduation);
        for event in differing {
            self.tell(event);
        }
        self.standing.set_outranked(self.ranking.outranked().map(str::to_owned));
        let twin = self.members.twin(now) && !self.members.is_counted(now, now.since(self.started));
        if self.standing.settle(twin) {
            let (state, reason) = (self.standing.state(), self.standing.reason());
            let detail = self.standing.detail().to_owned();
            self.tell(Event::StateChanged { state, reason, detail });
            self.speaker.touch();
            self.unsettled = true;
        }
    }

    /// O6, O7: whether this node may hold anything, and take more.
    pub(super) fn settle_authority(&mut self, now: Instant) {
        let scene = Scene {
            members: &self.members,
            shared: &self.config.shared,
            name: &self.name,
            interval: self.timing.acting().interval,
        };
        let finding = self.authority.settle(now, &scene);
        self.unsettled |= finding.changed;
        self.standing.set_barred(self.authority.barred());
        self.standing.set_isolated(self.authority.isolation());
        self.outputs.extend(finding.orders);
        if let Some(why) = finding.drop {
            self.drop_all(why);
        }
        if let Some(reason) = finding.boot {
            self.boot_again(now, reason, BTreeSet::new());
        }
        if let Some(hush) = finding.hush {
            self.holdings.hush(hush, &self.config.shared, &mut self.outputs);
        }
        if finding.tell {
            self.holdings.meet();
        }
    }

    pub(super) fn settle_groups(&mut self, now: Instant) {
        let due = [self.holdings.next_deadline(), self.removed_until];
        let recheck = due.into_iter().flatten().any(|at| now >= at);
        let overruled = self.ranking.settle(now, &self.members, self.standing.changed());
        if overruled.let_go {
            self.give_way(overruled.by);
        }
        let all = std::mem::take(&mut self.unsettled) || recheck;
        if !(all || self.holdings.is_touched()) {
            if !self.watch.is_counting() {
                self.look(now, Scope::All);
            }
            return;
        }
        let touched = if all { Vec::new() } else { self.holdings.touched() };
        let config = self.config.clone();
        let leave = Leave {
            take: !self.asleep
                && !self.burnt
                && self.authority.may_take()
                && overruled.by.is_none()
                && self.members.is_counted(now, now.since(self.started)),
            keep: self.me.is_some() || self.removed_until.is_some_and(|until| now < until),
        };
        let readings = self.dialect.readings(&self.members, config.shared.digest);
        let field = Field {
            shared: &config.shared,
            placement: &self.placement,
            members: &self.members,
            dialect: &self.dialect,
            readings: &readings,
            me: self.me,
            outranked: overruled.by.is_some(),
        };
        let around = Surroundings {
            field,
            candidacy: self.standing.candidacy(),
            leave,
            standing_changed: self.standing.changed(),
            booted_at: self.standing.booted_at(),
            mature: config.shared.mature,
            strangers_fenced: self.fence.time(now).map(|fence| self.started + fence),
        };
        let mut hands = Hands {
            outputs: &mut self.outputs,
            epochs: &mut self.epochs,
            fence: &mut self.fence,
            health: &mut self.health,
        };
        if all {
            self.holdings.settle(now, &around, &mut hands);
        } else {
            self.holdings.settle_touched(now, &around, &mut hands);
        }
        if self.holdings.has_news() {
            self.speaker.touch();
            self.lookout.stir();
        }
        self.look(now, if all { Scope::All } else { Scope::These(&touched) });
    }

    /// Lets go of what nobody of a higher configuration can be seen to take over
    /// (O5); exclusive groups nobody takes before.
    fn give_way(&mut self, to: Option<Digest>) {
        let visible = |dialect: &Dialect, group| {
            to.is_some_and(|digest| dialect.counterpart(digest, group).is_some())
        };
        let shared = &self.config.shared;
        let groups = shared.group_indexes().zip(&shared.groups);
        let stays = |(group, config): &(GroupIndex, &Arc<Group>)| {
            !config.exclusive && visible(&self.dialect, *group)
        };
        let stay: Bits = groups.filter(stays).map(|(group, _)| group.0).collect();
        self.drop_all_but(&stay, "a peer whose configuration ranks higher has taken over");
    }

    /// Keeps the counters of the invariants.
    pub(super) fn look(&mut self, now: Instant, scope: Scope<'_>) {
        let silent = self.asleep || self.burnt || self.authority.is_barred();
        let judges = self.me.is_some() && self.ranking.outranked().is_none();
        let Some(booted_at) = self.standing.booted_at().filter(|_| !silent && judges) else {
            return self.watch.pause(now);
        };
        let digest = self.config.shared.digest;
        let readings = self.dialect.readings(&self.members, digest);
        let peers = self.members.live_processes().filter_map(|peer| {
            let facts = peer.facts.as_ref().filter(|facts| facts.speaks(digest));
            facts.map(|facts| &facts.holding).or_else(|| readings.get(&peer.boot))
        });
        let Timers { interval, stale } = self.members.timers();
        let sight = Sight {
            holdings: peers.chain(std::iter::once(self.holdings.holding())).collect(),
            owned: &|group| self.holdings.owner(group).is_some(),
            last_held: &|group| self.members.last_held(now, digest, group),
            patience_over: now >= booted_at + stale + 2 * interval,
        };
        self.watch.look(now, scope, &sight);
    }

    /// O8: waits for takers, lets go, says goodbye.
    pub(super) fn settle_farewell(&mut self, now: Instant) {
        match self.standing.farewell() {
            Some(Farewell::HandingOver { until }) => {
                if now >= until || !self.holdings.awaits_relief(self.me) {
                    self.standing.set_farewell(Farewell::LettingGo);
                    self.drop_all("this node is stopping");
                    self.settle_farewell(now);
                }
            }
            Some(Farewell::LettingGo) if self.holdings.all_idle() => {
                self.standing.set_farewell(Farewell::Goodbyes(GOODBYES));
                self.standing.settle(false);
                self.speaker.touch();
            }
            Some(Farewell::LettingGo | Farewell::Goodbyes(_) | Farewell::Gone) | None => {}
        }
    }

    pub(super) fn renew(&mut self, now: Instant) {
        if self.fence.next_renewal().is_some_and(|at| now >= at) {
            let held = self.holdings.any_plumbed();
            if let Some(lifetime) = self.fence.renewal(now, held) {
                self.outputs.push_back(Output::Renew { lifetime });
            }
        }
    }

    pub(super) fn store_epoch(&mut self) {
        if let Some(epoch) = self.epochs.take_unstored() {
            self.outputs.push_back(Output::StoreEpoch(epoch));
        }
    }

    pub(super) fn remember(&mut self, now: Instant) {
        if let Some(memory) = self.conduct.take_news(now) {
            self.outputs.push_back(Output::Remember(memory));
        }
    }
}
