//! A hash over outputs, the same in every build and on every machine.
//!
//! It finds differences; it does not resist anybody who makes them on purpose.
//! Key ids and tags are left out: a replay signs with other keys.

use std::hash::{Hash, Hasher};

use crate::output::{Output, Transmit};
use crate::wire::frame;

/// How many outputs, and a hash over them.
pub(super) fn of<'a>(outputs: impl Iterator<Item = &'a Output>) -> (u32, u64) {
    let mut hash = Stable::default();
    let mut count = 0;
    for output in outputs {
        count += 1;
        match output {
            Output::Send(Transmit { to, seq, frame }) => {
                (to, seq).hash(&mut hash);
                frame::content(frame).iter().for_each(|part| part.hash(&mut hash));
            }
            Output::Plumb { .. }
            | Output::Unplumb { .. }
            | Output::Renew { .. }
            | Output::Notify { .. }
            | Output::Look { .. }
            | Output::Silence { .. }
            | Output::Neighbours { .. }
            | Output::StoreEpoch(_)
            | Output::Remember(_)
            | Output::Ask { .. }
            | Output::CleanUp { .. }
            | Output::Examine { .. }
            | Output::Adopt(_)
            | Output::Keep(_)
            | Output::WantBoot
            | Output::Check { .. }
            | Output::Event(_)
            | Output::Stopped
            | Output::Restarted => output.hash(&mut hash),
        }
    }
    (count, hash.finish())
}

/// Multiplies and rotates eight bytes at a time.
#[derive(Default)]
struct Stable(u64);

/// 2^64 divided by the golden ratio: odd, and without a pattern in its bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Stable {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(FACTOR);
    }

    fn write_u128(&mut self, value: u128) {
        self.write(&value.to_le_bytes());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        (self.0 ^ self.0 >> 29).wrapping_mul(FACTOR)
    }
}
