//! What must outlive the process: the state directory.
//!
//! Owns the names of the files in it, the lock that keeps a second daemon of
//! the same name out, and how the epoch (W7) and the memory are written. The
//! ledger's content is the kernel side's business; here it is only a path.
//! Everything blocks, so after the start it runs on the thread of [`Writer`].

mod writer;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use vippy_core::identity::{Epoch, NodeName};
use vippy_core::memory::Memory;
use vippy_core::output::Kept;

use crate::clock;

pub use writer::{Stored, Writer};

/// Names of files, after the node's.
const EPOCH: &str = "epoch";
const MEMORY: &str = "memory";
const CONFIGURATION: &str = "configuration";

/// Why the state directory cannot be used. Nothing was changed in it.
#[derive(Debug, Error)]
pub enum StateError {
    /// Making, reading or writing something failed.
    #[error("state directory: cannot {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon of this name runs on it.
    #[error("state directory: another vippyd ({who}) runs as this node: it holds the lock {path}")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The other's process id, as far as it is known.
        who: String,
    },
}

/// One node's files in a state directory, locked while this value lives.
#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    stem: String,
    _lock: Flock<File>,
}

impl StateDir {
    /// Makes the directory (mode 0700) if it is absent, and takes the lock.
    ///
    /// # Errors
    /// When it cannot be written to, or another daemon of this name has it.
    pub fn open(dir: &Path, cluster: &str, node: &NodeName) -> Result<StateDir, StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| failed("make", dir, source))?;
        let stem = stem(cluster, node);
        let lock = lock(&dir.join(format!("{stem}.lock")))?;
        Ok(StateDir { dir: dir.to_owned(), stem, _lock: lock })
    }

    /// The file in which the kernel side writes down what it added (F3).
    pub fn ledger(&self) -> PathBuf {
        self.file("ledger")
    }

    /// The last stored epoch. A file that holds no number is set aside as
    /// `….epoch.bad` and told as the second value.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load_epoch(&self) -> Result<(Epoch, Option<String>), StateError> {
        let Some(text) = self.read(EPOCH)? else { return Ok((Epoch(0), None)) };
        match text.trim().parse() {
            Ok(number) => Ok((Epoch(number), None)),
            Err(_) => {
                let told = self.set_aside(EPOCH, "no epoch", "the wall clock counts")?;
                Ok((Epoch(0), Some(told)))
            }
        }
    }

    /// What the last process remembered, older by what the wall clock says has
    /// passed since. A file that holds no memory is set aside as
    /// `….memory.bad` and told as the second value.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load_memory(&self) -> Result<(Memory, Option<String>), StateError> {
        let Some(text) = self.read(MEMORY)? else { return Ok((Memory::default(), None)) };
        match serde_json::from_str::<Dated<Memory>>(&text) {
            Ok(memory) => Ok((memory.content.aged(memory.age(clock::wall_millis())), None)),
            Err(_) => {
                let told = self.set_aside(MEMORY, "no memory", "this node remembers nothing")?;
                Ok((Memory::default(), Some(told)))
            }
        }
    }

    /// The configuration that the last process ran, its trial shorter by what the
    /// wall clock says has passed since. A file that holds none is set aside as
    /// `….configuration.bad` and told as the second value.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load_kept(&self) -> Result<(Option<Kept>, Option<String>), StateError> {
        let Some(text) = self.read(CONFIGURATION)? else { return Ok((None, None)) };
        match serde_json::from_str::<Dated<Kept>>(&text) {
            Ok(mut kept) => {
                let age = kept.age(clock::wall_millis());
                if let Some((_, left)) = &mut kept.content.trial {
                    *left = left.saturating_sub(age);
                }
                Ok((Some(kept.content), None))
            }
            Err(_) => {
                let told = self.set_aside(CONFIGURATION, "no configuration", "the file counts")?;
                Ok((None, Some(told)))
            }
        }
    }

    /// `None` where there is no such file yet.
    fn read(&self, kind: &str) -> Result<Option<String>, StateError> {
        let path = self.file(kind);
        match fs::read(&path) {
            // What is not UTF-8 makes no sense to anybody either.
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("read", &path, e)),
        }
    }

    fn set_aside(&self, kind: &str, lack: &str, then: &str) -> Result<String, StateError> {
        let path = self.file(kind);
        let aside = self.file(&format!("{kind}.bad"));
        fs::rename(&path, &aside).map_err(|source| failed("rename", &path, source))?;
        let (path, aside) = (path.display(), aside.display());
        Ok(format!("{path} held {lack}; it is now {aside} and {then}"))
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{}.{kind}", self.stem))
    }
}

