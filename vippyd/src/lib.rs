//! The Vippy daemon: everything around the engine that touches the world.
//!
//! [`vippy_core`] decides; this crate carries out. One loop (`daemon`) owns the
//! engine and never makes a call that can block; whatever can (netlink, raw
//! frames, files) happens on workers behind ordered queues.

pub mod chat;
pub mod clock;
pub mod logging;
pub mod management;
pub mod signals;
pub mod state_dir;
pub mod supervision;
