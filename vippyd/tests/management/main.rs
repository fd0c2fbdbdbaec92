//! The management socket and what it serves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod events;
mod metrics;
mod server;
mod socket;
