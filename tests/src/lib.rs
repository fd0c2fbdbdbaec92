//! Tests that need more than one crate: the simulated LAN, and what namespace
//! tests and benchmarks share.

pub mod sim;
