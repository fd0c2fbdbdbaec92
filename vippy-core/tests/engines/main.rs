//! Engines on a wire without faults, driven through their public API alone: what is
//! shown by one precise sequence. Chance, loss and judges live in the simulator of
//! the package `vippy-tests`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod belief;
mod caches;
mod chronicle;
mod claims;
mod configurations;
mod explaining;
mod failback;
mod foretelling;
mod hand_overs;
mod health;
mod invariants;
mod lan;
mod lives;
mod load;
mod neighbours;
mod recorder;
mod redirecting;
mod relaying;
mod rollout;
mod rotation;
mod standing_back;
