//! A recording as lines, without anything that came from the secret.
//!
//! Whoever reads a recording must not be able to try out secrets on it, so no
//! tag and no key id of the cluster is in it. Authentic frames are signed anew
//! with keys that everybody knows, one for each key of the cluster; datagrams
//! that no key made become others that are refused for the same reason.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Segment, Step, What};
use crate::config::{Config, Secret};
use crate::engine::Engine;
use crate::identity::NodeName;
use crate::input::{Datagram, Input};
use crate::status::RejectReason;
use crate::time::Instant;
use crate::wire::auth::{KeyId, Keyring};
use crate::wire::{MAGIC, MIN_FRAME, VERSION, frame};

/// Version of the lines.
const FORMAT: u32 = 1;

/// What a recorder remembered at one moment. It still holds the secrets;
/// [`Recording::lines`] does not give them away.
pub struct Recording {
    pub(super) segments: Vec<Segment>,
}

/// One line of a recording, in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The first: what this is.
    Recording(Heading),
    /// The engine's whole state.
    State {
        /// Numbers of the keys that its configuration has.
        keys: Vec<usize>,
        /// The state.
        engine: Box<Engine>,
    },
    /// An input and what it led to.
    Step {
        /// When, in the node's own time.
        at: Instant,
        /// The input.
        input: Input,
        /// How often in a row.
        #[serde(default = "once", skip_serializing_if = "is_once")]
        times: u32,
        /// Numbers of the keys of a configuration.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<usize>,
        /// How many outputs.
        #[serde(default, skip_serializing_if = "is_zero")]
        outputs: u32,
        /// A hash over them, key ids and tags left out.
        #[serde(default, skip_serializing_if = "is_nothing")]
        hash: u64,
    },
}

/// What a recording is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// Version of the lines.
    pub format: u32,
    /// Version of the program: another one may decide otherwise.
    pub program: String,
    /// The node.
    pub node: NodeName,
}

impl Heading {
    /// Whether this program understands the lines that follow.
    pub fn is_readable(&self) -> bool {
        self.format == FORMAT
    }
}

fn once() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_once(times: &u32) -> bool {
    *times == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The hash over no outputs.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_nothing(hash: &u64) -> bool {
    *hash == 0
}

/// Secrets that everybody knows, one for each number.
pub(super) fn public_secrets(numbers: &[usize]) -> Vec<Secret> {
    let secret = |number: &usize| format!("vippy replay key {number}").into_bytes();
    numbers.iter().map(|number| Secret(Zeroizing::new(secret(number)))).collect()
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: usize = self.segments.iter().map(|segment| segment.steps.len()).sum();
        f.debug_struct("Recording").field("steps", &steps).finish_non_exhaustive()
    }
}

impl Recording {
    /// The lines, one after the other. Costs a signature a frame: not for a loop
    /// that must not wait.
    pub fn lines(self) -> impl Iterator<Item = Line> {
        let mut mask = Mask::default();
        for segment in &self.segments {
            mask.meet(&segment.state.config);
        }
        let node = self.segments.first().map(|segment| segment.state.name.clone());
        let heading = node.map(|node| {
            let program = env!("CARGO_PKG_VERSION").to_owned();
            Line::Recording(Heading { format: FORMAT, program, node })
        });
        let segments = self.segments.into_iter();
        heading.into_iter().chain(segments.flat_map(move |segment| mask.segment(segment)))
    }
}

/// What stands for what.
#[derive(Default)]
struct Mask {
    /// The cluster's key ids, and the public key of the same number.
    keys: Vec<(KeyId, Keyring)>,
}

impl Mask {
    /// The numbers of a configuration's keys.
    fn meet(&mut self, config: &Config) -> Vec<usize> {
        let cluster = &config.local.cluster;
        if config.local.secrets.is_empty() {
            return Vec::new();
        }
        let ids = Keyring::new(&config.local.secrets, cluster).ids();
        let number = |id: KeyId| {
            let known = self.keys.iter().position(|(known, _)| *known == id);
            known.unwrap_or_else(|| {
                let number = self.keys.len();
                self.keys.push((id, Keyring::new(&public_secrets(&[number]), cluster)));
                number
            })
        };
        ids.into_iter().map(number).collect()
    }