/// Something and when it was what it says: its times are ages and remainders.
#[derive(Debug, Serialize, Deserialize)]
struct Dated<T> {
    /// Milliseconds since 1970.
    written_ms: u64,
    // The name in files of the first releases.
    #[serde(alias = "memory")]
    content: T,
}

impl<T> Dated<T> {
    fn now(content: T) -> Dated<T> {
        Dated { written_ms: clock::wall_millis(), content }
    }

    /// What has passed since. A clock that was set back makes nothing younger
    /// than it was.
    fn age(&self, wall_millis: u64) -> Duration {
        Duration::from_millis(wall_millis.saturating_sub(self.written_ms))
    }
}

/// `NODE`, or `CLUSTER@NODE` when the cluster has a name. A node's name has no
/// `@`, so no two pairs share a stem.
fn stem(cluster: &str, node: &NodeName) -> String {
    if cluster.is_empty() {
        return node.to_string();
    }
    let mut stem = String::new();
    for byte in cluster.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => stem.push(char::from(byte)),
            other => stem.push_str(&format!("%{other:02x}")),
        }
    }
    format!("{stem}@{node}")
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> StateError {
    StateError::Io { doing, path: path.to_owned(), source }
}

/// Takes the lock and leaves our process id in it for whoever comes second.
fn lock(path: &Path) -> Result<Flock<File>, StateError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| failed("open", path, source))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let written = lock
                .set_len(0)
                .and_then(|()| lock.rewind())
                .and_then(|()| writeln!(lock, "{}", std::process::id()));
            written.map_err(|source| failed("write", path, source))?;
            Ok(lock)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            // An unreadable lock is still a lock.
            let _ = file.read_to_string(&mut pid);
            let who = match pid.trim() {
                "" => "process unknown".into(),
                pid => format!("process {pid}"),
            };
            Err(StateError::Locked { path: path.to_owned(), who })
        }
        Err((_, errno)) => Err(failed("lock", path, errno.into())),
    }
}

