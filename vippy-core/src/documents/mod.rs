//! Documents: whatever is too bulky for an announcement, asked for by digest
//! and served in paced chunks.
//!
//! Owns what this node has, what it fetches and what it serves; does not know
//! what documents mean. Who lacks one asks after a short wait of its own, unless
//! somebody else just asked. Of those who have it the one with the lowest boot
//! answers at once, each next one a little later unless it hears the chunks.

pub(crate) mod fetch;
mod ranges;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Digest, MOST_BYTES};
use crate::identity::BootId;
use crate::time::{Instant, earliest};
use crate::wire::document::{DocumentChunk, DocumentKind, DocumentName, DocumentRequest};
use crate::wire::frame::Body;
use fetch::{Fetch, digest_of};
use service::Service;

/// Chunks that leave together…
const BURST: usize = 4;
/// …and the time to the next ones: two thousand frames a second, as relaying (W2).
const PACE: Duration = Duration::from_millis(2);
/// Documents fetched, or served, at a time.
const MOST: usize = 8;

/// A document that this node has.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Shelved {
    name: DocumentName,
    text: Arc<str>,
    /// It is announced; others are there for those who do not hear who announces them.
    own: bool,
}

/// What this node has, fetches and serves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Documents {
    shelf: Vec<Shelved>,
    #[serde(with = "crate::recorder::pairs")]
    fetches: BTreeMap<Digest, Fetch>,
    #[serde(with = "crate::recorder::pairs")]
    services: BTreeMap<Digest, Service>,
}

/// A frame that is due.
pub(crate) struct Due {
    pub(crate) body: Body,
    /// For these processes; `None`: for everybody.
    pub(crate) to: Option<BTreeSet<BootId>>,
}

impl Documents {
    /// Has this text as the only document of its kind; an empty one is none.
    pub(crate) fn shelve(&mut self, kind: DocumentKind, text: &Arc<str>) -> Option<Digest> {
        self.withdraw(kind);
        let size = u32::try_from(text.len()).ok().filter(|size| *size > 0)?;
        let digest = digest_of(text.as_bytes());
        self.fetches.remove(&digest);
        let name = DocumentName { kind, size, digest };
        self.shelf.push(Shelved { name, text: Arc::clone(text), own: true });
        Some(digest)
    }

    /// Has a copy of another node's document.
    pub(crate) fn lend(&mut self, name: DocumentName, text: Arc<str>) {
        if self.shelved(name.digest).is_none() {
            self.shelf.push(Shelved { name, text, own: false });
        }
    }

    /// Gives copies up that are not worth keeping.
    pub(crate) fn keep_lent(&mut self, worth: impl Fn(Digest) -> bool) {
        self.shelf.retain(|shelved| shelved.own || worth(shelved.name.digest));
    }

    /// Has no document of this kind any more.
    pub(crate) fn withdraw(&mut self, kind: DocumentKind) {
        self.shelf.retain(|shelved| !shelved.own || shelved.name.kind != kind);
    }

    /// What this node has, for its announcements.
    pub(crate) fn names(&self) -> Vec<DocumentName> {
        self.own().map(|shelved| shelved.name).collect()
    }

    /// The text of a document that this node has.
    pub(crate) fn text(&self, digest: Digest) -> Option<&Arc<str>> {
        self.shelved(digest).map(|shelved| &shelved.text)
    }

    /// The text of this node's own document of a kind.
    pub(crate) fn text_of(&self, kind: DocumentKind) -> Option<&Arc<str>> {
        self.own().find(|shelved| shelved.name.kind == kind).map(|shelved| &shelved.text)
    }

    fn own(&self) -> impl Iterator<Item = &Shelved> {
        self.shelf.iter().filter(|shelved| shelved.own)
    }

    fn shelved(&self, digest: Digest) -> Option<&Shelved> {
        self.shelf.iter().find(|shelved| shelved.name.digest == digest)
    }

    /// How much is there of a document that is being fetched: bytes of bytes.
    pub(crate) fn progress(&self, digest: Digest) -> Option<(u32, u32)> {
        self.fetches.get(&digest).map(|fetch| (fetch.have(), fetch.name.size))
    }

    /// Fetches these documents and no others. `salt` spreads the first requests
    /// of several nodes over `interval`.
    pub(crate) fn seek(
        &mut self,
        now: Instant,
        wanted: &BTreeSet<DocumentName>,
        salt: BootId,
        interval: Duration,
    ) {
        self.fetches.retain(|_, fetch| wanted.contains(&fetch.name));
        for name in wanted {
            let fits = name.size > 0 && name.size as usize <= MOST_BYTES;
            let known = self.fetches.contains_key(&name.digest);
            if fits && !known && self.fetches.len() < MOST {
                let wait = wait(salt, name.digest, interval);
                let patience = interval.clamp(10 * PACE, 100 * PACE);
                self.fetches.insert(name.digest, Fetch::new(now, *name, wait, patience + wait / 2));
            }
        }
    }

