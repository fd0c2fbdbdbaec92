//! Who should hold a group: a pure function of what every node announced (O3).

use crate::bits::Bits;
use crate::identity::{GroupIndex, NodeIndex};
use crate::placement::Placement;
use crate::status::{NodeReason, NodeState};

/// What a node may be to a group, before its refusals are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Candidacy {
    /// May hold anything.
    Active,
    /// May hold what no active node can.
    Standby,
    /// Holds what nobody better can.
    Draining,
    /// Booting: counts, as active, for what it found on itself (O6).
    Booting,
    /// Takes part by a configuration that this node cannot read: it keeps what
    /// it last held, and is a candidate for nothing else (O5).
    Foreign,
    /// Not there, leaving, or of another configuration.
    Out,
}

impl From<NodeState> for Candidacy {
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Active => Candidacy::Active,
            NodeState::Standby => Candidacy::Standby,
            NodeState::Draining => Candidacy::Draining,
            NodeState::Booting => Candidacy::Booting,
            NodeState::Leaving => Candidacy::Out,
        }
    }
}

impl Candidacy {
    /// Of a node whose configuration this node cannot read (O5). One that an
    /// operator drains keeps its groups until both can read each other: it could
    /// not see them taken.
    pub(crate) fn foreign(state: NodeState, reason: NodeReason) -> Self {
        let gives_way = matches!(reason, NodeReason::Outranked | NodeReason::Idle);
        match state {
            NodeState::Active | NodeState::Standby => Candidacy::Foreign,
            NodeState::Draining if !gives_way => Candidacy::Foreign,
            NodeState::Booting | NodeState::Draining | NodeState::Leaving => state.into(),
        }
    }
}

/// One node, as all nodes see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) candidacy: Candidacy,
    pub(crate) holding: &'a Bits,
    pub(crate) cannot: &'a Bits,
    pub(crate) rather_not: &'a Bits,
}

/// The tiers of O3, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Foreign,
    Active,
    Standby,
    RatherNotButHolds,
    RatherNot,
}

/// All nodes of a configuration at one moment, by position.
#[derive(Clone, Debug)]
pub(crate) struct Ownership<'a> {
    placement: &'a Placement,
    candidates: Vec<Candidate<'a>>,
    any_foreign: bool,
}

impl<'a> Ownership<'a> {
    pub(crate) fn new(placement: &'a Placement, candidates: Vec<Candidate<'a>>) -> Self {
        let any_foreign = candidates.iter().any(|c| c.candidacy == Candidacy::Foreign);
        Ownership { placement, candidates, any_foreign }
    }

    /// The first node of the succession in the best tier that anybody is in.
    pub(crate) fn owner(&self, group: GroupIndex) -> Option<NodeIndex> {
        if self.any_foreign {
            return self.search(group);
        }
        let head = [self.placement.leader(group), self.placement.second(group)];
        let active = |node: &NodeIndex| self.tier(*node, group) == Some(Tier::Active);
        head.into_iter().flatten().find(active).or_else(|| self.search(group))
    }

    fn search(&self, group: GroupIndex) -> Option<NodeIndex> {
        let ranked = self.placement.succession(group).into_iter().enumerate();
        ranked
            .filter_map(|(place, node)| Some((self.tier(node, group)?, place, node)))
            .min_by_key(|(tier, place, _)| (*tier, *place))
            .map(|(_, _, node)| node)
    }

    fn tier(&self, node: NodeIndex, group: GroupIndex) -> Option<Tier> {
        let candidate = self.candidates.get(node.get())?;
        if candidate.cannot.contains(group.0) {
            return None;
        }
        let holds = candidate.holding.contains(group.0);
        let reluctant = if holds { Tier::RatherNotButHolds } else { Tier::RatherNot };
        let willing = !candidate.rather_not.contains(group.0);
        match candidate.candidacy {
            Candidacy::Foreign => holds.then_some(Tier::Foreign),
            Candidacy::Active if willing => Some(Tier::Active),
            Candidacy::Standby if willing => Some(Tier::Standby),
            Candidacy::Active | Candidacy::Standby | Candidacy::Draining => Some(reluctant),
            Candidacy::Booting if holds && !self.is_held(group) => {
                Some(if willing { Tier::Active } else { reluctant })
            }
            Candidacy::Booting | Candidacy::Out => None,
        }
    }

    /// A live node that is not booting holds it.
    fn is_held(&self, group: GroupIndex) -> bool {
        self.candidates.iter().any(|candidate| match candidate.candidacy {
            Candidacy::Active | Candidacy::Standby | Candidacy::Draining | Candidacy::Foreign => {
                candidate.holding.contains(group.0)
            }
            Candidacy::Booting | Candidacy::Out => false,
        })
    }
}
