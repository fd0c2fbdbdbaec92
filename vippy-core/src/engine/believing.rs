//! What the neighbours believe of addresses that are here: what was told, asked,
//! seen and claimed, and what follows from it.

use std::collections::BTreeMap;

use super::Engine;
use crate::belief::takes::Scene;
use crate::bits::Bits;
use crate::event::Event;
use crate::identity::{BootId, GroupIndex, Mac, NodeIndex, NodeName};
use crate::membership::process::Process;
use crate::output::Output;
use crate::time::Instant;
use crate::wire::announcement::Section;
use crate::wire::frame::Body;

impl Engine {
    /// The neighbours were told where a group is.
    pub(super) fn told(&mut self, now: Instant, group: GroupIndex, mac: Option<Mac>) {
        self.chronicle.told(group, now);
        let config = self.config.clone();
        let (holdings, mut hands) = self.holdings_and_hands();
        match (holdings.told(&config.shared, group, &mut hands), mac) {
            (Some(since), Some(mac)) => self.takes.took(group, since, mac),
            (Some(_), None) => {
                self.takes.forget(group);
                self.chronicle.believed(group, Default::default(), now);
            }
            (None, mac) => self.takes.told(group, mac),
        }
    }

    /// What a fresh frame of a peer asks this node to look for, and what it saw for
    /// this node.
    pub(super) fn hear_of_belief(&mut self, now: Instant, boot: BootId, body: &Body) {
        let Body::Announcement(announcement) = body else { return };
        let process = self.members.process(boot).filter(|_| self.members.counts(boot));
        let Some(process) = process else { return };
        let shared = &self.config.shared;
        if announcement.digest != shared.digest {
            return;
        }
        let Some((me, peer)) = self.me.zip(shared.node_index(&process.name)) else { return };
        for section in &announcement.sections {
            if let Section::Look(look) = section {
                let interval = process.header.interval;
                self.lookout.asked(now, (peer, boot), me, interval, look);
            } else if let Section::Sighting(sighting) = section
                && sighting.holder == me
            {
                self.takes.sighted(now, peer, sighting);
            }
        }
    }

    /// What a node that is gone was asked to look for, others are asked; what it held
    /// besides can be looked for.
    pub(super) fn ask_others(&mut self, gone: &NodeName) {
        if let Some(node) = self.config.shared.node_index(gone) {
            self.takes.lost(node);
        }
        self.lookout.stir();
    }

    pub(super) fn settle_belief(&mut self, now: Instant) {
        self.settle_takes(now);
        if self.lookout.is_stirred() {
            let (members, holdings) = (&self.members, &self.holdings);
            let shared = &self.config.shared;
            let held_beside = |holder: NodeIndex| {
                let name = &shared.nodes[holder.get()].name;
                let mut held = holdings.holding().clone();
                for peer in members.live_processes().filter(|peer| peer.name != *name) {
                    let facts = peer.facts.as_ref().filter(|facts| facts.speaks(shared.digest));
                    held.add(facts.map_or(&Bits::new(), |facts| &facts.holding));
                }
                held
            };
            self.lookout.settle(shared, held_beside, &mut self.outputs);
        }
    }

    fn settle_takes(&mut self, now: Instant) {
        if self.takes.is_idle() {
            return;
        }
        let config = self.config.clone();
        let scene = Scene {
            shared: &config.shared,
            members: &self.members,
            me: self.me,
            interval: self.members.timers().interval,
        };
        let course = self.takes.settle(now, &scene);
        for group in course.repeat {
            if !self.insist(group) {
                self.takes.forget(group);
            }
        }
        for (group, belief) in course.settled {
            self.chronicle.believed(group, belief, now);
        }
        self.warn_of_doubts(&course.doubted);
        if course.asks {
            self.speaker.touch();
        }
    }

    /// Tells the neighbours again, unless there is a reason not to (O7, O9).
    fn insist(&mut self, group: GroupIndex) -> bool {
        let config = self.config.clone();
        let may_speak = self.authority.may_take();
        let (holdings, mut hands) = self.holdings_and_hands();
        may_speak && holdings.insist(&config.shared, group, &mut hands)
    }

    /// What other stations claim: told of, and defended.
    pub(super) fn settle_claims(&mut self, now: Instant) {
        if self.claimants.is_idle() {
            return;
        }
        let (members, holdings) = (&self.members, &self.holdings);
        let shared = &self.config.shared;
        // Whom this node cannot read may hold anything.
        let may_hold = |peer: &Process, group: GroupIndex| {
            let facts = peer.facts.as_ref().filter(|facts| facts.speaks(shared.digest));
            facts.is_none_or(|facts| facts.holding.contains(group.0))
        };
        let ours = |group: GroupIndex| {
            let mut peers = members.live_processes();
            holdings.slot(group).is_up() && !peers.any(|peer| may_hold(peer, group))
        };
        let reply = self.claimants.settle(now, members.timers().interval, ours);
        for (group, mac) in reply.news {
            let group = shared.groups[group.get()].id.clone();
            self.outputs.push_back(Output::Event(Event::Claimed { group, mac }));
        }
        for group in reply.defend {
            self.insist(group);
        }
    }

    /// One warning for all groups that one node found in one place.
    fn warn_of_doubts(&mut self, groups: &[GroupIndex]) {
        let mut doubts: BTreeMap<_, Vec<GroupIndex>> = BTreeMap::new();
        for group in groups {
            if let Some(doubt) = self.takes.of(*group).and_then(|take| take.doubt) {
                doubts.entry(doubt).or_default().push(*group);
            }
        }
        for ((by, mac), groups) in doubts {
            let shared = &self.config.shared;
            let name = |group: &GroupIndex| shared.groups[group.get()].id.to_string();
            let others = match groups.len() - 1 {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            let group = groups.first().map(name).unwrap_or_default();
            let node = &shared.nodes[by.get()].name;
            let who = mac.map_or("nobody".to_owned(), |mac| mac.to_string());
            let text = format!(
                "the neighbours do not believe that {group}{others} is here: asked by {node}, \
                 {who} answered"
            );
            self.tell(Event::Warning { text });
        }
    }
}
