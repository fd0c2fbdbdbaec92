//! The history of events: how each is told, and where in it a reader stands
//! (`docs/EVENTS.md`).

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vippy_core::event::Event;
use vippy_core::identity::{BootId, NodeName};

/// The name under which [`Missed`] is told among the events.
pub const MISSED: &str = "missed";

/// The name of an event in one daemon's history: which process, and its running
/// number there, the first being 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId {
    /// The daemon's process: drawn at its start.
    pub process: BootId,
    /// The number of the event.
    pub number: u64,
}

/// A text that is no [`EventId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}, expected an event's id such as 00a1b2c3d4e5f607-17")]
pub struct NotAnEventId(String);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.process, self.number)
    }
}

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<EventId, NotAnEventId> {
        let digits = |text: &str| !text.starts_with('+');
        let (process, number) = text
            .split_once('-')
            .filter(|(process, number)| process.len() == 16 && digits(process) && digits(number))
            .ok_or_else(|| NotAnEventId(text.to_owned()))?;
        match (u64::from_str_radix(process, 16), number.parse()) {
            (Ok(process), Ok(number)) => Ok(EventId { process: BootId(process), number }),
            (Err(_), _) | (_, Err(_)) => Err(NotAnEventId(text.to_owned())),
        }
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for EventId {
    type Error = NotAnEventId;

    fn try_from(text: String) -> Result<EventId, NotAnEventId> {
        text.parse()
    }
}

/// An event, and when and where it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name: what to resume after.
    pub id: EventId,
    /// The node's wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The node's monotonic clock (`CLOCK_BOOTTIME`), in milliseconds.
    pub monotonic_ms: u64,
    /// The node that tells.
    pub identity: NodeName,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// In the place of events that a reader did not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename = "missed")]
pub struct Missed {
    /// The last event that was missed: what to resume after.
    pub id: EventId,
    /// The node's wall clock when it told, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The node's monotonic clock (`CLOCK_BOOTTIME`), in milliseconds.
    pub monotonic_ms: u64,
    /// The node that tells.
    pub identity: NodeName,
    /// How many events; `None` where nobody can tell.
    pub number: Option<u64>,
    /// Why.
    pub why: WhyMissed,
}

/// Why a reader did not get events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyMissed {
    /// Newer ones have taken their places in the history: the reader asked too
    /// late, or read too slowly.
    Overwritten,
    /// They happened in another process of the daemon.
    Restarted,
}

/// What a reader of the history gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An event.
    Event(Record),
    /// Some events are not there.
    Missed(Missed),
}

impl Told {
    /// What to resume after.
    pub fn id(&self) -> EventId {
        match self {
            Told::Event(record) => record.id,
            Told::Missed(missed) => missed.id,
        }
    }
}

/// From where on the history is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After this event.
    After(EventId),
    /// What happened within this time before now.
    Ago(Duration),
    /// What happened at this time and later.
    At(SystemTime),
}

/// A text that is no [`Since`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {0:?}, expected an event's id, a span such as 90s or \"1h 30m\", or a time such as \
     2026-11-21T08:00:00Z"
)]
pub struct NotASince(String);

impl FromStr for Since {
    type Err = NotASince;

    fn from_str(text: &str) -> Result<Since, NotASince> {
        if let Ok(id) = text.parse() {
            return Ok(Since::After(id));
        }
        if let Ok(span) = humantime::parse_duration(text) {
            return Ok(Since::Ago(span));
        }
        let time = humantime::parse_rfc3339_weak(text);
        time.map(Since::At).map_err(|_| NotASince(text.to_owned()))
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Since::After(id) => id.fmt(f),
            Since::Ago(span) => humantime::format_duration(*span).fmt(f),
            Since::At(time) => humantime::format_rfc3339_millis(*time).fmt(f),
        }
    }
}

/// Milliseconds since 1970; zero for what was before.
pub fn unix_millis(time: SystemTime) -> u64 {
    let span = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id = EventId { process: BootId(0xa1), number: 17 };
        assert_eq!(id.to_string(), "00000000000000a1-17");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "17", "00000000000000a1", "a1-17", "00000000000000a1-+7", "-17"] {
            assert_eq!(text.parse::<EventId>(), Err(NotAnEventId(text.into())));
        }
    }

    #[test]
    fn a_place_in_the_history_is_an_id_a_span_or_a_time() {
        let id = EventId { process: BootId(7), number: 1 };
        let at = UNIX_EPOCH + Duration::from_millis(1_795_248_000_123);
        let spans = [Since::After(id), Since::Ago(Duration::from_secs(5_400)), Since::At(at)];
        for since in spans {
            assert_eq!(since.to_string().parse(), Ok(since));
        }
        assert_eq!("2026-11-21 08:00:00".parse::<Since>().unwrap().to_string().len(), 24);
        let error = "yesterday".parse::<Since>().unwrap_err().to_string();
        assert!(error.starts_with("found \"yesterday\", expected an event's id"), "{error}");
    }

    #[test]
    fn an_event_and_its_circumstances_are_one_flat_object() {
        let record = Record {
            id: EventId { process: BootId(1), number: 2 },
            unix_ms: 3,
            monotonic_ms: 4,
            identity: "node1".into(),
            event: Event::PeerUp { node: "node2".into() },
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(
            text,
            r#"{"id":"0000000000000001-2","unix_ms":3,"monotonic_ms":4,"identity":"node1","event":"peer-up","node":"node2"}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
