//! The flight recorder: every input of an engine, and a fingerprint of what it
//! led to, in a bounded amount of memory.
//!
//! [`Recorded`] is an engine with its recorder. What it remembers begins with a
//! copy of the engine's whole state: the inputs that follow lead any engine of
//! the same program through the same steps. It keeps two segments, each with its
//! own copy at its beginning; when the newer one is full, the older one goes.
//! [`Recording::lines`] writes them down without anything that the secret was
//! used for (`dump`), [`Replay`] goes through them again (`replay`).

mod digest;
mod dump;
mod form;
mod replay;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) use self::form::{hex, pairs};
pub use dump::{Heading, Line, Recording};
pub use replay::{Deviation, Replay, Replayed};

use crate::chatter::Chatter;
use crate::config::Config;
use crate::engine::Engine;
use crate::explanation::{Explanation, UnknownGroup};
use crate::identity::{NodeName, Seq};
use crate::input::{Datagram, Input};
use crate::outlook::Outlook;
use crate::output::Output;
use crate::status::{RejectReason, Status};
use crate::time::Instant;
use crate::timeline::Timeline;
use crate::wire::auth::{KeyId, Keyring};

/// Bytes that inputs may take, by default.
pub const CAPACITY: usize = 4 << 20;

/// What an input takes beside what it holds elsewhere.
const STEP: usize = size_of::<Step>();

/// An engine and its flight recorder.
pub struct Recorded {
    engine: Engine,
    tape: Option<Tape>,
}

/// Two segments, the older one first.
#[derive(Clone)]
struct Tape {
    capacity: usize,
    older: Option<Segment>,
    newer: Segment,
    /// The newest step changed nothing but counters: the next of its kind is
    /// noted by counting.
    merges: bool,
}

/// A copy of the engine, and what it went through since.
#[derive(Clone)]
struct Segment {
    state: Box<Engine>,
    /// Ids of the keys of its configuration.
    keys: Vec<KeyId>,
    steps: Vec<Step>,
    /// The bytes of datagrams.
    frames: Vec<u8>,
    /// Bytes of inputs that are stored on their own.
    elsewhere: usize,
}

/// One input, and what it led to.
#[derive(Clone)]
struct Step {
    at: Instant,
    what: What,
    /// How many outputs, and a hash over them.
    outputs: (u32, u64),
}

#[derive(Clone)]
enum What {
    Tick,
    Sent {
        seq: Seq,
        left: bool,
    },
    /// An authentic datagram: its bytes are in the segment up to `end`.
    Datagram {
        source: SocketAddr,
        multicast: bool,
        end: usize,
    },
    /// Datagrams that no key of this node made.
    Refused {
        reason: RejectReason,
        source: SocketAddr,
        multicast: bool,
        times: u32,
    },
    /// A configuration, without its secrets, and the ids of its keys.
    Configured {
        config: Arc<Config>,
        keys: Vec<KeyId>,
    },
    Other(Box<Input>),
}

impl Recorded {
    /// Records into [`CAPACITY`] bytes.
    pub fn new(engine: Engine) -> Recorded {
        Recorded::with_capacity(engine, CAPACITY)
    }

    /// Records into so many bytes; beside them there are up to two copies of the
    /// engine.
    pub fn with_capacity(mut engine: Engine, bytes: usize) -> Recorded {
        let newer = Segment::new(&mut engine);
        let tape = Tape { capacity: bytes, older: None, newer, merges: false };
        Recorded { engine, tape: Some(tape) }
    }

    /// Does not record.
    pub fn off(engine: Engine) -> Recorded {
        Recorded { engine, tape: None }
    }

