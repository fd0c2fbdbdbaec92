//! What would move if (O10): the facts of one moment, and what the ownership rules
//! make of them after a change.
//!
//! An [`Outlook`] is a copy of what one node knows, so that thinking ahead costs
//! the node no time. Nothing here decides who owns what: that is `ownership`.

mod config;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::bits::Bits;
use crate::config::{Config, Failback, Node, SharedPart, nearest};
use crate::engine::Engine;
use crate::identity::{GroupId, GroupIndex, NodeIndex, NodeName};
use crate::ownership::{Candidacy, Candidate, Ownership};
use crate::placement::Placement;
use crate::plan::{Change, Move, Pair, Plan, Unplannable};
use crate::report;
use crate::status::{NodeReason, NodeState, QuorumStatus};

/// What one node knows of the cluster at one moment.
#[derive(Clone, Debug)]
pub struct Outlook {
    identity: NodeName,
    config: Arc<Config>,
    /// Configured nodes in their order, then live ones that the configuration
    /// does not know.
    nodes: Vec<Known>,
    /// Who has a higher configuration, if anybody.
    outranked: Option<String>,
    /// A version above all that the node knows of.
    next_version: u64,
}

/// What is known of a node. Group positions are those of the running
/// configuration.
#[derive(Clone, Debug)]
struct Known {
    name: NodeName,
    candidacy: Candidacy,
    /// What it announces; `None` while it is not alive.
    standing: Option<(NodeState, NodeReason)>,
    holding: Bits,
    cannot: Bits,
    rather_not: Bits,
}

impl Engine {
    /// What this node knows, to think ahead with (O10).
    pub fn outlook(&self) -> Outlook {
        let shared = &self.config.shared;
        let readings = self.dialect.readings(&self.members, shared.digest);
        let field = self.field(&readings);
        let own = (self.standing.state(), self.standing.reason());
        let candidates = field.candidates(self.holdings.candidate(Candidacy::of(own.0, own.1)));
        let standing = |name: &NodeName| {
            if *name == self.name {
                return Some(own);
            }
            let facts = self.members.live(name)?.facts.as_ref()?;
            Some((facts.state, facts.reason))
        };
        let configured = shared.nodes.iter().zip(candidates).map(|(node, candidate)| Known {
            name: node.name.clone(),
            candidacy: candidate.candidacy,
            standing: standing(&node.name),
            holding: candidate.holding.clone(),
            cannot: candidate.cannot.clone(),
            rather_not: candidate.rather_not.clone(),
        });
        let known = |name: &NodeName| shared.node_index(name).is_some();
        let strangers = self.members.live_processes().filter(|peer| !known(&peer.name));
        let strangers = strangers.map(|peer| Known {
            standing: standing(&peer.name),
            holding: field.holding_of(peer).cloned().unwrap_or_default(),
            ..Known::absent(&peer.name)
        });
        Outlook {
            identity: self.name.clone(),
            nodes: configured.chain(strangers).collect(),
            outranked: self.ranking.higher().map(str::to_owned),
            next_version: self.next_version(),
            config: self.config.clone(),
        }
    }
}

impl Known {
    fn absent(name: &NodeName) -> Known {
        Known {
            name: name.clone(),
            candidacy: Candidacy::Out,
            standing: None,
            holding: Bits::new(),
            cannot: Bits::new(),
            rather_not: Bits::new(),
        }
    }

    fn is_alive(&self) -> bool {
        self.standing.is_some_and(|(state, _)| state != NodeState::Leaving)
    }

    /// The same node, there and well.
    fn well(self, node: &Node) -> Known {
        let (candidacy, state) = match node {
            node if node.is_retired() => (Candidacy::Draining, NodeState::Draining),
            node if node.standby => (Candidacy::Standby, NodeState::Standby),
            _ => (Candidacy::Active, NodeState::Active),
        };
        let standing = Some((state, NodeReason::None));
        Known { candidacy, standing, ..self }
    }
}

impl Outlook {
    /// A configuration under the version that it gets if it is applied.
    #[must_use]
    pub fn applied(&self, config: SharedPart) -> SharedPart {
        let running = &self.config.shared;
        config.following(running.rank(), self.next_version).unwrap_or_else(|| running.clone())
    }

