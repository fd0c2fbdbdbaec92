//! The one way in which children start and end.
//!
//! A child must not have what the daemon has: its capabilities, its priority, its
//! environment. What takes them away cannot run between fork and exec of a process
//! with threads, so the daemon starts itself once more as a small program ([`inside`])
//! that gives everything up and then becomes the command. Each child leads a process
//! group and session of its own; whatever is left of the group when the child has
//! ended, or must end, ends with it.

pub mod inside;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::pidfd::Watched;

/// Where commands are looked for that are named without a path.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the output of a child goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Standard input is empty; output and errors come in one stream, in their order.
    Merged,
    /// All three are pipes.
    Apart,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// The program and its arguments.
    pub words: &'a [String],
    /// As whom; `None`: as the daemon's user.
    pub user: Option<&'a str>,
    /// Beside `PATH`, `LANG` and `HOME`, which it also has.
    pub variables: &'a [(String, String)],
    /// Its input and output.
    pub streams: Streams,
}

/// Starts children.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
}

impl Launcher {
    /// By this very program, also after another one has taken its place on the disk.
    pub fn of_this_program() -> Launcher {
        Launcher { program: "/proc/self/exe".into() }
    }

    /// By another copy of it.
    pub fn by(program: impl Into<PathBuf>) -> Launcher {
        Launcher { program: program.into() }
    }

    /// Starts a command. Must be called inside the runtime, on the thread that stays as
    /// long as the child may live: the child dies with it. What keeps the command
    /// itself from running shows in how it ends ([`refusal`]).
    ///
    /// # Errors
    /// When the system gives no process, pipe or descriptor.
    pub fn start(&self, command: &Command<'_>) -> io::Result<Running> {
        let (output, write) = io::pipe()?;
        let mut launch = std::process::Command::new(&self.program);
        launch
            .arg0("vippyd")
            .args(inside::arguments(std::process::id(), command.user))
            .args(command.words.iter().map(OsString::from))
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C")
            .envs(command.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/");
        let (mut input, mut errors) = (None, None);
        match command.streams {
            Streams::Merged => {
                launch.stdin(Stdio::null()).stderr(write.try_clone()?);
            }
            Streams::Apart => {
                let (read, theirs) = io::pipe()?;
                launch.stderr(theirs);
                errors = Some(read);
                let (theirs, write) = io::pipe()?;
                launch.stdin(theirs);
                input = Some(write);
            }
        }
        launch.stdout(write);
        let receiver = |pipe| pipe::Receiver::from_owned_fd(OwnedFd::from(pipe));
        let sender = |pipe| pipe::Sender::from_owned_fd(OwnedFd::from(pipe));
        let input = input.map(sender).transpose()?;
        let (output, errors) = (receiver(output)?, errors.map(receiver).transpose()?);
        let process = Process::of(launch.spawn()?)?;
        Ok(Running { process: Some(process), input, output: Some(output), errors })
    }
}

/// A child that runs. Dropping it ends it at once, with all that it started.
#[derive(Debug)]
pub struct Running {
    /// `None`: it has ended.
    process: Option<Process>,
    /// Its standard input ([`Streams::Apart`]); dropping it closes it.
    pub input: Option<pipe::Sender>,
    /// Its standard output; with [`Streams::Merged`] also its standard error.
    pub output: Option<pipe::Receiver>,
    /// Its standard error ([`Streams::Apart`]).
    pub errors: Option<pipe::Receiver>,
}

impl Running {
    /// Waits for its end, and ends what it left behind. Dropping the future loses
    /// nothing. `None`: it had ended before.
    ///
    /// # Errors
    /// When the system does not tell.
    pub async fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        process.watched.gone().await?;
        let status = process.reap()?;
        self.process = None;
        Ok(Some(status))
    }

    /// Asks it and all that it started to end; after `grace` ends them.
    ///
    /// # Errors
    /// When the system does not tell how it ended.
    pub async fn end(&mut self, grace: Duration) -> io::Result<Option<ExitStatus>> {
        let Some(process) = &self.process else { return Ok(None) };
        process.signal(Signal::TERM);
        if timeout(grace, process.watched.gone()).await.is_err() {
            process.signal(Signal::KILL);
        }
        self.ended().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.signal(Signal::KILL);
        // One that hangs in the kernel keeps nobody waiting.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if process.watched.gone().await.is_ok() {
                    // How it ended matters to nobody any more.
                    let _ = process.reap();
                }
            });
        }
    }
}

#[derive(Debug)]
struct Process {
    child: Child,
    pid: Pid,
    watched: Watched,
}

impl Process {
    fn of(child: Child) -> io::Result<Process> {
        let pid = Pid::from_child(&child);
        Ok(Process { watched: Watched::open(pid)?, child, pid })
    }

    /// Takes its status, once it is gone. As long as nobody has, no other process
    /// group can have its number.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        self.child.wait()
    }

    /// To its group, or to itself while it leads none yet.
    fn signal(&self, signal: Signal) {
        if kill_process_group(self.pid, signal).is_err() {
            // One that has ended needs no signal.
            let _ = kill_process(self.pid, signal);
        }
    }
}

/// Why a command was never run, if that is how its child ended; `said` is what it wrote
/// to its standard error.
pub fn refusal(status: ExitStatus, said: &[u8]) -> Option<String> {
    let text = said.strip_prefix(inside::MARK)?;
    (status.code() == Some(inside::REFUSED))
        .then(|| String::from_utf8_lossy(text).trim_end().to_owned())
}