    /// Somebody asks. `seniors` are the live nodes that have it and answer before
    /// this one.
    pub(crate) fn requested(
        &mut self,
        now: Instant,
        asker: BootId,
        request: &DocumentRequest,
        seniors: u32,
    ) {
        if let Some(fetch) = self.fetches.get_mut(&request.digest) {
            fetch.asked_by_another(now);
        }
        let Some(size) = self.shelved(request.digest).map(|shelved| shelved.name.size) else {
            return;
        };
        if self.services.len() >= MOST && !self.services.contains_key(&request.digest) {
            return;
        }
        let starts = now + seniors * 10 * PACE;
        let service = self.services.entry(request.digest).or_insert_with(|| Service::new(starts));
        service.want(asker, request, size);
    }

    /// A chunk came; the text of its document, if that made it complete.
    pub(crate) fn chunk(&mut self, now: Instant, chunk: &DocumentChunk) -> Option<Arc<str>> {
        let digest = chunk.document.digest;
        if let Some(service) = self.services.get_mut(&digest) {
            let length = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
            service.served(chunk.offset, length);
        }
        let text = self.fetches.get_mut(&digest)?.take(now, chunk)?;
        self.fetches.remove(&digest);
        Some(text)
    }

    /// The frames that are due; chunks have at most `room` bytes.
    pub(crate) fn due(&mut self, now: Instant, room: u32) -> Vec<Due> {
        let requests = self.fetches.values_mut().filter_map(|fetch| fetch.request(now));
        let mut due: Vec<Due> = requests
            .map(|request| Due { body: Body::DocumentRequest(request), to: None })
            .collect();
        self.services.retain(|_, service| !service.is_done());
        let Documents { shelf, services, .. } = self;
        services.retain(|digest, _| shelf.iter().any(|shelved| shelved.name.digest == *digest));
        for shelved in shelf {
            let service = services.get_mut(&shelved.name.digest);
            let Some(service) = service.filter(|service| now >= service.next) else { continue };
            service.next = now + PACE;
            for _ in 0..BURST {
                let Some((offset, length)) = service.piece(room) else { break };
                let (from, to) = (offset as usize, (offset + length) as usize);
                let Some(bytes) = shelved.text.as_bytes().get(from..to) else { break };
                let chunk = DocumentChunk { document: shelved.name, offset, bytes: bytes.into() };
                let to = Some(service.askers.clone());
                due.push(Due { body: Body::DocumentChunk(chunk), to });
            }
        }
        due
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let fetches = self.fetches.values().map(|fetch| Some(fetch.next_deadline()));
        let services = self.services.values().map(|service| Some(service.next));
        fetches.chain(services).fold(None, earliest)
    }
}

