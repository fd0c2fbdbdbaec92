//! What this node took and why, and what the others told of their takes.
//!
//! Listens to the engine's own events and to *moves* sections of fresh frames.
//! It is for people only: nothing is ever decided from it. How entries become
//! one story is the business of [`timeline`](crate::timeline).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::SharedPart;
use crate::event::Event;
use crate::holdings::Holdings;
use crate::identity::{BootId, GroupId, GroupIndex, NodeIndex, NodeName};
use crate::membership::Membership;
use crate::output::Output;
use crate::time::Instant;
use crate::timeline::{self, Belief, Entry, MoveCause, Timeline};
use crate::wire::moves::{MAX_MOVES, MoveReport};

/// Own moves remembered.
const OWN: usize = 64;
/// Moves of others remembered.
const OTHERS: usize = 256;
/// Groups taken for one cause within this time are one move.
const TOGETHER: Duration = Duration::from_secs(1);
/// A move is told for this long after it last changed, or for so many intervals.
const TOLD_FOR: Duration = Duration::from_secs(3);
const TOLD_INTERVALS: u32 = 10;

/// The memory of moves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Chronicle {
    own: VecDeque<Move>,
    others: VecDeque<Entry>,
    /// Nodes found dead that have not come back: when they were last heard, and
    /// when they were found.
    lost: BTreeMap<NodeName, (Option<Instant>, Instant)>,
    /// Who last held each group, by position, this node included.
    last_held: Vec<Option<NodeIndex>>,
    next: u32,
}

/// One of this node's moves, and what is still awaited of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Move {
    entry: Entry,
    changed: Instant,
    /// Some group came up.
    came_up: bool,
    plumbing: Awaited,
    telling: Awaited,
    /// Groups that the former holder still announces.
    leaving: Awaited,
    /// Groups of which it is not known yet whether the neighbours believe it.
    doubtful: Awaited,
}

/// Groups of which something is awaited.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Awaited {
    groups: Bits,
    count: u32,
}

impl Awaited {
    fn add(&mut self, group: GroupIndex) {
        self.count += u32::from(self.groups.set(group.0, true));
    }

    fn contains(&self, group: GroupIndex) -> bool {
        self.groups.contains(group.0)
    }

    /// True when this was the last one.
    fn remove(&mut self, group: GroupIndex) -> bool {
        let was_there = self.groups.set(group.0, false);
        self.count -= u32::from(was_there);
        was_there && self.count == 0
    }
}

/// What an event is understood from.
pub(crate) struct View<'a> {
    pub(crate) now: Instant,
    pub(crate) name: &'a NodeName,
    pub(crate) me: Option<NodeIndex>,
    pub(crate) shared: &'a SharedPart,
    pub(crate) members: &'a Membership,
    pub(crate) holdings: &'a Holdings,
}

impl View<'_> {
    fn live_facts_hold(&self, node: &NodeName, group: GroupIndex) -> bool {
        let facts = self.members.live(node).and_then(|process| process.facts.as_ref());
        let facts = facts.filter(|facts| facts.speaks(self.shared.digest));
        facts.is_some_and(|facts| facts.holding.contains(group.0))
    }

    fn live_facts_refuse(&self, node: &NodeName, group: GroupIndex) -> bool {
        let facts = self.members.live(node).and_then(|process| process.facts.as_ref());
        let facts = facts.filter(|facts| facts.speaks(self.shared.digest));
        facts.is_some_and(|facts| facts.cannot.contains(group.0))
    }

    fn rival(&self, group: GroupIndex) -> Option<NodeName> {
        let others = self.members.live_processes().map(|process| &process.name);
        others.filter(|name| self.live_facts_hold(name, group)).min().cloned()
    }
}

impl Chronicle {
    pub(crate) fn new(shared: &SharedPart) -> Chronicle {
        Chronicle {
            own: VecDeque::new(),
            others: VecDeque::new(),
            lost: BTreeMap::new(),
            last_held: vec![None; shared.groups.len()],
            next: 1,
        }
    }

    /// Positions mean other groups from now on: what was awaited stays open.
    pub(crate) fn configure(&mut self, shared: &SharedPart) {
        self.last_held = vec![None; shared.groups.len()];
        for own in &mut self.own {
            (own.plumbing, own.telling, own.leaving, own.doubtful) = Default::default();
        }
    }

