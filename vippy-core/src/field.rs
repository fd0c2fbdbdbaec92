//! All nodes as candidates for a group: what each of them announced, in this
//! node's terms.
//!
//! Reads what peers announced; changes nothing.

use crate::bits::Bits;
use crate::config::SharedPart;
use crate::dialect::{Dialect, Readings};
use crate::identity::{GroupIndex, NodeIndex, NodeName, Seq};
use crate::membership::Membership;
use crate::membership::facts::Facts;
use crate::membership::process::Process;
use crate::ownership::{Candidacy, Candidate, Ownership};
use crate::placement::Placement;

/// A process that cannot be read refuses nothing that this node knows of.
static NONE: Bits = Bits::new();

/// A node that is not there.
const OUT: Candidate<'static> =
    Candidate { candidacy: Candidacy::Out, holding: &NONE, cannot: &NONE, rather_not: &NONE };

/// The nodes of a configuration at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) shared: &'a SharedPart,
    pub(crate) placement: &'a Placement,
    pub(crate) members: &'a Membership,
    pub(crate) dialect: &'a Dialect,
    pub(crate) readings: &'a Readings,
    pub(crate) me: Option<NodeIndex>,
    /// A peer judges by a higher configuration: nobody takes anything by this one.
    pub(crate) outranked: bool,
}

impl<'a> Field<'a> {
    /// Every node.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<'a> {
        (0u16..).map(NodeIndex).zip(&self.shared.nodes).map(|(node, _)| node)
    }

    /// The name of a node.
    pub(crate) fn name(&self, node: NodeIndex) -> &'a NodeName {
        &self.shared.nodes[node.get()].name
    }

    /// What a live node announced, if in this configuration's terms.
    pub(crate) fn facts(&self, node: NodeIndex) -> Option<&'a Facts> {
        let facts = self.members.live(self.name(node))?.facts.as_ref()?;
        facts.speaks(self.shared.digest).then_some(facts)
    }

    /// Whether a live node last showed a group held, and the highest number of this
    /// node that it had echoed by then; `None` where this node cannot read that.
    pub(crate) fn shown(&self, node: NodeIndex, group: GroupIndex) -> Option<(bool, Seq)> {
        let facts = self.members.live(self.name(node))?.facts.as_ref()?;
        let theirs = match facts.speaks(self.shared.digest) {
            true => group,
            false => self.dialect.counterpart(facts.digest, group)?,
        };
        facts.shown(theirs)
    }

    /// What a process holds, in this node's terms.
    pub(crate) fn holding_of(&self, peer: &'a Process) -> Option<&'a Bits> {
        let facts = peer.facts.as_ref()?;
        match facts.speaks(self.shared.digest) {
            true => Some(&facts.holding),
            false => self.readings.get(&peer.boot),
        }
    }

    /// Every node as a candidate; `own` is this one.
    pub(crate) fn candidates(&self, own: Candidate<'a>) -> Vec<Candidate<'a>> {
        let candidate = |node: NodeIndex| {
            if self.me == Some(node) {
                return own;
            }
            let Some(peer) = self.members.live(self.name(node)) else { return OUT };
            let Some((facts, holding)) = peer.facts.as_ref().zip(self.holding_of(peer)) else {
                return OUT;
            };
            if facts.speaks(self.shared.digest) {
                let (cannot, rather_not) = (&facts.cannot, &facts.rather_not);
                let candidacy = Candidacy::of(facts.state, facts.reason);
                Candidate { candidacy, holding, cannot, rather_not }
            } else {
                let candidacy = Candidacy::foreign(facts.state, facts.reason);
                Candidate { candidacy, holding, cannot: &NONE, rather_not: &NONE }
            }
        };
        self.nodes().map(candidate).collect()
    }

    /// Who owns what among these candidates.
    pub(crate) fn ownership(&self, candidates: Vec<Candidate<'a>>) -> Ownership<'a> {
        Ownership::new(&self.shared.groups, self.placement, candidates, self.outranked)
    }

    /// A process announces a group as held.
    pub(crate) fn holds(&self, peer: &'a Process, group: GroupIndex) -> bool {
        self.holding_of(peer).is_some_and(|holding| holding.contains(group.0))
    }
}
