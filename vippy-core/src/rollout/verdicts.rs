//! What this node says to configurations that others propose.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::Digest;
use crate::membership::Membership;
use crate::wire::announcement::Verdict;
use crate::wire::document::{DocumentKind, DocumentName};

/// Proposals that are looked at, at a time.
const MOST: usize = 2;

/// Proposals of live peers, and what this node says to each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Verdicts {
    #[serde(with = "crate::recorder::pairs")]
    proposals: BTreeMap<Digest, Stage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Fetching(DocumentName),
    /// The daemon looks at it.
    Examining,
    Said(Verdict),
}

impl Verdicts {
    /// The documents to fetch. What nobody proposes any more is forgotten.
    pub(crate) fn seek(&mut self, members: &Membership) -> Vec<DocumentName> {
        let proposed = members.live_processes().filter(|peer| members.counts(peer.boot));
        let proposed: BTreeSet<DocumentName> = proposed
            .filter_map(|peer| peer.facts.as_ref()?.document(DocumentKind::PROPOSAL))
            .collect();
        self.proposals.retain(|digest, _| proposed.iter().any(|name| name.digest == *digest));
        for name in proposed {
            if self.proposals.len() < MOST {
                self.proposals.entry(name.digest).or_insert(Stage::Fetching(name));
            }
        }
        let fetching = |stage: &Stage| match stage {
            Stage::Fetching(name) => Some(*name),
            Stage::Examining | Stage::Said(_) => None,
        };
        self.proposals.values().filter_map(fetching).collect()
    }

    /// Whether a document that is complete is a proposal; it is then to be examined.
    pub(crate) fn complete(&mut self, document: Digest) -> bool {
        let fetching = |stage: &&mut Stage| matches!(stage, Stage::Fetching(_));
        let stage = self.proposals.get_mut(&document).filter(fetching);
        stage.map(|stage| *stage = Stage::Examining).is_some()
    }

    /// What came of examining a document; false when nobody proposes it any more.
    pub(crate) fn examined(&mut self, document: Digest, objection: Option<String>) -> bool {
        let Some(stage) = self.proposals.get_mut(&document) else { return false };
        *stage = Stage::Said(Verdict { document, objection });
        true
    }

    /// Whether somebody proposes this document.
    pub(crate) fn knows(&self, document: Digest) -> bool {
        self.proposals.contains_key(&document)
    }

    /// What is said, for announcements.
    pub(crate) fn said(&self) -> Vec<Verdict> {
        let said = |stage: &Stage| match stage {
            Stage::Said(verdict) => Some(verdict.clone()),
            Stage::Fetching(_) | Stage::Examining => None,
        };
        self.proposals.values().filter_map(said).collect()
    }
}