    /// Takes note of what the engine ordered and told in one step.
    pub(crate) fn note<'a>(
        &mut self,
        outputs: impl Iterator<Item = &'a Output> + Clone,
        view: &View<'_>,
    ) {
        for output in outputs.clone() {
            match output {
                Output::Event(event) => self.note_event(event, view),
                Output::Notify { group } => self.note_notified(group, outputs.clone(), view),
                Output::Send(_)
                | Output::Plumb { .. }
                | Output::Unplumb { .. }
                | Output::Renew { .. }
                | Output::Look { .. }
                | Output::Silence { .. }
                | Output::Neighbours { .. }
                | Output::StoreEpoch(_)
                | Output::Remember(_)
                | Output::Ask { .. }
                | Output::CleanUp { .. }
                | Output::Examine { .. }
                | Output::Adopt(_)
                | Output::Keep(_)
                | Output::WantBoot
                | Output::Check { .. }
                | Output::Stopped
                | Output::Restarted => {}
            }
        }
    }

    fn note_event(&mut self, event: &Event, view: &View<'_>) {
        let position = |group: &GroupId| view.holdings.position(group);
        match event {
            Event::PeerLost { node, .. } => {
                let heard = view.members.counted(node).and_then(|process| process.last_fresh);
                self.lost.insert(node.clone(), (heard, view.now));
            }
            Event::PeerUp { node } | Event::PeerRestarted { node } | Event::PeerLeft { node } => {
                self.lost.remove(node);
            }
            Event::Taking { group, from } => {
                if let Some(group) = position(group) {
                    self.taking(group, from.as_ref(), view);
                }
            }
            Event::GroupUp { group, .. } => {
                if let Some(group) = position(group) {
                    self.came_up(group, view.now);
                }
            }
            Event::PlumbFailed { group, .. } | Event::LettingGo { group, .. } => {
                if let Some(group) = position(group) {
                    self.given_up(group, view.now);
                }
            }
            Event::StateChanged { .. }
            | Event::Announced { .. }
            | Event::QuorumLost { .. }
            | Event::QuorumBack { .. }
            | Event::Isolated { .. }
            | Event::IsolationOver { .. }
            | Event::Adopted { .. }
            | Event::Kept { .. }
            | Event::GroupDown { .. }
            | Event::Unavailable { .. }
            | Event::Available { .. }
            | Event::ConfigDiffers { .. }
            | Event::ConfigAdopted { .. }
            | Event::ConfigRefused { .. }
            | Event::ProposalJudged { .. }
            | Event::ProposalEnded { .. }
            | Event::TrialConfirmed { .. }
            | Event::RolledBack { .. }
            | Event::Rejected { .. }
            | Event::Claimed { .. }
            | Event::NodeDown { .. }
            | Event::CleaningUp { .. }
            | Event::CleanedUp { .. }
            | Event::HookEnded { .. }
            | Event::PluginStarted { .. }
            | Event::PluginEnded { .. }
            | Event::OpinionChanged { .. }
            | Event::CheckChanged { .. }
            | Event::Warning { .. } => {}
        }
    }

    fn taking(&mut self, group: GroupIndex, from: Option<&NodeName>, view: &View<'_>) {
        let last = self.last_held.get(group.get()).copied().flatten();
        let last = last.map(|node| &view.shared.nodes[node.get()].name);
        let from = from.or(last).filter(|node| *node != view.name).cloned();
        let (cause, heard, found) = self.cause(group, from.as_ref(), view);
        let own = self.open(cause, from, group, view);
        (own.entry.heard, own.entry.found) = (own.entry.heard.or(heard), own.entry.found.or(found));
        own.plumbing.add(group);
        own.telling.add(group);
        own.doubtful.add(group);
        (own.entry.plumbed, own.entry.announced, own.entry.believed) = (None, None, None);
        if let (Some(slot), Some(me)) = (self.last_held.get_mut(group.get()), view.me) {
            *slot = Some(me);
        }
    }

    fn cause(
        &self,
        group: GroupIndex,
        from: Option<&NodeName>,
        view: &View<'_>,
    ) -> (MoveCause, Option<Instant>, Option<Instant>) {
        let Some(from) = from else { return (MoveCause::Start, None, None) };
        if view.members.live(from).is_some() {
            let refused = view.live_facts_refuse(from, group);
            let cause = if refused { MoveCause::Unavailable } else { MoveCause::Planned };
            return (cause, None, None);
        }
        match self.lost.get(from) {
            Some((heard, found)) => (MoveCause::Death, *heard, Some(*found)),
            None if view.members.left_at(from).is_some() => (MoveCause::Goodbye, None, None),
            None => (MoveCause::Death, None, None),
        }
    }

    /// The move that a group belongs to: one of the same cause that has just
    /// begun, or a new one.
    fn open(
        &mut self,
        cause: MoveCause,
        from: Option<NodeName>,
        group: GroupIndex,
        view: &View<'_>,
    ) -> &mut Move {
        let now = view.now;
        let fits = |own: &Move| {
            let same = own.entry.cause == cause && own.entry.from == from;
            same && now.since(own.entry.decided) <= TOGETHER
        };
        let index = match self.own.iter().rposition(fits) {
            Some(index) => index,
            None => {
                if self.own.len() == OWN {
                    self.own.pop_front();
                }
                let first = view.shared.groups.get(group.get()).map(|group| group.id.clone());
                self.own.push_back(Move::new(self.next, (cause, from.clone(), first), view));
                self.next = self.next.wrapping_add(1);
                self.own.len() - 1
            }
        };
        let own = &mut self.own[index];
        own.entry.groups += 1;
        own.changed = now;
        if from.is_some_and(|from| view.live_facts_hold(&from, group)) {
            own.leaving.add(group);
            own.entry.released = None;
        }
        own
    }

    fn came_up(&mut self, group: GroupIndex, now: Instant) {
        let Some(own) = self.own.iter_mut().rfind(|own| own.plumbing.contains(group)) else {
            return;
        };
        own.came_up = true;
        own.changed = now;
        if own.plumbing.remove(group) {
            own.entry.plumbed = Some(now);
        }
    }

    /// The neighbours were told of a group for the first time.
    pub(crate) fn told(&mut self, group: GroupIndex, now: Instant) {
        let Some(own) = self.own.iter_mut().rfind(|own| own.telling.contains(group)) else {
            return;
        };
        own.changed = now;
        if own.telling.remove(group) {
            own.entry.announced = Some(now);
        }
    }

    /// It has come out whether the neighbours believe that a group is here.
    pub(crate) fn believed(&mut self, group: GroupIndex, belief: Belief, now: Instant) {
        let Some(own) = self.own.iter_mut().rfind(|own| own.doubtful.contains(group)) else {
            return;
        };
        own.changed = now;
        own.entry.belief = own.entry.belief.worse(belief);
        if own.doubtful.remove(group) && own.entry.belief.of > 0 {
            own.entry.believed = Some(now);
        }
    }

    /// A group did not come up, or is let go before it did: it is no longer
    /// waited for.
    fn given_up(&mut self, group: GroupIndex, now: Instant) {
        for own in &mut self.own {
            if own.plumbing.remove(group) && own.came_up {
                own.entry.plumbed = Some(now);
                own.changed = now;
            }
            if own.telling.remove(group) && own.came_up {
                own.entry.announced = Some(now);
                own.changed = now;
            }
            if own.doubtful.remove(group) && own.entry.belief.of > 0 {
                own.entry.believed = Some(now);
                own.changed = now;
            }
        }
    }

    /// A group that did not just come up is announced anew: if somebody else
    /// shows it held, this node has met a rival and keeps it (O9).
    fn note_notified<'a>(
        &mut self,
        id: &GroupId,
        mut outputs: impl Iterator<Item = &'a Output>,
        view: &View<'_>,
    ) {
        let Some(group) = view.holdings.position(id) else { return };
        let Some(rival) = view.rival(group) else { return };
        let came_up = outputs.any(
            |output| matches!(output, Output::Event(Event::GroupUp { group, .. }) if group == id),
        );
        let known = self
            .own
            .iter()
            .any(|own| own.leaving.contains(group) && own.entry.from.as_ref() == Some(&rival));
        if came_up || known {
            return;
        }
        let now = view.now;
        let own = self.open(MoveCause::Rival, Some(rival), group, view);
        own.came_up = true;
        own.entry.plumbed = Some(now);
        own.telling.add(group);
        own.doubtful.add(group);
        (own.entry.announced, own.entry.believed) = (None, None);
    }

    /// A fresh frame of `node` changed what it holds: `shows` tells what it
    /// shows now.
    pub(crate) fn peer_changed(
        &mut self,
        now: Instant,
        node: (NodeIndex, &NodeName),
        groups: &[GroupIndex],
        shows: &Bits,
    ) {
        for group in groups {
            if shows.contains(group.0) {
                if let Some(slot) = self.last_held.get_mut(group.get()) {
                    *slot = Some(node.0);
                }
                continue;
            }
            for own in self.own.iter_mut().filter(|own| own.entry.from.as_ref() == Some(node.1)) {
                if own.leaving.remove(*group) {
                    own.entry.released = Some(now);
                    own.changed = now;
                }
            }
        }
    }

    /// What to tell the others now, newest last.
    pub(crate) fn reports(
        &self,
        now: Instant,
        interval: Duration,
        shared: &SharedPart,
        holdings: &Holdings,
    ) -> Vec<MoveReport> {
        let span = TOLD_FOR.max(TOLD_INTERVALS * interval);
        let recent = self.own.iter().rev().take(MAX_MOVES);
        let recent = recent.filter(|own| now.since(own.changed) <= span);
        let mut reports: Vec<MoveReport> =
            recent.map(|own| report(now, &own.entry, shared, holdings)).collect();
        reports.reverse();
        reports
    }

    /// Keeps what the process `boot` of `node` told in a fresh frame that came
    /// at `now`.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        (node, boot): (&NodeName, BootId),
        reports: &[MoveReport],
        shared: Option<&SharedPart>,
    ) {
        for report in reports {
            let entry = understand(now, (node, boot), report, shared);
            let known = self.others.iter_mut().rfind(|o| (o.boot, o.id) == (boot, report.id));
            match known {
                Some(known) => refine(known, entry),
                None => {
                    if self.others.len() == OTHERS {
                        self.others.pop_front();
                    }
                    self.others.push_back(entry);
                }
            }
        }
    }

    /// Everything that is known, as one story.
    pub(crate) fn timeline(&self, now: Instant, name: &NodeName, stale: Duration) -> Timeline {
        let entries = self.own.iter().map(|own| &own.entry).chain(&self.others);
        let failovers = timeline::weave(now, stale, entries);
        Timeline { identity: name.clone(), unix_ms: None, failovers }
    }
}

