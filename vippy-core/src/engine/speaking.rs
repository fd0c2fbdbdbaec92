//! When this node speaks, and what it says to whom.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Engine;
use crate::output::{Destination, Output, Transmit};
use crate::speaker;
use crate::standing::Farewell;
use crate::time::Instant;
use crate::wire::announcement::{Announcement, Section};
use crate::wire::frame::{self, Body, Header};

impl Engine {
    pub(super) fn may_speak(&self) -> bool {
        !self.burnt && !self.hushed && self.standing.farewell() != Some(Farewell::Gone)
    }

    /// When to announce. While somebody is sought the rhythm is faster: two nodes
    /// that meet again need three frames to know each other, and until then both
    /// may hold what either of them had (O9).
    pub(super) fn next_words(&self) -> Instant {
        let interval = self.timing.acting().interval;
        self.speaker.due(interval, if self.members.seeks() { interval / 3 } else { interval })
    }

    pub(super) fn speak(&mut self, now: Instant) {
        if !self.may_speak() || now < self.next_words() {
            return;
        }
        self.announce(now);
        self.begin_clean_ups();
        self.speaker.spoke(now);
        let last = self.members.own.last;
        if self.standing.announced_by(last) {
            // A claim waits until this can be known; where nobody is left to answer
            // no frame will come.
            self.holdings.reconsider();
        }
        self.timing.announced_by(last);
        self.holdings.announced_by(last);
        self.members.announced_by(last);
        if let Some(Farewell::Goodbyes(left)) = self.standing.farewell() {
            let next = if left > 1 { Farewell::Goodbyes(left - 1) } else { Farewell::Gone };
            self.standing.set_farewell(next);
            self.speaker.touch();
            if next == Farewell::Gone {
                self.conduct.ends_in_order();
                self.remember(now);
                self.outputs.push_back(Output::Stopped);
            }
        }
    }

    pub(super) fn announce(&mut self, now: Instant) {
        let targets = self.unicast.targets(now, &self.config, &self.members, &self.name);
        let heard = self.members.heard(now);
        let shared = &self.config.shared;
        let base = Announcement {
            state: self.standing.state(),
            reason: self.standing.reason(),
            detail: self.standing.detail().to_owned(),
            version: shared.version,
            digest: shared.digest,
            sections: Vec::new(),
        };
        let groups = speaker::Groups {
            count: u32::try_from(shared.groups.len()).unwrap_or(u32::MAX),
            holding: self.holdings.holding(),
            retelling: self.holdings.retelling(),
            cannot: self.holdings.cannot(),
            rather_not: self.holdings.rather_not(),
        };
        let moves =
            self.chronicle.reports(now, self.timing.acting().interval, shared, &self.holdings);
        let tells_moves = !moves.is_empty();
        let belief = self.takes.sections().into_iter().chain(self.lookout.sections(now));
        let moves = Some(Section::Moves(moves)).filter(|_| tells_moves);
        let clean_ups = self.designation.sections(self.epochs.announced());
        let apart = belief.chain(moves).chain(clean_ups).map(|section| vec![section]);
        let blocks = [self.document_sections(now)].into_iter().chain(apart).collect();
        let name = self.name.as_str().len();
        for part in speaker::parts(&base, name, &heard, &groups, blocks) {
            self.transmit(now, &Body::Announcement(part), true, &targets);
            self.traffic.sent += 1;
        }
    }

    /// Sends a frame: to everybody whom multicast reaches, where there is any, and
    /// to these addresses.
    pub(super) fn transmit(
        &mut self,
        now: Instant,
        body: &Body,
        multicast: bool,
        targets: &[SocketAddr],
    ) {
        let timers = self.timing.announced();
        let seq = self.members.own.next();
        let header = Header {
            name: self.name.clone(),
            boot: self.members.own.boot,
            seq,
            epoch: self.epochs.announced(),
            uptime: now.since(self.started),
            interval: timers.interval,
            stale: timers.stale,
            fence: self.fence.time(now),
        };
        let frame: Arc<[u8]> = frame::seal(&header, body, &self.keys).into();
        self.members.sent(now, seq, frame::fingerprint(&frame));
        let multicast =
            self.config.local.chat.filter(|_| multicast).map(|_| Destination::Multicast);
        let unicast = targets.iter().map(|address| Destination::Unicast(*address));
        if multicast.is_none() && targets.is_empty() {
            // A cluster of one: nobody to reach is no failure to reach anybody.
            self.fence.left(now);
        }
        for to in multicast.into_iter().chain(unicast) {
            let frame = frame.clone();
            self.outputs.push_back(Output::Send(Transmit { to, seq: Some(seq), frame }));
        }
    }
}
