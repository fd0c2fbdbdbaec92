//! Clusters of real Vippy daemons in network namespaces on one machine.
//!
//! A lab is a LAN of small machines: namespaces with a network, a host name and
//! processes of their own, all plugged into one switch. On the nodes run real
//! daemons, talking through the real kernel; from the clients an address is
//! probed a thousand times a second to see, datagram by datagram, which node
//! answers. Machines lose power, cables are pulled, directions are cut.
//!
//! ```no_run
//! use std::time::Duration;
//! use vippy_lab::options::vip4;
//! use vippy_lab::{Cluster, LabError, Options, Port, ProbeOptions};
//!
//! fn main() -> Result<(), LabError> {
//!     // First of all: an ordinary user becomes root of a world of their own.
//!     vippy_lab::enter_user_namespace_if_needed()?;
//!
//!     // Three nodes, a client, six groups; a daemon on every node.
//!     let cluster = Cluster::start(Options::new("target/debug/vippyd"))?;
//!     cluster.wait_settled(Duration::from_secs(10))?;
//!
//!     // Who has the first address, and what does a client notice when that
//!     // node dies?
//!     let status = cluster.status(1)?;
//!     let owner = status.groups[0].owner.clone().expect("settled");
//!     let owner = (1..=3).find(|node| Port::Node(*node).to_string() == owner.as_str());
//!     let probe = cluster.lan().probe(Port::Client(0), ProbeOptions::new([vip4(1)]))?;
//!     std::thread::sleep(Duration::from_millis(500));
//!     cluster.crash_node(owner.expect("a node of this cluster"))?;
//!     cluster.wait_settled(Duration::from_secs(10))?;
//!     std::thread::sleep(Duration::from_millis(500));
//!     let report = probe.finish();
//!     println!("{}", report.series[&vip4(1)]);
//!     assert!(report.outage() <= Duration::from_millis(400));
//!
//!     // A partition: both sides go on, each without the other.
//!     cluster.lan().partition(&[1], &[2, 3])?;
//!     cluster.lan().heal()
//! }
//! ```
//!
//! Everything vanishes with the [`Cluster`] or [`Lan`], in a panic, at Ctrl-C,
//! and when the process is killed: nothing has a name outside it, every process
//! ends with a pipe that only the lab holds open, and the same goes for the
//! temporary directory.
//!
//! A lab needs Linux with namespaces, bridges, veth pairs and, for cuts,
//! nf_tables; and either root or permission to make user namespaces. No program
//! but `sh`, `cat`, `rm` and `sleep`. Everything blocks: from async code, use a
//! blocking thread.
//!
//! Start reading at [`cluster::Cluster`] or, without daemons, at [`lan::Lan`].

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
mod power;
pub mod presence;
pub mod probe;
mod process;
mod prompt;
mod render;
pub mod report;
mod responder;
pub mod tap;
mod userns;

pub use cluster::Cluster;
pub use error::LabError;
pub use lan::{Lan, LanOptions, Port};
pub use machine::Machine;
pub use netlink::HardwareAddress;
pub use options::Options;
pub use presence::{Presence, Watch};
pub use probe::{Probe, ProbeOptions};
pub use process::Process;
pub use prompt::make_prompt;
pub use report::{ProbeReport, Series};
pub use tap::{Frame, FrameKind, Tap};
pub use userns::enter_user_namespace_if_needed;
