//! Ethernet as the daemon uses it beside the kernel's own stack: frames of ARP
//! and neighbour discovery as bytes, and raw sockets on interfaces.
//!
//! Decides nothing: [`crate::announce`] and [`crate::witness`] do.

pub(crate) mod frames;
pub(crate) mod port;
