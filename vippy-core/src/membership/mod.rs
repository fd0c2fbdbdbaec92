//! Who is there: freshness, two-way liveness, and which process is which node
//! (W1, W4, W6).
//!
//! Owns every process heard and this node's own life. Does not know what
//! groups are, beyond carrying what peers announce about them.

mod claims;
pub(crate) mod facts;
mod lead;
pub(crate) mod own;
pub(crate) mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::Digest;
use crate::group::UNANNOUNCED;
use crate::identity::{BootId, GroupIndex, NodeName, Seq};
use crate::status::{NodeReason, NodeState, RejectReason};
use crate::time::Instant;
use crate::wire::announcement::{Announcement, Heard, Paths, Section};
use crate::wire::auth::KeyId;
use crate::wire::frame::{Body, Frame};
use claims::Claims;
use facts::{Changes, Facts};
use own::{Mirror, Own};
use process::Process;

/// Unproven processes remembered per name: an attacker can replay as many
/// former lives as it has recorded.
const MAX_CLAIMANTS: usize = 64;
/// Names beyond the configuration that are remembered at all.
const MAX_STRANGERS: usize = 32;
/// A lost peer is sought for this many times `stale`.
const SEARCH: u32 = 100;
/// Unproven processes echoed per name in one announcement; they take turns.
const ECHO_SLOTS: usize = 4;

/// All processes heard, this one included.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Membership {
    name: NodeName,
    pub(crate) own: Own,
    processes: BTreeMap<BootId, Process>,
    claims: Claims,
    alive: BTreeSet<BootId>,
    timers: Timers,
    /// Until when longer timers than those announced now are kept (W5).
    patient_until: Option<Instant>,
    refreshed: Instant,
}

/// The timers by which peers are judged: the largest that any live node has (W5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timers {
    pub(crate) interval: Duration,
    pub(crate) stale: Duration,
}

impl Timers {
    fn max(self, other: Timers) -> Timers {
        Timers { interval: self.interval.max(other.interval), stale: self.stale.max(other.stale) }
    }

    /// How long own frames and departed boots are remembered. One time for both:
    /// whoever echoes a frame that is remembered and is gone is remembered too,
    /// also after a patient node made `stale` longer (W6).
    fn memory(self) -> Duration {
        2 * (self.stale + self.interval)
    }
}

/// What a frame meant.
#[derive(Debug)]
pub(crate) enum Reception {
    /// Nothing beyond a counter, and an echo where the sender may be new.
    Rejected(RejectReason),
    /// My boot is burnt (W1).
    Cloned,
    /// An authentic frame with a new number. `fresh` tells what a fresh one
    /// changed; `None` means it was merely echoed.
    New { boot: BootId, fresh: Option<Changes> },
    /// A fresh goodbye: the process is there until [`Membership::take_leave`],
    /// so that its last words can be forwarded.
    Goodbye { boot: BootId, changes: Changes },
    /// A document, or a request for one; of use only when it is fresh.
    Document { boot: BootId, fresh: bool },
}

/// A peer that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Up { name: NodeName, boot: BootId },
    Lost { name: NodeName, boot: BootId, silent: Duration },
    Restarted { name: NodeName },
}

impl Membership {
    pub(crate) fn new(name: NodeName, boot: BootId, timers: Timers) -> Membership {
        Membership {
            name,
            own: Own::new(boot),
            processes: BTreeMap::new(),
            claims: Claims::default(),
            alive: BTreeSet::new(),
            timers,
            patient_until: None,
            refreshed: Instant::ZERO,
        }
    }

