//! Tells the neighbours that addresses are here now.
//!
//! Owns the repetition of gratuitous ARP and unsolicited neighbour
//! advertisements, who else is told one by one and at what pace, and the sockets
//! they leave by. Decides nothing about who holds a group, and puts no address
//! anywhere: the loop orders this once [`crate::kernel`] reported the addresses up.

mod announcer;
mod audience;
mod campaign;
mod licence;
mod message;
mod mouth;
mod rounds;
mod work;

use ipnet::IpNet;
use vippy_core::identity::{GroupId, Mac};

pub use announcer::{AnnounceError, Announcer, Counts};

/// The interface of an address, and the address in its network.
type Place = (String, IpNet);

/// Tells an order about a group from an earlier one about it.
type OrderNumber = u64;

/// The first round of this order is over.
#[derive(Debug)]
struct Told {
    group: GroupId,
    order: OrderNumber,
    /// Where they were told that its first address is.
    mac: Option<Mac>,
}
