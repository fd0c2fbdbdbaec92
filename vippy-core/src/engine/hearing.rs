//! What a datagram means to the parts of the engine.

use std::net::SocketAddr;

use super::{Engine, Received};
use crate::event::Event;
use crate::identity::{BootId, NodeName};
use crate::input::Datagram;
use crate::membership::Reception;
use crate::membership::facts::Changes;
use crate::output::{Destination, Output, Transmit};
use crate::relay;
use crate::status::{NodeReason, RejectReason};
use crate::time::Instant;
use crate::wire::announcement::Section;
use crate::wire::frame::{self, Body};

impl Engine {
    /// Takes a datagram.
    pub(super) fn receive(&mut self, now: Instant, datagram: &Datagram) -> Received {
        let source = datagram.source;
        let frame = match frame::open(&datagram.bytes, &self.keys) {
            Ok(frame) => frame,
            Err(reason) => {
                self.reject(now, reason, source, None);
                return Received::Refused(reason);
            }
        };
        let known = self.config.shared.node_index(&frame.header.name).is_some();
        match self.members.receive(now, &frame, (source, datagram.multicast), known) {
            Reception::Rejected(reason) => {
                self.reject(now, reason, source, Some(&frame.header.name));
                return Received::Rejected;
            }
            Reception::Cloned => self.burn(),
            Reception::New { fresh: None, .. } => {
                self.reject(now, RejectReason::NotFresh, source, Some(&frame.header.name));
            }
            Reception::New { boot, fresh: Some(changes) } => {
                self.traffic.received += 1;
                self.epochs.heard(frame.header.epoch);
                self.learn(now, boot, &frame.body);
                self.learn_of_trials(now, boot, &frame.body);
                self.take_note(now, boot, changes);
                self.hear_of_belief(now, boot, &frame.body);
                self.hear_of_clean_ups(now, boot, &frame.body);
                self.notice_standstill(now);
                self.forward(now, boot, &datagram.bytes);
            }
            Reception::Document { fresh: false, .. } => {
                self.reject(now, RejectReason::NotFresh, source, Some(&frame.header.name));
            }
            Reception::Document { boot, fresh: true } => {
                self.epochs.heard(frame.header.epoch);
                self.attend(now, boot, &frame.body);
            }
            Reception::Goodbye { boot, changes } => {
                self.epochs.heard(frame.header.epoch);
                self.take_note(now, boot, changes);
                self.forward(now, boot, &datagram.bytes);
                match self.members.take_leave(now, boot) {
                    Some(node) => {
                        self.ask_others(&node);
                        self.tell(Event::PeerLeft { node });
                    }
                    None => {
                        // Nobody met it, yet it may have told the neighbours anything.
                        self.holdings.meet();
                        self.reject(now, RejectReason::Burnt, source, Some(&frame.header.name));
                    }
                }
                self.unsettled = true;
            }
        }
        Received::Taken
    }

    /// What a fresh frame of a peer tells of its moves.
    pub(super) fn learn(&mut self, now: Instant, boot: BootId, body: &Body) {
        let Body::Announcement(announcement) = body else { return };
        let process = self.members.process(boot).filter(|_| self.members.counts(boot));
        let Some(process) = process else { return };
        let shared = &self.config.shared;
        let same = (announcement.digest == shared.digest).then_some(shared);
        for section in &announcement.sections {
            if let Section::Moves(reports) = section {
                self.chronicle.learn(now, (&process.name, boot), reports, same);
            }
        }
    }

    /// What a fresh frame of a peer tells of the configuration being on trial.
    fn learn_of_trials(&mut self, now: Instant, boot: BootId, body: &Body) {
        let Body::Announcement(announcement) = body else { return };
        if !self.members.counts(boot) {
            return;
        }
        for section in &announcement.sections {
            if let Section::Trial(notice) = section {
                self.hear_trial(now, notice);
            }
        }
    }

    /// What a fresh frame of a peer means for groups.
    pub(super) fn take_note(&mut self, now: Instant, boot: BootId, changes: Changes) {
        let digest = self.config.shared.digest;
        if let Some((before, held)) = &changes.left
            && let Some(held) = self.dialect.last_words(*before, held, digest)
        {
            self.members.held_before(boot, held);
        }
        let facts = self.members.process(boot).and_then(|process| process.facts.as_ref());
        self.unsettled |= changes.standing;
        self.holdings.reconsider();
        // Positions in another configuration are not positions in this one (O5).
        if let Some(facts) = facts.filter(|facts| facts.speaks(digest)) {
            // Of two holders at least one waits for the other's echo (O8, O9); who
            // does not count is waited for by nobody, and would be answered for ever.
            if self.members.counts(boot) && facts.holding.meets(self.holdings.holding()) {
                self.speaker.touch();
            }
            let name = self.members.process(boot).map(|process| &process.name);
            let node = name.and_then(|name| Some((self.config.shared.node_index(name)?, name)));
            if let Some(node) = node.filter(|_| !changes.holding.is_empty()) {
                self.chronicle.peer_changed(now, node, &changes.holding, &facts.holding);
            }
            if !changes.holding.is_empty() {
                self.lookout.stir();
            }
            for group in &changes.holding {
                if self.holdings.is_up(*group) {
                    self.claimants.moved(now, *group);
                }
            }
            self.holdings.touch(changes.holding.iter().copied());
            self.holdings.contact(changes.holding);
        } else if changes.left.is_none() && !changes.holding.is_empty() {
            // It took or let go of something that may be held here (O9).
            let theirs = self.members.process(boot).and_then(|process| process.rank());
            let known =
                theirs.and_then(|(_, digest)| self.dialect.understand(digest, &changes.holding));
            match known {
                Some(groups) => self.holdings.contact(groups),
                None => self.holdings.meet(),
            }
            self.unsettled = true;
        }
    }

    pub(super) fn reject(
        &mut self,
        now: Instant,
        reason: RejectReason,
        source: SocketAddr,
        name: Option<&NodeName>,
    ) {
        if self.rejects.count(now, reason, source.ip()) {
            let source = name.map_or(source.to_string(), |name| format!("{source} ({name})"));
            self.tell(Event::Rejected { reason, source });
        }
    }

    /// W2: forwards what others may not have heard.
    pub(super) fn forward(&mut self, now: Instant, boot: BootId, bytes: &[u8]) {
        let duty = relay::Duty { own_name: &self.name, shared: &self.config.shared };
        for forward in self.relay.heard(now, (boot, bytes), &self.members, &duty) {
            let to = Destination::Unicast(forward.to);
            let frame = frame::mark_relayed(&forward.frame).into();
            self.outputs.push_back(Output::Send(Transmit { to, seq: None, frame }));
        }
    }

    /// W1: somebody else speaks with this boot.
    pub(super) fn burn(&mut self) {
        if std::mem::replace(&mut self.burnt, true) {
            return;
        }
        self.hushed = true;
        self.drop_all("a clone or a restored snapshot speaks with this boot");
        let text = "another process speaks with this node's boot id (a clone or a restored \
                    snapshot): everything is dropped, a new boot id is drawn";
        self.tell(Event::Warning { text: text.into() });
        self.outputs.push_back(Output::WantBoot);
    }

    pub(super) fn reboot(&mut self, now: Instant, boot: BootId) {
        if !std::mem::take(&mut self.burnt) {
            return;
        }
        let peers = self.live_names();
        self.members.reboot(boot);
        self.boot_again(now, NodeReason::Twin, peers);
    }
}
