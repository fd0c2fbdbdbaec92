//! One plugin: started, fed, heard, and started again when it dies.

use std::io;
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use vippy_core::config::Plugin;
use vippy_core::event::Event;

use super::board::Board;
use super::command::Command;
use super::inbox::{Inbox, Item};
use super::outbox::Outbox;
use super::program::Program;
use super::{Fitness, GRACE, Opinion, Tools};
use crate::extend::Told;
use crate::extend::launch::{self, Running, Streams};
use crate::extend::words::printable;
use crate::logging::Level;

/// The pause before a plugin is started again; it doubles up to the longest, and is
/// short again once the plugin has run for that long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a plugin has between SIGTERM and SIGKILL.
const LAST_GRACE: Duration = Duration::from_millis(500);
/// Complaints about one plugin are told at most this often.
const COMPLAINTS: Duration = Duration::from_secs(10);
/// Log lines of one plugin in one window of as many seconds; the rest is counted.
const LOG_LINES: u32 = 50;
const LOG_WINDOW: Duration = Duration::from_secs(10);
/// Longest line of standard error that is written to the log, in bytes.
const LONGEST_ERROR: usize = 2048;
/// Reasons of one plugin that count at once.
const REASONS: usize = 32;
/// How long the last output is waited for after the end.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// What a plugin is told last.
const STOP: &str = r#"{"event":"stop"}"#;

/// What keeps one plugin running.
pub(super) struct Supervisor {
    pub(super) plugin: Plugin,
    pub(super) outbox: Outbox,
    pub(super) board: Board,
    pub(super) tools: Tools,
}

/// How a process ended.
struct Exit {
    status: io::Result<Option<ExitStatus>>,
    /// It was told to.
    asked: bool,
}

impl Exit {
    /// `first_error` is what it wrote first to its standard error.
    fn in_words(self, first_error: &[u8]) -> End {
        let words = match self.status {
            Ok(Some(status)) => {
                launch::refusal(status, first_error).unwrap_or_else(|| status.to_string())
            }
            Ok(None) => "it is unknown how".to_owned(),
            Err(e) => format!("it is unknown how: {e}"),
        };
        if self.asked { End::Stopped(words) } else { End::Died(words) }
    }
}

/// How one run ended.
enum End {
    /// By itself, so.
    Died(String),
    /// As it was told.
    Stopped(String),
}

impl Supervisor {
    /// Runs it until `stop` says so.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let end = self.run_once(&mut stop).await;
            self.opine(None);
            let detail = match end {
                End::Died(detail) => detail,
                End::Stopped(detail) => return self.tell_end(detail, None),
            };
            if begun.elapsed() >= LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            self.tell_end(detail, Some(pause));
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = sleep(pause) => {}
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    async fn run_once(&self, stop: &mut watch::Receiver<bool>) -> End {
        if *stop.borrow() {
            return End::Stopped("before it began".into());
        }
        let mut running = match self.start() {
            Ok(running) => running,
            Err(why) => return End::Died(why),
        };
        self.tell(Told::Event(Event::PluginStarted { plugin: self.plugin.name.clone() }));
        self.outbox.begin(self.board.greeting(&self.plugin.name));
        let input = running.input.take();
        let (output, errors) = (running.output.take(), running.errors.take());
        let mut talk = Talk::new(self);
        let talking = async {
            let feeding = async {
                if let Some(input) = input {
                    self.outbox.write_to(input).await;
                }
            };
            tokio::join!(feeding, talk.hear(output, errors));
        };
        let end = {
            let life = self.live(&mut running, stop);
            tokio::pin!(talking, life);
            tokio::select! {
                end = &mut life => {
                    // What it said last may not have been read yet.
                    let _ = timeout(LAST_WORDS, talking).await;
                    end
                }
                () = &mut talking => life.await,
            }
        };
        talk.finish();
        let first = talk.first_error;
        end.in_words(&first)
    }

    /// Waits for its end, or tells it to stop and sees to it that it does.
    async fn live(&self, running: &mut Running, stop: &mut watch::Receiver<bool>) -> Exit {
        tokio::select! {
            status = running.ended() => return Exit { status, asked: false },
            () = stopped(stop) => {}
        }
        self.outbox.close(&STOP.into());
        let status = match timeout(GRACE, running.ended()).await {
            Ok(status) => status,
            Err(_) => {
                let seconds = GRACE.as_secs();
                self.line(
                    Level::Warning,
                    &format!("still there {seconds} s after it was told to stop"),
                );
                running.end(LAST_GRACE).await
            }
        };
        Exit { status, asked: true }
    }

    fn start(&self) -> Result<Running, String> {
        let Program { words, variables } = Program::of(&self.plugin)?;
        let command = launch::Command {
            words: &words,
            user: self.plugin.user.as_deref(),
            variables: &variables,
            streams: Streams::Apart,
        };
        self.tools.launcher.start(&command).map_err(|e| format!("it cannot be started: {e}"))
    }

    fn tell(&self, told: Told) {
        // Nobody listens only when the daemon is about to end.
        let _ = self.tools.told.send(told);
    }

    fn line(&self, level: Level, text: &str) {
        self.tell(Told::Line(level, format!("plugin {}: {text}", self.plugin.name)));
    }

    /// It wants to be told of announcements and neighbours from now on, or not.
    fn watch(&self, watch: bool) {
        self.outbox.set_watching(watch);
        if watch {
            self.tools.watched.store(true, Ordering::Relaxed);
            self.board.all_neighbours().iter().for_each(|line| self.outbox.push(line));
        }
    }

