//! What the world tells the engine.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Config, Digest, SharedPart};
use crate::health::Run;
use crate::identity::{BootId, CheckName, Epoch, GroupId, Mac, Seq};

/// One thing that happened. Time is the other argument of
/// [`Engine::handle`](crate::engine::Engine::handle).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// Nothing but time has passed. Harmless at any moment.
    Tick,
    /// A datagram arrived.
    Datagram(Datagram),
    /// Result of a [`Transmit`](crate::output::Transmit): did it leave?
    Sent {
        /// The frame's number.
        seq: Seq,
        /// False when the socket refused it.
        left: bool,
    },
    /// The configuration was (re)loaded and is valid.
    Configured(Arc<Config>),
    /// An operator wants this configuration, if all live nodes can take it: it is
    /// valid, this node can take it, and its version is above all known.
    Propose {
        /// The configuration.
        shared: Arc<SharedPart>,
        /// The same as a document.
        document: Arc<str>,
        /// It goes again unless it is confirmed within this time.
        confirm_within: Option<Duration>,
    },
    /// A document was looked at (answer to
    /// [`Output::Examine`](crate::output::Output::Examine)).
    Examined {
        /// Which.
        document: Digest,
        /// What it says, or why this node cannot take it.
        outcome: Result<Arc<SharedPart>, String>,
    },
    /// The answer to [`Output::WantBoot`](crate::output::Output::WantBoot).
    Boot(BootId),
    /// A fact about a group's resources on this node.
    Resource {
        /// The group.
        group: GroupId,
        /// The fact.
        report: ResourceReport,
    },
    /// Everything up to this epoch is safe on disk (W7).
    EpochStored(Epoch),
    /// The neighbours were told for the first time of a group's addresses
    /// (answer to [`Output::Notify`](crate::output::Output::Notify), also when
    /// no frame could leave).
    Told {
        /// The group.
        group: GroupId,
        /// Where they were told that its first address is; `None` where nobody
        /// keeps such a thing, or no frame could leave.
        mac: Option<Mac>,
    },
    /// Who answers for a group's first address (answer to
    /// [`Output::Look`](crate::output::Output::Look)).
    Sighted {
        /// The group.
        group: GroupId,
        /// The station, another one than expected if any such did; `None`: nobody.
        mac: Option<Mac>,
    },
    /// This node's neighbour cache, as a document
    /// ([`neighbours::document`](crate::neighbours::document)), to be shared; empty:
    /// there is none.
    Neighbours(Arc<str>),
    /// Another station said that addresses of a group which is up here are its own.
    Claimed {
        /// The group.
        group: GroupId,
        /// The station.
        mac: Mac,
        /// How often since this was last told.
        times: u64,
    },
    /// The addresses were renewed (answer to
    /// [`Output::Renew`](crate::output::Output::Renew)).
    Renewed {
        /// The time it kept a processor busy.
        took: Duration,
    },
    /// Requests for evidence left (answer to
    /// [`Output::Ask`](crate::output::Output::Ask)).
    Asked {
        /// How many addresses were asked.
        targets: usize,
    },
    /// One of the addresses asked has answered.
    Answered {
        /// Which.
        from: IpAddr,
    },
    /// While somebody is being asked: something else arrived on an interface of
    /// the chat, from another station and not of the chat.
    Arrived,
    /// What a plugin thinks of this node.
    Opinion {
        /// The plugin.
        plugin: String,
        /// Why this node should own nothing; `None`: it may, or the plugin does not say.
        unfit: Option<String>,
    },
    /// Everything has run that is to run for a process that is gone (answer to
    /// [`Output::CleanUp`](crate::output::Output::CleanUp)).
    CleanedUp(BootId),
    /// A health check was run (H1).
    Checked {
        /// Which.
        check: CheckName,
        /// What came of it.
        run: Run,
    },
    /// An operator or a signal wants something.
    Operator(Command),
}

/// A datagram as it came off a socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Datagram {
    /// Its source address.
    pub source: SocketAddr,
    /// Whether it was addressed to the multicast group.
    pub multicast: bool,
    /// Its payload.
    #[serde(with = "crate::recorder::hex")]
    pub bytes: Vec<u8>,
}

/// A fact about a group's resources on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceReport {
    /// All interfaces are there and up, no address is in somebody else's hands.
    Available,
    /// The group cannot be held here, for this reason (interface absent, link
    /// down, address foreign).
    Unavailable(String),
    /// Every address is on its interface (answer to `Plumb`).
    Up,
    /// None of its addresses is there any more (answer to `Unplumb`).
    Down,
    /// `Plumb` failed; what was added has been taken back.
    Failed(String),
}

/// What an operator or a signal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Give everything away and stay a member.
    Drain {
        /// Until [`Command::Resume`], or for this long.
        lasting: Option<Duration>,
    },
    /// Take part again.
    Resume,
    /// Hand over, let go, say goodbye (O8).
    Stop,
    /// Keep the configuration that is on trial.
    Confirm,
    /// Run what the file says, and never again what runs now.
    Forget,
    /// End without a word and without letting go: the next process of this node
    /// adopts what is there (F1).
    Restart,
}
