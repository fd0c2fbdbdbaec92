//! The announcement: what a node is, whom it hears, what it holds and refuses.
//!
//! An announcement that does not fit one frame goes out as parts. Each part
//! stands alone: a section names the slice it speaks of, outside it nothing
//! changes, inside it what is absent is false.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::Digest;
use crate::identity::{BootId, Seq};
use crate::status::{NodeReason, NodeState};
use crate::time::micros;
use crate::wire::belief::{Look, Sighting};
use crate::wire::clean_up::CleanUp;
use crate::wire::codec::{Malformed, Reader, put_text};
use crate::wire::document::DocumentName;
use crate::wire::moves::{self, MoveReport};

/// Widest slice of groups in one section: both bitmaps of a *refusing* section
/// fit one frame beside the longest header.
pub const GROUP_SLICE: u32 = 2048;
/// Bytes of one *heard* entry.
pub const HEARD_ENTRY: usize = 17;
/// Longest objection to a proposal in bytes.
pub const MAX_OBJECTION: usize = 200;
/// Longest detail text in bytes.
pub const MAX_DETAIL: usize = 120;
/// Bytes of a section before its content.
const SECTION_HEADER: usize = 3;
/// Sections of an announcement that has nothing special to say.
const USUAL_SECTIONS: usize = 4;

/// One part of an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// What the sender is doing.
    pub state: NodeState,
    /// Why.
    pub reason: NodeReason,
    /// More about it, for people; at most [`MAX_DETAIL`] bytes are sent.
    pub detail: String,
    /// Version of its configuration.
    pub version: u64,
    /// Digest of its configuration; group positions are relative to it (O5).
    pub digest: Digest,
    /// What this part speaks of.
    pub sections: Vec<Section>,
}

/// One statement about a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// Kind 1: the processes heard within `stale` (W1).
    Heard {
        /// Lowest boot of the slice.
        first: BootId,
        /// Highest boot of the slice.
        last: BootId,
        /// Those heard, by ascending boot.
        entries: Vec<Heard>,
    },
    /// Kind 2: the groups held; kind 6 the same of a node that tells the
    /// neighbours anew (O9).
    Holding {
        /// First group of the slice.
        first: u32,
        /// Last group of the slice.
        last: u32,
        /// Those held.
        held: GroupSet,
        /// The neighbours have been told of these: others may rely on it (O8).
        told: bool,
    },
    /// Kind 3: the groups refused (O3).
    Refusing {
        /// First group of the slice.
        first: u32,
        /// Last group of the slice.
        last: u32,
        /// Those that cannot be held.
        cannot: GroupSet,
        /// Those that are better held elsewhere.
        rather_not: GroupSet,
    },
    /// Kind 4: the documents the sender has; always the whole list.
    Documents(Vec<DocumentName>),
    /// Kind 5: what the sender took lately, for people; not the whole list.
    Moves(Vec<MoveReport>),
    /// Kind 7: what the sender says to configurations proposed to it; always the
    /// whole list, in the part that has kind 4.
    Verdicts(Vec<Verdict>),
    /// Kind 8: the configuration that the sender runs is on trial; in the part
    /// that has kind 4, and absent there when it is not.
    Trial(TrialNotice),
    /// Kind 9: the sender asks where groups that it took are for the neighbours.
    Look(Look),
    /// Kind 10: the sender was asked so, and saw this.
    Sighting(Sighting),
    /// Kind 11: how far the sender is with cleaning up after processes that are gone.
    CleanUps(Vec<CleanUp>),
}

/// What a node says to a configuration that was proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The document of the proposal.
    pub document: Digest,
    /// Why the sender cannot take it; `None`: it can. At most [`MAX_OBJECTION`]
    /// bytes are sent.
    pub objection: Option<String>,
}

/// A configuration that goes unless somebody confirms it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialNotice {
    /// Digest of the configuration on trial.
    pub digest: Digest,
    /// Digest of the one whose content comes back.
    pub former: Digest,
    /// What is left of the trial when the frame leaves.
    pub left: Duration,
    /// Somebody confirmed it: it stays.
    pub confirmed: bool,
}

/// A set of group positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSet(pub(crate) Bits);

impl FromIterator<u32> for GroupSet {
    fn from_iter<T: IntoIterator<Item = u32>>(members: T) -> Self {
        GroupSet(members.into_iter().collect())
    }
}

