//! Lines for a plugin, until it reads them: the newest ones, should it be slow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// Lines that wait. Beyond, the oldest go, and the plugin is told how many.
const ROOM: usize = 1024;
/// The same in bytes; one line is kept however long it is.
const BYTES: usize = 4 << 20;

/// A queue of lines. Copies are of the same queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lines: Mutex<Lines>,
    news: Notify,
    /// Announcements and neighbours are for it, too.
    watches: AtomicBool,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Arc<str>>,
    bytes: usize,
    missed: u64,
    /// Nothing comes any more.
    closed: bool,
}

impl Lines {
    fn pop(&mut self) -> Option<Arc<str>> {
        let line = self.waiting.pop_front()?;
        self.bytes -= line.len();
        Some(line)
    }
}

impl Outbox {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Every change is complete in one step.
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what waits and begins with these.
    pub(super) fn begin(&self, lines: impl IntoIterator<Item = Arc<str>>) {
        self.set_watching(false);
        *self.lines() = Lines::default();
        lines.into_iter().for_each(|line| self.push(&line));
    }

    pub(super) fn set_watching(&self, watches: bool) {
        self.0.watches.store(watches, Ordering::Relaxed);
    }

    pub(super) fn watches(&self) -> bool {
        self.0.watches.load(Ordering::Relaxed)
    }

    pub(super) fn push(&self, line: &Arc<str>) {
        let mut lines = self.lines();
        while lines.waiting.len() >= ROOM || lines.bytes > BYTES {
            lines.pop();
            lines.missed += 1;
        }
        lines.bytes += line.len();
        lines.waiting.push_back(Arc::clone(line));
        drop(lines);
        self.0.news.notify_one();
    }

    /// The last line.
    pub(super) fn close(&self, line: &Arc<str>) {
        self.push(line);
        self.lines().closed = true;
        self.0.news.notify_one();
    }

    /// Writes lines as they come, until the last one is written or the plugin closes
    /// its end.
    pub(super) async fn write_to(&self, mut input: impl AsyncWrite + Unpin) {
        loop {
            let news = self.0.news.notified();
            let (next, closed) = self.next();
            match next {
                Some(text) if input.write_all(text.as_bytes()).await.is_err() => return,
                Some(_) => {}
                None if closed => return,
                None => news.await,
            }
        }
    }

    /// The next line with its end, and that some are lacking before it; and whether
    /// any will come.
    fn next(&self) -> (Option<String>, bool) {
        let mut lines = self.lines();
        let missed = std::mem::take(&mut lines.missed);
        let line = lines.pop().map(|line| match missed {
            0 => format!("{line}\n"),
            missed => format!("{{\"event\":\"missed\",\"lines\":{missed}}}\n{line}\n"),
        });
        (line, lines.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_lines_and_is_told_what_it_missed() {
        let outbox = Outbox::default();
        for number in 0..ROOM + 10 {
            outbox.push(&number.to_string().into());
        }
        outbox.close(&"stop".into());
        let mut written = Vec::new();
        outbox.write_to(&mut written).await;
        let text = String::from_utf8(written).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r#"{"event":"missed","lines":11}"#);
        assert_eq!((lines[1], lines[2]), ("11", "12"));
        assert_eq!((lines.len(), lines.last().copied()), (ROOM + 1, Some("stop")));
    }
}
