//! Who should hold a group: a pure function of what every node announced (O3,
//! O4).

use std::sync::Arc;

use crate::bits::Bits;
use crate::config::{Failback, Group};
use crate::explanation::{Rule, Tier};
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
    /// The same, because a higher configuration is about: it keeps nothing from a
    /// node of that one (O5).
    Yielding,
    /// Booting: counts, as active, for what it found on itself (O6).
    Booting,
    /// Takes part by a configuration that this node cannot read: it keeps what
    /// it last held, and is a candidate for nothing else (O5).
    Foreign,
    /// The same, booting: for what it found on itself, as [`Candidacy::Booting`].
    ForeignBooting,
    /// Not there, leaving, or of another configuration.
    Out,
}

impl Candidacy {
    /// Of a node of this node's configuration.
    pub(crate) fn of(state: NodeState, reason: NodeReason) -> Self {
        match state {
            NodeState::Active => Candidacy::Active,
            NodeState::Standby => Candidacy::Standby,
            NodeState::Draining if reason == NodeReason::Outranked => Candidacy::Yielding,
            NodeState::Draining => Candidacy::Draining,
            NodeState::Booting => Candidacy::Booting,
            NodeState::Leaving => Candidacy::Out,
        }
    }

    /// Of a node whose configuration this node cannot read (O5). One that an
    /// operator drains keeps its groups until both can read each other: it could
    /// not see them taken. One that gives way does so whether or not anybody has
    /// taken over: what it still holds is free.
    pub(crate) fn foreign(state: NodeState, reason: NodeReason) -> Self {
        let gives_way = matches!(reason, NodeReason::Outranked | NodeReason::Idle);
        match state {
            NodeState::Active | NodeState::Standby => Candidacy::Foreign,
            NodeState::Draining if !gives_way => Candidacy::Foreign,
            NodeState::Booting => Candidacy::ForeignBooting,
            NodeState::Draining | NodeState::Leaving => Candidacy::Out,
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

impl Candidate<'_> {
    fn is_foreign(&self) -> bool {
        matches!(self.candidacy, Candidacy::Foreign | Candidacy::ForeignBooting)
    }

    /// There may be a group for it.
    fn is_eligible(&self) -> bool {
        match self.candidacy {
            Candidacy::Active | Candidacy::Standby | Candidacy::Draining | Candidacy::Yielding => {
                true
            }
            Candidacy::Booting | Candidacy::Foreign | Candidacy::ForeignBooting => {
                !self.holding.is_empty()
            }
            Candidacy::Out => false,
        }
    }
}

/// What a node says against having a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) cannot: bool,
    pub(crate) rather_not: bool,
}

/// What nodes other than one are to a group that this one would like back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Others {
    /// One of them holds it, and does not mind.
    pub(crate) hold: bool,
    /// One of them could hold it, and would not mind.
    pub(crate) could: bool,
}

/// All nodes of a configuration at one moment, by position.
#[derive(Clone, Debug)]
pub(crate) struct Ownership<'a> {
    groups: &'a [Arc<Group>],
    placement: &'a Placement,
    candidates: Vec<Candidate<'a>>,
    /// Those of them for whom there may be a group.
    eligible: Vec<NodeIndex>,
    any_foreign: bool,
    /// Nobody takes anything by this configuration any more: a higher one is
    /// about (O5). Who holds keeps it; of several the earliest.
    outranked: bool,
}

impl<'a> Ownership<'a> {
    pub(crate) fn new(
        groups: &'a [Arc<Group>],
        placement: &'a Placement,
        candidates: Vec<Candidate<'a>>,
        outranked: bool,
    ) -> Self {
        let any_foreign = candidates.iter().any(Candidate::is_foreign);
        let nodes = (0u16..).map(NodeIndex).zip(&candidates);
        let eligible = nodes.filter(|(_, candidate)| candidate.is_eligible());
        let eligible = eligible.map(|(node, _)| node).collect();
        Ownership { groups, placement, candidates, eligible, any_foreign, outranked }
    }

    /// Who owns a group.
    pub(crate) fn owner(&self, group: GroupIndex) -> Option<NodeIndex> {
        self.decide(group).map(|(owner, _)| owner)
    }

    /// Who owns a group, and by which rule: the first node of the succession in the
    /// best tier that anybody is in, unless its holder keeps it.
    pub(crate) fn decide(&self, group: GroupIndex) -> Option<(NodeIndex, Rule)> {
        if self.any_foreign || self.outranked {
            let keeps = |node: &NodeIndex| self.tier(*node, group) == Some(Tier::Keeps);
            if let Some(keeper) = self.search(group).filter(keeps) {
                return Some((keeper, Rule::Keeps));
            }
        }
        if self.groups[group.get()].failback == Failback::Never
            && let Some(keeper) = self.keeper(group)
        {
            return Some((keeper, Rule::FailbackNever));
        }
        let head = [self.placement.leader(group), self.placement.second(group)];
        let active = |node: &NodeIndex| self.tier(*node, group) == Some(Tier::Active);
        let first = head.into_iter().flatten().find(active).or_else(|| self.search(group));
        first.map(|first| (first, Rule::First))
    }

