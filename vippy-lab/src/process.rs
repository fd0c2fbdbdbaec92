//! A child of the lab: its signals and its end.
//!
//! Does not start anything; [`crate::machine`] does, inside a namespace.

use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::error::{Context, LabError};

/// How often a waiting thread looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A process on a machine of the lab. Clones mean the same process; dropping
/// them does not end it, dropping its machine does.
#[derive(Clone, Debug)]
pub struct Process {
    child: Arc<Mutex<Child>>,
    pid: Pid,
}

impl Process {
    pub(crate) fn new(child: Child) -> Process {
        let pid = Pid::from_raw(child.id().cast_signed());
        Process { child: Arc::new(Mutex::new(child)), pid }
    }

    /// Its number outside the machine; inside it has another.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Sends a signal, unless the process has ended: then nothing happens.
    ///
    /// # Errors
    /// The kernel refuses, for instance after a change of user.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        self.signal_by(|pid| kill(pid, signal), signal)
    }

    /// Sends a signal to the process and to those of its children that stayed
    /// in its process group.
    ///
    /// # Errors
    /// As [`Process::signal`].
    pub fn signal_group(&self, signal: Signal) -> Result<(), LabError> {
        self.signal_by(|pid| killpg(pid, signal), signal)
    }

    fn signal_by(
        &self,
        send: impl FnOnce(Pid) -> nix::Result<()>,
        signal: Signal,
    ) -> Result<(), LabError> {
        // The lock and the look keep the number from meaning another process.
        let mut child = self.child();
        if look(&mut child)?.is_some() {
            return Ok(());
        }
        send(self.pid).context(|| format!("send {signal} to process {}", self.pid))
    }

    /// How it ended, if it has ended.
    ///
    /// # Errors
    /// The kernel refuses to tell.
    pub fn ended(&self) -> Result<Option<ExitStatus>, LabError> {
        look(&mut self.child())
    }

    /// Waits for its end, at most for `patience`; `None` means it still runs.
    ///
    /// # Errors
    /// As [`Process::ended`].
    pub fn wait(&self, patience: Duration) -> Result<Option<ExitStatus>, LabError> {
        let begin = Instant::now();
        loop {
            let ended = self.ended()?;
            if ended.is_some() || begin.elapsed() >= patience {
                return Ok(ended);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        // A panic elsewhere leaves the Child itself in order.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(child: &mut Child) -> Result<Option<ExitStatus>, LabError> {
    let pid = child.id();
    child.try_wait().context(|| format!("ask for the end of process {pid}"))
}
