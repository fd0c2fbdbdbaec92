//! What tests and the measuring tool need to watch and to disturb a LAN: frames
//! as they pass, floods, what a process costs; and the measurements themselves.
//!
//! Nothing here asserts anything; the namespace tests do.

mod capture;
pub mod comparison;
mod cost;
pub mod experiments;
mod flood;
mod keepalived;
mod numbers;
mod rest;
mod scene;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

pub use capture::{Capture, Captured};
pub use cost::Cost;
pub use flood::{Flood, Sent, announcement, bit_flipped, garbage, truncated, wrong_key};
pub use keepalived::{Instance, KEEPALIVED, Keepalived};
pub use numbers::{Spread, ms};
pub use rest::{AtRest, at_rest};
pub use scene::{tells, told};

/// The multicast group of the lab's clusters.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 1, 1, 1), 5007);

/// The same as any address.
pub const EVERYBODY: SocketAddr = SocketAddr::V4(GROUP);