    /// Takes an authentic frame. `known` tells whether the configuration names
    /// its sender.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        frame: &Frame,
        from: (SocketAddr, bool),
        known: bool,
    ) -> Reception {
        let (source, multicast) = from;
        let boot = frame.header.boot;
        if boot == self.own.boot {
            return match self.own.mirror(frame.header.seq, frame.fingerprint) {
                Mirror::Copy => Reception::Rejected(RejectReason::Own),
                Mirror::Clone => Reception::Cloned,
            };
        }
        if self.claims.is_burnt(boot) {
            return Reception::Rejected(RejectReason::Burnt);
        }
        if !self.processes.contains_key(&boot) && !self.make_room(now, &frame.header.name, known) {
            return Reception::Rejected(RejectReason::NotFresh);
        }
        let process = self.processes.entry(boot).or_insert_with(|| Process::new(now, frame));
        if process.name != frame.header.name {
            return Reception::Rejected(RejectReason::Malformed);
        }
        if frame.header.seq <= process.highest {
            let copy = process.just_heard(now, frame.header.seq);
            if !copy {
                process.repeated(now, self.timers.stale);
            }
            let reason = if copy { RejectReason::Duplicate } else { RejectReason::Replayed };
            return Reception::Rejected(reason);
        }
        process.arrived(now, frame, multicast, self.timers.stale);
        let announcement = match &frame.body {
            Body::Announcement(announcement) => announcement,
            Body::DocumentRequest(_) | Body::DocumentChunk(_) => return self.attend(now, boot),
        };
        if let Some(echo) = echo_of(announcement, self.own.boot)
            && !self.note_echo(boot, echo)
        {
            return Reception::Cloned;
        }
        self.freshen(now, boot, announcement, (!frame.relayed).then_some(source))
    }

    /// A frame without an announcement: it is fresh by what earlier ones echoed.
    fn attend(&mut self, now: Instant, boot: BootId) -> Reception {
        let stale = self.timers.stale;
        let process = self.processes.get_mut(&boot);
        let proven = process.filter(|process| process.proven(now, stale));
        let fresh = proven.map(|process| process.freshened(now, stale)).is_some();
        Reception::Document { boot, fresh }
    }

    /// Notes that `boot` has echoed my number `seq`. False when I never sent it.
    fn note_echo(&mut self, boot: BootId, seq: Seq) -> bool {
        if seq > self.own.last {
            return false;
        }
        let left_at = self.own.left_at(seq);
        if let Some(process) = self.processes.get_mut(&boot) {
            process.proof = process.proof.max(left_at);
            process.echoed = process.echoed.max(seq);
        }
        true
    }

    /// Applies an announcement if it is fresh (W1).
    fn freshen(
        &mut self,
        now: Instant,
        boot: BootId,
        announcement: &Announcement,
        source: Option<SocketAddr>,
    ) -> Reception {
        let stale = self.timers.stale;
        let Some(process) = self.processes.get_mut(&boot) else {
            return Reception::New { boot, fresh: None };
        };
        if !process.proven(now, stale) {
            process.deaf |= omits(announcement, self.own.boot);
            return Reception::New { boot, fresh: None };
        }
        process.freshened(now, stale);
        process.source = source.or(process.source);
        let echoed = process.echoed;
        let seq = process.highest;
        let changes = match &mut process.facts {
            Some(facts) => facts.apply(announcement, seq, echoed),
            none => {
                let facts = none.insert(Facts::new(announcement, seq));
                Changes { standing: true, ..facts.apply(announcement, seq, echoed) }
            }
        };
        let goodbye =
            announcement.state == NodeState::Leaving && announcement.reason == NodeReason::Goodbye;
        if goodbye {
            return Reception::Goodbye { boot, changes };
        }
        Reception::New { boot, fresh: Some(changes) }
    }

    /// Removes a process that said goodbye; it never returns. Its name, if it
    /// counted.
    pub(crate) fn take_leave(&mut self, now: Instant, boot: BootId) -> Option<NodeName> {
        let counted = self.counts(boot);
        self.alive.remove(&boot);
        self.claims.burn(boot, now);
        let name = self.processes.remove(&boot).filter(|_| counted)?.name;
        self.claims.leave(name.clone(), now);
        Some(name)
    }

    /// When the process of a name said goodbye, if nothing was heard of it since.
    pub(crate) fn left_at(&self, name: &NodeName) -> Option<Instant> {
        self.claims.left_at(name)
    }

    /// Lets go of what time has made meaningless, and tells who came and went.
    /// `own` are this node's own timers.
    pub(crate) fn refresh(&mut self, now: Instant, own: Timers) -> Vec<Passage> {
        self.refreshed = now;
        let mut passages = Vec::new();
        // Who is alive says by which timers that is judged. It comes to an end:
        // longer ones may let another one live, which are at most all.
        loop {
            passages.extend(self.settle_claims(now));
            passages.extend(self.settle_lives(now));
            let before = self.timers;
            self.judge_by(now, own);
            if self.timers == before {
                break;
            }
        }
        self.forget(now);
        passages
    }

    /// Who is alive (W1).
    fn settle_lives(&mut self, now: Instant) -> Vec<Passage> {
        let mut passages = Vec::new();
        let alive: BTreeSet<BootId> =
            self.claims.current().filter(|boot| self.lives(now, *boot)).collect();
        for boot in self.alive.difference(&alive) {
            if let Some(process) = self.processes.get(boot) {
                let silent = process.last_fresh.map_or(Duration::MAX, |at| now.since(at));
                passages.push(Passage::Lost { name: process.name.clone(), boot: *boot, silent });
            }
        }
        for boot in alive.difference(&self.alive) {
            if let Some(process) = self.processes.get_mut(boot) {
                process.met = UNANNOUNCED;
                passages.push(Passage::Up { name: process.name.clone(), boot: *boot });
            }
        }
        self.alive = alive;
        passages
    }

    /// Takes over timers to judge by. When all have come to announce shorter ones,
    /// what was last heard of each was still said, and answered, at the former
    /// pace: that goes on for as long as it took.
    fn judge_by(&mut self, now: Instant, own: Timers) {
        let announced = self.live_processes().fold(own, |timers, process| {
            let header = &process.header;
            timers.max(Timers { interval: header.interval, stale: header.stale })
        });
        let longest = self.timers.max(announced);
        let patience = longest.stale + 2 * longest.interval;
        let until = self.patient_until.unwrap_or(now + patience);
        let patient = longest != announced && now < until;
        self.timers = if patient { longest } else { announced };
        self.patient_until = patient.then_some(until);
    }

    /// The process to which each name belongs (W6).
    fn settle_claims(&mut self, now: Instant) -> Vec<Passage> {
        let mut passages = Vec::new();
        let fresh: Vec<BootId> = self
            .processes
            .values()
            .filter(|process| process.name != self.name && !self.counts(process.boot))
            .filter(|process| self.lives(now, process.boot))
            .map(|process| process.boot)
            .collect();
        for boot in fresh {
            let name = self.processes[&boot].name.clone();
            let elder = self.claims.holder(&name).and_then(|elder| self.processes.get(&elder));
            let gives_way = elder.is_none_or(|elder| self.gives_way(now, elder, boot));
            if !gives_way {
                continue;
            }
            if let Some(elder) = elder.map(|elder| elder.boot) {
                self.claims.burn(elder, now);
                self.processes.remove(&elder);
                self.alive.remove(&elder);
                passages.push(Passage::Restarted { name: name.clone() });
            }
            self.claims.assign(name, boot);
        }
        passages
    }

    /// Whether `elder` makes room for the fresh `newcomer` of its name (W6).
    fn gives_way(&self, now: Instant, elder: &Process, newcomer: BootId) -> bool {
        let quiet = now.since(elder.last_credible) >= 2 * elder.header.interval
            && self.processes.get(&newcomer).is_some_and(|n| elder.last_credible <= n.first_heard);
        quiet || !self.lives(now, elder.boot)
    }

    fn lives(&self, now: Instant, boot: BootId) -> bool {
        let until =
            |process: &Process| process.alive_until(self.timers.stale, self.timers.interval);
        self.processes.get(&boot).and_then(until).is_some_and(|until| now < until)
    }

    /// Forgets unproven processes that fell silent and boots burnt long ago.
    fn forget(&mut self, now: Instant) {
        let stale = self.timers.stale;
        let claims = &self.claims;
        self.processes.retain(|boot, process| {
            claims.counts(&process.name, *boot) || now.since(process.last_heard) <= stale
        });
        self.claims.forget(now, self.timers.memory());
    }

    /// Makes room for one more process of `name`; false when there is none.
    fn make_room(&mut self, now: Instant, name: &NodeName, known: bool) -> bool {
        let strangers = |m: &Membership| {
            let names: BTreeSet<&NodeName> = m.processes.values().map(|p| &p.name).collect();
            names.len()
        };
        let of_name = || {
            self.processes.values().filter(|process| {
                process.name == *name
                    && !self.counts(process.boot)
                    && !self.lives(now, process.boot)
            })
        };
        if of_name().count() >= MAX_CLAIMANTS {
            let oldest = of_name().min_by_key(|process| process.last_heard).map(|p| p.boot);
            oldest.and_then(|boot| self.processes.remove(&boot));
        }
        known || strangers(self) < MAX_STRANGERS + self.claims.current().count()
    }

    /// The *heard* list of the next announcement; marks those it names as echoed.
    pub(crate) fn heard(&mut self, now: Instant) -> Vec<Heard> {
        let mut unproven: BTreeMap<NodeName, Vec<(bool, Option<Instant>, BootId)>> =
            BTreeMap::new();
        let mut named = BTreeSet::new();
        for process in self.processes.values() {
            if !process.is_echoed(now, self.timers.stale) {
                continue;
            }
            if self.counts(process.boot) {
                named.insert(process.boot);
            } else {
                let turn = (!self.lives(now, process.boot), process.last_echoed, process.boot);
                unproven.entry(process.name.clone()).or_default().push(turn);
            }
        }
        for mut claimants in unproven.into_values() {
            claimants.sort_unstable();
            named.extend(claimants.into_iter().take(ECHO_SLOTS).map(|(_, _, boot)| boot));
        }
        named.into_iter().filter_map(|boot| self.echo(now, boot)).collect()
    }

    fn echo(&mut self, now: Instant, boot: BootId) -> Option<Heard> {
        let counts = self.counts(boot);
        let stale = self.timers.stale;
        let process = self.processes.get_mut(&boot)?;
        let counts = counts && !process.is_silent(now, stale);
        process.last_echoed = Some(now);
        Some(Heard { boot, seq: process.highest, paths: process.paths(now), counts })
    }

    /// Somebody who was alive fell silent not long ago without a goodbye: it may
    /// be back any moment, and should be met soon (O9).
    pub(crate) fn seeks(&self) -> bool {
        let memory = SEARCH * self.timers.stale;
        self.claims.current().filter(|boot| !self.alive.contains(boot)).any(|boot| {
            let fresh = self.processes.get(&boot).and_then(|process| process.last_fresh);
            fresh.is_some_and(|at| self.refreshed.since(at) < memory)
        })
    }

    /// Whether a boot counts as the node whose name it bears.
    pub(crate) fn counts(&self, boot: BootId) -> bool {
        self.processes.get(&boot).is_some_and(|process| self.claims.counts(&process.name, boot))
    }

    /// The live process of a name, as of the last refresh.
    pub(crate) fn live(&self, name: &NodeName) -> Option<&Process> {
        let boot = self.claims.holder(name)?;
        self.alive.contains(&boot).then(|| self.processes.get(&boot))?
    }

    /// The process that counts for a name, alive or not.
    pub(crate) fn counted(&self, name: &NodeName) -> Option<&Process> {
        self.processes.get(&self.claims.holder(name)?)
    }

    pub(crate) fn live_processes(&self) -> impl Iterator<Item = &Process> {
        self.alive.iter().filter_map(|boot| self.processes.get(boot))
    }

    /// When one who was given up within the last interval was last heard to hold a
    /// group, in the terms of the configuration `digest`.
    pub(crate) fn last_held(
        &self,
        now: Instant,
        digest: Digest,
        group: GroupIndex,
    ) -> Option<Instant> {
        let Timers { interval, stale } = self.timers;
        let held = |process: &Process| {
            let facts = process.facts.as_ref().filter(|facts| facts.speaks(digest));
            facts.is_some_and(|facts| facts.holding.contains(group.0))
        };
        let gone = self.processes().filter(|process| !self.alive.contains(&process.boot));
        let heard = gone.filter(|process| held(process)).filter_map(|process| process.last_fresh);
        heard.filter(|at| now.since(*at) <= stale + interval).max()
    }

    pub(crate) fn process(&self, boot: BootId) -> Option<&Process> {
        self.processes.get(&boot)
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// What every process announced, to be put in other terms (O5).
    pub(crate) fn facts_mut(&mut self) -> impl Iterator<Item = &mut Facts> {
        self.processes.values_mut().filter_map(|process| process.facts.as_mut())
    }

    /// Notes what a process held before it changed its configuration (O5).
    pub(crate) fn held_before(&mut self, boot: BootId, held: Bits) {
        let process = self.processes.get_mut(&boot);
        if let Some(facts) = process.and_then(|process| process.facts.as_mut()) {
            facts.last_held = held;
        }
    }

    pub(crate) fn timers(&self) -> Timers {
        self.timers
    }

    /// Another process speaks with this node's name and hears this node (W6).
    pub(crate) fn twin(&self, now: Instant) -> bool {
        self.processes.values().any(|p| p.name == self.name && self.lives(now, p.boot))
    }

    /// Whether anybody alive lets this process count; where nobody else is alive,
    /// the one of two processes of this name that hears somebody, else the elder (W6).
    pub(crate) fn is_counted(&self, now: Instant, uptime: Duration) -> bool {
        if self.alive.is_empty() {
            let before_me =
                |p: &&Process| p.name == self.name && (p.header.uptime > uptime || p.hears_peers());
            return !self.processes.values().filter(before_me).any(|p| self.lives(now, p.boot));
        }
        let own = self.own.boot;
        self.live_processes().any(|p| p.hears(own).is_some_and(|heard| heard.counts))
    }

    /// Until when nobody hears this node, as far as it can tell: nobody is alive
    /// to it, but it goes on hearing somebody who was (O6).
    pub(crate) fn mute_until(&self) -> Option<Instant> {
        let others = self.processes.values().filter(|process| process.name != self.name);
        let Timers { stale, interval } = self.timers;
        let until = others.filter_map(|process| process.speaks_past_until(stale, interval)).max();
        until.filter(|_| self.alive.is_empty())
    }

    /// F2: whether this node's clock stood still for longer than `stale`, going by
    /// the uptimes of all who speak. One alone may have a clock that jumps.
    pub(crate) fn clock_stood_still(&self, now: Instant) -> bool {
        let mut speaking = self.live_processes().filter(|process| process.speaks(now)).peekable();
        speaking.peek().is_some() && speaking.all(|process| process.leapt(self.timers.stale))
    }

    /// This node's clock stood still: what it dates to a moment ago may be long
    /// ago. Nobody is alive until it has echoed a frame from here on.
    pub(crate) fn distrust(&mut self) {
        self.own.forget_sent();
        self.alive.clear();
        self.processes.values_mut().for_each(Process::distrust);
    }

    /// When time alone changes something: a peer or a twin stops being alive, a
    /// newcomer takes its elder's place, this node stops being mute.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let timers = self.timers;
        let ends = self.processes.values().flat_map(|process| {
            let end = process.alive_until(timers.stale, timers.interval);
            let newcomer =
                end.is_some_and(|end| end > self.refreshed) && !self.counts(process.boot);
            let elder = self.claims.holder(&process.name).filter(|_| newcomer);
            let elder = elder.and_then(|elder| self.processes.get(&elder));
            let silent = elder.map(|elder| elder.last_credible + 2 * elder.header.interval);
            [end, silent]
        });
        let all = ends.flatten().chain(self.mute_until()).chain(self.patient_until);
        all.filter(|at| *at > self.refreshed).min()
    }

    /// An announcement whose last frame is `last` left: who came to life before
    /// it can answer from now on.
    pub(crate) fn announced_by(&mut self, last: Seq) {
        let new = |process: &&mut Process| process.met == UNANNOUNCED;
        self.processes.values_mut().filter(new).for_each(|process| process.met = last);
    }

    /// Notes a frame of this node as sent; what is older than any proof may be
    /// is forgotten.
    pub(crate) fn sent(&mut self, now: Instant, seq: Seq, fingerprint: [u8; 8]) {
        self.own.sent(now, seq, fingerprint, self.timers.memory());
    }

    /// Changes the ids of keys that peers sign with.
    pub(crate) fn rekey(&mut self, other: impl Fn(KeyId) -> KeyId) {
        self.processes.values_mut().for_each(|process| process.key = other(process.key));
    }

    /// A new life: nobody has echoed the new boot yet (W1, W6).
    pub(crate) fn reboot(&mut self, boot: BootId) {
        self.own = Own::new(boot);
        self.alive.clear();
        for process in self.processes.values_mut() {
            process.proof = None;
            process.echoed = Seq(0);
            process.last_fresh = None;
            process.facts.iter_mut().for_each(Facts::forget_echoes);
        }
    }
}

