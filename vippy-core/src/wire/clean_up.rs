//! What a node says of its cleaning up after processes that are gone.

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, Epoch};
use crate::wire::codec::{Malformed, Reader};

/// Entries of one section: it fits one frame beside the longest header.
pub const MOST: usize = 48;

/// The sender has begun to clean up after a process that is gone, or is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanUp {
    /// The process that is gone.
    pub boot: BootId,
    /// The number of the run (W7).
    pub epoch: Epoch,
    /// Everything has run.
    pub done: bool,
}

impl CleanUp {
    pub(super) const SIZE: usize = 8 + 8 + 1;

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.boot.0.to_be_bytes());
        out.extend_from_slice(&self.epoch.0.to_be_bytes());
        out.push(u8::from(self.done));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<CleanUp, Malformed> {
        let (boot, epoch) = (BootId(reader.u64()?), Epoch(reader.u64()?));
        Ok(CleanUp { boot, epoch, done: reader.u8()? & 1 == 1 })
    }
}
