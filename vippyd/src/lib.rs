//! The Vippy daemon: everything around the engine that touches the world.
//!
//! [`vippy_core`] decides; this crate carries out. One loop ([`daemon`]) owns the
//! engine and never makes a call that can block; whatever can (netlink, raw
//! frames, files) happens on workers behind ordered queues.
//!
//! [`startup`] opens everything in order and is the place to begin reading.

pub mod announce;
mod bpf;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod collector;
pub mod core_dumps;
pub mod daemon;
mod ethernet;
mod examine;
pub mod extend;
pub mod histogram;
pub mod history;
pub mod kernel;
pub mod lateness;
pub mod load;
pub mod logging;
pub mod management;
pub mod metrics;
pub mod neighbourhood;
pub mod operators;
pub mod realtime;
pub mod secrets;
pub mod signals;
pub mod startup;
pub mod state_dir;
pub mod successor;
pub mod summary;
pub mod supervision;
pub mod witness;

pub use vippy_client::narrate;
