//! One run of one hook: its input, its output, its end.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vippy_core::config::Hook;
use vippy_core::event::HookOutcome;

use super::super::Told;
use super::super::launch::{Command, Running, Streams, refusal};
use super::super::occasion::Occasion;
use super::super::words::printable;
use super::Ended;
use super::lane::Tools;
use crate::logging::Level;

/// Output that is kept for the log, in bytes, of each of the two streams; the rest is
/// read and forgotten.
const KEPT: usize = 4096;
/// Lines of output that are written to the log.
const LINES: usize = 20;
/// How long one that was told to end may take.
const GRACE: Duration = Duration::from_millis(500);
/// How long output is waited for after the end: who left the process group may keep
/// the pipe.
const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// Runs a hook to its end, at most as long as its `timeout` says. Dropping the future
/// ends it at once.
pub(super) async fn run(tools: &Tools, hook: &Hook, occasion: &Occasion) -> Ended {
    let command = Command {
        words: &hook.run,
        user: hook.user.as_deref(),
        variables: &occasion.variables(),
        streams: Streams::Apart,
    };
    let mut running = match tools.launcher.start(&command) {
        Ok(running) => running,
        Err(e) => return Ended { outcome: HookOutcome::NotStarted, detail: e.to_string() },
    };
    let feeding = feed(&mut running, occasion.line());
    let output = Kept(running.output.take().map(|pipe| tokio::spawn(collect(pipe))));
    let errors = Kept(running.errors.take().map(|pipe| tokio::spawn(collect(pipe))));
    let status = match timeout(hook.timeout, running.ended()).await {
        Ok(status) => status,
        Err(_) => {
            // How it ended then is told by the outcome.
            let _ = running.end(GRACE).await;
            let detail = format!("it ran for more than {} s", hook.timeout.as_secs_f64());
            return Ended { outcome: HookOutcome::TimedOut, detail };
        }
    };
    feeding.abort();
    let (output, errors) = (output.take().await, errors.take().await);
    let ended = judge(status, &errors);
    if ended.outcome != HookOutcome::NotStarted {
        tell_output(tools, hook, &output, &errors);
    }
    ended
}

fn judge(status: std::io::Result<Option<ExitStatus>>, errors: &[u8]) -> Ended {
    let (outcome, detail) = match status {
        Ok(Some(status)) => match refusal(status, errors) {
            Some(why) => (HookOutcome::NotStarted, why),
            None if status.success() => (HookOutcome::Succeeded, String::new()),
            None => (HookOutcome::Failed, status.to_string()),
        },
        Ok(None) => (HookOutcome::Failed, "it is unknown how".into()),
        Err(e) => (HookOutcome::Failed, format!("it is unknown how: {e}")),
    };
    Ended { outcome, detail }
}

/// Writes the line to its standard input and closes that.
fn feed(running: &mut Running, line: String) -> JoinHandle<()> {
    let input = running.input.take();
    tokio::spawn(async move {
        if let Some(mut input) = input {
            // One that does not read its input does not need it.
            let _ = input.write_all(format!("{line}\n").as_bytes()).await;
        }
    })
}

async fn collect(mut pipe: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let room = KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
    kept
}

/// Output that is being read.
struct Kept(Option<JoinHandle<Vec<u8>>>);

impl Kept {
    async fn take(mut self) -> Vec<u8> {
        let Some(task) = &mut self.0 else { return Vec::new() };
        match timeout(LAST_OUTPUT, task).await {
            Ok(Ok(kept)) => kept,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

fn tell_output(tools: &Tools, hook: &Hook, output: &[u8], errors: &[u8]) {
    let program = hook.run.first().map_or("", String::as_str);
    let name = program.rsplit('/').next().unwrap_or(program);
    for (level, bytes) in [(Level::Info, output), (Level::Notice, errors)] {
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines().filter(|line| !line.trim().is_empty()).take(LINES) {
            let line = format!("hook {name}: {}", printable(line, KEPT));
            // Nobody listens only when the daemon is about to end.
            let _ = tools.told.send(Told::Line(level, line));
        }
    }
}