impl Move {
    fn new(
        id: u32,
        (cause, from, first): (MoveCause, Option<NodeName>, Option<GroupId>),
        view: &View<'_>,
    ) -> Move {
        let entry = Entry {
            node: view.name.clone(),
            boot: view.members.own.boot,
            id,
            cause,
            from,
            groups: 0,
            first,
            heard: None,
            found: None,
            decided: view.now,
            plumbed: None,
            announced: None,
            released: None,
            believed: None,
            belief: Belief::default(),
        };
        Move {
            entry,
            changed: view.now,
            came_up: false,
            plumbing: Awaited::default(),
            telling: Awaited::default(),
            leaving: Awaited::default(),
            doubtful: Awaited::default(),
        }
    }
}

fn report(now: Instant, entry: &Entry, shared: &SharedPart, holdings: &Holdings) -> MoveReport {
    let age = |at: Option<Instant>| at.map(|at| now.since(at));
    MoveReport {
        id: entry.id,
        cause: entry.cause,
        from: entry.from.as_ref().and_then(|from| shared.node_index(from)),
        groups: entry.groups,
        first: entry.first.as_ref().and_then(|first| holdings.position(first)),
        heard: age(entry.heard),
        found: age(entry.found),
        decided: now.since(entry.decided),
        plumbed: age(entry.plumbed),
        announced: age(entry.announced),
        released: age(entry.released),
        believed: age(entry.believed),
        belief: entry.belief,
    }
}

