//! Where log lines go: standard error, the journal, or syslog.
//!
//! [`Logger`] hands each line to a thread through a bounded queue, so a slow
//! terminal or a syslog that does not answer never holds the loop up; lines
//! that do not fit are dropped, counted, and the count is told. What is worth a
//! line, and how often, is decided elsewhere.

mod journal;

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::stat::fstat;
use syslog::{Facility, Formatter3164, LoggerBackend};
pub use vippy_client::Level;
use vippy_client::{Event, LogLevel, Stamp, narrate};
use vippy_core::config::{Logging, LoggingDriver};
use vippy_core::identity::NodeName;

use self::journal::{Handed, Journal};
use crate::realtime;

/// Lines that wait for the writer at most.
const QUEUE: usize = 4_096;

/// Bytes for standard error that wait for more, while there is more: a burst of
/// lines is one write, and not many for each.
const BURST: usize = 16 << 10;

/// Time between two attempts to reach a syslog that is away.
const RECONNECT: Duration = Duration::from_secs(1);

/// A handle on the log; clones share one writer.
#[derive(Clone, Debug)]
pub struct Logger {
    queue: SyncSender<Order>,
    mask: Arc<AtomicU8>,
    losses: Arc<Losses>,
}

/// Lines that were not written because there was no room for them.
#[derive(Debug, Default)]
struct Losses {
    untold: AtomicU64,
    all: AtomicU64,
}

impl Losses {
    fn add(&self) {
        self.untold.fetch_add(1, Ordering::Relaxed);
        self.all.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Order {
    Line(Line),
    Reconfigure(Logging),
    Flush(SyncSender<()>),
}

#[derive(Debug)]
struct Line {
    level: Level,
    at: SystemTime,
    text: String,
    /// What it tells of, for logs that have fields.
    event: Option<Event>,
}

impl Logger {
    /// Starts the writer.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(logging: &Logging, node: &NodeName) -> std::io::Result<Logger> {
        let (queue, orders) = sync_channel(QUEUE);
        let losses = Arc::new(Losses::default());
        let journal = Journal::new(Path::new(journal::SOCKET), node)?;
        let mut writer = Writer::new(logging.clone(), journal, Arc::clone(&losses));
        std::thread::Builder::new().name("log".into()).spawn(move || {
            realtime::stand_behind();
            writer.run(&orders);
        })?;
        Ok(Logger { queue, mask: Arc::new(AtomicU8::new(mask_bits(logging))), losses })
    }

    /// Writes one line, if its level is not masked. Never blocks.
    pub fn log(&self, level: Level, text: impl Display) {
        if self.writes(level) {
            let text = text.to_string();
            self.queue(Line { level, at: SystemTime::now(), text, event: None });
        }
    }

    /// Writes what happened, in the words that it has everywhere. Never blocks.
    pub fn tell(&self, event: &Event) {
        let (level, text) = narrate::line(event);
        if self.writes(level) {
            self.queue(Line { level, at: SystemTime::now(), text, event: Some(event.clone()) });
        }
    }

    fn writes(&self, level: Level) -> bool {
        self.mask.load(Ordering::Relaxed) & bit(level) != 0
    }

    fn queue(&self, line: Line) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Order::Line(line)) {
            self.losses.add();
        }
    }

    /// How many lines were not written since the start, because the log took them
    /// too slowly.
    pub fn lost(&self) -> u64 {
        self.losses.all.load(Ordering::Relaxed)
    }

    /// What is written.
    pub fn level(&self) -> LogLevel {
        let levels: Vec<Level> =
            Level::ALL.into_iter().filter(|level| self.writes(*level)).collect();
        LogLevel { level: levels.last().copied(), levels }
    }

    /// Writes `level` and graver ones from now on, until [`Logger::reconfigure`].
    pub fn set_level(&self, level: Level) {
        let bits = Level::ALL.into_iter().filter(|other| *other <= level);
        self.mask.store(bits.fold(0, |bits, level| bits | bit(level)), Ordering::Relaxed);
    }

    /// [`Level::Err`].
    pub fn err(&self, text: impl Display) {
        self.log(Level::Err, text);
    }

    /// [`Level::Warning`].
    pub fn warning(&self, text: impl Display) {
        self.log(Level::Warning, text);
    }

    /// [`Level::Notice`].
    pub fn notice(&self, text: impl Display) {
        self.log(Level::Notice, text);
    }

    /// [`Level::Info`].
    pub fn info(&self, text: impl Display) {
        self.log(Level::Info, text);
    }

    /// Writes on in another way. Never blocks; false when the queue is full.
    pub fn reconfigure(&self, logging: &Logging) -> bool {
        self.mask.store(mask_bits(logging), Ordering::Relaxed);
        self.queue.try_send(Order::Reconfigure(logging.clone())).is_ok()
    }

    /// Waits until what was logged before is written, at most `patience`. For
    /// the end of the process; blocks.
    pub fn flush(&self, patience: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Order::Flush(done)).is_ok() {
            // Nothing can be done about a writer that is too slow.
            let _ = wait.recv_timeout(patience);
        }
    }
}

