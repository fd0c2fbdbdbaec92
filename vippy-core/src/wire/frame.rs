//! What every frame has: header, body, tag, delivery mark.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, Epoch, NodeName, Seq};
use crate::status::RejectReason;
use crate::time::micros;
use crate::wire::announcement::Announcement;
use crate::wire::auth::{KeyId, Keyring, TAG};
use crate::wire::codec::{Malformed, Reader, put_text};
use crate::wire::document::{DocumentChunk, DocumentRequest};
use crate::wire::{MAGIC, MAX_FRAME, MIN_FRAME, VERSION};

/// Bytes of the header before the sender's name, its length byte included.
pub const HEADER: usize = 55;

/// A fence time that never runs out: the sender's addresses have no lifetime.
pub const FENCE_NEVER: u32 = u32::MAX;

/// What the sender says of itself in every frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The sender.
    pub name: NodeName,
    /// This life of the sender.
    pub boot: BootId,
    /// The frame's number within this life.
    pub seq: Seq,
    /// Highest epoch the sender knows (W7).
    pub epoch: Epoch,
    /// Time since the sender's start.
    pub uptime: Duration,
    /// The sender's own `interval` (W5).
    pub interval: Duration,
    /// The sender's own `stale` (W5).
    pub stale: Duration,
    /// How long after this frame left the sender may still hold an address if
    /// it says nothing more (F1); `None` is for ever.
    pub fence: Option<Duration>,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Kind 1.
    Announcement(Announcement),
    /// Kind 2.
    DocumentRequest(DocumentRequest),
    /// Kind 3.
    DocumentChunk(DocumentChunk),
}

/// A frame whose tag was found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Who speaks.
    pub header: Header,
    /// What is said.
    pub body: Body,
    /// The key it was signed with.
    pub key: KeyId,
    /// See [`fingerprint`].
    pub fingerprint: [u8; 8],
    /// Forwarded by a third node (W2); the one fact outside the tag.
    pub relayed: bool,
}

const DIRECT: u8 = 0;
const RELAYED: u8 = 1;

/// Encodes and signs. Larger than [`MAX_FRAME`] is the caller's mistake.
pub fn seal(header: &Header, body: &Body, keys: &Keyring) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_FRAME);
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.push(body.kind());
    out.extend_from_slice(&keys.signing().0);
    out.extend_from_slice(&header.boot.0.to_be_bytes());
    out.extend_from_slice(&header.seq.0.to_be_bytes());
    out.extend_from_slice(&header.epoch.0.to_be_bytes());
    out.extend_from_slice(&micros(header.uptime).to_be_bytes());
    out.extend_from_slice(&short(header.interval).to_be_bytes());
    out.extend_from_slice(&short(header.stale).to_be_bytes());
    out.extend_from_slice(&header.fence.map_or(FENCE_NEVER, fence).to_be_bytes());
    put_text(&mut out, header.name.as_str(), NodeName::MAX);
    match body {
        Body::Announcement(announcement) => announcement.encode(&mut out),
        Body::DocumentRequest(request) => request.encode(&mut out),
        Body::DocumentChunk(chunk) => chunk.encode(&mut out),
    }
    let tag = keys.sign(&out);
    out.extend_from_slice(&tag);
    out.push(DIRECT);
    debug_assert!(out.len() <= MAX_FRAME, "a frame of {} bytes", out.len());
    out
}

/// Checks and decodes a datagram: cheap checks, then the tag, then the rest.
/// Nothing in a datagram is looked at for its meaning before its tag is right.
pub fn open(datagram: &[u8], keys: &Keyring) -> Result<Frame, RejectReason> {
    if datagram.len() < MAGIC.len() || datagram[..MAGIC.len()] != MAGIC {
        return Err(RejectReason::Foreign);
    }
    if !(MIN_FRAME..=MAX_FRAME).contains(&datagram.len()) {
        return Err(RejectReason::Malformed);
    }
    if datagram[4] != VERSION {
        return Err(RejectReason::Version);
    }
    let (signed, tag, mark) = split(datagram).map_err(|_| RejectReason::Malformed)?;
    let key = KeyId([signed[6], signed[7], signed[8], signed[9]]);
    if !keys.knows(key) {
        return Err(RejectReason::UnknownKey);
    }
    if !keys.verify(key, signed, tag) {
        return Err(RejectReason::Forged);
    }
    let fingerprint = fingerprint(datagram);
    decode(signed)
        .map(|(header, body)| Frame { header, body, key, fingerprint, relayed: mark == RELAYED })
        .map_err(|_| RejectReason::Malformed)
}

