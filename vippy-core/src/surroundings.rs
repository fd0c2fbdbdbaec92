//! What a group is decided from beside the group itself and its candidates: what
//! this node may do, and what the other nodes have shown.
//!
//! Reads what peers announced; changes nothing.

use std::time::Duration;

use crate::bits::Bits;
use crate::field::Field;
use crate::group::UNANNOUNCED;
use crate::identity::{GroupIndex, NodeIndex, NodeName, Seq};
use crate::membership::process::Process;
use crate::ownership::Candidacy;
use crate::status::NodeState;
use crate::time::{Instant, earliest};

/// The rest of the world, as far as groups go, at one moment.
pub(crate) struct Surroundings<'a> {
    pub(crate) field: Field<'a>,
    pub(crate) candidacy: Candidacy,
    pub(crate) leave: Leave,
    /// The frame that first carried this node's present state.
    pub(crate) standing_changed: Seq,
    /// When booting ended, and the time a node boots.
    pub(crate) booted_at: Option<Instant>,
    pub(crate) mature: Duration,
    /// Until when a node not heard since this one's start may go on holding what
    /// it held before: this node's own fence time after its start.
    pub(crate) strangers_fenced: Option<Instant>,
}

/// What this node may do as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    /// Take what it does not hold.
    pub(crate) take: bool,
    /// Keep what it holds.
    pub(crate) keep: bool,
}

/// Whether somebody else may hold a group, or be about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// Nobody.
    Free,
    /// Somebody may; time alone changes that at this moment, if at all.
    Perhaps { until: Option<Instant> },
}

impl Surroundings<'_> {
    /// A node has shown the group held, in an announcement that echoes `needed`
    /// or a later frame of this node (O8), and was sent when it had met this node:
    /// by then it has told the neighbours, whatever this one told them before (O9).
    pub(crate) fn shows_held(&self, node: NodeIndex, group: GroupIndex, needed: Seq) -> bool {
        let met =
            self.field.members.live(self.field.name(node)).map_or(UNANNOUNCED, |peer| peer.met);
        let needed = needed.max(met);
        let shown = self.field.facts(node).and_then(|facts| facts.shown(group));
        shown.is_some_and(|(held, echoed)| held && echoed >= needed)
    }

    /// Every live node has heard that `owner` is what makes it the owner. Then
    /// nobody else takes an exclusive group when it becomes free (O8).
    pub(crate) fn everybody_knows(&self, owner: NodeIndex) -> bool {
        let Some(owner) = self.field.members.live(self.field.name(owner)) else { return false };
        let Some(facts) = &owner.facts else { return false };
        let others = self.field.members.live_processes().filter(|peer| peer.boot != owner.boot);
        let mut heard = others.filter_map(|peer| peer.hears(owner.boot));
        heard.all(|heard| heard.seq >= facts.standing_since)
    }

    /// Until when a group never seen held is left to a booting senior (O6).
    pub(crate) fn left_to_seniors(&self, now: Instant, group: GroupIndex) -> Option<Instant> {
        let until = self.booted_at? + self.mature;
        if now >= until {
            return None;
        }
        let succession = self.field.placement.succession(group);
        let mut seniors = succession.into_iter().take_while(|node| Some(*node) != self.field.me);
        let booting = |node: NodeIndex| {
            self.field.facts(node).is_some_and(|f| Candidacy::from(f.state) == Candidacy::Booting)
        };
        seniors.any(booting).then_some(until)
    }

    /// Whether another node may hold an exclusive group, or be about to (O8): it
    /// is free when every live node has shown it not held, knowing of `needed`,
    /// and the fence time of every silent one that held it has run out.
    pub(crate) fn elsewhere(&self, now: Instant, group: GroupIndex, needed: Seq) -> Elsewhere {
        let counted = self.field.members.processes().filter(|p| self.field.members.counts(p.boot));
        let mut result = self.unheard(now);
        for peer in counted.filter(|peer| self.may_hold(peer, group, needed)) {
            let alive = self.field.members.live(&peer.name).is_some();
            let fenced_at = peer.header.fence.map(|fence| peer.last_credible + fence);
            if alive || fenced_at.is_none_or(|at| now < at) {
                let before = match result {
                    Elsewhere::Free => None,
                    Elsewhere::Perhaps { until } => until,
                };
                let until = earliest(before, fenced_at.filter(|at| now < *at));
                result = Elsewhere::Perhaps { until };
            }
        }
        result
    }

    /// A configured node that was not heard since this one's start may have died
    /// shortly before it, holding anything.
    fn unheard(&self, now: Instant) -> Elsewhere {
        let others = (0u16..).map(NodeIndex).zip(&self.field.shared.nodes);
        let others =
            others.filter(|(node, _)| self.field.me != Some(*node)).map(|(_, node)| &node.name);
        let mut unheard = others.filter(|name| {
            self.field.members.counted(name).is_none() && self.field.members.left_at(name).is_none()
        });
        match self.strangers_fenced.filter(|until| now < *until) {
            Some(until) if unheard.next().is_some() => Elsewhere::Perhaps { until: Some(until) },
            Some(_) | None => Elsewhere::Free,
        }
    }

    fn may_hold(&self, peer: &Process, group: GroupIndex, needed: Seq) -> bool {
        let Some(facts) = &peer.facts else { return false };
        let alive = self.field.members.live(&peer.name).is_some();
        let same = facts.speaks(self.field.shared.digest);
        match facts.shown(group).filter(|_| same) {
            Some((held, echoed)) => held || (alive && echoed < needed),
            None => !facts.holding.is_empty() || (same && alive),
        }
    }

    /// This node boots and has met nobody: it cannot know what the others hold.
    pub(crate) fn knows_nobody_yet(&self) -> bool {
        let booting = self.candidacy == Candidacy::Booting;
        booting && self.field.members.live_processes().next().is_none()
    }

    /// The node that announced a group held last, alive or not.
    pub(crate) fn last_holder(&self, group: GroupIndex) -> Option<NodeName> {
        let holders = self.field.members.processes().filter(|peer| self.field.holds(peer, group));
        holders.max_by_key(|peer| peer.last_fresh).map(|peer| peer.name.clone())
    }

    /// Another live node announces a group as held.
    pub(crate) fn has_rival(&self, group: GroupIndex) -> bool {
        self.field.members.live_processes().any(|peer| self.field.holds(peer, group))
    }

    /// Another live node holds a group and says that it would rather not (H4). One
    /// that gives everything away does not count: it does not come back for it.
    pub(crate) fn holder_would_rather_not(&self, group: GroupIndex) -> bool {
        let digest = self.field.shared.digest;
        let facts = self.field.members.live_processes().filter_map(|peer| peer.facts.as_ref());
        let mut facts = facts.filter(|facts| facts.speaks(digest));
        facts.any(|facts| {
            let stays = match facts.state {
                NodeState::Booting | NodeState::Active | NodeState::Standby => true,
                NodeState::Draining | NodeState::Leaving => false,
            };
            stays && facts.holding.contains(group.0) && facts.rather_not.contains(group.0)
        })
    }

    /// All groups that other live nodes announce as held.
    pub(crate) fn held_by_others(&self) -> impl Iterator<Item = u32> {
        let holding =
            self.field.members.live_processes().filter_map(|peer| self.field.holding_of(peer));
        holding.flat_map(Bits::iter)
    }
}