    /// What would come of a change.
    ///
    /// # Errors
    /// When a node is unknown or both down and up, or when this node cannot know:
    /// its configuration does not judge.
    pub fn foretell(&self, change: &Change) -> Result<Plan, Unplannable> {
        let running = &self.config.shared;
        let shared = change.config.as_ref().unwrap_or(running);
        if let (Some(text), None) = (&self.outranked, &change.config) {
            let text = format!("this node does not know the owners: {text}");
            return Err(Unplannable(text));
        }
        check_names(change, shared)?;
        let nodes = self.after(change, shared);
        let present = nodes.iter().filter(|node| node.is_alive()).count();
        let present = u16::try_from(present).unwrap_or(u16::MAX);
        let quorum = QuorumStatus { present, needed: shared.quorum };
        let lost = quorum.needed.is_some_and(|needed| present < needed);
        let placement = Placement::new(shared);
        let candidates: Vec<Candidate<'_>> = nodes
            .iter()
            .map(|node| Candidate {
                candidacy: if lost { Candidacy::Out } else { node.candidacy },
                holding: &node.holding,
                cannot: &node.cannot,
                rather_not: &node.rather_not,
            })
            .collect();
        let ownership = Ownership::new(&shared.groups, &placement, candidates, false);
        let (moves, unheld) = self.moves(change, shared, &ownership);
        Ok(Plan {
            identity: self.identity.clone(),
            down: change.down.iter().cloned().collect(),
            up: change.up.iter().cloned().collect(),
            assumptions: self.assumptions(change, shared),
            warnings: change.config.iter().flat_map(|new| config::warnings(running, new)).collect(),
            config: change.config.as_ref().map(|new| config::compare(running, new)),
            quorum_lost: lost.then_some(quorum),
            groups: shared.groups.len(),
            pairs: pairs(&moves),
            moves,
            unheld,
        })
    }

    /// The nodes of `shared` after the change, groups counted as it does.
    fn after(&self, change: &Change, shared: &SharedPart) -> Vec<Known> {
        let known: BTreeMap<&NodeName, &Known> =
            self.nodes.iter().map(|node| (&node.name, node)).collect();
        let positions = config::positions(&self.config.shared, shared);
        let alive = |node: &Node| {
            let known = known.get(&node.name).is_some_and(|known| known.is_alive());
            (known && !change.down.contains(&node.name)) || change.up.contains(&node.name)
        };
        let present = shared.nodes.iter().filter(|node| alive(node)).count();
        let quorate = shared.quorum.is_none_or(|needed| present >= usize::from(needed));
        let after = |node: &Node| {
            let absent = Known::absent(&node.name);
            if change.down.contains(&node.name) {
                return absent;
            }
            let known = known.get(&node.name).map_or(absent, |known| known.renumbered(&positions));
            if change.up.contains(&node.name) {
                let (cannot, rather_not) = (Bits::new(), Bits::new());
                return Known { cannot, rather_not, ..known.well(node) };
            }
            let follows = match known.standing {
                Some((_, NodeReason::NoQuorum)) => quorate,
                Some((NodeState::Active, _)) => change.config.is_some(),
                Some((NodeState::Standby | NodeState::Draining, reason)) => {
                    let lasts = matches!(reason, NodeReason::Operator | NodeReason::HeldDown);
                    change.config.is_some() && !lasts
                }
                Some((NodeState::Booting | NodeState::Leaving, _)) | None => false,
            };
            if follows { known.well(node) } else { known.by_its_word(change.config.is_some()) }
        };
        shared.nodes.iter().map(after).collect()
    }

    /// Who gets what, and what nobody could hold.
    fn moves(
        &self,
        change: &Change,
        shared: &SharedPart,
        ownership: &Ownership<'_>,
    ) -> (Vec<Move>, Vec<GroupId>) {
        let before = config::indexes(&self.config.shared);
        let (mut moves, mut unheld) = (Vec::new(), Vec::new());
        for (group, config) in shared.group_indexes().zip(&shared.groups) {
            let holders = before.get(&config.id).map(|former| self.holders(*former));
            let holders: Vec<&NodeName> = holders.into_iter().flatten().collect();
            let Some(owner) = ownership.owner(group) else {
                unheld.push(config.id.clone());
                continue;
            };
            let to = &shared.nodes[owner.get()].name;
            if holders.contains(&to) {
                continue;
            }
            moves.push(Move {
                group: config.id.clone(),
                from: holders.first().map(|from| (*from).clone()),
                to: to.clone(),
                delay_ms: delay(change, config.failback, ownership, (group, owner), to),
            });
        }
        (moves, unheld)
    }

