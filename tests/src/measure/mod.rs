//! What tests and the measuring tool need to watch and to disturb a LAN: frames
//! as they pass, floods, and what a process costs.

mod capture;
mod cost;
mod flood;
mod numbers;

pub use capture::{Capture, Captured};
pub use cost::Cost;
pub use flood::{Flood, bit_flipped, garbage, truncated, wrong_key};
pub use numbers::{Spread, ms};

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// The multicast group of the lab's clusters.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 1, 1, 1), 5007);

/// The same as any address.
pub const EVERYBODY: SocketAddr = SocketAddr::V4(GROUP);
