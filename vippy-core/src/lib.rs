//! The Vippy protocol without any I/O.
//!
//! This crate decides; a daemon carries out. It has no sockets, no clock, no
//! threads, no randomness and no logging backend: time arrives as an argument,
//! a fresh boot id as an input, and everything the world should do leaves as an
//! [`output::Output`]. The same inputs give the same outputs, bit for bit.
//!
//! Start reading at [`engine::Engine`]. The rules (W1–W8, O1–O10, F1–F4, H1–H5) are
//! written down in `docs/PROTOCOL.md`.

mod authority;
mod belief;
mod bits;
pub mod chatter;
mod chronicle;
mod claimants;
mod collective;
mod conduct;
pub mod config;
mod designation;
mod dialect;
mod documents;
pub mod engine;
mod epoch;
pub mod event;
mod explain;
pub mod explanation;
mod fence;
mod field;
mod flapping;
mod group;
pub mod health;
mod holdings;
pub mod identity;
pub mod input;
mod inquiry;
mod invariants;
mod membership;
pub mod memory;
pub mod neighbours;
pub mod outlook;
pub mod output;
mod ownership;
pub mod placement;
pub mod plan;
mod ranking;
pub mod recorder;
mod rejects;
mod relay;
mod reluctance;
mod report;
mod rollout;
mod speaker;
mod standing;
pub mod status;
mod surroundings;
pub mod time;
pub mod timeline;
mod timing;
mod unicast;
pub mod wire;
