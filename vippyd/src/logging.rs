//! Where log lines go: standard error, the journal's form of it, or syslog.
//!
//! [`Logger`] hands each line to a thread through a bounded queue, so a slow
//! terminal or a syslog that does not answer never holds the loop up; lines
//! that do not fit are dropped, counted, and the count is told. What is worth a
//! line, and how often, is decided elsewhere.

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use syslog::{Facility, Formatter3164, LoggerBackend};
use time::OffsetDateTime;
use vippy_core::config::{Logging, LoggingDriver};

/// Lines that wait for the writer at most.
const QUEUE: usize = 4_096;

/// Bytes for standard error that wait for more, while there is more: a burst of
/// lines is one write, and not many for each.
const BURST: usize = 16 << 10;

/// Time between two attempts to reach a syslog that is away.
const RECONNECT: Duration = Duration::from_secs(1);

/// Severities of syslog, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The system is unusable.
    Emerg,
    /// Somebody must act now.
    Alert,
    /// The service is failing.
    Crit,
    /// Something did not work.
    Err,
    /// Something will not work, or is not as it should be.
    Warning,
    /// Normal and worth knowing: addresses moved, peers came and went.
    Notice,
    /// Normal detail.
    Info,
    /// For developers.
    Debug,
}

impl Level {
    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Its name in configurations and lines.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Emerg => "emerg",
            Level::Alert => "alert",
            Level::Crit => "crit",
            Level::Err => "err",
            Level::Warning => "warning",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// A handle on the log; clones share one writer.
#[derive(Clone, Debug)]
pub struct Logger {
    queue: SyncSender<Order>,
    mask: Arc<AtomicU8>,
    lost: Arc<AtomicU64>,
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
}

impl Logger {
    /// Starts the writer.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(logging: &Logging) -> std::io::Result<Logger> {
        let (queue, orders) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer::new(logging.clone(), Arc::clone(&lost));
        std::thread::Builder::new().name("log".into()).spawn(move || writer.run(&orders))?;
        Ok(Logger { queue, mask: Arc::new(AtomicU8::new(mask_bits(logging))), lost })
    }

    /// Writes one line, if its level is not masked. Never blocks.
    pub fn log(&self, level: Level, text: impl Display) {
        if self.mask.load(Ordering::Relaxed) & level.bit() == 0 {
            return;
        }
        let line = Line { level, at: SystemTime::now(), text: text.to_string() };
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Order::Line(line)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
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
    syslog: Option<syslog::Logger<LoggerBackend, Formatter3164>>,
    tried: Option<Instant>,
    lost: Arc<AtomicU64>,
    /// Lines for standard error.
    pending: String,
}

/// How lines look on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// With time, level and process.
    Plain,
    /// `<N>text`: the journal adds the rest itself.
    Journal,
}

impl Writer {
    fn new(logging: Logging, lost: Arc<AtomicU64>) -> Writer {
        let style = match std::env::var_os("JOURNAL_STREAM") {
            Some(_) => Style::Journal,
            None => Style::Plain,
        };
        Writer { logging, style, syslog: None, tried: None, lost, pending: String::new() }
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
                self.write(&line);
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
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.write(&Line {
                level: Level::Warning,
                at: SystemTime::now(),
                text: format!("{lost} log lines lost: the log takes them too slowly"),
            });
        }
    }

    fn write(&mut self, line: &Line) {
        match self.logging.driver {
            LoggingDriver::Console => self.print(line),
            LoggingDriver::Syslog => {
                if !self.hand_to_syslog(line) {
                    self.print(line);
                }
            }
        }
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

/// `2026-11-21T08:00:00.123Z`.
struct Stamp(SystemTime);

impl Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from(self.0);
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second, milli) = at.to_hms_milli();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_milliseconds() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_248_000_123);
        assert_eq!(Stamp(at).to_string(), "2026-11-21T08:00:00.123Z");
    }

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
        assert_ne!(bits & Level::Notice.bit(), 0);
        assert_eq!(bits & Level::Warning.bit(), 0);
        assert_eq!(bits & Level::Debug.bit(), 0);
    }

    #[test]
    fn full_queue_drops_and_counts_instead_of_waiting() {
        let (queue, orders) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let logger = Logger { queue, mask: Arc::new(AtomicU8::new(0xff)), lost: Arc::clone(&lost) };
        logger.notice("fits");
        logger.notice("does not");
        assert_eq!(lost.load(Ordering::Relaxed), 1);
        drop(orders);
    }
}
