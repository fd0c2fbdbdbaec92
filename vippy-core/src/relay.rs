//! Forwarding between nodes that do not hear each other (W2).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::SharedPart;
use crate::identity::{BootId, NodeIndex, NodeName, Seq};
use crate::membership::Membership;
use crate::membership::process::Process;
use crate::time::Instant;

/// Most frames forwarded in a second.
const BUDGET: u32 = 2000;
/// How many nodes forward a frame: one may be lost.
const FORWARDERS: usize = 2;
/// How often what concerns processes that are gone is forgotten.
const TIDYING: Duration = Duration::from_secs(1);

/// The forwarding duty of this node, and its budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Relay {
    window: Instant,
    spent: u32,
    /// The newest frame of every live peer.
    latest: BTreeMap<BootId, (Seq, Arc<[u8]>)>,
    /// What was last forwarded, by (listener, speaker).
    #[serde(with = "crate::recorder::pairs")]
    forwarded: BTreeMap<(BootId, BootId), Seq>,
    tidied: Instant,
    /// Frames forwarded since start.
    pub(crate) total: u64,
}

/// A frame to forward.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    pub(crate) to: SocketAddr,
    /// The frame as it was received.
    pub(crate) frame: Arc<[u8]>,
}

impl Relay {
    pub(crate) fn new() -> Relay {
        Relay {
            window: Instant::ZERO,
            spent: 0,
            latest: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            tidied: Instant::ZERO,
            total: 0,
        }
    }

    /// What follows from a new fresh frame of `boot`: it goes on to those who
    /// may not have heard it, and its sender gets what it shows to be missing.
    /// `order` gives a node's place in the configuration.
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        (boot, frame): (BootId, &[u8]),
        members: &Membership,
        duty: &Duty<'_>,
    ) -> Vec<Forward> {
        let Some(peer) = members.live_processes().find(|process| process.boot == boot) else {
            return Vec::new();
        };
        self.tidy(now, members);
        self.latest.insert(boot, (peer.highest, frame.into()));
        let others = members.live_processes().filter(|other| other.boot != boot);
        let pairs = others.flat_map(|other| [(peer, other), (other, peer)]);
        pairs.filter_map(|pair| self.forward(now, members, pair, duty)).collect()
    }

    fn tidy(&mut self, now: Instant, members: &Membership) {
        if now.since(self.tidied) < TIDYING {
            return;
        }
        self.tidied = now;
        let is_there = |boot: &BootId| members.process(*boot).is_some();
        self.latest.retain(|boot, _| is_there(boot));
        self.forwarded.retain(|(to, of), _| is_there(to) && is_there(of));
    }

    /// The newest frame of a speaker for a listener that needs it.
    fn forward(
        &mut self,
        now: Instant,
        members: &Membership,
        (speaker, listener): (&Process, &Process),
        duty: &Duty<'_>,
    ) -> Option<Forward> {
        if !listener.paths(now).direct() || !needs(now, speaker, listener) {
            return None;
        }
        let to = listener.source?;
        let (seq, frame) = self.latest.get(&speaker.boot)?.clone();
        let last = self.forwarded.get(&(listener.boot, speaker.boot)).copied();
        let new = last.is_none_or(|last| last < seq);
        if !new || !on_duty(now, members, duty, (speaker, listener)) || !self.spend(now) {
            return None;
        }
        self.forwarded.insert((listener.boot, speaker.boot), seq);
        Some(Forward { to, frame })
    }

    /// Changes the frames remembered.
    pub(crate) fn resign(&mut self, other: impl Fn(&[u8]) -> Arc<[u8]>) {
        self.latest.values_mut().for_each(|(_, frame)| *frame = other(frame));
    }

    /// Whether one more frame may be forwarded now.
    fn spend(&mut self, now: Instant) -> bool {
        if now.since(self.window) >= Duration::from_secs(1) {
            self.window = now;
            self.spent = 0;
        }
        let allowed = self.spent < BUDGET;
        self.spent += u32::from(allowed);
        self.total += u64::from(allowed);
        allowed
    }
}

/// Who forwards: this node's name, and every node's place in the configuration.
pub(crate) struct Duty<'a> {
    pub(crate) own_name: &'a NodeName,
    pub(crate) shared: &'a SharedPart,
}

impl Duty<'_> {
    fn place(&self, name: &NodeName) -> usize {
        self.shared.node_index(name).map_or(usize::MAX, NodeIndex::get)
    }
}

/// The listener does not hear the speaker directly, or misses frames of it.
fn needs(now: Instant, speaker: &Process, listener: &Process) -> bool {
    listener.hears(speaker.boot).is_none_or(|heard| {
        !heard.paths.direct() || speaker.lag(now, heard.seq) > speaker.header.interval * 3 / 2
    })
}

/// This node is one of the first two of those that hear the listener directly:
/// whoever has the fewest steps from the speaker, then in configuration order.
fn on_duty(
    now: Instant,
    members: &Membership,
    duty: &Duty<'_>,
    (speaker, listener): (&Process, &Process),
) -> bool {
    let forwards = |other: &&Process| {
        other.boot != speaker.boot
            && other.boot != listener.boot
            && other.hears(speaker.boot).is_some()
            && other.hears_directly(listener.boot)
    };
    if speaker.paths(now).direct() {
        let nodes = duty.shared.nodes.iter().map(|node| &node.name);
        let seniors = nodes.take_while(|name| *name != duty.own_name);
        let seniors = seniors.filter_map(|name| members.live(name)).filter(forwards);
        let as_near = seniors.filter(|other| other.hears_directly(speaker.boot));
        return as_near.take(FORWARDERS).count() < FORWARDERS;
    }
    let steps = steps_from(now, members, speaker.boot);
    let rank = |boot: BootId, name: &NodeName| {
        (steps.get(&boot).copied().unwrap_or(usize::MAX), duty.place(name))
    };
    let mine = rank(members.own.boot, duty.own_name);
    let others = members.live_processes().filter(forwards);
    let before_me = others.filter(|other| rank(other.boot, &other.name) < mine);
    before_me.take(FORWARDERS).count() < FORWARDERS
}

/// How many direct steps a frame of the speaker needs to each node, by the
/// who-hears-whom matrix. Nodes of one far segment must not leave the forwarding
/// to each other: they all wait for the node that connects them.
fn steps_from(now: Instant, members: &Membership, speaker: BootId) -> BTreeMap<BootId, usize> {
    let own = members.own.boot;
    let hears = |listener: BootId, other: BootId| {
        if listener == own {
            return members.process(other).is_some_and(|peer| peer.paths(now).direct());
        }
        members.process(listener).is_some_and(|peer| peer.hears_directly(other))
    };
    let nodes: Vec<BootId> =
        members.live_processes().map(|peer| peer.boot).chain(std::iter::once(own)).collect();
    let mut steps = BTreeMap::from([(speaker, 0)]);
    let mut edge = vec![speaker];
    while !edge.is_empty() {
        let reached = |node: &BootId| edge.iter().any(|from| hears(*node, *from));
        let next: Vec<BootId> =
            nodes.iter().copied().filter(|n| !steps.contains_key(n) && reached(n)).collect();
        let distance = steps.values().max().map_or(1, |farthest| farthest + 1);
        steps.extend(next.iter().map(|node| (*node, distance)));
        edge = next;
    }
    steps
}
