//! Announcing to single peers where multicast does not reach them (W2).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::identity::NodeName;
use crate::membership::Membership;
use crate::membership::process::Process;
use crate::time::Instant;

/// A peer that is not alive is addressed every interval for this many `stale`…
const PATIENCE: u32 = 10;
/// …and with every so many'th announcement after that.
const RARELY: u64 = 10;

/// Who was alive when, as far as addressing single peers goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Unicast {
    started: Instant,
    last_alive: BTreeMap<NodeName, (Instant, SocketAddr)>,
    announcements: u64,
}

impl Unicast {
    pub(crate) fn new(now: Instant) -> Unicast {
        Unicast { started: now, last_alive: BTreeMap::new(), announcements: 0 }
    }

    /// Where peers were while they were alive.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.last_alive.values().map(|(_, address)| address.ip())
    }

    /// The addresses to which the next announcement goes beside the multicast.
    pub(crate) fn targets(
        &mut self,
        now: Instant,
        config: &Config,
        members: &Membership,
        own_name: &NodeName,
    ) -> Vec<SocketAddr> {
        self.announcements += 1;
        let rare = self.announcements.is_multiple_of(RARELY);
        let stale = members.timers().stale;
        let patience = PATIENCE * stale;
        // Without multicast nothing else tells a returning peer that it is heard.
        let heard_lately = |name: &NodeName| {
            config.local.chat.is_none()
                && members.processes().any(|p| p.name == *name && now.since(p.last_heard) <= stale)
        };
        let mut targets = Vec::new();
        for peer in members.live_processes() {
            if let Some(address) = peer.source {
                self.last_alive.insert(peer.name.clone(), (now, address));
            }
            let configured = config.local.peers.get(&peer.name).copied();
            if !multicast_works(now, members, peer) {
                // Whoever brings a frame here before the wire does chooses its source:
                // that must not lead every answer away from the peer.
                targets.extend(peer.source);
                targets.extend(configured.filter(|address| peer.source != Some(*address)));
            }
        }
        for (name, (at, address)) in &self.last_alive {
            let absent = members.live(name).is_none() && !config.local.peers.contains_key(name);
            if absent && (rare || now.since(*at) <= patience) {
                targets.push(*address);
            }
        }
        for (name, address) in config.local.peers.iter().filter(|(name, _)| *name != own_name) {
            let since = self.last_alive.get(name).map_or(self.started, |(at, _)| *at);
            let often = now.since(since) <= patience || heard_lately(name);
            if members.live(name).is_none() && (rare || often) {
                targets.push(*address);
            }
        }
        targets
    }
}

/// Both directions of multicast work between this node and a live peer.
pub(crate) fn multicast_works(now: Instant, members: &Membership, peer: &Process) -> bool {
    let hears_me = peer.hears(members.own.boot).is_some_and(|heard| heard.paths.multicast);
    hears_me && peer.paths(now).multicast
}