/// What the sender knows of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The process.
    pub boot: BootId,
    /// Highest number heard of it.
    pub seq: Seq,
    /// How it was heard during one and a half of its intervals.
    pub paths: Paths,
    /// Whether it counts as the node whose name it bears (W6).
    pub counts: bool,
}

/// The ways in which a process was heard lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// By multicast.
    pub multicast: bool,
    /// By a datagram to this node alone.
    pub unicast: bool,
    /// Forwarded by a third node.
    pub relayed: bool,
}

impl Paths {
    /// Heard without the help of a third node.
    pub fn direct(self) -> bool {
        self.multicast || self.unicast
    }
}

impl Announcement {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(state_code(self.state));
        out.push(reason_code(self.reason));
        out.push(0);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.digest.0);
        put_text(out, &self.detail, MAX_DETAIL);
        for section in &self.sections {
            section.encode(out);
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, "announcement");
        let state = state_of(reader.u8()?)?;
        let reason = reason_of(reader.u8()?);
        reader.u8()?;
        let version = reader.u64()?;
        let digest = Digest(reader.array()?);
        let detail = reader.text()?.to_owned();
        let mut sections = Vec::with_capacity(USUAL_SECTIONS);
        while !reader.is_empty() {
            let kind = reader.u8()?;
            let length = reader.u16()?;
            let content = reader.take(length.into())?;
            if let Some(section) = Section::decode(kind, content)? {
                sections.push(section);
            }
        }
        Ok(Announcement { state, reason, detail, version, digest, sections })
    }

    /// Bytes of the body without its sections.
    pub fn fixed_size(detail: &str) -> usize {
        3 + 8 + 16 + 1 + detail.floor_char_boundary(MAX_DETAIL)
    }
}

impl Section {
    /// Bytes of the encoded section.
    pub fn size(&self) -> usize {
        let content = match self {
            Section::Heard { entries, .. } => 16 + entries.len() * HEARD_ENTRY,
            Section::Holding { first, last, held, .. } => 8 + held.size(*first, *last),
            Section::Refusing { first, last, cannot, rather_not } => {
                8 + cannot.size(*first, *last) + rather_not.size(*first, *last)
            }
            Section::Documents(names) => names.len() * DocumentName::SIZE,
            Section::Moves(reports) => reports.len() * moves::ENTRY,
            Section::Verdicts(verdicts) => verdicts.iter().map(Verdict::size).sum(),
            Section::Trial(_) => TrialNotice::SIZE,
            Section::Look(look) => look.size(),
            Section::Sighting(sighting) => sighting.size(),
            Section::CleanUps(entries) => entries.len() * CleanUp::SIZE,
        };
        SECTION_HEADER + content
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        let content = self.size() - SECTION_HEADER;
        out.extend_from_slice(&u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes());
        match self {
            Section::Heard { first, last, entries } => {
                out.extend_from_slice(&first.0.to_be_bytes());
                out.extend_from_slice(&last.0.to_be_bytes());
                entries.iter().for_each(|entry| entry.encode(out));
            }
            Section::Holding { first, last, held, .. } => {
                put_slice(out, *first, *last);
                held.encode(*first, *last, out);
            }
            Section::Refusing { first, last, cannot, rather_not } => {
                put_slice(out, *first, *last);
                cannot.encode(*first, *last, out);
                rather_not.encode(*first, *last, out);
            }
            Section::Documents(names) => names.iter().for_each(|name| name.encode(out)),
            Section::Moves(reports) => reports.iter().for_each(|report| report.encode(out)),
            Section::Verdicts(verdicts) => verdicts.iter().for_each(|verdict| verdict.encode(out)),
            Section::Trial(trial) => trial.encode(out),
            Section::Look(look) => look.encode(out),
            Section::Sighting(sighting) => sighting.encode(out),
            Section::CleanUps(entries) => entries.iter().for_each(|entry| entry.encode(out)),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Section::Heard { .. } => 1,
            Section::Holding { told: true, .. } => 2,
            Section::Refusing { .. } => 3,
            Section::Documents(_) => 4,
            Section::Moves(_) => 5,
            Section::Holding { told: false, .. } => 6,
            Section::Verdicts(_) => 7,
            Section::Trial(_) => 8,
            Section::Look(_) => 9,
            Section::Sighting(_) => 10,
            Section::CleanUps(_) => 11,
        }
    }