/// A wait between nothing and half of `interval`, another one for each node and
/// document.
fn wait(salt: BootId, digest: Digest, interval: Duration) -> Duration {
    let spread = digest_of(&[&salt.0.to_be_bytes()[..], &digest.0].concat());
    interval * u32::from(spread.0[0]) / 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Body;

    const INTERVAL: Duration = Duration::from_millis(100);
    const ROOM: u32 = 1_000;

    /// Nodes that have a document and one that wants it, all hearing everybody.
    struct Wire {
        now: Instant,
        nodes: Vec<Documents>,
        /// Chunks that were sent.
        chunks: u32,
        /// Every so many'th frame is lost; 0: none.
        loses: u32,
        frames: u32,
    }

    impl Wire {
        fn new(text: &Arc<str>, owners: usize, seekers: usize) -> Wire {
            let mut nodes = vec![Documents::default(); owners + seekers];
            for node in &mut nodes[..owners] {
                node.shelve(DocumentKind::CONFIGURATION, text);
            }
            let now = Instant::from_micros(1_000_000);
            let wanted = nodes[0].names().into_iter().collect();
            for (salt, node) in nodes.iter_mut().enumerate().skip(owners) {
                node.seek(now, &wanted, BootId(salt as u64), INTERVAL);
            }
            Wire { now, nodes, chunks: 0, loses: 0, frames: 0 }
        }

        /// Runs for at most so long; the first complete text and when it was.
        fn run(&mut self, most: Duration) -> Option<(Instant, Arc<str>)> {
            let end = self.now + most;
            let mut complete = None;
            while let Some(at) =
                self.nodes.iter().map(Documents::next_deadline).fold(None, earliest)
                && at <= end
            {
                self.now = self.now.max(at);
                for sender in 0..self.nodes.len() {
                    for due in self.nodes[sender].due(self.now, ROOM) {
                        if let Some(text) = self.deliver(sender, &due.body) {
                            complete.get_or_insert((self.now, text));
                        }
                    }
                }
            }
            complete
        }

        fn deliver(&mut self, sender: usize, body: &Body) -> Option<Arc<str>> {
            self.chunks += u32::from(matches!(body, Body::DocumentChunk(_)));
            let mut complete = None;
            for (place, node) in self.nodes.iter_mut().enumerate().filter(|(p, _)| *p != sender) {
                self.frames += 1;
                if self.loses > 0 && self.frames.is_multiple_of(self.loses) {
                    continue;
                }
                match body {
                    Body::DocumentRequest(request) => {
                        let seniors = u32::try_from(place).unwrap();
                        node.requested(self.now, BootId(sender as u64), request, seniors);
                    }
                    Body::DocumentChunk(chunk) => {
                        complete = complete.or(node.chunk(self.now, chunk));
                    }
                    Body::Announcement(_) => {}
                }
            }
            complete
        }
    }

    fn text(size: usize) -> Arc<str> {
        let numbers = (0..).map(|number: u32| format!("{number} "));
        let text: String = numbers.take(size).collect();
        text[..size].into()
    }

    #[test]
    fn a_document_arrives_whole_and_from_one_node_alone() {
        let text = text(50_500);
        let mut wire = Wire::new(&text, 3, 1);
        let (_, got) = wire.run(Duration::from_secs(2)).expect("complete");
        assert_eq!(got, text);
        assert_eq!(wire.chunks, 51, "each chunk once");
    }

    #[test]
    fn several_seekers_are_served_by_one_stream() {
        let text = text(50_500);
        let mut wire = Wire::new(&text, 1, 4);
        wire.run(Duration::from_secs(2)).expect("complete");
        assert!(wire.nodes.iter().all(|node| node.fetches.is_empty()), "everybody has it");
        assert!(wire.chunks < 2 * 51, "{} chunks", wire.chunks);
    }

    #[test]
    fn a_megabyte_arrives_within_seconds_though_every_fifth_frame_is_lost() {
        let text = text(1_000_000);
        let mut wire = Wire::new(&text, 2, 1);
        wire.loses = 5;
        let start = wire.now;
        let (at, got) = wire.run(Duration::from_secs(20)).expect("complete");
        assert_eq!(got, text);
        assert!(at.since(start) < Duration::from_secs(3), "{:?}", at.since(start));
    }

    #[test]
    fn bytes_that_do_not_match_the_digest_are_not_taken() {
        let (real, other) = (text(1_500), text(1_501)[1..].into());
        let mut liar = Documents::default();
        liar.shelve(DocumentKind::CONFIGURATION, &other);
        let mut node = Documents::default();
        let name = DocumentName {
            kind: DocumentKind::CONFIGURATION,
            size: 1_500,
            digest: digest_of(real.as_bytes()),
        };
        let now = Instant::from_micros(5);
        node.seek(now, &BTreeSet::from([name]), BootId(1), INTERVAL);
        for offset in [0, 1_000] {
            let bytes = other.as_bytes()[offset..(offset + 1_000).min(1_500)].to_vec();
            let offset = u32::try_from(offset).unwrap();
            assert_eq!(node.chunk(now, &DocumentChunk { document: name, offset, bytes }), None);
        }
        assert_eq!(node.progress(name.digest), Some((0, 1_500)), "it begins anew");
    }

    #[test]
    fn what_nobody_wants_any_more_is_forgotten_and_giants_are_never_fetched() {
        let name = DocumentName {
            kind: DocumentKind::CONFIGURATION,
            size: u32::MAX,
            digest: Digest([7; 16]),
        };
        let mut node = Documents::default();
        node.seek(Instant::ZERO, &BTreeSet::from([name]), BootId(1), INTERVAL);
        assert_eq!(node.next_deadline(), None);
        let small = DocumentName { size: 5, ..name };
        node.seek(Instant::ZERO, &BTreeSet::from([small]), BootId(1), INTERVAL);
        assert!(node.next_deadline().is_some());
        node.seek(Instant::ZERO, &BTreeSet::new(), BootId(1), INTERVAL);
        assert_eq!(node.next_deadline(), None);
    }
}