/// `shared` is the configuration that positions belong to, if it is known here.
fn understand(
    now: Instant,
    (node, boot): (&NodeName, BootId),
    report: &MoveReport,
    shared: Option<&SharedPart>,
) -> Entry {
    let at = |age: Option<Duration>| age.map(|age| now - age);
    let from = report.from.zip(shared).and_then(|(from, shared)| shared.nodes.get(from.get()));
    let first = report.first.zip(shared).and_then(|(first, s)| s.groups.get(first.get()));
    Entry {
        node: node.clone(),
        boot,
        id: report.id,
        cause: report.cause,
        from: from.map(|node| node.name.clone()),
        groups: report.groups,
        first: first.map(|group| group.id.clone()),
        heard: at(report.heard),
        found: at(report.found),
        decided: now - report.decided,
        plumbed: at(report.plumbed),
        announced: at(report.announced),
        released: at(report.released),
        believed: at(report.believed),
        belief: report.belief,
    }
}

/// The frame that was fastest tells best when something was.
fn refine(known: &mut Entry, again: Entry) {
    let better = |known: Option<Instant>, again: Option<Instant>| match (known, again) {
        (Some(known), Some(again)) => Some(known.min(again)),
        // It was taken back: more groups joined the move.
        (_, again) => again,
    };
    // A phase that was reached again, later, is not the same moment.
    let same = known.groups == again.groups;
    let phase = |known: Option<Instant>, next: Option<Instant>| {
        if same { better(known, next) } else { next }
    };
    *known = Entry {
        from: again.from.or(known.from.take()),
        first: again.first.or(known.first.take()),
        heard: better(known.heard, again.heard),
        found: better(known.found, again.found),
        decided: known.decided.min(again.decided),
        plumbed: phase(known.plumbed, again.plumbed),
        announced: phase(known.announced, again.announced),
        released: phase(known.released, again.released),
        believed: phase(known.believed, again.believed),
        ..again
    };
}
