//! May I hold? What forbids this node to hold anything at all, or to take more
//! than it has: nobody hears it (O6), it lacks a quorum, or it is cut off (O7).
//!
//! Judges from who is alive and from the evidence of an
//! [`inquiry`](crate::inquiry). What follows (letting go, booting again,
//! announcing) is carried out by the engine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::SharedPart;
use crate::event::Event;
use crate::identity::NodeName;
use crate::inquiry::{Evidence, Inquiry, Rhythm};
use crate::membership::Membership;
use crate::output::Output;
use crate::status::{InquiryStatus, NodeReason, QuorumStatus};
use crate::time::{Instant, earliest};

/// What this node may do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Authority {
    started: Instant,
    bar: Option<Bar>,
    contact: Contact,
    quorum: Quorum,
    inquiry: Option<Inquiry>,
    /// When the last peer was given up, while none is back.
    lost_at: Option<Instant>,
    wake_at: Option<Instant>,
}

/// What forbids this node to hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Bar {
    Mute,
    NoQuorum,
    CutOff,
}

/// Live nodes, this one included, and how many it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Quorum {
    present: u16,
    needed: Option<u16>,
}

impl Quorum {
    fn is_there(self) -> bool {
        self.needed.is_none_or(|needed| self.present >= needed)
    }
}

/// Whether this node is in touch with anybody (O7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Contact {
    /// It is, or nothing speaks against it.
    Sure,
    /// No peer is left, and no set witness has answered yet.
    Unsure,
    /// No peer is left, and no set witness answers: nothing may be held.
    CutOff,
    /// No peer is left, and none of several neighbours answers: nothing is taken,
    /// until `isolation` is over.
    Isolated { since: Instant },
    /// That is over: it takes part after all.
    Overdue,
    /// Nothing is heard, but there are too few neighbours to tell the death of
    /// the peers from deafness: it takes part, and says how it is.
    Alone,
}

impl Contact {
    /// What others must not rely on, because it hears nobody.
    fn hears_nobody(self) -> bool {
        match self {
            Contact::Sure | Contact::Unsure => false,
            Contact::CutOff | Contact::Isolated { .. } | Contact::Overdue | Contact::Alone => true,
        }
    }

    /// Everything held is kept, although others may take it.
    fn keeps(self) -> bool {
        self.hears_nobody() && self != Contact::CutOff
    }

    fn may_take(self) -> bool {
        match self {
            Contact::Sure | Contact::Overdue | Contact::Alone => true,
            Contact::Unsure | Contact::CutOff | Contact::Isolated { .. } => false,
        }
    }
}

/// Everything that decides, at one moment.
pub(crate) struct Scene<'a> {
    pub(crate) members: &'a Membership,
    pub(crate) shared: &'a SharedPart,
    pub(crate) name: &'a NodeName,
    /// This node's own interval.
    pub(crate) interval: Duration,
}

impl Scene<'_> {
    fn rhythm(&self) -> Rhythm {
        Rhythm { interval: self.interval, stale: self.members.timers().stale }
    }

    fn others(&self) -> impl Iterator<Item = &NodeName> {
        self.shared.nodes.iter().map(|node| &node.name).filter(|name| *name != self.name)
    }

    /// Since when everybody whom this node could hear has missed an interval, or
    /// will have; `None` while there is nobody to miss. Who said goodbye is not
    /// missed; who was never heard is missed by those who have a witness to ask.
    fn missing_from(&self) -> Option<Instant> {
        let counted = self.others().filter_map(|name| self.members.counted(name));
        let missed = counted.map(|process| process.missed_at(self.interval)).max();
        let unheard = || self.others().any(|name| self.members.left_at(name).is_none());
        missed.or_else(|| (!self.shared.witness.is_empty() && unheard()).then_some(Instant::ZERO))
    }

    fn quorum(&self) -> Quorum {
        let alive = self.others().filter(|name| self.members.live(name).is_some()).count();
        let own = usize::from(self.shared.node_index(self.name).is_some());
        let present = u16::try_from(alive + own).unwrap_or(u16::MAX);
        Quorum { present, needed: self.shared.quorum }
    }
}

/// About what the neighbours are told nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hush {
    /// Everything: somebody else may be about to take it.
    All,
    /// What they know already.
    Repetitions,
}

/// What follows from a change of authority.
#[derive(Debug, Default)]
pub(crate) struct Finding {
    /// Requests and events, in order.
    pub(crate) orders: Vec<Output>,
    /// What is allowed, or announced, changed.
    pub(crate) changed: bool,
    /// Everything must go, for this reason.
    pub(crate) drop: Option<&'static str>,
    /// The node boots again, for this reason.
    pub(crate) boot: Option<NodeReason>,
    /// The neighbours are told nothing more of what is held.
    pub(crate) hush: Option<Hush>,
    /// The neighbours are told anew of what is held.
    pub(crate) tell: bool,
}

