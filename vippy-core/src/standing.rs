//! What this node is, as it announces itself: its state and the reason (O1).
//!
//! Every fact that makes the whole node ineligible ends up here; what concerns
//! one group is in [`group`](crate::group).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::group::UNANNOUNCED;
use crate::identity::{NodeName, Seq};
use crate::ownership::Candidacy;
use crate::status::{NodeReason, NodeState};
use crate::time::{Instant, earliest};

/// What this node is and since which frame everybody may know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Standing {
    booting: Option<Booting>,
    /// When booting last ended.
    booted_at: Option<Instant>,
    drained: bool,
    /// It came and went too often (O4).
    held_down: bool,
    leaving: Option<Farewell>,
    /// Name of a peer with a higher configuration, and both ranks (O5).
    outranked: Option<String>,
    idle: bool,
    /// Why this node may hold nothing, and that in words (O6, O7).
    barred: Option<(NodeReason, String)>,
    /// It takes part although it hears nobody (O7).
    isolated: Option<String>,
    /// The configuration has it stand by (O3).
    standby: bool,
    /// The configuration has retired it (O2).
    retired: bool,
    announced: (NodeState, NodeReason, String),
    /// The frame that first carried what is announced.
    changed: Seq,
}

/// Listening before taking part (O6).
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Booting {
    until: Instant,
    /// Peers alive before: booting ends early when all are two-way again.
    /// `None` at the first boot, which ends with its time alone.
    awaited: Option<BTreeSet<NodeName>>,
    reason: NodeReason,
    detail: String,
}

/// How far a goodbye has come (O8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Farewell {
    /// Others are given until then to take over.
    HandingOver { until: Instant },
    /// Everything is being let go.
    LettingGo,
    /// Goodbyes still to be said.
    Goodbyes(u8),
    /// Said.
    Gone,
}

/// How often goodbye is said: each may be lost.
pub(crate) const GOODBYES: u8 = 3;

impl Standing {
    pub(crate) fn new(now: Instant, mature: Duration) -> Standing {
        let (reason, detail) = (NodeReason::None, String::new());
        let booting = Booting { until: now + mature, awaited: None, reason, detail };
        let mut standing = Standing {
            booting: Some(booting),
            booted_at: None,
            drained: false,
            held_down: false,
            leaving: None,
            outranked: None,
            idle: false,
            barred: None,
            isolated: None,
            standby: false,
            retired: false,
            announced: (NodeState::Booting, NodeReason::None, String::new()),
            changed: UNANNOUNCED,
        };
        standing.announced = standing.derive(false);
        standing
    }

    /// Boots again after a silence, with `peers` alive before it (O6, F2).
    pub(crate) fn reboot(
        &mut self,
        now: Instant,
        reason: NodeReason,
        peers: BTreeSet<NodeName>,
        patience: (Duration, Duration),
    ) {
        let (interval, mature) = patience;
        let running = self.booting.take();
        let until = running.as_ref().map_or(now, |running| running.until);
        let mut alone = peers.is_empty();
        let awaited = match running {
            // A first boot goes on to its end, whoever is back.
            Some(Booting { awaited: None, .. }) => None,
            Some(Booting { awaited: Some(already), .. }) => Some(&already | &peers),
            None => Some(peers),
        };
        alone &= awaited.as_ref().is_none_or(BTreeSet::is_empty);
        let pause = if alone { mature.min(2 * interval) } else { mature };
        let until = until.max(now + pause);
        self.booting = Some(Booting { until, awaited, reason, detail: boot_text(reason).into() });
    }

    /// Why it boots again, where the reason alone does not say it.
    pub(crate) fn explain(&mut self, detail: &str) {
        self.booting.iter_mut().for_each(|booting| booting.detail = detail.into());
    }

    /// Ends booting when its time has come, and says so. `alive` tells whether a
    /// peer is two-way.
    pub(crate) fn mature(&mut self, now: Instant, alive: impl Fn(&NodeName) -> bool) -> bool {
        let Some(booting) = &self.booting else { return false };
        let awaited = booting.awaited.as_ref().filter(|names| !names.is_empty());
        let all_back = awaited.is_some_and(|names| names.iter().all(alive));
        let ends = now >= booting.until || all_back;
        if ends {
            self.booting = None;
            self.booted_at = Some(now);
        }
        ends
    }

    /// Works out state and reason anew. `twin` is the one fact that others know
    /// first (W6). True when what is announced changed.
    pub(crate) fn settle(&mut self, twin: bool) -> bool {
        let derived = self.derive(twin);
        let same = (derived.0, derived.1) == (self.announced.0, self.announced.1);
        self.announced = derived;
        if !same {
            self.changed = UNANNOUNCED;
        }
        !same
    }

