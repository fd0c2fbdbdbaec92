//! Which configuration of the others is worth having, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Rank, describe};
use crate::config::{Digest, SharedPart};
use crate::identity::NodeName;
use crate::membership::Membership;
use crate::membership::process::Process;
use crate::wire::document::{DocumentKind, DocumentName};

/// Configurations that are remembered as of no use.
const MOST_REFUSED: usize = 16;

/// This node's way to the highest configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Graduation {
    sought: Option<Sought>,
    /// What this node cannot take, and why.
    #[serde(with = "crate::recorder::pairs")]
    refused: BTreeMap<Rank, String>,
    /// What it must not take again.
    forgotten: BTreeSet<Rank>,
    /// Other contents under the version that runs.
    rivals: BTreeSet<Digest>,
}

/// Why a configuration that was forgotten is not taken.
const FORGOTTEN: &str = "an operator had it forgotten";

/// A configuration on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sought {
    pub(crate) rank: Rank,
    pub(crate) document: DocumentName,
    /// Who announces it.
    pub(crate) from: NodeName,
    /// All of it is there; the daemon looks at it.
    examined: bool,
}

impl Graduation {
    /// The document to fetch, if any: that of the highest configuration above
    /// `own` that a live peer has, known to the configuration or not (W4).
    pub(crate) fn seek(&mut self, own: Rank, members: &Membership) -> Option<DocumentName> {
        let same_version = |rank: &Rank| rank.0 == own.0 && rank.1 != own.1;
        let rivals = members.live_processes().filter_map(Process::rank).filter(same_version);
        self.rivals.extend(rivals.map(|rank| rank.1));
        let useful = |rank: Rank| rank > own && self.refusal(rank).is_none();
        let higher = members.live_processes().filter(|peer| peer.rank().is_some_and(useful));
        let best = higher.filter_map(offer).max_by_key(|sought| sought.rank);
        let stays = |sought: &Sought| {
            best.as_ref().is_some_and(|best| best.rank == sought.rank)
                && (sought.examined || offered(members, sought))
        };
        if !self.sought.as_ref().is_some_and(stays) {
            self.sought = best;
        }
        self.sought.as_ref().filter(|sought| !sought.examined).map(|sought| sought.document)
    }

    /// Whether a document that is complete is the one that is sought; it is then
    /// to be examined.
    pub(crate) fn complete(&mut self, document: Digest) -> bool {
        let awaited = |sought: &&mut Sought| sought.document.digest == document && !sought.examined;
        let sought = self.sought.as_mut().filter(awaited);
        sought.map(|sought| sought.examined = true).is_some()
    }

    /// What came of examining a document: the configuration to adopt, or what to
    /// say about it. `None` when it is no longer sought. What is to be adopted stays
    /// sought until it runs, so that nobody looks at it a second time.
    pub(crate) fn examined(
        &mut self,
        document: Digest,
        outcome: Result<Arc<SharedPart>, String>,
    ) -> Option<Result<Arc<SharedPart>, (Rank, String)>> {
        let sought =
            self.sought.as_ref().filter(|s| s.examined && s.document.digest == document)?;
        let rank = sought.rank;
        let outcome = outcome.and_then(|shared| match shared.rank() {
            found if found == rank => Ok(shared),
            found => Err(format!("announced as {}, found {}", describe(rank), describe(found))),
        });
        Some(outcome.map_err(|why| {
            self.sought = None;
            self.refuse(rank, why.clone());
            (rank, why)
        }))
    }

    fn refuse(&mut self, rank: Rank, why: String) {
        if self.refused.len() >= MOST_REFUSED {
            self.refused.pop_first();
        }
        self.refused.insert(rank, why);
    }

    /// Never takes this configuration again.
    pub(crate) fn forget(&mut self, rank: Rank) {
        self.forgotten.insert(rank);
    }

    /// Why this configuration is not taken, if so.
    pub(crate) fn refusal(&self, rank: Rank) -> Option<&str> {
        let forgotten = self.forgotten.contains(&rank).then_some(FORGOTTEN);
        forgotten.or(self.refused.get(&rank).map(String::as_str))
    }

    /// All that cannot be taken, and why.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Rank, &str)> {
        self.refused.iter().map(|(rank, why)| (*rank, why.as_str()))
    }

    /// This node went from one configuration to another.
    pub(crate) fn graduated(&mut self, old: Rank, new: Rank) {
        if old.0 == new.0 {
            self.rivals.insert(old.1);
            self.rivals.remove(&new.1);
        } else {
            self.rivals.clear();
        }
    }

    /// Other contents that somebody has, or had, under the version that runs.
    pub(crate) fn rivals(&self) -> impl Iterator<Item = Digest> {
        self.rivals.iter().copied()
    }

    /// What is on its way.
    pub(crate) fn sought(&self) -> Option<&Sought> {
        self.sought.as_ref()
    }

    /// Local keys have changed: what could not be taken may be possible now.
    pub(crate) fn reconsider(&mut self) {
        self.refused.clear();
    }
}

/// The configuration that a peer runs and has to give.
fn offer(peer: &Process) -> Option<Sought> {
    let document = peer.facts.as_ref()?.document(DocumentKind::CONFIGURATION)?;
    Some(Sought { rank: peer.rank()?, document, from: peer.name.clone(), examined: false })
}

/// Somebody still has it.
fn offered(members: &Membership, sought: &Sought) -> bool {
    let same = |peer: &Process| {
        offer(peer)
            .is_some_and(|offer| (offer.rank, offer.document) == (sought.rank, sought.document))
    };
    members.live_processes().any(same)
}
