//! What a run writes down beside its story, for comparisons and replays.

use std::sync::Arc;

use vippy_core::output::{Destination, Output, Transmit};

use super::Micros;

/// What a run writes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Lines of story to keep; 0 for none.
    pub timeline: usize,
    /// Every output, byte for byte.
    pub outputs: bool,
    /// Every output in comparable form.
    pub doings: bool,
    /// Bytes of every engine's flight recorder; 0 for none.
    pub recorders: usize,
}

/// An engine's doings, in comparable form (invariant 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    /// When.
    pub at: Micros,
    /// On which machine.
    pub station: usize,
    /// What, without bytes that counters or echoes may change.
    pub what: String,
}

/// A frame that somebody sent.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its number among all frames of the run.
    pub id: u64,
    /// The sending machine …
    pub station: usize,
    /// … and which life of its daemon.
    pub life: u64,
    /// When.
    pub at: Micros,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

/// An order without the bytes that echoes and counters may change; `None` for
/// what a stranger may cause: relays, events about rejected datagrams, and
/// requests for evidence that leave at the next wake-up instead of the one after.
pub(super) fn summary(output: &Output) -> Option<String> {
    match output {
        Output::Send(Transmit { to, seq: Some(seq), .. }) => Some(match to {
            Destination::Multicast => format!("sends {}", seq.0),
            Destination::Unicast(peer) => format!("sends {} to {}", seq.0, peer.ip()),
        }),
        Output::Plumb { group, .. } => Some(format!("plumb {}", group.id)),
        Output::Unplumb { group } => Some(format!("unplumb {group}")),
        Output::Renew { .. } => Some("renew".to_owned()),
        Output::Notify { group } => Some(format!("notify {group}")),
        Output::Look { group, .. } => Some(format!("look for {group}")),
        Output::Silence { group } => Some(format!("silence {group}")),
        Output::Neighbours { node, stations } => {
            Some(format!("neighbours {node} {}", stations.len()))
        }
        Output::StoreEpoch(epoch) => Some(format!("store {epoch}")),
        Output::Remember(memory) => Some(format!("remember {memory:?}")),
        Output::Restarted => Some("restarted".to_owned()),
        Output::Examine { .. } => Some("examine".to_owned()),
        Output::Adopt(adoption) => Some(format!("adopt {}", adoption.shared.version)),
        Output::Keep(_) => Some("keep".to_owned()),
        Output::CleanUp { node, .. } => Some(format!("clean up after {node}")),
        Output::WantBoot => Some("want boot".to_owned()),
        Output::Stopped => Some("stopped".to_owned()),
        Output::Check { checks } => Some(format!("check {checks:?}")),
        Output::Send(Transmit { seq: None, .. }) | Output::Ask { .. } | Output::Event(_) => None,
    }
}
