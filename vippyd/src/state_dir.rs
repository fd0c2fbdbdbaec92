//! What must outlive the process: the state directory.
//!
//! Owns the names of the files in it, the lock that keeps a second daemon of
//! the same name out, and how the epoch (W7) is written. The ledger's content is
//! the kernel side's business; here it is only a path. Everything blocks, so
//! after the start it runs on the thread of [`EpochWriter`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vippy_core::identity::{Epoch, NodeName};

/// Time between two attempts to write an epoch that could not be written.
const RETRY: Duration = Duration::from_secs(1);

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
        let path = self.file("epoch");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Epoch(0), None)),
            Err(e) => return Err(failed("read", &path, e)),
        };
        if let Ok(number) = text.trim().parse() {
            return Ok((Epoch(number), None));
        }
        let aside = self.file("epoch.bad");
        fs::rename(&path, &aside).map_err(|source| failed("rename", &path, source))?;
        let warning = format!(
            "{} held no epoch; it is now {} and the wall clock counts",
            path.display(),
            aside.display()
        );
        Ok((Epoch(0), Some(warning)))
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{}.{kind}", self.stem))
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

/// What became of an epoch that was to be stored.
#[derive(Debug)]
pub enum Stored {
    /// It is on disk.
    Safe(Epoch),
    /// It could not be written for this reason; it is tried again.
    Failed(String),
}

/// The thread that writes epochs, one at a time and only the newest.
#[derive(Debug)]
pub struct EpochWriter {
    orders: Sender<Epoch>,
}

impl EpochWriter {
    /// Starts the thread; what it did comes out of the receiver.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(state: &StateDir) -> io::Result<(EpochWriter, UnboundedReceiver<Stored>)> {
        let path = state.file("epoch");
        let (orders, queue) = channel();
        let (results, receiver) = unbounded_channel();
        std::thread::Builder::new()
            .name("epoch".into())
            .spawn(move || write_epochs(&path, &queue, &results))?;
        Ok((EpochWriter { orders }, receiver))
    }

    /// Orders an epoch to be written. Never blocks.
    pub fn store(&self, epoch: Epoch) {
        // The thread ends only after this sender is gone.
        let _ = self.orders.send(epoch);
    }
}

fn write_epochs(path: &Path, orders: &Receiver<Epoch>, results: &UnboundedSender<Stored>) {
    while let Ok(first) = orders.recv() {
        let mut epoch = orders.try_iter().fold(first, Epoch::max);
        let mut told = false;
        while let Err(e) = replace(path, format!("{epoch}\n").as_bytes()) {
            if !told {
                let text = format!("cannot write {}: {e}; trying again", path.display());
                let _ = results.send(Stored::Failed(text));
                told = true;
            }
            std::thread::sleep(RETRY);
            epoch = orders.try_iter().fold(epoch, Epoch::max);
        }
        if results.send(Stored::Safe(epoch)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
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
        let (writer, mut stored) = EpochWriter::start(&state).unwrap();
        writer.store(Epoch(77));
        assert!(matches!(stored.blocking_recv(), Some(Stored::Safe(Epoch(77)))));
        assert_eq!(state.load_epoch().unwrap(), (Epoch(77), None));
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