    /// `None` for a kind that a later program may know.
    fn decode(kind: u8, content: &[u8]) -> Result<Option<Section>, Malformed> {
        let section = match kind {
            1 => Section::decode_heard(content)?,
            2 | 6 => {
                let mut reader = Reader::new(content, "holding section");
                let (first, last) = slice(&mut reader)?;
                let held = GroupSet::decode(&mut reader, first, last)?;
                finished(&reader)?;
                Section::Holding { first, last, held, told: kind == 2 }
            }
            3 => {
                let mut reader = Reader::new(content, "refusing section");
                let (first, last) = slice(&mut reader)?;
                let cannot = GroupSet::decode(&mut reader, first, last)?;
                let rather_not = GroupSet::decode(&mut reader, first, last)?;
                finished(&reader)?;
                Section::Refusing { first, last, cannot, rather_not }
            }
            4 => {
                let mut reader = Reader::new(content, "documents section");
                let mut names = Vec::with_capacity(content.len() / DocumentName::SIZE);
                while !reader.is_empty() {
                    names.push(DocumentName::decode(&mut reader)?);
                }
                Section::Documents(names)
            }
            5 => Section::Moves(moves::decode(content)?),
            7 => {
                let mut reader = Reader::new(content, "verdicts section");
                let mut verdicts = Vec::new();
                while !reader.is_empty() {
                    verdicts.push(Verdict::decode(&mut reader)?);
                }
                Section::Verdicts(verdicts)
            }
            8 => {
                let mut reader = Reader::new(content, "trial section");
                let trial = TrialNotice::decode(&mut reader)?;
                finished(&reader)?;
                Section::Trial(trial)
            }
            9 => {
                let mut reader = Reader::new(content, "look section");
                let look = Look::decode(&mut reader)?;
                finished(&reader)?;
                Section::Look(look)
            }
            10 => {
                let mut reader = Reader::new(content, "sightings section");
                let sighting = Sighting::decode(&mut reader)?;
                finished(&reader)?;
                Section::Sighting(sighting)
            }
            11 => {
                let mut reader = Reader::new(content, "clean-ups section");
                let mut entries = Vec::with_capacity(content.len() / CleanUp::SIZE);
                while !reader.is_empty() {
                    entries.push(CleanUp::decode(&mut reader)?);
                }
                Section::CleanUps(entries)
            }
            _ => return Ok(None),
        };
        Ok(Some(section))
    }

    fn decode_heard(content: &[u8]) -> Result<Section, Malformed> {
        let mut reader = Reader::new(content, "heard section");
        let (first, last) = (BootId(reader.u64()?), BootId(reader.u64()?));
        let mut entries: Vec<Heard> = Vec::with_capacity(content.len() / HEARD_ENTRY);
        while !reader.is_empty() {
            let entry = Heard::decode(&mut reader)?;
            let ascending = entries.last().is_none_or(|previous| previous.boot < entry.boot);
            if !ascending || !(first..=last).contains(&entry.boot) {
                return Err(reader.fail());
            }
            entries.push(entry);
        }
        Ok(Section::Heard { first, last, entries })
    }
}

impl Verdict {
    fn size(&self) -> usize {
        let text = self.objection.as_deref().unwrap_or_default();
        16 + 1 + 1 + text.floor_char_boundary(MAX_OBJECTION)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.document.0);
        out.push(u8::from(self.objection.is_some()));
        put_text(out, self.objection.as_deref().unwrap_or_default(), MAX_OBJECTION);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let document = Digest(reader.array()?);
        let objects = reader.u8()? != 0;
        let text = reader.text()?;
        Ok(Verdict { document, objection: objects.then(|| text.to_owned()) })
    }
}

impl TrialNotice {
    const SIZE: usize = 16 + 16 + 8 + 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest.0);
        out.extend_from_slice(&self.former.0);
        out.extend_from_slice(&micros(self.left).to_be_bytes());
        out.push(u8::from(self.confirmed));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (digest, former) = (Digest(reader.array()?), Digest(reader.array()?));
        let left = Duration::from_micros(reader.u64()?);
        Ok(TrialNotice { digest, former, left, confirmed: reader.u8()? != 0 })
    }
}

impl Heard {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.boot.0.to_be_bytes());
        out.extend_from_slice(&self.seq.0.to_be_bytes());
        let flag = |on: bool, bit: u8| u8::from(on) << bit;
        out.push(
            flag(self.paths.multicast, 0)
                | flag(self.paths.unicast, 1)
                | flag(self.paths.relayed, 2)
                | flag(self.counts, 3),
        );
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let boot = BootId(reader.u64()?);
        let seq = Seq(reader.u64()?);
        let flags = reader.u8()?;
        let on = |bit: u8| flags >> bit & 1 == 1;
        let paths = Paths { multicast: on(0), unicast: on(1), relayed: on(2) };
        Ok(Heard { boot, seq, paths, counts: on(3) })
    }
}