    /// Who holds a group of the running configuration.
    fn holders(&self, group: GroupIndex) -> impl Iterator<Item = &NodeName> {
        let holding = self.nodes.iter().filter(move |node| node.holding.contains(group.0));
        holding.map(|node| &node.name)
    }

    /// What a plan is true for.
    fn assumptions(&self, change: &Change, shared: &SharedPart) -> Vec<String> {
        let names = |names: Vec<&NodeName>| {
            let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
            names.join(", ")
        };
        let down = shared.nodes.iter().map(|node| &node.name).filter(|name| {
            let known = self.nodes.iter().find(|known| known.name == **name);
            let alive = known.is_some_and(Known::is_alive);
            !alive && !change.up.contains(*name) && !change.down.contains(*name)
        });
        let down: Vec<&NodeName> = down.collect();
        let stay = match down.is_empty() {
            true => String::new(),
            false => format!(", nodes that are down stay down ({})", names(down)),
        };
        let mut told = vec![format!("all else stays as it is now{stay}")];
        if !change.up.is_empty() {
            let up = names(change.up.iter().collect());
            told.push(format!("{up}: up, takes part, can hold everything, is not held down"));
        }
        if change.config.is_some() {
            told.push("every node that is up takes this configuration over".to_owned());
        }
        told
    }
}

impl Known {
    /// The same in the terms of another configuration.
    fn renumbered(&self, positions: &BTreeMap<u32, u32>) -> Known {
        let renumber = |bits: &Bits| -> Bits {
            bits.iter().filter_map(|group| positions.get(&group).copied()).collect()
        };
        Known {
            name: self.name.clone(),
            candidacy: self.candidacy,
            standing: self.standing,
            holding: renumber(&self.holding),
            cannot: renumber(&self.cannot),
            rather_not: renumber(&self.rather_not),
        }
    }

    /// The same by what it announces, when everybody has come to `agree` on a
    /// configuration.
    fn by_its_word(self, agree: bool) -> Known {
        let state = self.standing.map(|(state, _)| state);
        let candidacy = match state.filter(|_| agree) {
            Some(state) => Candidacy::of(state, NodeReason::None),
            None => self.candidacy,
        };
        Known { candidacy, ..self }
    }
}

/// How long a node that comes back leaves a group where it is (O4).
fn delay(
    change: &Change,
    failback: Failback,
    ownership: &Ownership<'_>,
    (group, owner): (GroupIndex, NodeIndex),
    to: &NodeName,
) -> Option<u64> {
    let Failback::After(delay) = failback else { return None };
    let returns = change.up.contains(to) && ownership.others(group, Some(owner)).hold;
    returns.then(|| report::millis(delay))
}

/// Counts moves by who gives and who gets.
fn pairs(moves: &[Move]) -> Vec<Pair> {
    let mut counts: BTreeMap<(&Option<NodeName>, &NodeName), usize> = BTreeMap::new();
    for step in moves {
        *counts.entry((&step.from, &step.to)).or_default() += 1;
    }
    let pair = |((from, to), groups): ((&Option<NodeName>, &NodeName), usize)| Pair {
        from: from.clone(),
        to: to.clone(),
        groups,
    };
    counts.into_iter().map(pair).collect()
}

fn check_names(change: &Change, shared: &SharedPart) -> Result<(), Unplannable> {
    let known: BTreeSet<&NodeName> = shared.nodes.iter().map(|node| &node.name).collect();
    for name in change.down.iter().chain(&change.up) {
        if !known.contains(name) {
            let names = || known.iter().map(|name| name.as_str());
            let hint = match nearest(name.as_str(), names()) {
                Some(near) => format!(" (did you mean {near:?}?)"),
                None => format!(": {}", names().collect::<Vec<_>>().join(", ")),
            };
            let found = name.as_str();
            return Err(Unplannable(format!("found {found:?}, expected the name of a node{hint}")));
        }
    }
    match change.down.intersection(&change.up).next() {
        Some(name) => Err(Unplannable(format!("found {name} down and up, expected one of them"))),
        None => Ok(()),
    }
}
