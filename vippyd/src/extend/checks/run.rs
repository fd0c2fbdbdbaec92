//! `run`: whether a command ends with 0.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use vippy_core::health::Outcome;

use crate::extend::launch::{self, Launcher, Running, Streams, refusal};

/// Time between asking a command to end and ending it.
const GRACE: Duration = Duration::from_millis(200);

/// Whoever says more is not read any further.
const MOST: usize = 1 << 20;

/// What is kept of what it says: the end of it.
const KEPT: usize = 4 << 10;

/// How much of its last line becomes the reason, in characters.
const REASON: usize = 200;

/// A command, and its present run.
#[derive(Debug)]
pub(super) struct Command {
    launcher: Launcher,
    words: Vec<String>,
    user: Option<String>,
    variables: Vec<(String, String)>,
    running: Option<Running>,
}

impl Command {
    pub(super) fn new(
        launcher: Launcher,
        check: String,
        words: Vec<String>,
        user: Option<String>,
    ) -> Command {
        let variables = vec![("VIPPY_CHECK".to_owned(), check)];
        Command { launcher, words, user, variables, running: None }
    }

    pub(super) async fn run(&mut self) -> Outcome {
        let command = launch::Command {
            words: &self.words,
            user: self.user.as_deref(),
            variables: &self.variables,
            streams: Streams::Merged,
        };
        let running = match self.launcher.start(&command) {
            Ok(running) => self.running.insert(running),
            Err(e) => return Outcome::NotStarted(format!("cannot start a process: {e}")),
        };
        let mut said = Said::default();
        let mut output = running.output.take();
        let status = loop {
            tokio::select! {
                status = running.ended() => break status,
                goes_on = said.read(&mut output) => {
                    if !goes_on {
                        output = None;
                    }
                }
            }
        };
        self.running = None;
        // What it wrote before it ended is in the pipe already.
        while let Some(pipe) = &mut output {
            match pipe.try_read(&mut said.buffer) {
                Ok(length) if length > 0 && said.take(length) => {}
                Ok(_) | Err(_) => output = None,
            }
        }
        match status {
            Ok(Some(status)) => judge(status, &said),
            Ok(None) => Outcome::NotStarted("it ended unseen".to_owned()),
            Err(e) => Outcome::NotStarted(format!("cannot wait for it: {e}")),
        }
    }

    pub(super) async fn clear(&mut self) {
        if let Some(running) = &mut self.running {
            // How it ended matters to nobody any more.
            let _ = running.end(GRACE).await;
            self.running = None;
        }
    }
}

/// The end of what a command says.
#[derive(Debug)]
struct Said {
    buffer: Vec<u8>,
    kept: Vec<u8>,
    total: usize,
}

impl Default for Said {
    fn default() -> Self {
        Said { buffer: vec![0; KEPT], kept: Vec::new(), total: 0 }
    }
}

impl Said {
    /// Reads once; false when there is nothing more, or too much. Never completes
    /// without a pipe.
    async fn read(&mut self, pipe: &mut Option<impl AsyncRead + Unpin>) -> bool {
        let Some(pipe) = pipe else { return std::future::pending().await };
        match pipe.read(&mut self.buffer).await {
            Ok(0) | Err(_) => false,
            Ok(length) => self.take(length),
        }
    }

    /// Keeps what is in the buffer; false when it was too much.
    fn take(&mut self, length: usize) -> bool {
        self.total += length;
        self.kept.extend_from_slice(&self.buffer[..length]);
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
        self.total <= MOST
    }

    fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.kept);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        let plain = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
        Some(plain.take(REASON).collect())
    }
}

fn judge(status: ExitStatus, said: &Said) -> Outcome {
    if let Some(why) = refusal(status, &said.kept) {
        return Outcome::NotStarted(why);
    }
    if said.total > MOST {
        return Outcome::Bad(format!("it wrote more than {} KiB", MOST >> 10));
    }
    if status.success() {
        return Outcome::Good;
    }
    let how = match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    };
    Outcome::Bad(match said.last_line() {
        Some(line) => format!("{line} ({how})"),
        None => how,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_kept() {
        let mut said = Said::default();
        for text in ["first\nsec", "ond \u{1b}[31m\n \n\n"] {
            said.buffer[..text.len()].copy_from_slice(text.as_bytes());
            assert!(said.take(text.len()));
        }
        assert_eq!(said.last_line().as_deref(), Some("second \u{fffd}[31m"));
    }

    #[test]
    fn of_a_flood_the_end_is_kept_and_it_is_told() {
        let mut said = Said::default();
        said.buffer.fill(b'y');
        let rounds = (0..MOST).take_while(|_| said.take(KEPT)).count();
        assert_eq!((rounds, said.kept.len()), (MOST / KEPT, KEPT));
        let status = std::os::unix::process::ExitStatusExt::from_raw(0);
        assert_eq!(judge(status, &said), Outcome::Bad("it wrote more than 1024 KiB".to_owned()));
    }
}
