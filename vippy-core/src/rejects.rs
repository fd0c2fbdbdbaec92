//! Datagrams without effect: all counted, few told (W3).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::status::RejectReason;
use crate::time::Instant;

/// How long a reason and source stay quiet after they were told.
const QUIET: Duration = Duration::from_secs(60);
/// Sources remembered; a forger can invent any number of them.
const MAX_SOURCES: usize = 64;

/// Counters by reason, and what was told lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rejects {
    counts: BTreeMap<RejectReason, u64>,
    #[serde(with = "crate::recorder::pairs")]
    told: BTreeMap<(RejectReason, IpAddr), Instant>,
}

impl Rejects {
    /// Counts one; true when it is worth a line in the log.
    pub(crate) fn count(&mut self, now: Instant, reason: RejectReason, source: IpAddr) -> bool {
        *self.counts.entry(reason).or_default() += 1;
        let ordinary = match reason {
            RejectReason::Own
            | RejectReason::NotFresh
            | RejectReason::Burnt
            | RejectReason::Duplicate => true,
            RejectReason::Malformed
            | RejectReason::Foreign
            | RejectReason::Version
            | RejectReason::UnknownKey
            | RejectReason::Forged
            | RejectReason::Replayed
            | RejectReason::Unsupported => false,
        };
        let told = self.told.get(&(reason, source));
        if ordinary || told.is_some_and(|at| now.since(*at) < QUIET) {
            return false;
        }
        if self.told.len() >= MAX_SOURCES {
            self.told.retain(|_, at| now.since(*at) < QUIET);
        }
        let room = self.told.len() < MAX_SOURCES;
        if room {
            self.told.insert((reason, source), now);
        }
        room
    }

    /// Sources that lately sent what only a wrong secret, cluster name or program
    /// explains.
    pub(crate) fn misfits(&self, now: Instant) -> impl Iterator<Item = (RejectReason, IpAddr)> {
        self.told.iter().filter_map(move |((reason, source), at)| {
            let telling = matches!(reason, RejectReason::UnknownKey | RejectReason::Version);
            (telling && now.since(*at) < QUIET).then_some((*reason, *source))
        })
    }

    pub(crate) fn counts(&self) -> &BTreeMap<RejectReason, u64> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_once() {
        let mut rejects = Rejects::default();
        let source = IpAddr::from([10, 0, 0, 9]);
        let told = (0..50_000u64)
            .filter(|n| rejects.count(Instant::from_micros(*n), RejectReason::Forged, source))
            .count();
        assert_eq!(told, 1);
        assert_eq!(rejects.counts()[&RejectReason::Forged], 50_000);
        let later = Instant::from_micros(61_000_000);
        assert!(rejects.count(later, RejectReason::Forged, source));
    }

    #[test]
    fn invented_sources_do_not_fill_the_log() {
        let mut rejects = Rejects::default();
        let told = (0..10_000u32)
            .filter(|n| {
                rejects.count(Instant::ZERO, RejectReason::Forged, IpAddr::from(n.to_be_bytes()))
            })
            .count();
        assert_eq!(told, MAX_SOURCES);
    }
}
