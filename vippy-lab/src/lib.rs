//! Clusters of real Vippy daemons in network namespaces on one machine.
pub mod cli;
pub mod cluster;
mod command;
mod directory;
mod error;
pub mod lan;
pub mod machine;
mod netlink;
mod nftables;
pub mod options;
pub mod probe;
mod process;
mod render;
pub mod report;
mod responder;
mod userns;

pub use cluster::Cluster;
pub use error::LabError;
pub use lan::{Lan, LanOptions, Port};
pub use machine::Machine;
pub use netlink::HardwareAddress;
pub use options::Options;
pub use probe::{Probe, ProbeOptions};
pub use process::Process;
pub use report::{ProbeReport, Series};
pub use userns::enter_user_namespace_if_needed;
