//! What the engine asks of the world, as one ordered queue.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Digest, Group, SharedPart};
use crate::event::Event;
use crate::identity::{BootId, CheckName, Epoch, GroupId, Mac, NodeName, Seq};
use crate::memory::Memory;
use crate::neighbours::Station;

/// One order. The daemon carries orders out in the order in which they come.
#[derive(Clone, Debug, Hash)]
pub enum Output {
    /// Send a frame and report with [`Input::Sent`](crate::input::Input::Sent).
    Send(Transmit),
    /// Put the group's addresses on and keep them there; answer `Up` or `Failed`.
    Plumb {
        /// The group.
        group: Arc<Group>,
        /// Kernel lifetime of its addresses (F1); `None` is for ever.
        lifetime: Option<Duration>,
    },
    /// Take the group's addresses off; answer `Down`.
    Unplumb {
        /// The group.
        group: GroupId,
    },
    /// Renew the kernel lifetime of everything plumbed (F1); answer
    /// [`Input::Renewed`](crate::input::Input::Renewed).
    Renew {
        /// The new lifetime.
        lifetime: Duration,
    },
    /// Tell the neighbours that this node has the group's addresses; answer
    /// [`Input::Told`](crate::input::Input::Told) after the first time.
    Notify {
        /// The group.
        group: GroupId,
    },
    /// Ask the LAN for a group's first address, as any host would (ARP, neighbour
    /// discovery), a few times unless only the station expected answers; answer
    /// [`Input::Sighted`](crate::input::Input::Sighted).
    Look {
        /// The group.
        group: GroupId,
        /// Where another node says that it is.
        expected: Mac,
    },
    /// Stop telling the neighbours about a group that is going away.
    Silence {
        /// The group.
        group: GroupId,
    },
    /// These are the neighbours of another node now: take them into account where
    /// neighbours are told.
    Neighbours {
        /// The node.
        node: NodeName,
        /// All it knows; none when it is configured no more.
        stations: Arc<[Station]>,
    },
    /// Make this epoch durable and answer with `EpochStored` (W7).
    StoreEpoch(Epoch),
    /// Keep this for the next process of this node; nothing is waited for.
    Remember(Memory),
    /// Ask these addresses by ARP or neighbour discovery whether they hear this
    /// node (O7); none: neighbours that answered lately, never configured nodes
    /// or managed addresses. Answered with
    /// [`Input::Asked`](crate::input::Input::Asked) at once, then with
    /// [`Input::Answered`](crate::input::Input::Answered) and
    /// [`Input::Arrived`](crate::input::Input::Arrived) as it comes.
    Ask {
        /// The configured witnesses.
        witnesses: Vec<IpAddr>,
    },
    /// Look whether this document is a configuration that this node can run;
    /// answer [`Input::Examined`](crate::input::Input::Examined).
    Examine {
        /// The document.
        document: Arc<str>,
        /// Its digest.
        digest: Digest,
        /// Whether everything it says must be possible on this node's interfaces
        /// now: somebody proposes it. Otherwise it is in force elsewhere.
        strict: bool,
    },
    /// Run this configuration: tell it to the engine with
    /// [`Input::Configured`](crate::input::Input::Configured), localized.
    Adopt(Adoption),
    /// Keep the running configuration for the next process of this node; nothing
    /// is waited for.
    Keep(Kept),
    /// This boot is burnt; draw 64 fresh random bits and answer with
    /// [`Input::Boot`](crate::input::Input::Boot) (W1). Nothing is sent until then.
    WantBoot,
    /// This node is the one that runs the `once` hooks for a process that is gone;
    /// answer [`Input::CleanedUp`](crate::input::Input::CleanedUp).
    CleanUp {
        /// The node whose process it was.
        node: NodeName,
        /// The process.
        boot: BootId,
        /// The number of this run (W7).
        epoch: Epoch,
    },
    /// Run these checks now, or once more as soon as their present run has ended (H4).
    Check {
        /// Which.
        checks: Vec<CheckName>,
    },
    /// Something an operator may want to know.
    Event(Event),
    /// Everything is let go and goodbye is said: the process may exit.
    Stopped,
    /// The process may be replaced by another one, which adopts (F1).
    Restarted,
}

/// A configuration to run.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// What it says.
    pub shared: Arc<SharedPart>,
    /// The same as a document.
    pub document: Arc<str>,
}

impl Hash for Adoption {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.shared.rank(), &self.document).hash(state);
    }
}

/// A running configuration, for the next process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kept {
    /// Its document.
    pub document: Arc<str>,
    /// It is on trial: what comes back, and what is left of the time.
    pub trial: Option<(Arc<str>, Duration)>,
}

/// A frame to be sent.
#[derive(Clone, Debug, Hash)]
pub struct Transmit {
    /// Whereto.
    pub to: Destination,
    /// The frame's number; for a relayed frame `None`: its number is not ours.
    pub seq: Option<Seq>,
    /// The bytes.
    pub frame: Arc<[u8]>,
}

/// Whereto a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// The chat's multicast group.
    Multicast,
    /// One peer.
    Unicast(SocketAddr),
}
