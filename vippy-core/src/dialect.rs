//! Group positions of another configuration in the terms of this node's own (O5).
//!
//! Positions are relative to the configuration that a process announces. This
//! node can read its own, and the one it had before; of a process that speaks
//! any other it remembers what it held when it was last understood.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::{Digest, SharedPart};
use crate::identity::{BootId, GroupIndex};
use crate::membership::Membership;
use crate::membership::facts::Facts;
use crate::membership::process::Process;

/// The configuration that this node had before its present one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Dialect {
    former: Option<Former>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Former {
    digest: Digest,
    /// For each of its groups, where the same one is in the present configuration.
    positions: Vec<Option<u32>>,
    /// For each group of the present configuration, where the same one is in it.
    counterparts: Vec<Option<u32>>,
}

/// What live peers of other configurations hold, in this node's terms.
pub(crate) type Readings = BTreeMap<BootId, Bits>;

impl Dialect {
    /// This node goes from one configuration to another.
    pub(crate) fn change(&mut self, old: &SharedPart, new: &SharedPart, members: &mut Membership) {
        let former = Former::between(old, new);
        for facts in members.facts_mut() {
            let held = self.read(facts, old.digest);
            facts.last_held = former.translate(&held);
        }
        self.former = Some(former);
    }

    /// What live peers hold whose positions are not those of `own`.
    pub(crate) fn readings(&self, members: &Membership, own: Digest) -> Readings {
        let facts = |peer: &'_ Process| Some((peer.boot, self.read(peer.facts.as_ref()?, own)));
        let foreign = |peer: &&Process| peer.facts.as_ref().is_some_and(|f| !f.speaks(own));
        members.live_processes().filter(foreign).filter_map(facts).collect()
    }

    /// Where a group is in another configuration, if that one has it and can be
    /// read.
    pub(crate) fn counterpart(&self, digest: Digest, group: GroupIndex) -> Option<GroupIndex> {
        let former = self.former(digest)?;
        former.counterparts.get(group.get()).copied().flatten().map(GroupIndex)
    }

    /// Groups of another configuration in this node's terms, if it can be read.
    pub(crate) fn understand(
        &self,
        digest: Digest,
        groups: &[GroupIndex],
    ) -> Option<Vec<GroupIndex>> {
        let positions = &self.former(digest)?.positions;
        let position = |group: &GroupIndex| positions.get(group.get()).copied().flatten();
        Some(groups.iter().filter_map(position).map(GroupIndex).collect())
    }

    fn former(&self, digest: Digest) -> Option<&Former> {
        self.former.as_ref().filter(|former| former.digest == digest)
    }

    /// What a process held that goes from the configuration `before` to another.
    pub(crate) fn last_words(&self, before: Digest, held: &Bits, own: Digest) -> Option<Bits> {
        if before == own {
            return Some(held.clone());
        }
        Some(self.former(before)?.translate(held))
    }

    fn read(&self, facts: &Facts, own: Digest) -> Bits {
        let understood = self.last_words(facts.digest, &facts.holding, own);
        understood.unwrap_or_else(|| facts.last_held.clone())
    }
}

impl Former {
    fn between(old: &SharedPart, new: &SharedPart) -> Former {
        Former {
            digest: old.digest,
            positions: positions(old, new),
            counterparts: positions(new, old),
        }
    }

    fn translate(&self, held: &Bits) -> Bits {
        let position = |group: u32| *self.positions.get(group as usize)?;
        held.iter().filter_map(position).collect()
    }
}

/// For each group of one configuration, where the same one is in another.
fn positions(of: &SharedPart, within: &SharedPart) -> Vec<Option<u32>> {
    let groups = within.groups.iter().map(|group| &group.id);
    let positions: BTreeMap<_, u32> = groups.zip(0u32..).collect();
    of.groups.iter().map(|group| positions.get(&group.id).copied()).collect()
}
