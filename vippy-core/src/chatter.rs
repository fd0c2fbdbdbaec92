//! What goes by on the chat, for programs that watch announcements.

use std::net::SocketAddr;

use crate::engine::Engine;
use crate::identity::{NodeName, Seq};
use crate::membership::process::Process;
use crate::status::{NodeState, RejectReason};

/// What was heard so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chatter {
    /// The peers that are alive.
    pub voices: Vec<Voice>,
    /// Frames that no key of this node made.
    pub unauthentic: u64,
}

/// A peer, as it was heard last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// The peer.
    pub name: NodeName,
    /// The highest number heard of it.
    pub seq: Seq,
    /// What it does.
    pub state: NodeState,
    /// The version of its configuration.
    pub version: u64,
    /// Where its newest frame came from that nobody forwarded.
    pub source: Option<SocketAddr>,
}

impl Engine {
    /// What was heard so far.
    pub fn chatter(&self) -> Chatter {
        let voice = |process: &Process| {
            let facts = process.facts.as_ref()?;
            Some(Voice {
                name: process.name.clone(),
                seq: process.highest,
                state: facts.state,
                version: facts.version,
                source: process.source,
            })
        };
        let counts = self.rejects.counts();
        let reasons = [RejectReason::UnknownKey, RejectReason::Forged];
        Chatter {
            voices: self.members.live_processes().filter_map(voice).collect(),
            unauthentic: reasons.iter().filter_map(|reason| counts.get(reason)).sum(),
        }
    }
}