    /// Who holds a group in the best tier: the earliest of the succession, should
    /// several (O4, O9). The lower tiers prefer their holders in any case.
    fn keeper(&self, group: GroupIndex) -> Option<NodeIndex> {
        let holding = self.eligible.iter().copied().filter(|node| self.holds(*node, group));
        let keepers = holding.filter(|node| self.tier(*node, group) == Some(Tier::Active));
        keepers.min_by_key(|node| self.placement.place(group, *node))
    }

    /// What the nodes other than `me` are to a group.
    pub(crate) fn others(&self, group: GroupIndex, me: Option<NodeIndex>) -> Others {
        let mut others = Others { hold: false, could: false };
        for &node in &self.eligible {
            let willing = match self.tier(node, group).filter(|_| me != Some(node)) {
                Some(Tier::Keeps | Tier::Active | Tier::StandbyAndHolds | Tier::Standby) => true,
                Some(Tier::RatherNotButHolds | Tier::RatherNot) | None => false,
            };
            others.could |= willing;
            others.hold |= willing && self.holds(node, group);
        }
        others
    }

    /// The first node of the succession in the best tier that anybody is in.
    fn search(&self, group: GroupIndex) -> Option<NodeIndex> {
        let mut best: Option<(Tier, NodeIndex)> = None;
        for &node in &self.eligible {
            let Some(tier) = self.tier(node, group) else { continue };
            let place = |node| self.placement.place(group, node);
            let better = best.is_none_or(|(least, first)| {
                tier < least || (tier == least && place(node) < place(first))
            });
            if better {
                best = Some((tier, node));
            }
        }
        best.map(|(_, node)| node)
    }

    /// How good a node is for a group; `None` when it cannot have it.
    pub(crate) fn tier(&self, node: NodeIndex, group: GroupIndex) -> Option<Tier> {
        let candidate = self.candidates.get(node.get())?;
        if candidate.cannot.contains(group.0) {
            return None;
        }
        let holds = candidate.holding.contains(group.0);
        let reluctant = if holds { Tier::RatherNotButHolds } else { Tier::RatherNot };
        let willing = !candidate.rather_not.contains(group.0);
        match candidate.candidacy {
            Candidacy::Active | Candidacy::Standby | Candidacy::Draining
                if self.outranked && holds =>
            {
                Some(Tier::Keeps)
            }
            Candidacy::Foreign => holds.then_some(Tier::Keeps),
            Candidacy::ForeignBooting => (holds && !self.is_held(group)).then_some(Tier::Keeps),
            Candidacy::Active if willing => Some(Tier::Active),
            Candidacy::Standby if willing && holds => Some(Tier::StandbyAndHolds),
            Candidacy::Standby if willing => Some(Tier::Standby),
            Candidacy::Active | Candidacy::Standby | Candidacy::Draining | Candidacy::Yielding => {
                Some(reluctant)
            }
            Candidacy::Booting if holds && !self.is_held(group) => {
                Some(if willing { Tier::Active } else { reluctant })
            }
            Candidacy::Booting | Candidacy::Out => None,
        }
    }

    /// A node shows a group held.
    pub(crate) fn holds(&self, node: NodeIndex, group: GroupIndex) -> bool {
        let candidate = self.candidates.get(node.get());
        candidate.is_some_and(|candidate| candidate.holding.contains(group.0))
    }

    /// What a node says against having a group.
    pub(crate) fn refusal(&self, node: NodeIndex, group: GroupIndex) -> Refusal {
        let candidate = self.candidates.get(node.get());
        Refusal {
            cannot: candidate.is_some_and(|c| c.cannot.contains(group.0)),
            rather_not: candidate.is_some_and(|c| c.rather_not.contains(group.0)),
        }
    }

