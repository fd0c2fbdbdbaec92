//! Tests that need more than one crate: the simulated LAN, and what namespace
//! tests and the measuring tool share.

pub mod measure;
pub mod mutants;
pub mod replay;
pub mod sim;
