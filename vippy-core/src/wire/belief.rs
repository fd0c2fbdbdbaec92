//! Two sections about verified takeovers: *look*, by which a holder asks two nodes
//! where its groups are for the neighbours, and *sightings*, by which they answer.

use crate::identity::{Mac, NodeIndex};
use crate::wire::announcement::{GroupSet, put_slice, slice};
use crate::wire::codec::{Malformed, Reader};

/// How many nodes are asked to look.
pub const VERIFIERS: usize = 2;
/// No node.
const NOBODY: u16 = u16::MAX;
/// Instead of a MAC: nobody answered.
const SILENCE: Mac = Mac([0; 6]);
/// Bytes of a slice's bounds.
const SLICE: usize = 8;

/// The sender has taken these groups and told the neighbours: where are they?
/// Several slices of one question have the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Tells the sender's questions apart.
    pub number: u16,
    /// Who is to look.
    pub by: [Option<NodeIndex>; VERIFIERS],
    /// The sender's MAC where the groups are.
    pub mac: Mac,
    /// First group of the slice.
    pub first: u32,
    /// Last group of the slice.
    pub last: u32,
    /// Those to look for.
    pub groups: GroupSet,
}

/// What the sender saw when it was asked to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who asked.
    pub holder: NodeIndex,
    /// The number of its question.
    pub number: u16,
    /// The station that answered for these groups, another one than the holder if
    /// any did; `None`: nobody.
    pub mac: Option<Mac>,
    /// First group of the slice.
    pub first: u32,
    /// Last group of the slice.
    pub last: u32,
    /// The groups.
    pub groups: GroupSet,
}

impl Look {
    pub(super) fn size(&self) -> usize {
        2 + 2 * VERIFIERS + 6 + SLICE + self.groups.size(self.first, self.last)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_be_bytes());
        for node in self.by {
            out.extend_from_slice(&node.map_or(NOBODY, |node| node.0).to_be_bytes());
        }
        out.extend_from_slice(&self.mac.0);
        put_slice(out, self.first, self.last);
        self.groups.encode(self.first, self.last, out);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Look, Malformed> {
        let number = reader.u16()?;
        let mut by = [None; VERIFIERS];
        for node in &mut by {
            *node = Some(reader.u16()?).filter(|node| *node != NOBODY).map(NodeIndex);
        }
        let mac = Mac(reader.array()?);
        let (first, last) = slice(reader)?;
        let groups = GroupSet::decode(reader, first, last)?;
        Ok(Look { number, by, mac, first, last, groups })
    }
}

impl Sighting {
    pub(super) fn size(&self) -> usize {
        2 + 2 + 6 + SLICE + self.groups.size(self.first, self.last)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.holder.0.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.mac.unwrap_or(SILENCE).0);
        put_slice(out, self.first, self.last);
        self.groups.encode(self.first, self.last, out);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Sighting, Malformed> {
        let holder = NodeIndex(reader.u16()?);
        let number = reader.u16()?;
        let mac = Some(Mac(reader.array()?)).filter(|mac| *mac != SILENCE);
        let (first, last) = slice(reader)?;
        let groups = GroupSet::decode(reader, first, last)?;
        Ok(Sighting { holder, number, mac, first, last, groups })
    }
}