/// Replaces a file's content so that a reader, or the next start after a power
/// cut, sees the old or the new content and nothing else.
///
/// # Errors
/// What the system said; the old content is still there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use vippy_core::memory::Drained;

    use super::*;

    fn open(dir: &Path) -> Result<StateDir, StateError> {
        StateDir::open(dir, "", &NodeName::from("node1"))
    }

    #[test]
    fn second_daemon_of_the_same_name_is_told_who_has_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap();
        let second = open(dir.path()).unwrap_err().to_string();
        assert!(second.contains(&format!("process {}", std::process::id())), "{second}");
        drop(first);
        open(dir.path()).unwrap();
    }

    #[test]
    fn other_nodes_and_other_clusters_share_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let _one = open(dir.path()).unwrap();
        let _two = StateDir::open(dir.path(), "", &NodeName::from("node2")).unwrap();
        let _three = StateDir::open(dir.path(), "a/b", &NodeName::from("node1")).unwrap();
        assert!(dir.path().join("a%2fb@node1.lock").exists());
    }

    #[test]
    fn stored_epoch_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path()).unwrap();
        assert_eq!(state.load_epoch().unwrap(), (Epoch(0), None));
        let (writer, mut stored) = Writer::start(&state).unwrap();
        writer.store_epoch(Epoch(77));
        assert!(matches!(stored.blocking_recv(), Some(Stored::Epoch(Epoch(77)))));
        assert_eq!(state.load_epoch().unwrap(), (Epoch(77), None));
    }

    #[test]
    fn what_was_remembered_is_found_again_and_older() {
        let hour = Duration::from_secs(3_600);
        let memory = Memory { drained: Some(Drained::For(hour)), ..Memory::default() };
        let written_ms = 1_000_000_000;
        let remembered = Dated { written_ms, content: memory.clone() };
        let text = serde_json::to_string(&remembered).unwrap();
        let back: Dated<Memory> = serde_json::from_str(&text).unwrap();
        let at = |wall_millis| back.content.aged(back.age(wall_millis));
        let left = Duration::from_secs(3_599);
        assert_eq!(at(written_ms + 1_000).drained, Some(Drained::For(left)));
        assert_eq!(at(written_ms + 3_600_000).drained, None);
        assert_eq!(at(0), memory, "a clock set back makes nothing younger");
        let first = text.replace("content", "memory");
        assert!(serde_json::from_str::<Dated<Memory>>(&first).is_ok(), "{first}");
    }

    #[test]
    fn a_kept_configuration_is_found_again_and_its_trial_is_shorter() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path()).unwrap();
        assert_eq!(state.load_kept().unwrap(), (None, None));
        let (writer, _stored) = Writer::start(&state).unwrap();
        let trial = Some(("former".into(), Duration::from_secs(60)));
        writer.keep(Kept { document: "{}".into(), trial });
        writer.flush().blocking_recv().unwrap();
        let (kept, warning) = state.load_kept().unwrap();
        let kept = kept.unwrap();
        assert_eq!((&*kept.document, warning), ("{}", None));
        let (former, left) = kept.trial.unwrap();
        assert_eq!(&*former, "former");
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(30), "{left:?}");
        fs::write(dir.path().join("node1.configuration"), "{").unwrap();
        let (kept, warning) = state.load_kept().unwrap();
        assert_eq!(kept, None);
        assert!(warning.unwrap().contains("node1.configuration.bad"));
    }

    #[test]
    fn memory_and_epoch_are_both_written_before_a_flush_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path()).unwrap();
        assert_eq!(state.load_memory().unwrap(), (Memory::default(), None));
        let (writer, _stored) = Writer::start(&state).unwrap();
        let drained = |until| Memory { drained: Some(until), ..Memory::default() };
        writer.remember(drained(Drained::For(Duration::from_secs(5))));
        writer.store_epoch(Epoch(8));
        writer.remember(drained(Drained::UntilResumed));
        writer.flush().blocking_recv().unwrap();
        assert_eq!(state.load_memory().unwrap(), (drained(Drained::UntilResumed), None));
        assert_eq!(state.load_epoch().unwrap(), (Epoch(8), None));
    }

    #[test]
    fn file_without_a_memory_is_set_aside_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path()).unwrap();
        for damaged in [&b"{"[..], b"{\"written_ms\": 5}", b"\xff\xfe"] {
            fs::write(dir.path().join("node1.memory"), damaged).unwrap();
            let (memory, warning) = state.load_memory().unwrap();
            assert_eq!(memory, Memory::default());
            assert!(warning.unwrap().contains("node1.memory.bad"));
            assert_eq!(fs::read(dir.path().join("node1.memory.bad")).unwrap(), damaged);
        }
    }

    #[test]
    fn what_cannot_be_written_is_told_once_and_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path()).unwrap();
        // A directory in the place of the new file.
        let way = dir.path().join("node1.memory.new");
        fs::create_dir(&way).unwrap();
        let (writer, mut stored) = Writer::start(&state).unwrap();
        writer.remember(Memory { drained: Some(Drained::UntilResumed), ..Memory::default() });
        let Some(Stored::Failed(text)) = stored.blocking_recv() else { panic!("no failure told") };
        assert!(text.contains("node1.memory"), "{text}");
        // What waits for another attempt keeps nothing else waiting.
        writer.store_epoch(Epoch(9));
        assert!(matches!(stored.blocking_recv(), Some(Stored::Epoch(Epoch(9)))));
        fs::remove_dir(&way).unwrap();
        writer.flush().blocking_recv().unwrap();
        assert_eq!(state.load_memory().unwrap().0.drained, Some(Drained::UntilResumed));
        assert!(stored.try_recv().is_err(), "told once");
    }

    #[test]
    fn file_without_an_epoch_is_set_aside_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path()).unwrap();
        fs::write(dir.path().join("node1.epoch"), "x").unwrap();
        let (epoch, warning) = state.load_epoch().unwrap();
        assert_eq!(epoch, Epoch(0));
        assert!(warning.unwrap().contains("node1.epoch.bad"));
        assert!(dir.path().join("node1.epoch.bad").exists());
    }

    #[test]
    fn unwritable_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = open(&file.join("sub")).unwrap_err().to_string();
        assert!(error.contains("file/sub"), "{error}");
    }
}
