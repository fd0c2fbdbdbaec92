//! How documents come and go, and with them configurations: graduation, proposals,
//! trials.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::bits::Bits;
use crate::config::{self, Digest, SharedPart};
use crate::event::Event;
use crate::identity::{BootId, GroupId, NodeName};
use crate::membership::Timers;
use crate::membership::process::Process;
use crate::output::{Adoption, Kept, Output};
use crate::rollout::describe;
use crate::rollout::graduation::Graduation;
use crate::rollout::proposal::{Outcome, Proposal, proposer};
use crate::rollout::trial::{Outlook, Trial};
use crate::status::NodeState;
use crate::time::{Instant, earliest};
use crate::unicast::multicast_works;
use crate::wire::MAX_FRAME;
use crate::wire::announcement::{Section, TrialNotice};
use crate::wire::auth::TAG;
use crate::wire::document::{DocumentChunk, DocumentKind, DocumentName, DocumentRequest};
use crate::wire::frame::{Body, HEADER};

/// Bytes of a chunk's frame beside its bytes and the sender's name.
const CHUNK_FRAME: usize = HEADER + DocumentChunk::HEAD + TAG + 1;

impl Engine {
    /// What a fresh frame with a document, or a request for one, asks for.
    pub(super) fn attend(&mut self, now: Instant, boot: BootId, body: &Body) {
        match body {
            Body::DocumentRequest(request) => self.requested(now, boot, request),
            Body::DocumentChunk(chunk) => self.fetched(now, chunk),
            Body::Announcement(_) => {}
        }
    }

    fn requested(&mut self, now: Instant, asker: BootId, request: &DocumentRequest) {
        let has = |peer: &&Process| {
            peer.facts.as_ref().is_some_and(|facts| facts.has_document(request.digest))
        };
        let own = self.members.own.boot;
        let others = self.members.live_processes().filter(|peer| peer.boot != asker);
        let seniors = others.filter(|peer| peer.boot < own).filter(has).count();
        let seniors = u32::try_from(seniors).unwrap_or(u32::MAX);
        self.documents.requested(now, asker, request, seniors);
    }

    fn fetched(&mut self, now: Instant, chunk: &DocumentChunk) {
        let Some(text) = self.documents.chunk(now, chunk) else { return };
        match chunk.document {
            name @ DocumentName { kind: DocumentKind::NEIGHBOURS, .. } => {
                self.learn_neighbours(name, text);
            }
            DocumentName { digest, .. } => drop(self.at_hand.insert(digest, text)),
        }
    }

    /// A document was looked at.
    pub(super) fn examined(&mut self, digest: Digest, outcome: Result<Arc<SharedPart>, String>) {
        let objection = outcome.as_ref().err().cloned();
        if self.verdicts.examined(digest, objection.clone()) {
            self.tell(Event::ProposalJudged { objection });
            self.speaker.touch();
        }
        let from = self.graduation.sought().map(|sought| sought.from.clone());
        let document = self.at_hand.get(&digest).cloned();
        match (self.graduation.examined(digest, outcome), document) {
            (Some(Ok(shared)), Some(document)) if shared.rank() > self.config.shared.rank() => {
                let configuration = describe(shared.rank());
                self.tell(Event::ConfigAdopted { configuration, from });
                self.outputs.push_back(Output::Adopt(Adoption { shared, document }));
            }
            (Some(Err((rank, why))), _) => {
                self.tell(Event::ConfigRefused { configuration: describe(rank), why });
            }
            (Some(Ok(_)) | None, _) => {}
        }
    }

    /// An operator wants a configuration.
    pub(super) fn propose(
        &mut self,
        now: Instant,
        shared: Arc<SharedPart>,
        text: &Arc<str>,
        confirm_within: Option<Duration>,
    ) {
        if let Some(node) = self.proposer() {
            let text = format!("{node} is proposing a configuration already");
            return self.tell(Event::Warning { text });
        }
        let Some(document) = self.documents.shelve(DocumentKind::PROPOSAL, text) else { return };
        let stale = self.members.timers().stale;
        self.proposal = Some(Proposal::new(now, shared, document, confirm_within, stale));
        self.speaker.touch();
    }

    /// Everything about configurations that follows from time and facts.
    pub(super) fn settle_rollout(&mut self, now: Instant) {
        let sought = self.graduation.seek(self.config.shared.rank(), &self.members);
        let proposed = self.verdicts.seek(&self.members);
        self.examine_what_is_at_hand();
        let lacking = |name: &DocumentName| !self.at_hand.contains_key(&name.digest);
        let configurations = proposed.into_iter().chain(sought).filter(lacking);
        let wanted = configurations.chain(self.neighbours_sought()).collect();
        let interval = self.timing.acting().interval;
        self.documents.seek(now, &wanted, self.members.own.boot, interval);
        self.settle_proposal(now);
        self.settle_trial(now);
    }

