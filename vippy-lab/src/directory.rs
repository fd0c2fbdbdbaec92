//! The lab's files: a temporary directory that goes with the lab, however the
//! lab goes.
//!
//! A directory outlives its process, so a small shell waits for the end of a
//! pipe that only the lab holds open, and then removes what is left.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use crate::error::{Context, LabError};

/// Daemons that are being killed may still write for a moment.
const JANITOR: &str = r#"
trap "" HUP INT TERM
cat >/dev/null
for try in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" && exit
    sleep 0.2
done
"#;

/// A temporary directory. It vanishes when dropped, and when the lab is killed.
#[derive(Debug)]
pub(crate) struct Directory {
    directory: Option<TempDir>,
    path: PathBuf,
    janitor: Child,
    lifeline: Option<ChildStdin>,
}

impl Directory {
    pub(crate) fn new() -> Result<Directory, LabError> {
        let directory = tempfile::Builder::new().prefix("vippy-lab-").tempdir();
        let directory = directory.context(|| "make a temporary directory".into())?;
        let path = directory.path().to_path_buf();
        let mut janitor = janitor(&path).context(|| "start the directory's janitor".into())?;
        let lifeline = janitor.stdin.take();
        Ok(Directory { directory: Some(directory), path, janitor, lifeline })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn janitor(path: &Path) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", JANITOR, "sh"])
        .arg(path)
        .current_dir("/")
        // The terminal's Ctrl-C is for the lab alone.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What this cannot remove, the janitor tries again.
        drop(self.directory.take());
        drop(self.lifeline.take());
        let _ = self.janitor.wait();
    }
}
