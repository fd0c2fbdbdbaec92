//! The neighbour caches of all nodes: which are known here, and which are to be
//! fetched.
//!
//! Each node shares its own as a document; who wants to tell neighbours about
//! addresses fetches those of the others, and keeps what a node shared last when
//! that node is gone: it is then that others tell its neighbours.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::{Digest, SharedPart};
use crate::identity::NodeName;
use crate::membership::Membership;
use crate::membership::process::Process;
use crate::wire::document::{DocumentKind, DocumentName};

/// Caches fetched at a time: there is room left for configurations.
const MOST: usize = 4;

/// The caches of the other nodes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Collective {
    known: BTreeMap<NodeName, Cache>,
}

/// What is known of a node's cache.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Cache {
    digest: Digest,
    stations: usize,
}

impl Collective {
    /// The documents to fetch.
    pub(crate) fn seek(&self, members: &Membership, shared: &SharedPart) -> BTreeSet<DocumentName> {
        let news = shared_caches(members, shared).filter(|(name, document)| {
            self.known.get(*name).is_none_or(|known| known.digest != document.digest)
        });
        news.map(|(_, document)| document).take(MOST).collect()
    }

    /// A cache came, of so many stations; the nodes whose cache it is.
    pub(crate) fn take(
        &mut self,
        members: &Membership,
        shared: &SharedPart,
        digest: Digest,
        stations: usize,
    ) -> Vec<NodeName> {
        let owners = shared_caches(members, shared).filter(|(_, cache)| cache.digest == digest);
        let owners: Vec<NodeName> = owners.map(|(name, _)| name.clone()).collect();
        let cache = Cache { digest, stations };
        self.known.extend(owners.iter().map(|name| (name.clone(), cache)));
        owners
    }

    /// Forgets nodes that are not configured any more.
    pub(crate) fn configure(&mut self, shared: &SharedPart) -> Vec<NodeName> {
        let gone = |name: &&NodeName| shared.node_index(name).is_none();
        let gone: Vec<NodeName> = self.known.keys().filter(gone).cloned().collect();
        self.known.retain(|name, _| shared.node_index(name).is_some());
        gone
    }

    /// Whether this is the cache of a node.
    pub(crate) fn knows(&self, digest: Digest) -> bool {
        self.known.values().any(|cache| cache.digest == digest)
    }

    /// How many neighbours of each node are known.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (NodeName, usize)> {
        self.known.iter().map(|(name, cache)| (name.clone(), cache.stations))
    }
}

/// What configured live nodes share.
fn shared_caches<'a>(
    members: &'a Membership,
    shared: &'a SharedPart,
) -> impl Iterator<Item = (&'a NodeName, DocumentName)> {
    let peers = members.live_processes().filter(|peer| members.counts(peer.boot));
    let cache = |peer: &'a Process| {
        Some((&peer.name, peer.facts.as_ref()?.document(DocumentKind::NEIGHBOURS)?))
    };
    peers.filter_map(cache).filter(|(name, _)| shared.node_index(name).is_some())
}
