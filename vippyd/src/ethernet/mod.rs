//! Ethernet as the daemon uses it beside the kernel's own stack: frames of ARP
//! and neighbour discovery as bytes, and raw sockets on interfaces.
//!
//! Decides nothing: [`crate::announce`], [`crate::neighbourhood`] and
//! [`crate::witness`] do.

pub(crate) mod filter;
pub(crate) mod frames;
pub(crate) mod port;
pub(crate) mod tap;

use pnet_datalink::MacAddr;
use vippy_core::identity::Mac;

/// A MAC as the engine has it.
pub(crate) fn mac(address: MacAddr) -> Mac {
    Mac(address.octets())
}