    /// What was proposed is there already when it comes into force.
    fn examine_what_is_at_hand(&mut self) {
        let Engine { at_hand, verdicts, graduation, outputs, .. } = self;
        let sought = |graduation: &Graduation, digest: Digest| {
            graduation.sought().is_some_and(|sought| sought.document.digest == digest)
        };
        at_hand.retain(|digest, _| verdicts.knows(*digest) || sought(graduation, *digest));
        for (digest, document) in at_hand {
            let look = |strict| Output::Examine {
                document: Arc::clone(document),
                digest: *digest,
                strict,
            };
            outputs.extend(verdicts.complete(*digest).then(|| look(true)));
            outputs.extend(graduation.complete(*digest).then(|| look(false)));
        }
    }

    fn settle_proposal(&mut self, now: Instant) {
        let Some(proposal) = &mut self.proposal else { return };
        let Some(outcome) = proposal.settle(now, &self.config.shared, &self.members).cloned()
        else {
            return;
        };
        let (shared, confirm) = (Arc::clone(&proposal.shared), proposal.confirm_within);
        let configuration = describe(shared.rank());
        let text = self.documents.text(proposal.document).cloned();
        self.speaker.touch();
        let refused = match outcome {
            Outcome::Refused(why) => {
                self.documents.withdraw(DocumentKind::PROPOSAL);
                Some(why)
            }
            Outcome::Adopted => {
                let (digest, former) = (shared.digest, self.config.shared.digest);
                let notice = |left| TrialNotice { digest, former, left, confirmed: false };
                self.trial_ahead = confirm.map(|within| (notice(within), now));
                let adoption = text.map(|document| Adoption { shared, document });
                self.outputs.extend(adoption.map(Output::Adopt));
                None
            }
        };
        self.tell(Event::ProposalEnded { configuration, refused });
    }

    /// Goes on with what the last process of this node kept.
    pub(super) fn resume_trial(&mut self, now: Instant, kept: Option<(Arc<SharedPart>, Duration)>) {
        self.documents.shelve(DocumentKind::CONFIGURATION, &self.config.document);
        match kept {
            Some((former, left)) => {
                let digest = former.digest;
                self.former = Some((former, BTreeSet::new()));
                self.start_trial(now, digest, left);
            }
            None => self.keep(now),
        }
    }

    /// This node went from `old`, under which these groups were held, to another
    /// configuration.
    pub(super) fn graduated(&mut self, now: Instant, old: SharedPart, held: BTreeSet<GroupId>) {
        let own = self.config.shared.digest;
        let came_from = old.digest;
        self.graduation.graduated(old.rank(), self.config.shared.rank());
        self.documents.withdraw(DocumentKind::PROPOSAL);
        self.documents.shelve(DocumentKind::CONFIGURATION, &self.config.document);
        self.former = Some((Arc::new(old), held));
        self.trial = None;
        match self.trial_ahead.take() {
            Some((notice, at)) if (notice.digest, notice.former) == (own, came_from) => {
                self.start_trial(now, came_from, notice.left.saturating_sub(now.since(at)));
            }
            Some(_) | None => self.keep(now),
        }
    }

    fn start_trial(&mut self, now: Instant, former: Digest, left: Duration) {
        let own = self.config.shared.digest;
        let known = self.former.as_ref().filter(|(shared, _)| shared.digest == former);
        if let Some((shared, held)) = known {
            self.trial = Some(Trial::new(now, own, Arc::clone(shared), held.clone(), left));
            self.keep(now);
        }
    }

    /// A live peer tells of a trial.
    pub(super) fn hear_trial(&mut self, now: Instant, notice: &TrialNotice) {
        if notice.digest != self.config.shared.digest {
            // It may come to run here before it is told of again.
            if !notice.confirmed {
                self.trial_ahead = Some((*notice, now));
            }
            return;
        }
        let news = self.trial.as_mut().is_some_and(|trial| trial.hear(notice));
        if news {
            self.confirmed(now);
        } else if self.trial.is_none() && !notice.confirmed && !notice.left.is_zero() {
            self.start_trial(now, notice.former, notice.left);
        }
    }

    /// An operator wants to keep what is on trial.
    pub(super) fn confirm(&mut self, now: Instant) {
        if let Some(trial) = self.trial.as_mut().filter(|trial| !trial.confirmed) {
            trial.confirmed = true;
            self.confirmed(now);
        }
    }

    fn confirmed(&mut self, now: Instant) {
        let configuration = describe(self.config.shared.rank());
        self.tell(Event::TrialConfirmed { configuration });
        self.keep(now);
        self.speaker.touch();
    }

