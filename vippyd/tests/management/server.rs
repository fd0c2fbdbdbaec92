//! What serves the management socket in a test.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A served socket; dropping it ends the server.
pub(crate) struct Server {
    /// Holds the socket.
    _dir: TempDir,
    pub(crate) path: PathBuf,
    /// The server first.
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(dir: TempDir, path: PathBuf, tasks: Vec<JoinHandle<()>>) -> Server {
        Server { _dir: dir, path, tasks }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
