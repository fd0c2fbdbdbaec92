//! Lines with fields for systemd's journal, over its own socket.
//!
//! The journal's native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>): one datagram a line, made of
//! `FIELD=value` each on a line of its own. What does not fit at once is not sent:
//! nothing here waits.

use std::fmt::{self, Write};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde_json::Value;
use vippy_client::Event;
use vippy_core::identity::NodeName;

use super::{Line, OneLine};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest text of a line, in bytes; a datagram has room for much more.
const LONGEST: usize = 16 << 10;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// The journal has it.
    Taken,
    /// There is no room; it is lost.
    Full,
    /// There is no journal.
    Away,
}

/// The journal's socket, seen from here.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    node: NodeName,
}

impl Journal {
    /// One that listens, or will listen, on `path`.
    pub(super) fn new(path: &Path, node: &NodeName) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Journal { socket, path: path.to_owned(), node: node.clone() })
    }

    /// Sends a line, without waiting.
    pub(super) fn hand(&self, line: &Line) -> Handed {
        let entry = self.entry(line);
        match self.socket.send_to(entry.as_bytes(), &self.path) {
            Ok(_) => Handed::Taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Handed::Full,
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Handed::Full,
            Err(_) => Handed::Away,
        }
    }

    fn entry(&self, line: &Line) -> String {
        let mut entry = Entry(String::new());
        entry.field("MESSAGE", shortened(&line.text));
        entry.field("PRIORITY", line.level as u8);
        entry.field("SYSLOG_IDENTIFIER", "vippyd");
        entry.field("VIPPY_NODE", &self.node);
        if let Some(event) = &line.event {
            entry.event(event);
        }
        entry.0
    }
}

struct Entry(String);

impl Entry {
    fn field(&mut self, name: &str, value: impl fmt::Display) {
        // A string takes everything.
        let _ = writeln!(self.0, "{name}={}", OneLine(&value.to_string()));
    }

    /// Each field of the event under its own name, as `VIPPY_GROUP`; a node is the
    /// peer that it is about, since `VIPPY_NODE` is who tells.
    fn event(&mut self, event: &Event) {
        let Ok(Value::Object(fields)) = serde_json::to_value(event) else { return };
        for (name, value) in fields {
            let name = match name.as_str() {
                "node" => "VIPPY_PEER".to_owned(),
                other => format!("VIPPY_{}", other.to_ascii_uppercase()),
            };
            match value {
                Value::Null => {}
                Value::String(text) => self.field(&name, shortened(&text)),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    self.field(&name, value);
                }
            }
        }
    }
}

/// The beginning of a text that is too long.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::logging::Level;

    fn line(text: &str, event: Option<Event>) -> Line {
        Line { level: Level::Warning, at: SystemTime::now(), text: text.into(), event }
    }

    fn journal(path: &Path) -> Journal {
        Journal::new(path, &"node1".into()).unwrap()
    }

    #[test]
    fn a_line_has_its_fields_and_cannot_forge_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let event = Event::PeerLost { node: "node2".into(), silent_ms: 305 };
        let text = "peer lost\nPRIORITY=0";
        assert_eq!(journal(&path).hand(&line(text, Some(event))), Handed::Taken);
        let mut buffer = [0; 4096];
        let length = receiver.recv(&mut buffer).unwrap();
        let entry = std::str::from_utf8(&buffer[..length]).unwrap();
        let mut fields: Vec<&str> = entry.lines().collect();
        fields.sort_unstable();
        let expected = [
            "MESSAGE=peer lost\\nPRIORITY=0",
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=vippyd",
            "VIPPY_EVENT=peer-lost",
            "VIPPY_NODE=node1",
            "VIPPY_PEER=node2",
            "VIPPY_SILENT_MS=305",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_is_absent_is_no_field() {
        let journal = journal(Path::new("/nowhere"));
        let entry =
            journal.entry(&line("taking", Some(Event::Taking { group: "web".into(), from: None })));
        assert!(entry.contains("VIPPY_GROUP=web\n") && !entry.contains("VIPPY_FROM"), "{entry}");
    }

    #[test]
    fn a_full_journal_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        // Nobody reads.
        let _receiver = UnixDatagram::bind(&path).unwrap();
        let journal = journal(&path);
        let taken = (0..100_000).take_while(|_| journal.hand(&line("x", None)) == Handed::Taken);
        assert!((1..100_000).contains(&taken.count()));
        assert_eq!(journal.hand(&line("x", None)), Handed::Full);
    }

    #[test]
    fn without_a_journal_the_line_is_left_to_somebody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = journal(&path);
        assert_eq!(journal.hand(&line("x", None)), Handed::Away);
        // A journal that comes later is found.
        let _receiver = UnixDatagram::bind(&path).unwrap();
        assert_eq!(journal.hand(&line("x", None)), Handed::Taken);
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let text = "ä".repeat(LONGEST);
        assert_eq!(shortened(&text).len(), LONGEST);
        assert_eq!(shortened(&format!("x{text}")).len(), LONGEST - 1);
        assert_eq!(shortened("short"), "short");
    }
}