impl Authority {
    pub(crate) fn new(now: Instant) -> Authority {
        Authority {
            started: now,
            bar: None,
            contact: Contact::Sure,
            quorum: Quorum { present: 0, needed: None },
            inquiry: None,
            lost_at: None,
            wake_at: None,
        }
    }

    pub(crate) fn asked(&mut self, targets: usize) {
        self.inquiry.iter_mut().for_each(|inquiry| inquiry.asked(targets));
    }

    /// An address has answered; set witnesses speak only for themselves.
    pub(crate) fn answered(&mut self, now: Instant, from: IpAddr, witnesses: &[IpAddr]) {
        if witnesses.is_empty() || witnesses.contains(&from) {
            self.inquiry.iter_mut().for_each(|inquiry| inquiry.answered(now, from));
        }
    }

    pub(crate) fn arrived(&mut self, now: Instant) {
        self.inquiry.iter_mut().for_each(|inquiry| inquiry.arrived(now));
    }

    /// Judges anew.
    pub(crate) fn settle(&mut self, now: Instant, scene: &Scene<'_>) -> Finding {
        let mut finding = Finding::default();
        self.quorum = scene.quorum();
        let missing_from = scene.missing_from();
        self.inquire(now, missing_from, scene, &mut finding);
        self.settle_contact(now, scene, &mut finding);
        self.settle_bar(now, scene, &mut finding);
        let isolation = match self.contact {
            Contact::Isolated { since } => Some(since + scene.shared.isolation),
            Contact::Sure
            | Contact::Unsure
            | Contact::CutOff
            | Contact::Overdue
            | Contact::Alone => None,
        };
        let inquiry = self.inquiry.as_ref().and_then(|inquiry| inquiry.next_deadline(now));
        let later = [missing_from, isolation, Some(self.excused_until(scene))];
        let later = later.into_iter().filter(|at| at.is_some_and(|at| at > now));
        self.wake_at = later.fold(inquiry, earliest);
        finding
    }

    /// Asks while everybody is missing.
    fn inquire(
        &mut self,
        now: Instant,
        missing_from: Option<Instant>,
        scene: &Scene<'_>,
        finding: &mut Finding,
    ) {
        if missing_from.is_none_or(|from| now < from) {
            self.inquiry = None;
            self.lost_at = None;
            return;
        }
        let nobody = scene.members.live_processes().next().is_none();
        self.lost_at = nobody.then(|| self.lost_at.unwrap_or(now));
        let witnesses = &scene.shared.witness;
        let rhythm = scene.rhythm();
        let set = !witnesses.is_empty();
        let new = || Inquiry::new(now, set, rhythm);
        self.inquiry.take_if(|inquiry| inquiry.is_set() != set);
        if self.inquiry.get_or_insert_with(new).ask(now, self.lost_at, rhythm) {
            finding.orders.push(Output::Ask { witnesses: witnesses.clone() });
        }
    }

    fn settle_contact(&mut self, now: Instant, scene: &Scene<'_>, finding: &mut Finding) {
        let before = self.contact;
        self.contact = self.judge_contact(now, scene);
        if self.contact == before {
            return;
        }
        finding.changed = true;
        // Should this node be deaf, whoever takes its groups next must not be
        // contradicted. What it has just taken itself must become known once.
        finding.hush = (self.contact == Contact::Alone).then_some(Hush::Repetitions);
        let asked = self.asked_count();
        let event = match (before, self.contact) {
            (_, Contact::Isolated { .. }) => {
                finding.hush = Some(Hush::All);
                Some(Event::Isolated { asked, lets_go: false })
            }
            (Contact::Isolated { .. }, now) => {
                Some(Event::IsolationOver { heard: now != Contact::Overdue })
            }
            (
                Contact::Sure
                | Contact::Unsure
                | Contact::CutOff
                | Contact::Overdue
                | Contact::Alone,
                _,
            ) => None,
        };
        finding.orders.extend(event.map(Output::Event));
        // Others may have held its groups meanwhile, and told everybody so.
        finding.tell = before.keeps() && finding.hush.is_none();
    }

    fn judge_contact(&self, now: Instant, scene: &Scene<'_>) -> Contact {
        let (Some(_), Some(inquiry)) = (self.lost_at, &self.inquiry) else { return Contact::Sure };
        let set = !scene.shared.witness.is_empty();
        match (inquiry.evidence(now), self.contact) {
            (Evidence::Contact, _) => Contact::Sure,
            (Evidence::Pending, Contact::Sure | Contact::Unsure) => {
                if set {
                    Contact::Unsure
                } else {
                    Contact::Sure
                }
            }
            (Evidence::Pending, undecided) => undecided,
            (Evidence::TooFew, _) => Contact::Alone,
            (Evidence::Silence, _) if set => Contact::CutOff,
            (Evidence::Silence, Contact::Overdue) => Contact::Overdue,
            (Evidence::Silence, Contact::Isolated { since }) => {
                let over = now >= since + scene.shared.isolation;
                if over { Contact::Overdue } else { Contact::Isolated { since } }
            }
            (
                Evidence::Silence,
                Contact::Sure | Contact::Unsure | Contact::CutOff | Contact::Alone,
            ) => Contact::Isolated { since: now },
        }
    }

