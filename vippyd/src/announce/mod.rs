//! Tells the neighbours that addresses are here now.
//!
//! Owns the frames (gratuitous ARP, unsolicited neighbour advertisements),
//! their repetition, and the raw sockets they leave by. Decides nothing about
//! who holds a group, and puts no address anywhere: the loop orders this once
//! [`crate::kernel`] reported the addresses up.

mod announcer;
mod frames;
mod licence;
mod mouth;
mod port;

pub use announcer::{AnnounceError, Announcer, Counts};
