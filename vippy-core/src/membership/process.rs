//! One life of one node, as heard here.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Digest;
use crate::group::UNANNOUNCED;
use crate::identity::{BootId, NodeName, Seq};
use crate::membership::facts::Facts;
use crate::membership::lead::Lead;
use crate::status::NodeReason;
use crate::time::Instant;
use crate::wire::announcement::{Heard, Paths};
use crate::wire::auth::KeyId;
use crate::wire::frame::{Body, Frame, Header};

/// Numbers remembered with their time of arrival: enough for one and a half
/// intervals of announcements that are merged to 20 an interval, twice over.
const HISTORY: usize = 64;

/// What is known of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) name: NodeName,
    pub(crate) boot: BootId,
    pub(crate) first_heard: Instant,
    pub(crate) last_heard: Instant,
    /// When an old number of it was last heard while it was silent.
    repeated: Option<Instant>,
    pub(crate) highest: Seq,
    /// What its newest frame said of itself.
    pub(crate) header: Header,
    pub(crate) key: KeyId,
    /// When this node sent the highest of its own numbers that the process has
    /// echoed (W1).
    pub(crate) proof: Option<Instant>,
    /// That number.
    pub(crate) echoed: Seq,
    pub(crate) last_fresh: Option<Instant>,
    /// It no longer echoes this node, and its proof is stale: it is deaf to this
    /// node, and waiting longer would prove nothing (W1).
    pub(crate) deaf: bool,
    /// This node's first frame since it last came to life; what it announces in
    /// answer to that was said by one who has met this node (O9).
    pub(crate) met: Seq,
    /// An uptime it had reached by then: it was sent no later, so it is at least
    /// that much older now.
    clocked: (Instant, Duration),
    lead: Lead,
    /// When a frame came that cannot have been made long before, judged by its
    /// uptime: one that was lost once and is delivered late by somebody else
    /// shows nothing about the present.
    pub(crate) last_credible: Instant,
    /// The newest of them said that its sender hears nobody and stopped to be of
    /// use ([`NodeReason::Isolated`], [`NodeReason::NoQuorum`]), and did not come
    /// in answer to this node. The one thing that an unproven frame may tell: its
    /// sender counts as lost at once, and does not make this node mute (O6). It
    /// bears a number above all others heard and an uptime of the present, so an
    /// attacker can only have held it back, together with everything its sender
    /// said since: with that much power it could as well keep the two apart.
    given_up: bool,
    /// When the first of them came, without a silence of more than `stale` since.
    speaking_since: Instant,
    /// Source of its newest fresh frame that nobody forwarded (W2).
    pub(crate) source: Option<SocketAddr>,
    /// What its fresh announcements said.
    pub(crate) facts: Option<Facts>,
    /// When this node last echoed it; claimants take turns by it (W1).
    pub(crate) last_echoed: Option<Instant>,
    arrivals: VecDeque<(Seq, Instant)>,
    by_multicast: Option<Instant>,
    by_unicast: Option<Instant>,
    by_relay: Option<Instant>,
}

impl Process {
    pub(crate) fn new(now: Instant, frame: &Frame) -> Process {
        Process {
            name: frame.header.name.clone(),
            boot: frame.header.boot,
            first_heard: now,
            last_heard: now,
            repeated: None,
            highest: Seq(0),
            header: frame.header.clone(),
            key: frame.key,
            proof: None,
            echoed: Seq(0),
            last_fresh: None,
            deaf: false,
            met: UNANNOUNCED,
            clocked: (now, Duration::ZERO),
            lead: Lead::default(),
            last_credible: now,
            given_up: false,
            speaking_since: now,
            source: None,
            facts: None,
            last_echoed: None,
            arrivals: VecDeque::new(),
            by_multicast: None,
            by_unicast: None,
            by_relay: None,
        }
    }

