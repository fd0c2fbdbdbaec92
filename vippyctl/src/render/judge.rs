//! Whose configuration decides who owns what, when it is not this node's (O5).

use vippy_client::Status;
use vippy_client::status::{NodeReason, PeerStatus};

use super::list;
use crate::words::{self, printable};

/// A configuration above this node's.
pub(super) struct Judge<'a> {
    version: u64,
    digest: &'a str,
}

/// The configuration that outranks this node, if this node says that one does
/// and it is known which.
pub(super) fn of(status: &Status) -> Option<Judge<'_>> {
    if status.node.reason != NodeReason::Outranked {
        return None;
    }
    let own = (status.config.version, status.config.digest.as_str());
    let alive = status.peers.iter().filter(|peer| peer.alive);
    let ranks = alive.filter_map(|peer| Some((peer.version?, peer.digest.as_deref()?)));
    let (version, digest) = ranks.filter(|rank| *rank > own).max()?;
    Some(Judge { version, digest })
}

impl Judge<'_> {
    /// Whether a peer has this configuration.
    pub(super) fn is_of(&self, peer: &PeerStatus) -> bool {
        peer.alive
            && (peer.version, peer.digest.as_deref()) == (Some(self.version), Some(self.digest))
    }

    /// Who judges, and what that means for what this node shows.
    pub(super) fn sentence(&self, status: &Status) -> String {
        let with = status.peers.iter().filter(|peer| self.is_of(peer));
        let names: Vec<String> = with.map(|peer| printable(peer.name.as_str())).collect();
        let theirs = words::configuration(self.version, self.digest);
        let ours = words::configuration(status.config.version, &status.config.digest);
        let rule = if self.version == status.config.version {
            "; one version with two contents: raise the version"
        } else {
            ""
        };
        format!(
            "configuration {theirs} of {} judges who owns what; this node has {ours}, so it does \
             not know the owners{rule}",
            list(&names)
        )
    }
}
