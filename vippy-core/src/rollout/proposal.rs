//! A configuration that an operator wants, before anybody runs it: every live
//! node is asked, and nothing changes anywhere unless all can take it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::describe;
use crate::config::{Digest, SharedPart};
use crate::identity::NodeName;
use crate::membership::Membership;
use crate::membership::process::Process;
use crate::time::Instant;
use crate::wire::document::DocumentKind;

/// How long everybody has to fetch it, look at it and answer, beside `stale`.
const PATIENCE: Duration = Duration::from_secs(10);

/// A proposal of this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Proposal {
    pub(crate) shared: Arc<SharedPart>,
    /// The digest of its document.
    pub(crate) document: Digest,
    /// It is taken back unless it is confirmed within this time.
    pub(crate) confirm_within: Option<Duration>,
    until: Instant,
    /// Who is asked, and what came: `Some(None)` accepts.
    pub(crate) answers: BTreeMap<NodeName, Option<Option<String>>>,
    pub(crate) outcome: Option<Outcome>,
}

/// How a proposal ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// All accepted it: this node runs it, and the others follow.
    Adopted,
    /// Nothing changed, for this reason.
    Refused(String),
}

impl Proposal {
    pub(crate) fn new(
        now: Instant,
        shared: Arc<SharedPart>,
        document: Digest,
        confirm_within: Option<Duration>,
        stale: Duration,
    ) -> Proposal {
        let until = now + PATIENCE + stale;
        let answers = BTreeMap::new();
        Proposal { shared, document, confirm_within, until, answers, outcome: None }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.is_open().then_some(self.until)
    }

    /// Collects what live nodes say. The outcome, once there is one.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        running: &SharedPart,
        members: &Membership,
    ) -> Option<&Outcome> {
        if !self.is_open() {
            return None;
        }
        for peer in members.live_processes().filter(|peer| members.counts(peer.boot)) {
            let mut verdicts = peer.facts.iter().flat_map(|facts| &facts.verdicts);
            let said = verdicts.rfind(|verdict| verdict.document == self.document);
            let answer = said.map(|verdict| verdict.objection.clone());
            self.answers.insert(peer.name.clone(), answer);
        }
        self.answers.retain(|name, _| members.live(name).is_some());
        self.outcome = self.judge(now, running, members);
        self.outcome.as_ref()
    }

    fn judge(&self, now: Instant, running: &SharedPart, members: &Membership) -> Option<Outcome> {
        if running.rank() >= self.shared.rank() {
            let rank = describe(running.rank());
            return Some(Outcome::Refused(format!("{rank} came to run meanwhile")));
        }
        if let Some(rival) = proposer(members) {
            return Some(Outcome::Refused(format!("{rival} proposes a configuration as well")));
        }
        let waiting: Vec<&str> = self.waiting().map(NodeName::as_str).collect();
        if !waiting.is_empty() && now < self.until {
            return None;
        }
        let objecting: Vec<&str> = self.objections().map(|(name, _)| name.as_str()).collect();
        if !objecting.is_empty() {
            return Some(Outcome::Refused(format!("refused by {}", objecting.join(", "))));
        }
        Some(match waiting.is_empty() {
            true => Outcome::Adopted,
            false => Outcome::Refused(format!("no answer from {}", waiting.join(", "))),
        })
    }

    fn waiting(&self) -> impl Iterator<Item = &NodeName> {
        self.answers.iter().filter(|(_, answer)| answer.is_none()).map(|(name, _)| name)
    }

    fn objections(&self) -> impl Iterator<Item = (&NodeName, &str)> {
        self.answers.iter().filter_map(|(name, answer)| match answer {
            Some(Some(why)) => Some((name, why.as_str())),
            Some(None) | None => None,
        })
    }
}

/// A live peer that proposes something: the one with the lowest boot.
pub(crate) fn proposer(members: &Membership) -> Option<&NodeName> {
    let proposes = |peer: &&Process| {
        let facts = peer.facts.as_ref();
        facts.is_some_and(|facts| facts.document(DocumentKind::PROPOSAL).is_some())
    };
    members.live_processes().find(proposes).map(|peer| &peer.name)
}
