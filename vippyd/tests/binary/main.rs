//! The real binary with files of its own. Needs root for network namespaces.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli;
mod realtime;
mod restart;
mod secrets;
mod support;
mod watching;