    /// Notes the arrival of a frame with a new number.
    pub(crate) fn arrived(
        &mut self,
        now: Instant,
        frame: &Frame,
        multicast: bool,
        stale: Duration,
    ) {
        self.last_heard = now;
        let (at, reached) = self.clocked;
        let (uptime, expected) = (frame.header.uptime, reached + now.since(at));
        if uptime >= expected {
            self.clocked = (now, uptime);
        }
        if uptime + stale >= expected {
            if now.since(self.last_credible) > stale {
                self.speaking_since = now;
            }
            self.last_credible = now;
            let gives_up = gives_up(frame);
            if self.given_up && !gives_up {
                // It hears again, and needs the time of an answer to show it.
                self.speaking_since = now;
            }
            self.given_up = gives_up;
        }
        self.highest = frame.header.seq;
        self.header = frame.header.clone();
        self.key = frame.key;
        if self.arrivals.len() == HISTORY {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((frame.header.seq, now));
        let path = match (frame.relayed, multicast) {
            (true, _) => &mut self.by_relay,
            (false, true) => &mut self.by_multicast,
            (false, false) => &mut self.by_unicast,
        };
        *path = Some(now);
    }

    /// Notes a frame whose number is not new. Of a process that has long been
    /// silent it is an old copy, or the work of a restored snapshot that goes on
    /// counting from where it was. Only the echo of the highest number can tell
    /// that one (W1), so there must be an echo.
    pub(crate) fn repeated(&mut self, now: Instant, stale: Duration) {
        if self.is_silent(now, stale) {
            self.repeated = Some(now);
        }
    }

    /// Nothing new was heard of it for longer than `stale`.
    pub(crate) fn is_silent(&self, now: Instant, stale: Duration) -> bool {
        now.since(self.last_heard) > stale
    }

    /// Whether it is echoed: it was heard within `stale`, if only with old numbers.
    pub(crate) fn is_echoed(&self, now: Instant, stale: Duration) -> bool {
        let repeated = self.repeated.is_some_and(|at| now.since(at) <= stale);
        repeated || !self.is_silent(now, stale)
    }

    /// What it echoed was sent recently enough: its frames are fresh (W1).
    pub(crate) fn proven(&self, now: Instant, stale: Duration) -> bool {
        self.proof.is_some_and(|proof| now.since(proof) <= stale)
    }

    /// Notes that the frame that just arrived is fresh.
    pub(crate) fn freshened(&mut self, now: Instant, stale: Duration) {
        self.last_fresh = Some(now);
        // Later than it was reckoned, should its clock have stood still.
        self.clocked = (now, self.header.uptime);
        self.given_up = false;
        self.deaf = false;
        self.lead.note(now, self.header.uptime, stale);
    }

    /// It was heard in answer to this node within one and a half of its intervals.
    pub(crate) fn speaks(&self, now: Instant) -> bool {
        let window = self.header.interval * 3 / 2;
        self.last_fresh.is_some_and(|at| now.since(at) <= window)
    }

    /// Its uptime gained more than `stale` on this node's clock lately (F2).
    pub(crate) fn leapt(&self, stale: Duration) -> bool {
        self.lead.growth() > stale
    }

    /// What this node's clock said of it is worth nothing any more.
    pub(crate) fn distrust(&mut self) {
        self.proof = None;
        self.last_fresh = None;
        self.lead = Lead::default();
    }

    /// Until when it counts as speaking past this node: it was alive once, and
    /// still speaks, but no longer in answer to this node (O6). Who is heard again
    /// after a silence is given the time that an answer takes: an interval of this
    /// node until it is asked, an interval of its own until it says so.
    pub(crate) fn speaks_past_until(&self, stale: Duration, interval: Duration) -> Option<Instant> {
        let unanswered = self.last_fresh.is_some_and(|fresh| self.last_credible > fresh);
        let goes_on = self.last_credible > self.speaking_since + 2 * interval;
        let past = unanswered && goes_on && !self.given_up;
        past.then(|| self.last_credible + stale)
    }

    /// When this node, which speaks every `own_interval`, has been missing an
    /// interval of it: one of its frames, or one of its answers (O7).
    pub(crate) fn missed_at(&self, own_interval: Duration) -> Instant {
        let (Some(fresh), Some(proof)) = (self.last_fresh, self.proof) else {
            return Instant::ZERO;
        };
        let patience = self.header.interval * 3 / 2;
        (fresh + patience).min(proof + own_interval + patience)
    }

    /// How it was heard during one and a half of its intervals.
    pub(crate) fn paths(&self, now: Instant) -> Paths {
        let window = self.header.interval * 3 / 2;
        let lately = |at: Option<Instant>| at.is_some_and(|at| now.since(at) <= window);
        Paths {
            multicast: lately(self.by_multicast),
            unicast: lately(self.by_unicast),
            relayed: lately(self.by_relay),
        }
    }

    /// Whether a frame of this number came within the last interval.
    pub(crate) fn just_heard(&self, now: Instant, seq: Seq) -> bool {
        let found = self.arrivals.iter().rev().find(|(number, _)| *number == seq);
        found.is_some_and(|(_, at)| now.since(*at) <= self.header.interval)
    }

    /// How long somebody who has heard it up to `seq` has been missing its next frame.
    pub(crate) fn lag(&self, now: Instant, seq: Seq) -> Duration {
        let missed = self.arrivals.iter().find(|(number, _)| *number > seq);
        missed.map_or(Duration::ZERO, |(_, at)| now.since(*at))
    }

    /// The end of its being alive, if it ever was fresh (W1).
    pub(crate) fn alive_until(&self, stale: Duration, interval: Duration) -> Option<Instant> {
        if self.given_up || self.deaf {
            return None;
        }
        let heard = self.last_fresh? + stale;
        let proven = self.proof? + stale + 2 * interval;
        Some(heard.min(proven))
    }

    /// What it says it heard of another process.
    pub(crate) fn hears(&self, boot: BootId) -> Option<&Heard> {
        self.facts.as_ref()?.heard.get(&boot)
    }

    /// It says that it hears a process without the help of a third one.
    pub(crate) fn hears_directly(&self, boot: BootId) -> bool {
        self.hears(boot).is_some_and(|heard| heard.paths.direct())
    }

    /// It says that it hears somebody who counts for it.
    pub(crate) fn hears_peers(&self) -> bool {
        self.heard().is_some_and(|heard| heard.values().any(|heard| heard.counts))
    }

    /// Everything it says it hears.
    pub(crate) fn heard(&self) -> Option<&BTreeMap<BootId, Heard>> {
        self.facts.as_ref().map(|facts| &facts.heard)
    }

    /// Rank of its configuration, if it was ever fresh (O5).
    pub(crate) fn rank(&self) -> Option<(u64, Digest)> {
        self.facts.as_ref().map(|facts| (facts.version, facts.digest))
    }
}

/// Whether a frame says that its sender is of no use to anybody who hears it.
fn gives_up(frame: &Frame) -> bool {
    match &frame.body {
        Body::Announcement(announcement) => {
            matches!(announcement.reason, NodeReason::Isolated | NodeReason::NoQuorum)
        }
        Body::DocumentRequest(_) | Body::DocumentChunk(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::tests::{at, frame as echoing};

    const STALE: Duration = Duration::from_millis(500);

    /// Frame `seq` of a process that has run for so long.
    fn frame(seq: u64, uptime: u64) -> Frame {
        let mut frame = echoing(("b", 2), seq, 0, STALE);
        frame.header.uptime = Duration::from_millis(uptime);
        frame
    }

    #[test]
    fn a_frame_made_long_ago_shows_nothing_of_the_present_though_this_clock_stood_still() {
        let mut process = Process::new(at(0), &frame(1, 10_000));
        process.arrived(at(0), &frame(1, 10_000), true, STALE);
        process.freshened(at(0), STALE);
        // This clock stands still; what waited in the socket shows how far it is.
        process.arrived(at(100), &frame(2, 11_000), true, STALE);
        process.distrust();
        process.arrived(at(200), &frame(3, 11_100), true, STALE);
        assert_eq!(process.last_credible, at(200));
        // It dies, and somebody delivers its last frame now.
        process.arrived(at(1_000), &frame(4, 11_200), true, STALE);
        assert_eq!(process.last_credible, at(200));
    }

    #[test]
    fn a_process_whose_clock_stood_still_is_credible_again_with_a_fresh_frame() {
        let mut process = Process::new(at(0), &frame(1, 10_000));
        process.arrived(at(0), &frame(1, 10_000), true, STALE);
        process.arrived(at(2_000), &frame(2, 10_100), true, STALE);
        assert_eq!(process.last_credible, at(0));
        process.freshened(at(2_000), STALE);
        process.arrived(at(2_100), &frame(3, 10_200), true, STALE);
        assert_eq!(process.last_credible, at(2_100));
    }
}
