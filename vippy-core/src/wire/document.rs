//! Documents: whatever is too bulky for an announcement, by digest and in chunks.
//!
//! The announcement names what its sender has; who lacks it asks, and whoever
//! has it serves chunks. This file is their layout only.

use serde::{Deserialize, Serialize};

use crate::config::Digest;
use crate::wire::codec::{Malformed, Reader};

/// What a document holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentKind(pub u8);

impl DocumentKind {
    /// The shared part of a configuration.
    pub const CONFIGURATION: DocumentKind = DocumentKind(1);
    /// A node's neighbour cache.
    pub const NEIGHBOURS: DocumentKind = DocumentKind(2);
    /// The registry of claims: its base.
    pub const REGISTRY: DocumentKind = DocumentKind(3);
    /// The registry of claims: entries appended to the base.
    pub const REGISTRY_TAIL: DocumentKind = DocumentKind(4);
    /// The shared part of a configuration that an operator proposes.
    pub const PROPOSAL: DocumentKind = DocumentKind(5);
}

/// A document that the sender of an announcement has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentName {
    /// What it holds.
    pub kind: DocumentKind,
    /// Its length in bytes.
    pub size: u32,
    /// Its digest.
    pub digest: Digest,
}

/// «Send me these bytes of that document.»
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRequest {
    /// Which document.
    pub digest: Digest,
    /// Missing ranges as (offset, length) in bytes, ascending; at most 64.
    pub ranges: Vec<(u32, u32)>,
}

/// Some bytes of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentChunk {
    /// Which document.
    pub document: DocumentName,
    /// Where these bytes begin in it.
    pub offset: u32,
    /// The bytes; at least one.
    pub bytes: Vec<u8>,
}

/// Ranges in one request.
pub const MAX_RANGES: usize = 64;

impl DocumentName {
    /// Bytes of an encoded name.
    pub(super) const SIZE: usize = 1 + 4 + 16;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind.0);
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&self.digest.0);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = DocumentKind(reader.u8()?);
        Ok(DocumentName { kind, size: reader.u32()?, digest: Digest(reader.array()?) })
    }
}

impl DocumentRequest {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest.0);
        for (offset, length) in self.ranges.iter().take(MAX_RANGES) {
            out.extend_from_slice(&offset.to_be_bytes());
            out.extend_from_slice(&length.to_be_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, "document request");
        let digest = Digest(reader.array()?);
        let mut ranges = Vec::new();
        while !reader.is_empty() {
            ranges.push((reader.u32()?, reader.u32()?));
        }
        if ranges.len() > MAX_RANGES {
            return Err(reader.fail());
        }
        Ok(DocumentRequest { digest, ranges })
    }
}

impl DocumentChunk {
    /// Bytes of the body before the document's own.
    pub const HEAD: usize = DocumentName::SIZE + 4;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.document.encode(out);
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.bytes);
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, "document chunk");
        let document = DocumentName::decode(&mut reader)?;
        let offset = reader.u32()?;
        let bytes = reader.rest().to_vec();
        let end = u32::try_from(bytes.len()).ok().and_then(|length| offset.checked_add(length));
        if bytes.is_empty() || end.is_none_or(|end| end > document.size) {
            return Err(reader.fail());
        }
        Ok(DocumentChunk { document, offset, bytes })
    }
}