    /// See [`Engine::handle`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        let Some(tape) = &mut self.tape else { return self.engine.handle(now, input) };
        tape.make_room(&mut self.engine);
        let start = tape.newer.frames.len();
        let what = tape.newer.keep(&input);
        let noted = self.engine.handle_noting(now, input);
        let outputs = digest::of(self.engine.outputs_from(noted.before));
        tape.note(Step { at: now, what, outputs }, start, noted.refused, noted.quiet);
    }

    /// See [`Engine::poll`].
    pub fn poll(&mut self) -> Option<Output> {
        self.engine.poll()
    }

    /// See [`Engine::next_deadline`].
    pub fn next_deadline(&self) -> Option<Instant> {
        self.engine.next_deadline()
    }

    /// See [`Engine::alive_until`].
    pub fn alive_until(&self) -> Option<Instant> {
        self.engine.alive_until()
    }

    /// See [`Engine::peer_addresses`].
    pub fn peer_addresses(&self) -> BTreeSet<IpAddr> {
        self.engine.peer_addresses()
    }

    /// See [`Engine::chatter`].
    pub fn chatter(&self) -> Chatter {
        self.engine.chatter()
    }

    /// See [`Engine::status`].
    pub fn status(&self, now: Instant) -> Status {
        self.engine.status(now)
    }

    /// See [`Engine::proposer`].
    pub fn proposer(&self) -> Option<NodeName> {
        self.engine.proposer()
    }

    /// See [`Engine::next_version`].
    pub fn next_version(&self) -> u64 {
        self.engine.next_version()
    }

    /// See [`Engine::explain`].
    ///
    /// # Errors
    /// As there.
    pub fn explain(&self, now: Instant, group: &str) -> Result<Explanation, UnknownGroup> {
        self.engine.explain(now, group)
    }

    /// See [`Engine::outlook`].
    pub fn outlook(&self) -> Outlook {
        self.engine.outlook()
    }

    /// See [`Engine::timeline`].
    pub fn timeline(&self, now: Instant) -> Timeline {
        self.engine.timeline(now)
    }

    /// A copy of what was recorded so far; `None` when nothing is recorded.
    pub fn recording(&self) -> Option<Recording> {
        let tape = self.tape.as_ref()?;
        let segments = tape.older.iter().chain([&tape.newer]).cloned().collect();
        Some(Recording { segments })
    }
}

impl Tape {
    /// Begins another segment when this one is full.
    fn make_room(&mut self, engine: &mut Engine) {
        if self.newer.size() > self.capacity / 2 {
            let full = std::mem::replace(&mut self.newer, Segment::new(engine));
            self.older = Some(full);
            self.merges = false;
        }
    }

    /// Notes a step whose frame, if it has one, was kept from `start` on.
    fn note(&mut self, mut step: Step, start: usize, refused: Option<RejectReason>, quiet: bool) {
        let quiet = quiet && step.outputs.0 == 0;
        let merges = std::mem::replace(&mut self.merges, quiet && refused.is_some());
        if let (Some(reason), What::Datagram { source, multicast, .. }) = (refused, &step.what) {
            let (source, multicast) = (*source, *multicast);
            self.newer.frames.truncate(start);
            if merges && quiet && self.newer.count_another(step.at, reason, source) {
                return;
            }
            step.what = What::Refused { reason, source, multicast, times: 1 };
        }
        self.newer.steps.push(step);
    }
}

impl Segment {
    fn new(engine: &mut Engine) -> Segment {
        let (state, keys) = engine.copy();
        Segment {
            state: Box::new(state),
            keys,
            steps: Vec::new(),
            frames: Vec::new(),
            elsewhere: 0,
        }
    }

    fn size(&self) -> usize {
        self.steps.len() * STEP + self.frames.len() + self.elsewhere
    }

    fn keep(&mut self, input: &Input) -> What {
        match input {
            Input::Tick => What::Tick,
            Input::Sent { seq, left } => What::Sent { seq: *seq, left: *left },
            Input::Datagram(Datagram { source, multicast, bytes }) => {
                self.frames.extend_from_slice(bytes);
                let (source, multicast) = (*source, *multicast);
                What::Datagram { source, multicast, end: self.frames.len() }
            }
            Input::Configured(config) => {
                self.elsewhere += size_of::<Config>();
                let keys = Keyring::new(&config.local.secrets, &config.local.cluster).ids();
                What::Configured { config: Arc::new(config.without_secrets()), keys }
            }
            Input::Propose { .. }
            | Input::Examined { .. }
            | Input::Boot(_)
            | Input::Resource { .. }
            | Input::EpochStored(_)
            | Input::Told { .. }
            | Input::Neighbours(_)
            | Input::Sighted { .. }
            | Input::Claimed { .. }
            | Input::Renewed { .. }
            | Input::Asked { .. }
            | Input::Answered { .. }
            | Input::Arrived
            | Input::CleanedUp(_)
            | Input::Opinion { .. }
            | Input::Checked { .. }
            | Input::Operator(_) => {
                self.elsewhere += size_of::<Input>();
                What::Other(Box::new(input.clone()))
            }
        }
    }

    /// The newest step has happened once more, if it was the same.
    fn count_another(&mut self, now: Instant, why: RejectReason, from: SocketAddr) -> bool {
        let Some(step) = self.steps.last_mut() else { return false };
        let What::Refused { reason, source, times, .. } = &mut step.what else { return false };
        let same = (*reason, source.ip()) == (why, from.ip());
        if same {
            *times = times.saturating_add(1);
            step.at = now;
        }
        same
    }
}