const fn bit(level: Level) -> u8 {
    1 << level as u8
}

fn mask_bits(logging: &Logging) -> u8 {
    logging
        .mask
        .iter()
        .enumerate()
        .filter(|(_, on)| **on)
        .fold(0, |bits, (position, _)| bits | 1 << position)
}

/// The thread's side.
struct Writer {
    logging: Logging,
    style: Style,
    journal: Journal,
    syslog: Option<syslog::Logger<LoggerBackend, Formatter3164>>,
    tried: Option<Instant>,
    losses: Arc<Losses>,
    /// Lines for standard error.
    pending: String,
}

/// What standard error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// A terminal, a file, a pipe: lines with time, level and process.
    Plain,
    /// The journal. Where its own socket cannot be used lines are `<N>text`; it
    /// adds the rest itself.
    Journal,
}

impl Style {
    /// `stream` is `$JOURNAL_STREAM`: device and inode of what the service manager
    /// connected with the journal, which need not be this standard error.
    fn of_stderr(stream: Option<&str>) -> Style {
        let found = fstat(std::io::stderr());
        let found = found.map(|stderr| format!("{}:{}", stderr.st_dev, stderr.st_ino)).ok();
        if stream.is_some() && stream == found.as_deref() { Style::Journal } else { Style::Plain }
    }
}

impl Writer {
    fn new(logging: Logging, journal: Journal, losses: Arc<Losses>) -> Writer {
        let style = Style::of_stderr(std::env::var("JOURNAL_STREAM").ok().as_deref());
        let (syslog, tried, pending) = (None, None, String::new());
        Writer { logging, style, journal, syslog, tried, losses, pending }
    }

