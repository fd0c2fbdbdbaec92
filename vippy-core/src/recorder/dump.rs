//! A recording as lines, without anything that came from the secret.
//!
//! Whoever reads a recording must not be able to try out secrets on it, so no
//! tag and no key id of the cluster is in it. Authentic frames are signed anew
//! with keys that everybody knows, one for each key of the cluster; datagrams
//! that no key made become others that are refused for the same reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Segment, Step, What};
use crate::config::{Config, Secret};
use crate::engine::Engine;
use crate::identity::{BootId, NodeName};
use crate::input::{Datagram, Input};
use crate::status::RejectReason;
use crate::time::Instant;
use crate::wire::auth::{KeyId, Keyring};
use crate::wire::{MAGIC, MIN_FRAME, VERSION, frame};

/// Version of the lines.
const FORMAT: u32 = 1;

/// What a recorder remembered at one moment: no secrets, but the tags of frames
/// until they become [`Recording::lines`].
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
    let secret = |number: &usize| Secret::from(format!("vippy replay key {number}").as_str());
    numbers.iter().map(secret).collect()
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
            mask.meet(&segment.state.config, &segment.keys);
            mask.own.insert(segment.state.members.own.boot);
        }
        let node = self.segments.first().map(|segment| segment.state.name.clone());
        let heading = node.map(|node| {
            let program = env!("CARGO_PKG_VERSION").to_owned();
            Line::Recording(Heading { format: FORMAT, program, node })
        });
        // All steps before the first state: a copy of a frame that was sent before
        // it may come in any of them.
        let segments = self.segments.into_iter().map(|segment| mask.steps(segment));
        let segments: Vec<_> = segments.collect();
        let lines = segments.into_iter().flat_map(move |(state, keys, steps)| {
            let engine = Box::new(mask.engine(state));
            std::iter::once(Line::State { keys, engine }).chain(steps)
        });
        heading.into_iter().chain(lines)
    }
}

/// What stands for what.
#[derive(Default)]
struct Mask {
    /// The cluster's key ids, and the public key of the same number.
    keys: Vec<(KeyId, Keyring)>,
    /// The recorded node's own boots.
    own: BTreeSet<BootId>,
    /// Fingerprints of own frames of which a copy came back, and of the same
    /// frames signed anew.
    prints: BTreeMap<[u8; 8], [u8; 8]>,
}

impl Mask {
    /// The numbers of a configuration's keys.
    fn meet(&mut self, config: &Config, ids: &[KeyId]) -> Vec<usize> {
        let number = |id: &KeyId| {
            let known = self.keys.iter().position(|(known, _)| known == id);
            known.unwrap_or_else(|| {
                let number = self.keys.len();
                let secrets = public_secrets(&[number]);
                self.keys.push((*id, Keyring::new(&secrets, &config.local.cluster)));
                number
            })
        };
        ids.iter().map(number).collect()
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

    /// A segment's state as it is, the numbers of its keys, and its steps.
    fn steps(&mut self, segment: Segment) -> (Engine, Vec<usize>, Vec<Line>) {
        let Segment { state, keys, steps, frames, .. } = segment;
        let mut lines = Vec::with_capacity(steps.len());
        let first_keys = self.meet(&state.config, &keys);
        let mut in_force = first_keys.clone();
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
                    if frame::boot_of(bytes).is_some_and(|boot| self.own.contains(&boot)) {
                        let public = frame::fingerprint(&signed);
                        self.prints.insert(frame::fingerprint(bytes), public);
                    }
                    Input::Datagram(Datagram { source, multicast, bytes: signed })
                }
                What::Refused { reason, source, multicast, times: often } => {
                    times = often;
                    Input::Datagram(self.refused(reason, source, multicast, &in_force))
                }
                What::Configured { config, keys: ids } => {
                    keys = self.meet(&config, &ids);
                    in_force.clone_from(&keys);
                    Input::Configured(config)
                }
                What::Other(input) => *input,
            };
            let hash = if outputs == 0 { 0 } else { hash };
            lines.push(Line::Step { at, input, times, keys, outputs, hash });
        }
        (*state, first_keys, lines)
    }

    fn engine(&self, mut engine: Engine) -> Engine {
        // A copy of an own frame that comes later must be known again, or not.
        engine.members.own.reprint(|print| self.prints.get(&print).copied().unwrap_or_default());
        engine.members.rekey(|id| self.public_id(id));
        engine.relay.resign(|bytes| Arc::from(self.sign_anew(bytes)));
        engine
    }

    /// A datagram that is refused for this reason while these keys are in force.
    fn refused(
        &self,
        reason: RejectReason,
        source: SocketAddr,
        multicast: bool,
        in_force: &[usize],
    ) -> Datagram {
        let framed = |version: u8, key: KeyId| {
            let mut bytes = vec![0; MIN_FRAME];
            bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
            bytes[MAGIC.len()] = version;
            frame::set_key(&mut bytes, key);
            bytes
        };
        let known = in_force.first().and_then(|number| self.keys.get(*number));
        let known = known.map_or(KeyId::default(), |(_, public)| public.signing());
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