/// Whether an announcement says that nothing new of `boot` was heard lately: it is
/// not in it, or as one who does not count and was heard on no path.
fn omits(announcement: &Announcement, boot: BootId) -> bool {
    announcement.sections.iter().any(|section| match section {
        Section::Heard { first, last, entries } => {
            let entry = entries.binary_search_by_key(&boot, |entry| entry.boot);
            let heard = entry.is_ok_and(|position| {
                let Heard { paths, counts, .. } = entries[position];
                counts || paths != Paths::default()
            });
            (*first..=*last).contains(&boot) && !heard
        }
        Section::Holding { .. }
        | Section::Refusing { .. }
        | Section::Documents(_)
        | Section::Moves(_)
        | Section::Verdicts(_)
        | Section::Trial(_)
        | Section::Look(_)
        | Section::Sighting(_)
        | Section::CleanUps(_) => false,
    })
}

/// The number of `boot` that an announcement echoes.
fn echo_of(announcement: &Announcement, boot: BootId) -> Option<Seq> {
    announcement.sections.iter().find_map(|section| match section {
        Section::Heard { entries, .. } => {
            let position = entries.binary_search_by_key(&boot, |entry| entry.boot).ok()?;
            Some(entries[position].seq)
        }
        Section::Holding { .. }
        | Section::Refusing { .. }
        | Section::Documents(_)
        | Section::Moves(_)
        | Section::Verdicts(_)
        | Section::Trial(_)
        | Section::Look(_)
        | Section::Sighting(_)
        | Section::CleanUps(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Digest;
    use crate::identity::{Epoch, GroupIndex};
    use crate::wire::announcement::Paths;
    use crate::wire::frame::Header;

    const OWN: BootId = BootId(1);

    pub(super) fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// Frame `seq` of a process that hears this one up to `echo`.
    pub(super) fn frame((name, boot): (&str, u64), seq: u64, echo: u64, stale: Duration) -> Frame {
        let paths = Paths { multicast: true, ..Paths::default() };
        let entry = Heard { boot: OWN, seq: Seq(echo), paths, counts: true };
        let (first, last) = (BootId(0), BootId(u64::MAX));
        let heard = Section::Heard { first, last, entries: vec![entry] };
        let announcement = Announcement {
            state: NodeState::Active,
            reason: NodeReason::None,
            detail: String::new(),
            version: 1,
            digest: Digest::default(),
            sections: vec![heard],
        };
        let header = Header {
            name: name.into(),
            boot: BootId(boot),
            seq: Seq(seq),
            epoch: Epoch(1),
            uptime: Duration::from_millis(seq),
            interval: Duration::from_millis(100),
            stale,
            fence: None,
        };
        let body = Body::Announcement(announcement);
        Frame { header, body, key: KeyId([0; 4]), fingerprint: [0; 8], relayed: false }
    }

    #[test]
    fn what_was_echoed_to_an_earlier_boot_proves_nothing_to_the_next() {
        let from = (SocketAddr::from(([10, 0, 0, 1], 4077)), true);
        let stale = Duration::from_secs(1);
        let own = Timers { interval: Duration::from_millis(100), stale };
        let mut members = Membership::new("a".into(), OWN, own);
        members.sent(at(0), Seq(500), [0; 8]);
        let mut shows = frame(("b", 2), 1, 500, stale);
        if let Body::Announcement(announcement) = &mut shows.body {
            let held = [3].into_iter().collect();
            announcement.sections.push(Section::Holding { first: 0, last: 7, held, told: true });
        }
        members.receive(at(10), &shows, from, true);
        let shown = |members: &Membership| {
            let facts = members.process(BootId(2)).and_then(|process| process.facts.as_ref());
            facts.and_then(|facts| facts.shown(GroupIndex(3)))
        };
        assert_eq!(shown(&members), Some((true, Seq(500))));
        members.reboot(BootId(7));
        assert_eq!(shown(&members), Some((true, Seq(0))));
    }

    #[test]
    fn peers_that_come_to_announce_shorter_times_are_given_time_to_keep_them() {
        let from = (SocketAddr::from(([10, 0, 0, 1], 4077)), true);
        let (long, short) = (Duration::from_secs(5), Duration::from_millis(60));
        let timers = |stale| Timers { interval: Duration::from_millis(100), stale };
        let mut members = Membership::new("a".into(), OWN, timers(long));
        members.sent(at(0), Seq(1), [0; 8]);
        members.receive(at(10), &frame(("b", 2), 1, 1, long), from, true);
        members.refresh(at(10), timers(long));
        assert!(members.live(&"b".into()).is_some());
        // Everybody is reloaded; the last answer is as old as answers have been.
        members.receive(at(400), &frame(("b", 2), 2, 1, short), from, true);
        assert_eq!(members.refresh(at(400), timers(short)), []);
        members.sent(at(5_590), Seq(2), [0; 8]);
        members.receive(at(5_595), &frame(("b", 2), 3, 2, short), from, true);
        assert_eq!(members.refresh(at(5_600), timers(short)), []);
        assert_eq!(members.timers(), timers(short));
        assert!(matches!(members.refresh(at(5_656), timers(short))[..], [Passage::Lost { .. }]));
    }

    #[test]
    fn a_departed_boot_stays_away_when_a_patient_node_makes_stale_longer() {
        let from = (SocketAddr::from(([10, 0, 0, 1], 4077)), true);
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let own = Timers { interval: Duration::from_millis(100), stale: second };
        let mut members = Membership::new("a".into(), OWN, own);
        members.sent(at(0), Seq(1), [0; 8]);
        let first = frame(("b", 2), 1, 1, second);
        assert!(matches!(members.receive(at(10), &first, from, true), Reception::New { .. }));
        members.refresh(at(10), own);
        // Frame 2 is lost, and recorded by somebody.
        let recorded = frame(("b", 2), 2, 1, second);
        let mut goodbye = frame(("b", 2), 3, 1, second);
        if let Body::Announcement(announcement) = &mut goodbye.body {
            announcement.state = NodeState::Leaving;
            announcement.reason = NodeReason::Goodbye;
        }
        let meant = members.receive(at(20), &goodbye, from, true);
        assert!(matches!(meant, Reception::Goodbye { .. }));
        assert_eq!(members.take_leave(at(20), BootId(2)), Some("b".into()));
        members.sent(at(1_500), Seq(2), [0; 8]);
        members.receive(at(1_510), &frame(("c", 3), 1, 2, minute), from, true);
        members.refresh(at(1_510), own);
        members.refresh(at(2_100), own);
        let meant = members.receive(at(2_100), &recorded, from, true);
        assert!(matches!(meant, Reception::Rejected(RejectReason::Burnt)), "{meant:?}");
    }

    /// Frames of `names`, each every 100 ms by both clocks; then each of `ahead`
    /// with an uptime that is a second further on.
    fn leaping(names: &[(&str, u64)], ahead: &[(&str, u64)]) -> Membership {
        let from = (SocketAddr::from(([10, 0, 0, 1], 4077)), true);
        let stale = Duration::from_millis(500);
        let own = Timers { interval: Duration::from_millis(100), stale };
        let mut members = Membership::new("a".into(), OWN, own);
        for tick in 1..=10 {
            members.sent(at(tick * 100), Seq(tick), [0; 8]);
            for (number, who) in names.iter().enumerate() {
                let mut heard = frame(*who, tick, tick, stale);
                heard.header.uptime = Duration::from_millis(tick * 100 + number as u64);
                members.receive(at(tick * 100 + 1), &heard, from, true);
            }
            members.refresh(at(tick * 100 + 1), own);
        }
        for who in ahead {
            let mut heard = frame(*who, 11, 10, stale);
            heard.header.uptime = Duration::from_millis(2_100);
            members.receive(at(1_100), &heard, from, true);
        }
        members.refresh(at(1_100), own);
        members
    }

    #[test]
    fn a_clock_stood_still_if_all_who_speak_gained_on_it() {
        let all = [("b", 2), ("c", 3)];
        assert!(leaping(&all[..1], &all[..1]).clock_stood_still(at(1_100)));
        assert!(leaping(&all, &all).clock_stood_still(at(1_100)));
        assert!(!leaping(&all, &[]).clock_stood_still(at(1_100)));
        let mut members = leaping(&all, &all);
        members.distrust();
        assert!(!members.clock_stood_still(at(1_100)), "it is noticed once");
    }

    #[test]
    fn one_peer_whose_clock_jumps_is_not_believed_against_another() {
        let all = [("b", 2), ("c", 3)];
        let members = leaping(&all, &all[..1]);
        assert!(!members.clock_stood_still(at(1_100)), "c spoke lately and saw nothing");
        assert!(members.clock_stood_still(at(1_200)), "c speaks no more");
    }

    #[test]
    fn another_process_of_a_name_is_not_compared_with_the_one_before() {
        let members = leaping(&[("b", 2)], &[("b", 4)]);
        assert!(!members.clock_stood_still(at(1_100)));
    }
}
