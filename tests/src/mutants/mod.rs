//! Proof that the simulated LAN bites: rules broken on purpose, outside
//! production code, each of which must be noticed within so many seeds.
//!
//! [`list`] reads `tests/mutants`; [`workshop`] builds a copy of the core in
//! which every broken variant hides behind a switch; [`trial`] throws the
//! switches one by one and reports who was caught by what.

pub mod list;
pub mod trial;
pub mod workshop;
