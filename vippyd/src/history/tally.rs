//! What all events since the start came to.

use std::collections::BTreeMap;
use std::time::Duration;

use vippy_client::Event;
use vippy_client::events::Record;
use vippy_core::identity::GroupId;

use crate::histogram::Histogram;

/// Upper bounds for takeovers, in seconds.
const TAKEOVER: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Counts of events, and the spans between some of them.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How many there were, by name.
    pub events: BTreeMap<String, u64>,
    /// From the decision to take a group to its being announced here.
    pub takeovers: Histogram,
    /// Groups that are being taken, and since when.
    taking: BTreeMap<GroupId, u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        let takeovers = Histogram::new(&TAKEOVER);
        Tally { events: BTreeMap::new(), takeovers, taking: BTreeMap::new() }
    }
}

impl Tally {
    pub(super) fn note(&mut self, name: String, record: &Record) {
        *self.events.entry(name).or_default() += 1;
        if let Event::Taking { group, .. } = &record.event {
            self.taking.insert(group.clone(), record.monotonic_ms);
        } else if let Event::Announced { group } = &record.event {
            if let Some(since) = self.taking.remove(group) {
                let span = record.monotonic_ms.saturating_sub(since);
                self.takeovers.note(Duration::from_millis(span));
            }
        } else if let Event::LettingGo { group, .. } | Event::PlumbFailed { group, .. } =
            &record.event
        {
            // One that leaves the configuration must not be waited for.
            self.taking.remove(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use vippy_client::events::EventId;
    use vippy_client::narrate;
    use vippy_core::identity::BootId;

    use super::*;

    #[test]
    fn a_takeover_lasts_from_the_decision_until_the_neighbours_are_told() {
        let mut tally = Tally::default();
        let mut tell = |monotonic_ms, event| {
            let id = EventId { process: BootId(1), number: 1 };
            let identity = "node1".into();
            let record = Record { id, unix_ms: 0, monotonic_ms, identity, event };
            tally.note(narrate::name(&record.event), &record);
        };
        let taking = || Event::Taking { group: "web".into(), from: None };
        tell(100, taking());
        tell(107, Event::Announced { group: "web".into() });
        // Announced again later, without another decision.
        tell(900, Event::Announced { group: "web".into() });
        tell(1_000, taking());
        tell(1_010, Event::PlumbFailed { group: "web".into(), error: "x".into() });
        tell(1_100, Event::Announced { group: "web".into() });
        assert_eq!(tally.takeovers.count(), 1);
        assert!((tally.takeovers.sum() - 0.007).abs() < 1e-9);
        assert_eq!(tally.events["taking"], 2);
        assert_eq!(tally.events["announced"], 3);
        assert!(tally.taking.is_empty());
    }
}
