//! What operators add, with real programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing")]

mod checking;
mod hooks;
mod launching;
mod plugins;
mod stage;