    fn settle_bar(&mut self, now: Instant, scene: &Scene<'_>, finding: &mut Finding) {
        let bar = self.judge_bar(now, scene);
        let before = std::mem::replace(&mut self.bar, bar);
        if before == bar {
            return;
        }
        finding.changed = true;
        self.tell_bar(before, finding);
        match (before, bar) {
            (None, Some(bar)) => finding.drop = Some(bar.why()),
            (Some(bar), None) => finding.boot = Some(bar.reason()),
            (Some(_) | None, _) => {}
        }
    }

    fn judge_bar(&self, now: Instant, scene: &Scene<'_>) -> Option<Bar> {
        if scene.members.mute_until().is_some_and(|until| now < until) {
            return Some(Bar::Mute);
        }
        // A process that has just started may be the next one of a node that never
        // stopped having a quorum: it keeps what it found while peers answer.
        if now < self.excused_until(scene) {
            return None;
        }
        if !self.quorum.is_there() {
            return Some(Bar::NoQuorum);
        }
        (self.contact == Contact::CutOff).then_some(Bar::CutOff)
    }

    fn excused_until(&self, scene: &Scene<'_>) -> Instant {
        self.started + scene.rhythm().stale
    }

    fn tell_bar(&self, before: Option<Bar>, finding: &mut Finding) {
        let mut event = |event| finding.orders.push(Output::Event(event));
        let Quorum { present, needed } = self.quorum;
        let needed = needed.unwrap_or_default();
        match before {
            Some(Bar::NoQuorum) => event(Event::QuorumBack { present, needed }),
            Some(Bar::CutOff) => event(Event::IsolationOver { heard: true }),
            Some(Bar::Mute) | None => {}
        }
        match self.bar {
            Some(Bar::NoQuorum) => event(Event::QuorumLost { present, needed }),
            Some(Bar::CutOff) => {
                event(Event::Isolated { asked: self.asked_count(), lets_go: true })
            }
            Some(Bar::Mute) | None => {}
        }
    }

    /// This node may hold nothing.
    pub(crate) fn is_barred(&self) -> bool {
        self.bar.is_some()
    }

    /// It may take what it does not hold.
    pub(crate) fn may_take(&self) -> bool {
        !self.is_barred() && self.contact.may_take() && self.quorum.is_there()
    }

    /// Why nothing may be held, for peers and for people.
    pub(crate) fn barred(&self) -> Option<(NodeReason, String)> {
        let bar = self.bar?;
        let detail = match (bar, self.quorum) {
            (Bar::NoQuorum, Quorum { present, needed: Some(needed) }) => {
                format!("{present} of the {needed} nodes that quorum needs")
            }
            (Bar::CutOff, _) => match self.asked_count() {
                0 => "no peer is heard and no witness could be asked".into(),
                1 => "no peer is heard and the witness does not answer".into(),
                many => format!("no peer is heard and none of {many} witnesses answers"),
            },
            (Bar::Mute | Bar::NoQuorum, _) => bar.why().into(),
        };
        Some((bar.reason(), detail))
    }

    /// What is announced of a node that takes part although it hears nobody.
    pub(crate) fn isolation(&self) -> Option<String> {
        self.contact.hears_nobody().then(|| match self.contact {
            Contact::Alone => "no peer and no neighbour is heard; takes part".into(),
            Contact::Overdue => "isolated for long; takes part after all".into(),
            Contact::Sure | Contact::Unsure | Contact::CutOff | Contact::Isolated { .. } => {
                let asked = self.asked_count();
                format!("no peer is heard and none of {asked} neighbours answers; takes nothing")
            }
        })
    }

    fn asked_count(&self) -> u32 {
        let asked = self.inquiry.as_ref().map(Inquiry::targets).unwrap_or_default();
        u32::try_from(asked).unwrap_or(u32::MAX)
    }

    pub(crate) fn quorum_status(&self) -> QuorumStatus {
        QuorumStatus { present: self.quorum.present, needed: self.quorum.needed }
    }

    pub(crate) fn inquiry_status(&self, now: Instant) -> InquiryStatus {
        let Some(inquiry) = &self.inquiry else { return InquiryStatus::default() };
        let age = |at: Instant| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        let answered: BTreeMap<IpAddr, u64> =
            inquiry.answers().map(|(from, at)| (from, age(at))).collect();
        InquiryStatus { asked: Some(self.asked_count()), answered }
    }

    /// When time alone may change something.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.wake_at
    }
}

impl Bar {
    fn reason(self) -> NodeReason {
        match self {
            Bar::Mute => NodeReason::Mute,
            Bar::NoQuorum => NodeReason::NoQuorum,
            Bar::CutOff => NodeReason::Isolated,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Bar::Mute => "nobody hears this node",
            Bar::NoQuorum => "too few nodes are left for a quorum",
            Bar::CutOff => "this node is cut off: no peer is heard and no witness answers",
        }
    }
}
