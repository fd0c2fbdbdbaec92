//! The daemon's parts.

pub mod announce;
pub mod kernel;
pub mod management;
