//! The ledger: a file that lists the addresses this node put on (F3).
//!
//! It is written before an address is added and may lag when one is removed:
//! it may name too much, never too little. It is not forced to the disk: a
//! killed process loses nothing that was written, and a machine that crashes
//! loses the addresses as well, while waiting for a busy disk here would let
//! the addresses expire that nobody renews meanwhile.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

/// First line of the file.
const HEADING: &str = "# Addresses that vippyd put on this machine; written by vippyd.";

/// The ledger could not be read or written; the file is as it was.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the ledger {}", path.display())]
pub struct LedgerError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// One address we put on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// The address.
    pub(super) ip: IpAddr,
    /// Length of its prefix.
    pub(super) prefix: u8,
    /// The interface.
    pub(super) interface: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.ip, self.prefix, self.interface)
    }
}

impl FromStr for Entry {
    type Err = ();
    fn from_str(line: &str) -> Result<Entry, ()> {
        let (net, interface) = line.split_once(' ').ok_or(())?;
        let net: IpNet = net.parse().map_err(|_| ())?;
        if interface.is_empty() || interface.contains(char::is_whitespace) {
            return Err(());
        }
        let (ip, prefix) = (net.addr(), net.prefix_len());
        Ok(Entry { ip, prefix, interface: interface.to_owned() })
    }
}

/// The list and its file.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    entries: BTreeSet<Entry>,
    /// Entries were struck that the file still has.
    lagging: bool,
}

impl Ledger {
    /// Reads the file; an absent one is empty. Also returns a sentence for
    /// each line that made no sense: its address counts as somebody else's.
    pub(super) fn read(path: PathBuf) -> Result<(Ledger, Vec<String>), LedgerError> {
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(LedgerError { doing: "read", path, source }),
        };
        let mut entries = BTreeSet::new();
        let mut complaints = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.parse() {
                Ok(entry) => {
                    entries.insert(entry);
                }
                Err(()) => complaints.push(format!(
                    "{}:{}: found {line:?}, expected an address with prefix and an interface; \
                     ignored",
                    path.display(),
                    number + 1
                )),
            }
        }
        Ok((Ledger { path, entries, lagging: false }, complaints))
    }

    /// Whether we put this address on.
    pub(super) fn contains(&self, entry: &Entry) -> bool {
        self.entries.contains(entry)
    }

    /// Whether the file still names what was struck.
    pub(super) fn is_lagging(&self) -> bool {
        self.lagging
    }

    /// Adds entries and writes the file, once, if there is anything new. On an
    /// error none of them is in the list and their addresses must not be added.
    pub(super) fn record(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), LedgerError> {
        let new: BTreeSet<Entry> =
            entries.into_iter().filter(|entry| !self.entries.contains(entry)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.entries.extend(new.iter().cloned());
        self.write().inspect_err(|_| self.entries.retain(|entry| !new.contains(entry)))
    }

    /// Strikes an entry; the file follows with the next write.
    pub(super) fn strike(&mut self, entry: &Entry) {
        self.lagging |= self.entries.remove(entry);
    }

    /// Strikes what `keep` does not want; the file follows with the next write.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        let before = self.entries.len();
        self.entries.retain(keep);
        self.lagging |= self.entries.len() != before;
    }

    /// Replaces the file as a whole: a reader sees the old list or the new one.
    pub(super) fn write(&mut self) -> Result<(), LedgerError> {
        let mut text = format!("{HEADING}\n");
        self.entries.iter().for_each(|entry| text += &format!("{entry}\n"));
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(".new");
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&temporary, &self.path))
            .map_err(|source| LedgerError { doing: "write", path: self.path.clone(), source })?;
        self.lagging = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn entry(line: &str) -> Entry {
        line.parse().unwrap()
    }

    #[test]
    fn what_was_recorded_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let (mut ledger, complaints) = Ledger::read(path.clone()).unwrap();
        assert!(complaints.is_empty());
        ledger.record([entry("10.0.0.1/24 eth0"), entry("fd00::1/64 eth1")]).unwrap();
        ledger.strike(&entry("10.0.0.1/24 eth0"));
        assert!(ledger.is_lagging());
        let (early, _) = Ledger::read(path.clone()).unwrap();
        assert!(early.contains(&entry("10.0.0.1/24 eth0")), "the file lags behind removals");
        ledger.write().unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it is nobody else's business");
        let (again, complaints) = Ledger::read(path).unwrap();
        assert!(complaints.is_empty());
        assert_eq!(again.entries, ledger.entries);
        assert!(!again.contains(&entry("10.0.0.1/24 eth0")));
    }

    #[test]
    fn a_broken_line_is_named_and_the_rest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        fs::write(&path, "# x\n10.0.0.1/24 eth0\n10.0.0.2/99 eth0\n\u{fffd}").unwrap();
        let (ledger, complaints) = Ledger::read(path.clone()).unwrap();
        assert!(ledger.contains(&entry("10.0.0.1/24 eth0")));
        assert_eq!(complaints.len(), 2);
        assert!(complaints[0].starts_with(&format!("{}:3: found", path.display())));
    }

    #[test]
    fn a_list_that_could_not_be_written_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::read(dir.path().join("absent/ledger")).unwrap();
        let error = ledger.record([entry("10.0.0.1/24 eth0")]).unwrap_err();
        assert!(error.to_string().contains("absent/ledger"));
        assert!(!ledger.contains(&entry("10.0.0.1/24 eth0")));
    }
}