    fn public_id(&self, id: KeyId) -> KeyId {
        let known = self.keys.iter().find(|(known, _)| *known == id);
        known.map_or(KeyId::default(), |(_, public)| public.signing())
    }

    /// An authentic frame under the public key of its key.
    fn sign_anew(&self, bytes: &[u8]) -> Vec<u8> {
        let known = self.keys.iter().find(|(id, _)| Some(*id) == frame::key_of(bytes));
        match known {
            Some((_, public)) => frame::sign_anew(bytes, public),
            // Kept from a time of another configuration: nobody can check it.
            None => frame::unsigned(bytes),
        }
    }

    fn segment(&mut self, segment: Segment) -> Vec<Line> {
        let Segment { state, steps, frames, .. } = segment;
        let mut lines = Vec::with_capacity(steps.len() + 1);
        let keys = self.meet(&state.config);
        let own = state.members.own.boot;
        let mut fingerprints = BTreeMap::new();
        let mut start = 0;
        for Step { at, what, outputs: (outputs, hash) } in steps {
            let (mut times, mut keys) = (1, Vec::new());
            let input = match what {
                What::Tick => Input::Tick,
                What::Sent { seq, left } => Input::Sent { seq, left },
                What::Datagram { source, multicast, end } => {
                    let bytes = &frames[start..end];
                    start = end;
                    let signed = self.sign_anew(bytes);
                    if frame::boot_of(bytes) == Some(own) {
                        let (real, public) =
                            (frame::fingerprint(bytes), frame::fingerprint(&signed));
                        fingerprints.insert(real, public);
                    }
                    Input::Datagram(Datagram { source, multicast, bytes: signed })
                }
                What::Refused { reason, source, multicast, times: often } => {
                    times = often;
                    Input::Datagram(self.refused(reason, source, multicast))
                }
                What::Other(input) => {
                    if let Input::Configured(config) = &*input {
                        keys = self.meet(config);
                    }
                    *input
                }
            };
            let hash = if outputs == 0 { 0 } else { hash };
            lines.push(Line::Step { at, input, times, keys, outputs, hash });
        }
        let engine = Box::new(self.engine(*state, &fingerprints));
        lines.insert(0, Line::State { keys, engine });
        lines
    }

    fn engine(&self, mut engine: Engine, prints: &BTreeMap<[u8; 8], [u8; 8]>) -> Engine {
        // A copy of an own frame that comes later must be known again, or not.
        engine.members.own.reprint(|print| prints.get(&print).copied().unwrap_or_default());
        engine.members.rekey(|id| self.public_id(id));
        engine.relay.resign(|bytes| Arc::from(self.sign_anew(bytes)));
        engine
    }

    /// A datagram that is refused for this reason.
    fn refused(&self, reason: RejectReason, source: SocketAddr, multicast: bool) -> Datagram {
        let framed = |version: u8, key: KeyId| {
            let mut bytes = vec![0; MIN_FRAME];
            bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
            bytes[MAGIC.len()] = version;
            frame::set_key(&mut bytes, key);
            bytes
        };
        let known = self.keys.last().map_or(KeyId::default(), |(_, public)| public.signing());
        let bytes = match reason {
            RejectReason::Foreign => Vec::new(),
            RejectReason::Version => framed(!VERSION, KeyId::default()),
            RejectReason::UnknownKey => framed(VERSION, KeyId::default()),
            RejectReason::Forged => framed(VERSION, known),
            // Whatever else is found before the sender counts.
            RejectReason::Malformed
            | RejectReason::Replayed
            | RejectReason::Duplicate
            | RejectReason::NotFresh
            | RejectReason::Burnt
            | RejectReason::Own
            | RejectReason::Unsupported => MAGIC.to_vec(),
        };
        Datagram { source, multicast, bytes }
    }
}