    fn settle_trial(&mut self, now: Instant) {
        let Some(trial) = &mut self.trial else { return };
        let shared = &self.config.shared;
        let holdings = &self.holdings;
        let owned = |group: &GroupId| Some(holdings.owner(holdings.position(group)?).is_some());
        let speaks =
            |peer: &Process| peer.facts.as_ref().is_some_and(|facts| facts.speaks(shared.digest));
        let booting = self.standing.state() == NodeState::Booting;
        let united = !booting && self.members.live_processes().all(speaks);
        let patience = patience(self.members.timers());
        let outlook = Outlook { united, owned: &owned, patience };
        let Some(why) = trial.verdict(now, &outlook) else { return };
        let back = Arc::new(trial.rolled_back(shared));
        let configuration = describe(shared.rank());
        self.trial = None;
        self.tell(Event::RolledBack { configuration, why });
        let document = config::document(&back);
        self.outputs.push_back(Output::Adopt(Adoption { shared: back, document }));
    }

    /// What is running is for the next process as well.
    pub(super) fn keep(&mut self, now: Instant) {
        let document = Arc::clone(&self.config.document);
        if document.is_empty() {
            return;
        }
        let trial = self.trial.as_ref().filter(|trial| !trial.confirmed);
        let trial = trial.map(|trial| (config::document(&trial.former), trial.until.since(now)));
        self.outputs.push_back(Output::Keep(Kept { document, trial }));
    }

    /// Groups that somebody holds, as far as this node can tell.
    pub(super) fn held_by_anybody(&self) -> BTreeSet<GroupId> {
        let shared = &self.config.shared;
        let readings = self.dialect.readings(&self.members, shared.digest);
        let field = self.field(&readings);
        let mut held: Bits = self.holdings.holding().clone();
        let peers = self.members.live_processes();
        peers.filter_map(|peer| field.holding_of(peer)).for_each(|theirs| held.add(theirs));
        let groups = held.iter().filter_map(|group| shared.groups.get(group as usize));
        groups.map(|group| group.id.clone()).collect()
    }

    /// What announcements say about documents and configurations.
    pub(super) fn document_sections(&self, now: Instant) -> Vec<Section> {
        let names = self.documents.names();
        if names.is_empty() {
            return Vec::new();
        }
        let said = Some(self.verdicts.said()).filter(|said| !said.is_empty());
        let trial = self.trial.as_ref().map(|trial| Section::Trial(trial.notice(now)));
        [Section::Documents(names)]
            .into_iter()
            .chain(said.map(Section::Verdicts))
            .chain(trial)
            .collect()
    }

    /// Sends what is due of documents.
    pub(super) fn distribute(&mut self, now: Instant) {
        if !self.may_speak() || self.documents.next_deadline().is_none_or(|at| now < at) {
            return;
        }
        let room = MAX_FRAME - CHUNK_FRAME - self.name.as_str().len();
        for due in self.documents.due(now, u32::try_from(room).unwrap_or(u32::MAX)) {
            let (multicast, targets) = self.reach(now, due.to.as_ref());
            // Whoever asked may be gone.
            if multicast || !targets.is_empty() {
                self.transmit(now, &due.body, multicast, &targets);
            }
        }
    }

    /// How to reach some live peers, or all: whether by multicast, and whom singly.
    fn reach(&self, now: Instant, boots: Option<&BTreeSet<BootId>>) -> (bool, Vec<SocketAddr>) {
        let peers = self.members.live_processes();
        let peers: Vec<_> =
            peers.filter(|peer| boots.is_none_or(|boots| boots.contains(&peer.boot))).collect();
        let singly: Vec<SocketAddr> = peers
            .iter()
            .filter(|peer| !multicast_works(now, &self.members, peer))
            .filter_map(|peer| peer.source)
            .collect();
        (singly.len() < peers.len(), singly)
    }

    pub(super) fn rollout_deadline(&self) -> Option<Instant> {
        let patience = patience(self.members.timers());
        let documents = self.documents.next_deadline().filter(|_| self.may_speak());
        let proposal = self.proposal.as_ref().and_then(Proposal::next_deadline);
        let trial = self.trial.as_ref().and_then(|trial| trial.next_deadline(patience));
        [documents, proposal, trial].into_iter().fold(None, earliest)
    }

    /// Who proposes a configuration just now, if anybody does.
    pub fn proposer(&self) -> Option<NodeName> {
        let own = self.proposal.as_ref().filter(|proposal| proposal.is_open());
        own.map(|_| self.name.clone()).or_else(|| proposer(&self.members).cloned())
    }

    /// A version above all that this node knows of.
    pub fn next_version(&self) -> u64 {
        let peers = self.members.live_processes().filter_map(|peer| Some(peer.rank()?.0));
        let refused = self.graduation.refusals().map(|(rank, _)| rank.0);
        let known = peers.chain(refused).chain([self.config.shared.version]);
        known.max().unwrap_or(0).saturating_add(1)
    }
}

/// How long a group may have no owner while everything comes to rest.
fn patience(timers: Timers) -> Duration {
    timers.stale + 2 * timers.interval
}
