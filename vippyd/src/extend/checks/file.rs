//! `file`: whether a file is there, or not. A file system may hang: it is asked on
//! another thread, one question at a time.

use std::io;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;
use vippy_core::health::Outcome;

/// A file that should be there, or not.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    absent: bool,
    /// A question that was not answered in time.
    asked: Option<JoinHandle<io::Result<bool>>>,
}

impl File {
    pub(super) fn new(path: &Path, absent: bool) -> File {
        File { path: path.to_owned(), absent, asked: None }
    }

    pub(super) async fn run(&mut self) -> Outcome {
        let path = self.path.clone();
        let asked = self.asked.insert(tokio::task::spawn_blocking(move || path.try_exists()));
        let answer = asked.await.unwrap_or_else(|e| Err(io::Error::other(e)));
        self.asked = None;
        let path = self.path.display();
        match (answer, self.absent) {
            (Ok(there), absent) if there != absent => Outcome::Good,
            (Ok(_), true) => Outcome::Bad(format!("{path} exists")),
            (Ok(_), false) => Outcome::Bad(format!("{path} does not exist")),
            (Err(e), _) => Outcome::NotStarted(format!("cannot look for {path}: {e}")),
        }
    }

    /// Waits for the answer that nobody waited for.
    pub(super) async fn clear(&mut self) {
        if let Some(asked) = &mut self.asked {
            // It is too late for what it says.
            let _ = asked.await;
            self.asked = None;
        }
    }
}
