//! What happened lately, for whoever asks.
//!
//! The loop [tells](Teller::tell) each event and goes on; a [`Scribe`] on the
//! management thread numbers nothing and waits for nobody: it puts what arrives
//! into one ring, in the place of the oldest, as the server-sent event
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) that all
//! readers are sent. They have a position in that ring and nothing else, so one
//! that does not read costs nothing; when its place was overwritten it is told how
//! many events it missed.

mod entry;
mod reader;
mod tally;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use vippy_client::Event;
use vippy_client::events::{EventId, Record, Since};
use vippy_client::narrate;
use vippy_core::identity::{BootId, NodeName};
use vippy_core::time::Instant;

use self::entry::Entry;
pub use self::reader::Reader;
pub use self::tally::Tally;
use crate::clock;

/// Events remembered.
pub const REMEMBERED: usize = 4_096;

/// Events on their way from the loop to the history; what is beyond is missed by
/// everybody, and told so.
const UNDER_WAY: usize = 4_096;

/// The loop's side: numbers events and hands them over.
#[derive(Debug)]
pub struct Teller {
    process: BootId,
    identity: NodeName,
    last: u64,
    records: mpsc::Sender<Record>,
}

impl Teller {
    /// Hands an event over. Never waits.
    pub fn tell(&mut self, at: Instant, event: Event) {
        self.last += 1;
        let record = Record {
            id: EventId { process: self.process, number: self.last },
            unix_ms: clock::wall_millis(),
            monotonic_ms: at.as_micros() / 1_000,
            identity: self.identity.clone(),
            event,
        };
        // Its number is then missing, which every reader is told.
        let _ = self.records.try_send(record);
    }
}

/// What arrives from the loop, still to be written down.
#[derive(Debug)]
pub struct Scribe {
    records: mpsc::Receiver<Record>,
    history: History,
}

impl Scribe {
    /// Writes down what the loop tells, until that ends; then every reader's end
    /// comes after what it has not read yet.
    pub async fn run(mut self) {
        while let Some(record) = self.records.recv().await {
            self.history.write(&record);
        }
        self.history.0.newest.send_modify(|newest| newest.ended = true);
    }
}

/// The last events; clones share them.
#[derive(Clone, Debug)]
pub struct History(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    process: BootId,
    identity: NodeName,
    ring: Mutex<Ring>,
    newest: watch::Sender<Newest>,
}

/// How far the history has come.
#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    number: u64,
    /// Nothing follows.
    ended: bool,
}

#[derive(Debug, Default)]
struct Ring {
    /// By rising numbers; some may be missing.
    entries: VecDeque<Entry>,
    /// The last one that was overwritten.
    forgotten: Option<Entry>,
    tally: Tally,
}

impl Ring {
    fn write(&mut self, record: &Record) {
        let name = narrate::name(&record.event);
        if self.entries.len() == REMEMBERED {
            self.forgotten = self.entries.pop_front();
        }
        self.entries.push_back(Entry::new(&name, record));
        self.tally.note(name, record);
    }

    /// The first event that is remembered, of those with this number and above.
    fn from(&self, number: u64) -> impl Iterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.number < number);
        self.entries.range(start..)
    }
}

impl History {
    /// An empty one of this process, and both ends of the way into it.
    pub fn begin(process: BootId, identity: NodeName) -> (Teller, Scribe, History) {
        let (sender, records) = mpsc::channel(UNDER_WAY);
        let history = History(Arc::new(Shared {
            process,
            identity: identity.clone(),
            ring: Mutex::default(),
            newest: watch::Sender::new(Newest::default()),
        }));
        let teller = Teller { process, identity, last: 0, records: sender };
        (teller, Scribe { records, history: history.clone() }, history)
    }

    /// A reader that begins at `since`, or with the first event of all.
    pub fn reader(&self, since: Option<&Since>) -> Reader {
        Reader::new(self.clone(), since)
    }

    /// What all events since the start came to.
    pub fn tally(&self) -> Tally {
        self.ring().tally.clone()
    }

    fn write(&self, record: &Record) {
        self.ring().write(record);
        self.0.newest.send_modify(|newest| newest.number = record.id.number);
    }

    /// Held for moments only, and never by the loop.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
