//! The daemon's hands against a real kernel, in namespaces. Needs root and `ip`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod homes;
mod neighbours;
mod plumbing;
mod support;
mod witness;
