//! Events as they arrive: server-sent events on a connection that stays open.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::client::{ClientError, Exchange};
use crate::events::{EventId, MISSED, Missed, Record, Told};

/// Without a sign of life for this long, the daemon hangs or is gone; it gives one
/// every five seconds.
const SILENCE: Duration = Duration::from_secs(20);

/// Longest single message that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// One message as the daemon wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// What to resume after.
    pub id: Option<EventId>,
    /// The event's name; [`MISSED`] for events that are not there.
    pub name: String,
    /// JSON in one line, with fields of newer versions in it.
    pub json: String,
}

impl Arrival {
    /// What it says.
    ///
    /// # Errors
    /// When a daemon of another version tells of something that is unknown here.
    pub fn told(&self) -> serde_json::Result<Told> {
        if self.name == MISSED {
            return serde_json::from_str::<Missed>(&self.json).map(Told::Missed);
        }
        serde_json::from_str::<Record>(&self.json).map(Told::Event)
    }

    /// Reads the lines of one message; `None` where it carries nothing, as signs of
    /// life do.
    pub fn read(message: &str) -> Option<Arrival> {
        let mut arrival = Arrival::default();
        for line in message.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => arrival.id = value.parse().ok(),
                "event" => value.clone_into(&mut arrival.name),
                "data" => arrival.json.push_str(value),
                _ => {}
            }
        }
        (!arrival.json.is_empty()).then_some(arrival)
    }
}

/// Events of one daemon, in their order. A reader that is too slow is told how
/// many it missed; a stream that ends is resumed with [`Since::After`] what came
/// last.
///
/// [`Since::After`]: crate::events::Since::After
pub struct EventStream {
    path: PathBuf,
    exchange: Exchange,
    body: Incoming,
    /// What arrived and is not yet a whole message.
    read: Vec<u8>,
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("path", &self.path).finish_non_exhaustive()
    }
}

impl EventStream {
    pub(crate) fn new(path: PathBuf, exchange: Exchange, body: Incoming) -> EventStream {
        EventStream { path, exchange, body, read: Vec::new() }
    }

    /// The next one; `None` when the daemon has ended the stream. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// When the connection breaks, or nothing arrives for too long.
    pub async fn next(&mut self) -> Result<Option<Arrival>, ClientError> {
        loop {
            while let Some(message) = self.take_message()? {
                if let Some(arrival) = Arrival::read(&message) {
                    return Ok(Some(arrival));
                }
            }
            if self.read.len() > LONGEST {
                return Err(self.unreadable(format!("a message of more than {LONGEST} bytes")));
            }
            let frame = self.exchange.drive(self.body.frame());
            let Ok(frame) = tokio::time::timeout(SILENCE, frame).await else {
                return Err(ClientError::TimedOut { path: self.path.clone(), after: SILENCE });
            };
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    self.read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                }
                Some(Err(error)) => {
                    let source = std::io::Error::other(error);
                    return Err(ClientError::Io { path: self.path.clone(), source });
                }
            }
        }
    }

    /// The lines up to the next empty one, if they are all here.
    fn take_message(&mut self) -> Result<Option<String>, ClientError> {
        const END: &[u8] = b"\n\n";
        let Some(end) = self.read.windows(END.len()).position(|two| two == END) else {
            return Ok(None);
        };
        let rest = self.read.split_off(end + END.len());
        let message = std::mem::replace(&mut self.read, rest);
        String::from_utf8(message).map(Some).map_err(|error| self.unreadable(error.to_string()))
    }

    fn unreadable(&self, what: String) -> ClientError {
        ClientError::Unreadable { path: self.path.clone(), what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_line_by_line_and_signs_of_life_say_nothing() {
        let arrival = Arrival::read("id: 00000000000000a1-17\nevent: peer-up\ndata: {\"a\":1}\n\n");
        let arrival = arrival.unwrap();
        assert_eq!(arrival.id.unwrap().number, 17);
        assert_eq!((arrival.name.as_str(), arrival.json.as_str()), ("peer-up", "{\"a\":1}"));
        assert!(arrival.told().is_err());
        assert_eq!(Arrival::read(":\n\n"), None);
    }
}
