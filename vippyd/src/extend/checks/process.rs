//! `process`: whether a process runs. One that was found is watched: its end is seen
//! when it happens, not when it is next asked for.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::future::pending;
use rustix::process::Pid;
use vippy_core::health::Outcome;

use crate::extend::pidfd::Watched;

/// Which process is meant.
#[derive(Clone, Debug)]
enum Which {
    Named(String),
    InFile(PathBuf),
}

/// A process that should run.
#[derive(Debug)]
pub(super) struct Process {
    which: Which,
    found: Option<(Pid, Watched)>,
    /// The one found before, which has ended.
    former: Option<Pid>,
}

impl Process {
    /// Any with this name.
    pub(super) fn named(name: &str) -> Process {
        Process { which: Which::Named(name.to_owned()), found: None, former: None }
    }

    /// The one whose number is in a file.
    pub(super) fn in_file(path: &Path) -> Process {
        Process { which: Which::InFile(path.to_owned()), found: None, former: None }
    }

    pub(super) fn run(&mut self) -> Outcome {
        if let Some((pid, _)) = &self.found
            && self.is_it(*pid)
        {
            return Outcome::Good;
        }
        let former = self.found.take().map(|(pid, _)| pid);
        let former = former.or(self.former.take());
        match self.find() {
            Ok(Some(found)) => {
                self.found = Some(found);
                Outcome::Good
            }
            Ok(None) => Outcome::Bad(self.absent(former)),
            Err(why) => Outcome::NotStarted(why),
        }
    }

    /// Completes when the process that was found has ended, once. Dropping the future
    /// loses nothing.
    pub(super) async fn ended(&mut self) {
        let Some((pid, watched)) = &self.found else { return pending().await };
        let pid = *pid;
        // A runtime that shuts down needs no more checks.
        if watched.gone().await.is_err() {
            return pending().await;
        }
        (self.found, self.former) = (None, Some(pid));
    }

    fn absent(&self, former: Option<Pid>) -> String {
        let former = former.map(|pid| format!("; process {} has ended", pid.as_raw_nonzero()));
        let former = former.unwrap_or_default();
        match &self.which {
            Which::Named(name) => format!("no process {name} runs{former}"),
            Which::InFile(path) => {
                format!("the process in {} does not run{former}", path.display())
            }
        }
    }

    fn find(&self) -> Result<Option<(Pid, Watched)>, String> {
        let all = match &self.which {
            Which::InFile(path) => number_in(path)?.into_iter().collect(),
            Which::Named(_) => numbers().map_err(|e| format!("cannot list processes: {e}"))?,
        };
        for pid in all.into_iter().filter(|pid| self.is_it(*pid)) {
            match Watched::open(pid) {
                // Its number may have been given to another one meanwhile.
                Ok(watched) if self.is_it(pid) => return Ok(Some((pid, watched))),
                Ok(_) => {}
                Err(e) if e.raw_os_error() == Some(nix::libc::ESRCH) => {}
                Err(e) => return Err(format!("cannot watch a process: {e}")),
            }
        }
        Ok(None)
    }

    /// A process of this number runs, and is the one meant.
    fn is_it(&self, pid: Pid) -> bool {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        let Some((name, state)) = name_and_state(&stat) else { return false };
        let runs = !matches!(state, b'Z' | b'X');
        runs && match &self.which {
            Which::Named(wanted) => wanted.as_bytes() == name,
            Which::InFile(path) => number_in(path).is_ok_and(|number| number == Some(pid)),
        }
    }
}

/// Out of `/proc/PID/stat`; a name may have parentheses and spaces.
fn name_and_state(stat: &[u8]) -> Option<(&[u8], u8)> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    Some((stat.get(open + 1..close)?, *stat.get(close + 2)?))
}

/// All processes.
fn numbers() -> std::io::Result<Vec<Pid>> {
    let entries = fs::read_dir("/proc")?;
    let number = |name: std::ffi::OsString| Pid::from_raw(name.to_str()?.parse().ok()?);
    Ok(entries.filter_map(|entry| number(entry.ok()?.file_name())).collect())
}

/// What a file says; `None`: there is no such file, or it says nothing.
fn number_in(path: &Path) -> Result<Option<Pid>, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse().ok().and_then(Pid::from_raw)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("cannot read {}: {e}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_parentheses() {
        assert_eq!(name_and_state(b"17 (a) (b)) S 1 17"), Some((&b"a) (b)"[..], b'S')));
        assert_eq!(name_and_state(b"17"), None);
    }
}
