//! Nodes with different configurations: the higher one judges (O5, W8).
//!
//! A node that has not got the highest configuration cannot read what its
//! holders announce about groups. It takes nothing any more and keeps what it
//! has, for the higher configuration is probably on its way to it. When it has
//! not come after [`PATIENCE`] the node drains and says why. A group that the
//! higher configuration has as well goes when somebody is seen to have taken it
//! over, as in other moves (O8), if this node can read that configuration; the rest
//! one interval after an active peer with that configuration has echoed the reason.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Digest, SharedPart};
use crate::event::Event;
use crate::group::UNANNOUNCED;
use crate::identity::{NodeName, Seq};
use crate::membership::Membership;
use crate::membership::facts::Facts;
use crate::membership::process::Process;
use crate::rollout::graduation::Graduation;
use crate::rollout::{Rank, describe};
use crate::status::{NodeReason, NodeState};
use crate::time::Instant;

/// How long a rollout may take from node to node before those left behind drain.
const PATIENCE: Duration = Duration::from_secs(30);

/// How this node's configuration compares with those of its live peers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ranking {
    own: Rank,
    told: BTreeMap<NodeName, Rank>,
    outranked: Option<String>,
    /// Until when this node waits for the higher configuration.
    patient_until: Option<Instant>,
    /// It has waited in vain.
    overdue: bool,
    retreat: Retreat,
}

/// How far giving way to a higher configuration has come.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
enum Retreat {
    /// No peer that judges knows yet that this node drains.
    #[default]
    None,
    /// One knows, and has until then to take over what this node cannot see taken.
    At(Instant),
    /// That is let go.
    Done,
}

/// What a higher configuration elsewhere means for this node's groups.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overruled {
    /// The configuration of the peer that judges: nothing may be taken here while
    /// there is one.
    pub(crate) by: Option<Digest>,
    /// It knows that this node drains, and has just had an interval to take over
    /// what nobody can be seen to take over.
    pub(crate) let_go: bool,
}

impl Ranking {
    /// Starts anew after a change of this node's own configuration.
    pub(crate) fn forget(&mut self) {
        *self = Ranking::default();
    }

    /// Compares with all live peers; returns what is worth telling.
    pub(crate) fn compare(
        &mut self,
        now: Instant,
        shared: &SharedPart,
        members: &Membership,
        graduation: &Graduation,
    ) -> Vec<Event> {
        self.own = shared.rank();
        let own = self.own;
        let ours = describe(own);
        let mut events = Vec::new();
        self.told.retain(|name, _| members.live(name).is_some());
        let differing = |peer: &&Process| peer.rank().is_some_and(|rank| rank != own);
        for peer in members.live_processes().filter(differing) {
            let Some(rank) = peer.rank() else { continue };
            if self.told.insert(peer.name.clone(), rank) != Some(rank) {
                let (theirs, ours) = (describe(rank), ours.clone());
                events.push(Event::ConfigDiffers { node: peer.name.clone(), theirs, ours });
            }
        }
        let highest = members.live_processes().max_by_key(|peer| peer.rank());
        let higher = highest.and_then(|peer| Some((peer, peer.rank().filter(|rank| *rank > own)?)));
        let refusal = higher.and_then(|(_, rank)| graduation.refusal(rank));
        self.outranked = higher.map(|(peer, rank)| {
            let (name, theirs) = (&peer.name, describe(rank));
            // Peers show its first bytes only: the reason comes early.
            if let Some(why) = refusal {
                return format!("configuration {theirs} of {name} cannot be taken here: {why}");
            }
            let rule = if rank.0 == own.0 {
                " (one version with two contents: the higher digest wins; raise the version)"
            } else {
                ""
            };
            format!("{name} has configuration {theirs}, this node has {ours}{rule}")
        });
        self.patient_until = match &self.outranked {
            Some(_) => self.patient_until.or(Some(now + PATIENCE)),
            None => None,
        };
        // What cannot be taken is not waited for.
        self.overdue = refusal.is_some() || self.patient_until.is_some_and(|until| now >= until);
        events
    }

    /// Who has a higher configuration.
    pub(crate) fn higher(&self) -> Option<&str> {
        self.outranked.as_deref()
    }

    /// The live peer with the highest configuration that judges over this node's.
    fn judge<'a>(&self, members: &'a Membership) -> Option<&'a Process> {
        let judges = |peer: &&Process| {
            peer.facts.as_ref().is_some_and(takes_part)
                && peer.rank().is_some_and(|rank| rank > self.own)
        };
        let highest = members.live_processes().filter(judges).max_by_key(|peer| peer.rank());
        highest.filter(|_| self.outranked.is_some())
    }

    /// A peer that judges is taking part: nothing may be taken here.
    pub(crate) fn is_overruled(&self, members: &Membership) -> bool {
        self.judge(members).is_some()
    }

    /// Who has a higher configuration, once this node has waited for it in vain.
    pub(crate) fn outranked(&self) -> Option<&str> {
        self.outranked.as_deref().filter(|_| self.overdue)
    }

    /// Works out what must follow. `said` is the frame that first carried this
    /// node's present state.
    pub(crate) fn settle(&mut self, now: Instant, members: &Membership, said: Seq) -> Overruled {
        let Some(judge) = self.judge(members) else {
            self.retreat = Retreat::None;
            return Overruled::default();
        };
        let by = judge.rank().map(|(_, digest)| digest);
        if !self.overdue {
            self.retreat = Retreat::None;
            return Overruled { by, let_go: false };
        }
        let knows = said != UNANNOUNCED && judge.echoed >= said;
        let let_go = matches!(self.retreat, Retreat::At(at) if now >= at);
        self.retreat = match self.retreat {
            Retreat::None if knows => Retreat::At(now + judge.header.interval),
            Retreat::At(_) if let_go => Retreat::Done,
            unchanged @ (Retreat::None | Retreat::At(_) | Retreat::Done) => unchanged,
        };
        Overruled { by, let_go }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.retreat {
            Retreat::At(at) => Some(at),
            Retreat::None if !self.overdue => self.patient_until,
            Retreat::None | Retreat::Done => None,
        }
    }
}

/// Whether a process holds what falls to it under its configuration.
fn takes_part(facts: &Facts) -> bool {
    match facts.state {
        NodeState::Active | NodeState::Standby => true,
        // A node that its own configuration does not name owns nothing.
        NodeState::Draining => facts.reason != NodeReason::Idle,
        NodeState::Booting | NodeState::Leaving => false,
    }
}
