//! Tells the neighbours that addresses are here now.
//!
//! Owns the repetition of gratuitous ARP and unsolicited neighbour
//! advertisements, and the sockets they leave by. Decides nothing about
//! who holds a group, and puts no address anywhere: the loop orders this once
//! [`crate::kernel`] reported the addresses up.

mod announcer;
mod licence;
mod mouth;

pub use announcer::{AnnounceError, Announcer, Counts};