/// First 8 bytes of a frame's tag: tells two frames of one number apart (W1).
pub fn fingerprint(frame: &[u8]) -> [u8; 8] {
    let tag = frame.len().checked_sub(TAG + 1).and_then(|start| frame.get(start..start + 8));
    tag.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

/// Where the key id is.
const KEY: std::ops::Range<usize> = 6..10;
/// Where the sender's boot is.
const BOOT: std::ops::Range<usize> = 10..18;

/// A frame without its key id and its tag: what it says, whoever signed it.
pub(crate) fn content(frame: &[u8]) -> [&[u8]; 3] {
    let end = frame.len().saturating_sub(TAG + 1).max(KEY.end);
    match (frame.get(..KEY.start), frame.get(KEY.end..end), frame.last()) {
        (Some(before), Some(after), Some(mark)) => [before, after, std::slice::from_ref(mark)],
        _ => [frame, &[], &[]],
    }
}

/// The id of the key that a frame says it is signed with.
pub(crate) fn key_of(frame: &[u8]) -> Option<KeyId> {
    frame.get(KEY)?.try_into().ok().map(KeyId)
}

/// The boot that a frame says it comes from.
pub(crate) fn boot_of(frame: &[u8]) -> Option<BootId> {
    Some(BootId(u64::from_be_bytes(frame.get(BOOT)?.try_into().ok()?)))
}

/// Writes another key id into a frame.
pub(crate) fn set_key(frame: &mut [u8], key: KeyId) {
    if let Some(place) = frame.get_mut(KEY) {
        place.copy_from_slice(&key.0);
    }
}

/// The same frame, signed with another key.
pub(crate) fn sign_anew(frame: &[u8], keys: &Keyring) -> Vec<u8> {
    let mut copy = frame.to_vec();
    set_key(&mut copy, keys.signing());
    if let Some(end) = copy.len().checked_sub(TAG + 1) {
        let tag = keys.sign(&copy[..end]);
        copy[end..end + TAG].copy_from_slice(&tag);
    }
    copy
}

/// The same frame without anything that a key was used for.
pub(crate) fn unsigned(frame: &[u8]) -> Vec<u8> {
    let mut copy = frame.to_vec();
    set_key(&mut copy, KeyId::default());
    if let Some(end) = copy.len().checked_sub(TAG + 1) {
        copy[end..end + TAG].fill(0);
    }
    copy
}

/// A copy of a received datagram with the relay mark set (W2).
pub fn mark_relayed(datagram: &[u8]) -> Vec<u8> {
    let mut copy = datagram.to_vec();
    if let Some(mark) = copy.last_mut() {
        *mark = RELAYED;
    }
    copy
}

type Split<'a> = (&'a [u8], &'a [u8; TAG], u8);

fn split(datagram: &[u8]) -> Result<Split<'_>, Malformed> {
    let malformed = Malformed("frame");
    let (&mark, rest) = datagram.split_last().ok_or(malformed)?;
    if mark != DIRECT && mark != RELAYED {
        return Err(malformed);
    }
    let (signed, tag) = rest.split_last_chunk().ok_or(malformed)?;
    Ok((signed, tag, mark))
}

fn decode(signed: &[u8]) -> Result<(Header, Body), Malformed> {
    let mut reader = Reader::new(signed, "header");
    reader.take(5)?;
    let kind = reader.u8()?;
    reader.take(4)?;
    let boot = BootId(reader.u64()?);
    let seq = Seq(reader.u64()?);
    let epoch = Epoch(reader.u64()?);
    let uptime = Duration::from_micros(reader.u64()?);
    let interval = Duration::from_micros(reader.u32()?.into());
    let stale = Duration::from_micros(reader.u32()?.into());
    let fence = match reader.u32()? {
        FENCE_NEVER => None,
        micros => Some(Duration::from_micros(micros.into())),
    };
    let name = reader.text()?;
    let sane = !name.is_empty()
        && name.len() <= NodeName::MAX
        && seq != Seq(0)
        && !interval.is_zero()
        && stale >= interval;
    if !sane {
        return Err(reader.fail());
    }
    let header = Header { name: name.into(), boot, seq, epoch, uptime, interval, stale, fence };
    Ok((header, Body::decode(kind, reader.rest())?))
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Body::Announcement(_) => 1,
            Body::DocumentRequest(_) => 2,
            Body::DocumentChunk(_) => 3,
        }
    }

    fn decode(kind: u8, bytes: &[u8]) -> Result<Body, Malformed> {
        match kind {
            1 => Announcement::decode(bytes).map(Body::Announcement),
            2 => DocumentRequest::decode(bytes).map(Body::DocumentRequest),
            3 => DocumentChunk::decode(bytes).map(Body::DocumentChunk),
            _ => Err(Malformed("kind")),
        }
    }
}

/// Microseconds in 32 bits (71 minutes), saturating.
fn short(span: Duration) -> u32 {
    u32::try_from(micros(span)).unwrap_or(u32::MAX)
}

/// A fence time that does not fit never runs out: said too short, somebody
/// would take an exclusive group too early.
fn fence(span: Duration) -> u32 {
    u32::try_from(micros(span)).unwrap_or(FENCE_NEVER)
}