    fn derive(&self, twin: bool) -> (NodeState, NodeReason, String) {
        if let Some(farewell) = self.leaving {
            return match farewell {
                Farewell::HandingOver { .. } | Farewell::LettingGo => {
                    (NodeState::Leaving, NodeReason::None, "stopping".into())
                }
                Farewell::Goodbyes(_) | Farewell::Gone => {
                    (NodeState::Leaving, NodeReason::Goodbye, "stopped".into())
                }
            };
        }
        if twin {
            let text = "another process uses this name and was there first".into();
            return (NodeState::Booting, NodeReason::Twin, text);
        }
        if let Some((reason, text)) = &self.barred {
            return (NodeState::Booting, *reason, text.clone());
        }
        if let Some(booting) = &self.booting {
            return (NodeState::Booting, booting.reason, booting.detail.clone());
        }
        if self.idle {
            let text = "this node's name is not in the configuration".into();
            return (NodeState::Draining, NodeReason::Idle, text);
        }
        if let Some(text) = &self.outranked {
            return (NodeState::Draining, NodeReason::Outranked, text.clone());
        }
        let (state, reason, text) = if self.drained {
            (NodeState::Draining, NodeReason::Operator, "drained by the operator".into())
        } else if self.retired {
            let text = "retired by weight 0: holds only what no other node can".into();
            (NodeState::Draining, NodeReason::Retired, text)
        } else if self.held_down {
            // Not draining: a node that is held down is as able as any, and when
            // several are (a switch that flaps does that to all nodes at once) the
            // groups must still be shared among them. What keeps it calm is that a
            // standby node that holds something comes before one that does not (O3).
            let text = "came and went too often: holds only what no other node can".into();
            (NodeState::Standby, NodeReason::HeldDown, text)
        } else if self.standby {
            let text = "stands by for what no other node can hold".into();
            (NodeState::Standby, NodeReason::None, text)
        } else {
            (NodeState::Active, NodeReason::None, String::new())
        };
        // Whoever still hears this node must know that it hears nobody (O6), more
        // than why it drains.
        match &self.isolated {
            Some(text) => (state, NodeReason::Isolated, text.clone()),
            None => (state, reason, text),
        }
    }

    pub(crate) fn set_drained(&mut self, drained: bool) {
        self.drained = drained;
    }

    pub(crate) fn set_held_down(&mut self, held_down: bool) {
        self.held_down = held_down;
    }

    pub(crate) fn set_outranked(&mut self, text: Option<String>) {
        self.outranked = text;
    }

    pub(crate) fn set_barred(&mut self, barred: Option<(NodeReason, String)>) {
        self.barred = barred;
    }

    pub(crate) fn set_isolated(&mut self, isolated: Option<String>) {
        self.isolated = isolated;
    }

    pub(crate) fn set_standby(&mut self, standby: bool) {
        self.standby = standby;
    }

    pub(crate) fn set_retired(&mut self, retired: bool) {
        self.retired = retired;
    }

    pub(crate) fn set_idle(&mut self, idle: bool) {
        self.idle = idle;
    }

    pub(crate) fn farewell(&self) -> Option<Farewell> {
        self.leaving
    }

    pub(crate) fn set_farewell(&mut self, farewell: Farewell) {
        self.leaving = Some(farewell);
    }

    /// An announcement whose last frame is `last` left. True when it was the first
    /// to carry the present state.
    pub(crate) fn announced_by(&mut self, last: Seq) -> bool {
        let new = self.changed == UNANNOUNCED;
        if new {
            self.changed = last;
        }
        new
    }

    /// The frame that first carried the present state.
    pub(crate) fn changed(&self) -> Seq {
        self.changed
    }

    pub(crate) fn state(&self) -> NodeState {
        self.announced.0
    }

    pub(crate) fn reason(&self) -> NodeReason {
        self.announced.1
    }

    /// What the others take this node for.
    pub(crate) fn candidacy(&self) -> Candidacy {
        Candidacy::of(self.state(), self.reason())
    }

    pub(crate) fn detail(&self) -> &str {
        &self.announced.2
    }

    pub(crate) fn is_booting(&self) -> bool {
        self.booting.is_some()
    }

    /// When booting last ended; `None` before that.
    pub(crate) fn booted_at(&self) -> Option<Instant> {
        self.booted_at.filter(|_| self.booting.is_none())
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let booting = self.booting.as_ref().map(|booting| booting.until);
        let handing_over = match self.leaving {
            Some(Farewell::HandingOver { until }) => Some(until),
            Some(Farewell::LettingGo | Farewell::Goodbyes(_) | Farewell::Gone) | None => None,
        };
        earliest(booting, handing_over)
    }
}

fn boot_text(reason: NodeReason) -> &'static str {
    match reason {
        NodeReason::Mute => "nobody heard this node until now",
        NodeReason::NoQuorum => "there was no quorum until now",
        NodeReason::Isolated => "was cut off until now",
        NodeReason::Suspended => {
            "was silent for longer than stale: suspended, or frames did not leave"
        }
        NodeReason::Twin => "this boot was also spoken by a clone or a restored snapshot",
        NodeReason::None
        | NodeReason::Operator
        | NodeReason::Idle
        | NodeReason::Outranked
        | NodeReason::Goodbye
        | NodeReason::HeldDown
        | NodeReason::Retired => "",
    }
}