    fn run(&mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            self.obey(order);
            while self.pending.len() < BURST
                && let Ok(order) = orders.try_recv()
            {
                self.obey(order);
            }
            self.flush();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Line(line) => {
                if !self.write(&line) {
                    self.losses.add();
                }
                self.tell_losses();
            }
            Order::Reconfigure(logging) => {
                self.logging = logging;
                self.syslog = None;
                self.tried = None;
            }
            Order::Flush(done) => {
                self.flush();
                // Who asked may have lost patience.
                let _ = done.try_send(());
            }
        }
    }

    fn tell_losses(&mut self) {
        let lost = self.losses.untold.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        let text = format!("{lost} log lines lost: the log takes them too slowly");
        let (level, at) = (Level::Warning, SystemTime::now());
        if !self.write(&Line { level, at, text, event: None }) {
            // To be told with the next line.
            self.losses.untold.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// False when there is no room for it.
    fn write(&mut self, line: &Line) -> bool {
        let handed = match (self.logging.driver, self.style) {
            (LoggingDriver::Journald, _) | (LoggingDriver::Console, Style::Journal) => {
                self.journal.hand(line)
            }
            (LoggingDriver::Syslog, _) if self.hand_to_syslog(line) => Handed::Taken,
            (LoggingDriver::Syslog, _) | (LoggingDriver::Console, Style::Plain) => Handed::Away,
        };
        if handed == Handed::Away {
            self.print(line);
        }
        handed != Handed::Full
    }

    fn print(&mut self, line: &Line) {
        let text = OneLine(&line.text);
        let level = line.level as u8;
        // A string takes everything.
        let _ = match self.style {
            Style::Journal => writeln!(self.pending, "<{level}>{text}"),
            Style::Plain => {
                let (at, name, pid) = (Stamp(line.at), line.level.name(), std::process::id());
                writeln!(self.pending, "{at} {name} vippyd[{pid}] {text}")
            }
        };
    }

    fn flush(&mut self) {
        // A closed standard error leaves nobody to tell.
        let _ = std::io::stderr().lock().write_all(self.pending.as_bytes());
        self.pending.clear();
    }

    /// Whether syslog took it. A syslog that was restarted is found again.
    fn hand_to_syslog(&mut self, line: &Line) -> bool {
        if self.syslog.is_some() && self.send(line) {
            return true;
        }
        if self.tried.is_some_and(|tried| tried.elapsed() < RECONNECT) {
            return false;
        }
        self.tried = Some(Instant::now());
        self.syslog = syslog::unix(Formatter3164 {
            // The configuration's reader knows the names; this only maps them.
            facility: self.logging.facility.parse().unwrap_or(Facility::LOG_DAEMON),
            hostname: None,
            process: "vippyd".into(),
            pid: std::process::id(),
        })
        .ok();
        self.send(line)
    }

    fn send(&mut self, line: &Line) -> bool {
        let Some(syslog) = &mut self.syslog else { return false };
        let text = OneLine(&line.text).to_string();
        let sent = match line.level {
            Level::Emerg => syslog.emerg(text),
            Level::Alert => syslog.alert(text),
            Level::Crit => syslog.crit(text),
            Level::Err => syslog.err(text),
            Level::Warning => syslog.warning(text),
            Level::Notice => syslog.notice(text),
            Level::Info => syslog.info(text),
            Level::Debug => syslog.debug(text),
        };
        if sent.is_err() {
            self.syslog = None;
        }
        sent.is_ok()
    }
}

/// Text without control characters: what came from the network cannot forge a
/// line or move a terminal's cursor.
struct OneLine<'a>(&'a str);

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_forge_a_second_line() {
        assert_eq!(OneLine("a\nb\u{1b}[2J").to_string(), "a\\nb\\u{1b}[2J");
    }

    #[test]
    fn masked_levels_are_not_written() {
        let logging = Logging {
            driver: LoggingDriver::Console,
            facility: "local7".into(),
            mask: [true, true, true, true, false, true, false, false],
        };
        let bits = mask_bits(&logging);
        assert_ne!(bits & bit(Level::Notice), 0);
        assert_eq!(bits & bit(Level::Warning), 0);
        assert_eq!(bits & bit(Level::Debug), 0);
    }

    /// A logger of which nothing is written yet.
    fn logger(queue: usize) -> (Logger, Receiver<Order>) {
        let (queue, orders) = sync_channel(queue);
        let mask = Arc::new(AtomicU8::new(0xff));
        (Logger { queue, mask, losses: Arc::default() }, orders)
    }

    #[test]
    fn full_queue_drops_and_counts_instead_of_waiting() {
        let (logger, _orders) = logger(1);
        logger.notice("fits");
        logger.notice("does not");
        assert_eq!(logger.lost(), 1);
    }

    #[test]
    fn a_level_that_is_set_stands_for_all_graver_ones_too() {
        let (logger, orders) = logger(8);
        logger.set_level(Level::Err);
        logger.warning("no");
        logger.err("yes");
        assert!(matches!(orders.try_recv(), Ok(Order::Line(line)) if line.text == "yes"));
        let all = [Level::Emerg, Level::Alert, Level::Crit, Level::Err];
        assert_eq!(logger.level(), LogLevel { level: Some(Level::Err), levels: all.to_vec() });
    }

    #[test]
    fn standard_error_is_the_journal_only_if_it_is_the_stream_of_that_name() {
        let stderr = fstat(std::io::stderr()).unwrap();
        let name = format!("{}:{}", stderr.st_dev, stderr.st_ino);
        assert_eq!(Style::of_stderr(Some(&name)), Style::Journal);
        assert_eq!(Style::of_stderr(Some("1:2")), Style::Plain);
        assert_eq!(Style::of_stderr(None), Style::Plain);
    }
}