    fn opine(&self, fit: Option<Fitness>) {
        self.tell(Told::Opinion(Opinion { plugin: self.plugin.name.clone(), fit }));
    }

    fn tell_end(&self, detail: String, again: Option<Duration>) {
        let again_ms = again.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        let plugin = self.plugin.name.clone();
        self.tell(Told::Event(Event::PluginEnded { plugin, detail, again_ms }));
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could say so is gone: the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What a plugin says in one run, and what is made of it.
struct Talk<'a> {
    of: &'a Supervisor,
    /// The reasons for which it holds this node unfit.
    unfit: Vec<String>,
    /// What was told of that last.
    fit: Option<Fitness>,
    complaints: Complaints,
    log: Budget,
    first_error: Vec<u8>,
}

/// Lines that are no commands: told when the first comes, then now and then.
#[derive(Default)]
struct Complaints {
    since: u64,
    told: Option<Instant>,
}

/// Lines for the log.
struct Budget {
    window: Instant,
    lines: u32,
    lost: u64,
}

impl Talk<'_> {
    fn new(of: &Supervisor) -> Talk<'_> {
        let log = Budget { window: Instant::now(), lines: 0, lost: 0 };
        let complaints = Complaints::default();
        Talk { of, unfit: Vec::new(), fit: None, complaints, log, first_error: Vec::new() }
    }

    /// Hears both streams to their ends.
    async fn hear(
        &mut self,
        output: Option<impl AsyncRead + Unpin>,
        errors: Option<impl AsyncRead + Unpin>,
    ) {
        let (mut output, mut errors) = (output.map(Inbox::new), errors.map(Inbox::new));
        while output.is_some() || errors.is_some() {
            tokio::select! {
                item = next(&mut output) => match item {
                    Item::End => output = None,
                    item @ (Item::Line(_) | Item::TooLong | Item::Flood) => self.take(&item),
                },
                item = next(&mut errors) => match item {
                    Item::End => errors = None,
                    Item::Line(line) => self.take_error(&line),
                    Item::TooLong | Item::Flood => {}
                },
            }
        }
    }

    fn take(&mut self, item: &Item) {
        match item {
            Item::Line(line) => match Command::parse(line) {
                Ok(Command::Active { active, reason }) => self.judge(active, reason),
                Ok(Command::Log { level, text }) => self.log(level, &text),
                Ok(Command::Watch(watch)) => self.of.watch(watch),
                Err(complaint) => self.complain(&complaint),
            },
            Item::TooLong => self.complain("found a line of more than 64 KiB, left out"),
            Item::Flood => {
                self.complain("more than 200 lines or 1 MiB in a second: it has to wait")
            }
            Item::End => {}
        }
    }

    fn take_error(&mut self, line: &[u8]) {
        if self.first_error.is_empty() {
            self.first_error = line.to_vec();
            if line.starts_with(launch::inside::MARK) {
                return;
            }
        }
        let text = String::from_utf8_lossy(line);
        self.log(Level::Notice, &printable(&text, LONGEST_ERROR));
    }

    fn judge(&mut self, active: bool, reason: String) {
        let unfit = &mut self.unfit;
        let place = unfit.iter().position(|other| *other == reason);
        match (place, active) {
            (Some(place), true) => drop(unfit.remove(place)),
            (None, false) if unfit.len() < REASONS => unfit.push(reason),
            (None, false) => {
                let text = format!("found {REASONS} reasons already, expected no more");
                return self.complain(&text);
            }
            (Some(_), false) | (None, true) => {}
        }
        let fit = match unfit.as_slice() {
            [] => Fitness::Fit,
            reasons => Fitness::Unfit(reasons.join(", ")),
        };
        if self.fit.as_ref() != Some(&fit) {
            self.fit = Some(fit.clone());
            self.of.opine(Some(fit));
        }
    }

    fn log(&mut self, level: Level, text: &str) {
        let now = Instant::now();
        if now >= self.log.window + LOG_WINDOW {
            self.tell_lost();
            self.log = Budget { window: now, lines: 0, lost: 0 };
        }
        if self.log.lines < LOG_LINES {
            self.log.lines += 1;
            self.of.line(level, text);
        } else {
            self.log.lost += 1;
        }
    }

    fn tell_lost(&mut self) {
        if let lost @ 1.. = std::mem::take(&mut self.log.lost) {
            self.of.line(Level::Warning, &format!("{lost} of its lines for the log were left out"));
        }
    }

    fn complain(&mut self, complaint: &str) {
        self.complaints.since += 1;
        let now = Instant::now();
        if self.complaints.told.is_some_and(|told| now < told + COMPLAINTS) {
            return;
        }
        let others = match self.complaints.since {
            0 | 1 => String::new(),
            since => format!(" ({} more since the last complaint)", since - 1),
        };
        self.complaints = Complaints { since: 0, told: Some(now) };
        self.of.line(Level::Warning, &format!("{complaint}{others}"));
    }

    /// Tells what was only counted.
    fn finish(&mut self) {
        self.tell_lost();
        if let since @ 1.. = self.complaints.since {
            self.of.line(Level::Warning, &format!("{since} more lines were no commands"));
        }
    }
}

async fn next<R: AsyncRead + Unpin>(inbox: &mut Option<Inbox<R>>) -> Item {
    match inbox {
        Some(inbox) => inbox.next().await,
        None => std::future::pending().await,
    }
}
