//! The wire format: one UDP datagram is one frame.
//!
//! `docs/PROTOCOL.md` describes it byte by byte. Numbers are in network byte
//! order. [`frame`] holds what every datagram has, [`auth`] the keys and the
//! tag, [`announcement`] (with [`belief`], [`moves`] and
//! [`clean_up`]) and [`document`] the bodies.

pub mod announcement;
pub mod auth;
pub mod belief;
pub mod clean_up;
mod codec;
pub mod document;
pub mod frame;
pub mod moves;

pub use codec::Malformed;

/// First four bytes of every frame.
pub const MAGIC: [u8; 4] = *b"VPPY";
/// The protocol's version; a frame of another one is counted and dropped.
pub const VERSION: u8 = 1;
/// Largest frame in bytes: the smallest IPv6 path (1,280) less its headers (48).
pub const MAX_FRAME: usize = 1232;
/// Smallest frame in bytes: a one-byte name and an empty body.
pub const MIN_FRAME: usize = frame::HEADER + 1 + auth::TAG + 1;
