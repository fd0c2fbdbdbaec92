//! One event in the history, and any message as it is sent.

use hyper::body::Bytes;
use serde::Serialize;
use vippy_client::events::{EventId, Record};

/// An event, ready to be sent.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) unix_ms: u64,
    pub(super) monotonic_ms: u64,
    pub(super) message: Bytes,
}

impl Entry {
    pub(super) fn new(name: &str, record: &Record) -> Entry {
        Entry {
            number: record.id.number,
            unix_ms: record.unix_ms,
            monotonic_ms: record.monotonic_ms,
            message: message(record.id, name, record),
        }
    }
}

/// One server-sent event.
pub(super) fn message(id: EventId, name: &str, data: &impl Serialize) -> Bytes {
    // Neither an event nor a gap refuses to be written.
    let json = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("id: {id}\nevent: {name}\ndata: {json}\n\n"))
}