const SPARSE: u8 = 0;
const DENSE: u8 = 1;

impl GroupSet {
    fn dense_bytes(first: u32, last: u32) -> usize {
        ((last - first) / 8 + 1) as usize
    }

    /// Bytes of the smaller encoding.
    pub(super) fn size(&self, first: u32, last: u32) -> usize {
        let sparse = 2 + 2 * self.0.count_within(first, last);
        1 + sparse.min(Self::dense_bytes(first, last))
    }

    pub(super) fn encode(&self, first: u32, last: u32, out: &mut Vec<u8>) {
        let dense = Self::dense_bytes(first, last);
        let count = self.0.count_within(first, last);
        if 2 + 2 * count <= dense {
            out.push(SPARSE);
            out.extend_from_slice(&offset(count).to_be_bytes());
            for member in self.0.range(first, last) {
                out.extend_from_slice(&offset(member - first).to_be_bytes());
            }
        } else {
            out.push(DENSE);
            self.0.write(first, last, out);
        }
    }

    pub(super) fn decode(
        reader: &mut Reader<'_>,
        first: u32,
        last: u32,
    ) -> Result<Self, Malformed> {
        match reader.u8()? {
            SPARSE => {
                let mut set = Bits::new();
                let mut previous = None;
                for _ in 0..reader.u16()? {
                    let position = reader.u16()?;
                    let ascending = previous.is_none_or(|previous| previous < position);
                    if !ascending || u32::from(position) > last - first {
                        return Err(reader.fail());
                    }
                    previous = Some(position);
                    set.set(first + u32::from(position), true);
                }
                Ok(GroupSet(set))
            }
            DENSE => {
                let bytes = reader.take(Self::dense_bytes(first, last))?;
                let used = (last - first) % 8 + 1;
                let beyond = bytes.last().is_some_and(|byte| u32::from(*byte) >> used != 0);
                if beyond {
                    Err(reader.fail())
                } else {
                    Ok(GroupSet(Bits::from_bytes(first, bytes)))
                }
            }
            _ => Err(reader.fail()),
        }
    }
}

/// Offsets and counts stay below [`GROUP_SLICE`].
fn offset(number: impl TryInto<u16>) -> u16 {
    number.try_into().unwrap_or(u16::MAX)
}

pub(super) fn put_slice(out: &mut Vec<u8>, first: u32, last: u32) {
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&last.to_be_bytes());
}

pub(super) fn slice(reader: &mut Reader<'_>) -> Result<(u32, u32), Malformed> {
    let (first, last) = (reader.u32()?, reader.u32()?);
    let sane = first <= last && last - first < GROUP_SLICE && last < MAX_GROUPS;
    if sane { Ok((first, last)) } else { Err(reader.fail()) }
}

/// No configuration has more groups: bounds what a datagram can make us store.
pub const MAX_GROUPS: u32 = 65_536;

fn finished(reader: &Reader<'_>) -> Result<(), Malformed> {
    if reader.is_empty() { Ok(()) } else { Err(reader.fail()) }
}

fn state_code(state: NodeState) -> u8 {
    match state {
        NodeState::Booting => 1,
        NodeState::Active => 2,
        NodeState::Standby => 3,
        NodeState::Draining => 4,
        NodeState::Leaving => 5,
    }
}

fn state_of(code: u8) -> Result<NodeState, Malformed> {
    let state = NodeState::ALL.into_iter().find(|state| state_code(*state) == code);
    state.ok_or(Malformed("state"))
}

fn reason_code(reason: NodeReason) -> u8 {
    match reason {
        NodeReason::None => 0,
        NodeReason::Operator => 1,
        NodeReason::Isolated => 2,
        NodeReason::Mute => 3,
        NodeReason::Twin => 4,
        NodeReason::Idle => 5,
        NodeReason::Outranked => 6,
        NodeReason::Suspended => 7,
        NodeReason::Goodbye => 8,
        NodeReason::NoQuorum => 9,
        NodeReason::HeldDown => 10,
        NodeReason::Retired => 11,
    }
}

/// A reason that only a later program knows explains a state, it does not make one.
fn reason_of(code: u8) -> NodeReason {
    let reason = NodeReason::ALL.into_iter().find(|reason| reason_code(*reason) == code);
    reason.unwrap_or(NodeReason::None)
}