    /// A live node that is not booting holds it.
    fn is_held(&self, group: GroupIndex) -> bool {
        self.candidates.iter().any(|candidate| match candidate.candidacy {
            Candidacy::Active
            | Candidacy::Standby
            | Candidacy::Draining
            | Candidacy::Yielding
            | Candidacy::Foreign => candidate.holding.contains(group.0),
            Candidacy::Booting | Candidacy::ForeignBooting | Candidacy::Out => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    /// Three nodes and one group that leaves them in the order of their list.
    fn placed(failback: &str) -> (Vec<Arc<Group>>, Placement) {
        let text = format!(
            "{{ chat: '239.77.0.1:5007', secret: '0123456789abcdef', nodes: ['a', 'b', 'c'],
               vips: [{{ name: 'g', prefer: 'a', failback: {failback},
                         vips: [{{ interface: 'e', ip: '192.0.2.10/24' }}] }}] }}"
        );
        let shared = parse(&text, "f").unwrap().config.shared;
        let placement = Placement::new(&shared);
        (shared.groups, placement)
    }

    /// Who owns the only group, by place in its succession, when the nodes there
    /// are these: candidacy, holds, cannot, rather not.
    fn owner(failback: &str, nodes: [(Candidacy, &str); 3]) -> Option<usize> {
        let (groups, placement) = placed(failback);
        let (yes, no) = (Bits::from_iter([0]), Bits::new());
        let succession = placement.succession(GroupIndex(0));
        let mut candidates = Vec::new();
        for index in (0u16..3).map(NodeIndex) {
            let place = succession.iter().position(|node| *node == index).unwrap();
            let (candidacy, marks) = nodes[place];
            let bit = |mark: char| if marks.contains(mark) { &yes } else { &no };
            let (holding, cannot, rather_not) = (bit('h'), bit('c'), bit('r'));
            candidates.push(Candidate { candidacy, holding, cannot, rather_not });
        }
        let owner = Ownership::new(&groups, &placement, candidates, false).owner(GroupIndex(0))?;
        succession.iter().position(|node| *node == owner)
    }

    use Candidacy::{Active, Booting, Draining, Out, Standby};

    #[test]
    fn without_failback_the_holder_keeps_and_with_it_the_first_takes() {
        let nodes = [(Active, ""), (Active, "h"), (Active, "")];
        assert_eq!(owner("'never'", nodes), Some(1));
        assert_eq!(owner("'auto'", nodes), Some(0));
    }

    #[test]
    fn without_failback_and_without_a_holder_the_first_takes() {
        for failback in ["'auto'", "'never'", "60"] {
            let nodes = [(Active, ""), (Active, ""), (Active, "")];
            assert_eq!(owner(failback, nodes), Some(0));
        }
    }

    #[test]
    fn of_two_holders_without_failback_the_earlier_keeps() {
        assert_eq!(owner("'never'", [(Active, ""), (Active, "h"), (Active, "h")]), Some(1));
    }

    #[test]
    fn a_holder_without_failback_does_not_keep_what_it_had_better_give_away() {
        for worse in [(Draining, "h"), (Active, "hr"), (Active, "hc"), (Standby, "h"), (Out, "h")] {
            assert_eq!(owner("'never'", [(Active, ""), worse, (Active, "")]), Some(0), "{worse:?}");
        }
    }

    #[test]
    fn a_booting_node_that_found_a_group_on_itself_keeps_it_without_failback() {
        assert_eq!(owner("'never'", [(Active, ""), (Booting, "h"), (Active, "")]), Some(1));
        assert_eq!(owner("'never'", [(Active, ""), (Booting, "h"), (Active, "h")]), Some(2));
    }

    #[test]
    fn behind_the_active_nodes_the_holder_comes_first() {
        assert_eq!(owner("'auto'", [(Standby, ""), (Standby, "h"), (Out, "")]), Some(1));
        assert_eq!(owner("'auto'", [(Draining, ""), (Draining, "h"), (Out, "")]), Some(1));
        assert_eq!(owner("'auto'", [(Active, "r"), (Standby, "h"), (Draining, "h")]), Some(1));
        assert_eq!(owner("'never'", [(Out, ""), (Standby, "h"), (Active, "")]), Some(2));
    }

    #[test]
    fn others_are_counted_only_when_they_do_not_mind() {
        let (groups, placement) = placed("60");
        let (yes, no) = (Bits::from_iter([0]), Bits::new());
        let plain = Candidate { candidacy: Active, holding: &no, cannot: &no, rather_not: &no };
        let others = |b: Candidate<'_>, c: Candidate<'_>| {
            let candidates = vec![Candidate { holding: &yes, ..plain }, b, c];
            let others = Ownership::new(&groups, &placement, candidates, false)
                .others(GroupIndex(0), Some(NodeIndex(0)));
            (others.hold, others.could)
        };
        let out = Candidate { candidacy: Out, ..plain };
        let held = Candidate { holding: &yes, ..plain };
        assert_eq!(others(out, out), (false, false));
        assert_eq!(others(plain, out), (false, true));
        assert_eq!(others(held, out), (true, true));
        assert_eq!(others(Candidate { candidacy: Standby, ..held }, out), (true, true));
        assert_eq!(others(Candidate { candidacy: Draining, ..held }, plain), (false, true));
        assert_eq!(others(Candidate { rather_not: &yes, ..held }, out), (false, false));
    }
}
