//! Forwarding between nodes that do not hear each other (W2).

use std::time::Duration;

use crate::identity::{BootId, NodeName};
use crate::membership::Membership;
use crate::membership::process::Process;
use crate::time::Instant;

/// Most frames forwarded in a second.
const BUDGET: u32 = 2000;
/// How many nodes forward a frame: one may be lost.
const FORWARDERS: usize = 2;

/// The forwarding duty of this node, and its budget.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    window: Instant,
    spent: u32,
    pub(crate) total: u64,
}

impl Relay {
    pub(crate) fn new() -> Relay {
        Relay { window: Instant::ZERO, spent: 0, total: 0 }
    }

    /// Whether one more frame may be forwarded now.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
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

/// The boots of live peers to whom this node should forward a new frame of
/// `speaker`. `order` gives a node's place in the configuration.
pub(crate) fn listeners(
    now: Instant,
    members: &Membership,
    own_name: &NodeName,
    speaker: BootId,
    order: impl Fn(&NodeName) -> usize,
) -> Vec<BootId> {
    let Some(speaker) = members.live_processes().find(|process| process.boot == speaker) else {
        return Vec::new();
    };
    members
        .live_processes()
        .filter(|listener| listener.boot != speaker.boot && listener.paths(now).direct())
        .filter(|listener| needs(now, speaker, listener))
        .filter(|listener| on_duty(now, members, own_name, (speaker, listener), &order))
        .map(|listener| listener.boot)
        .collect()
}

/// The listener does not hear the speaker directly, or misses frames of it.
fn needs(now: Instant, speaker: &Process, listener: &Process) -> bool {
    listener.hears(speaker.boot).is_none_or(|heard| {
        !heard.paths.direct() || speaker.lag(now, heard.seq) > speaker.header.interval * 3 / 2
    })
}

/// This node is one of the first two that hear the listener directly and the
/// speaker somehow, those that hear both directly before the others.
fn on_duty(
    now: Instant,
    members: &Membership,
    own_name: &NodeName,
    pair: (&Process, &Process),
    order: &impl Fn(&NodeName) -> usize,
) -> bool {
    let (speaker, listener) = pair;
    let mine = (!speaker.paths(now).direct(), order(own_name));
    let before_me = members
        .live_processes()
        .filter(|other| other.boot != speaker.boot && other.boot != listener.boot)
        .filter_map(|other| {
            let (a, b) = (other.hears(speaker.boot)?, other.hears(listener.boot)?);
            // Who hears the listener through others only forwards nothing to it.
            b.paths.direct().then(|| (!a.paths.direct(), order(&other.name)))
        })
        .filter(|theirs| *theirs < mine);
    before_me.count() < FORWARDERS
}
