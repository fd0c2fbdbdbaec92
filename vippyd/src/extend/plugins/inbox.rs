//! Lines of a plugin: cut, bounded, and no faster than anybody could mean them.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep_until};

/// Longest line in bytes; what is longer is left out.
const LONGEST: usize = 64 << 10;
/// Lines and bytes taken in one window: who writes more has to wait for the next.
const LINES: u32 = 200;
const BYTES: usize = 1 << 20;
const WINDOW: Duration = Duration::from_secs(1);

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A line without its end.
    Line(Vec<u8>),
    /// One that was longer than a line may be.
    TooLong,
    /// More came than is taken in; this plugin has to wait.
    Flood,
    /// Nothing comes any more.
    End,
}

/// A reader of lines.
#[derive(Debug)]
pub(super) struct Inbox<R> {
    from: R,
    buffer: Vec<u8>,
    /// Of `buffer` this much has been looked through for the end of a line.
    seen: usize,
    /// The rest of a line that is too long is being left out.
    skipping: bool,
    window: Instant,
    lines: u32,
    bytes: usize,
    /// It has been told that the present window is full.
    told: bool,
}

impl<R: AsyncRead + Unpin> Inbox<R> {
    pub(super) fn new(from: R) -> Inbox<R> {
        Inbox {
            from,
            buffer: Vec::new(),
            seen: 0,
            skipping: false,
            window: Instant::now(),
            lines: 0,
            bytes: 0,
            told: false,
        }
    }

    /// The next thing. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Item {
        loop {
            if self.lines >= LINES || self.bytes >= BYTES {
                if !std::mem::replace(&mut self.told, true) {
                    return Item::Flood;
                }
                sleep_until(self.window + WINDOW).await;
            }
            self.turn_window();
            if let Some(item) = self.cut() {
                self.lines += 1;
                return item;
            }
            let mut chunk = [0; 8192];
            match self.from.read(&mut chunk).await {
                Ok(0) | Err(_) => return Item::End,
                Ok(length) => {
                    self.bytes += length;
                    self.buffer.extend_from_slice(&chunk[..length]);
                }
            }
        }
    }

    fn turn_window(&mut self) {
        let now = Instant::now();
        if now >= self.window + WINDOW {
            (self.window, self.lines, self.bytes, self.told) = (now, 0, 0, false);
        }
    }

    /// The next line of what has been read.
    fn cut(&mut self) -> Option<Item> {
        loop {
            let fresh = &self.buffer[self.seen..];
            let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
                self.seen = self.buffer.len();
                if self.seen <= LONGEST {
                    return None;
                }
                self.buffer.clear();
                self.seen = 0;
                return (!std::mem::replace(&mut self.skipping, true)).then_some(Item::TooLong);
            };
            let end = self.seen + end;
            let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
            self.seen = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.len() > LONGEST {
                return Some(Item::TooLong);
            }
            if !line.is_empty() {
                return Some(Item::Line(line.to_vec()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(text: &[u8]) -> Vec<Item> {
        let mut inbox = Inbox::new(text);
        let mut items = Vec::new();
        loop {
            match inbox.next().await {
                Item::End => return items,
                item @ (Item::Line(_) | Item::TooLong | Item::Flood) => items.push(item),
            }
        }
    }

    fn line(text: &str) -> Item {
        Item::Line(text.into())
    }

    #[tokio::test]
    async fn lines_are_cut_and_empty_ones_left_out() {
        assert_eq!(all(b"a\r\n\nbc\nrest").await, [line("a"), line("bc")]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_once_and_the_next_is_read() {
        let long = "x".repeat(3 * LONGEST);
        assert_eq!(all(format!("{long}\nb\n").as_bytes()).await, [Item::TooLong, line("b")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_once_a_window_and_held_back() {
        let begun = Instant::now();
        let items = all("x\n".repeat(2 * LINES as usize).as_bytes()).await;
        let floods = items.iter().filter(|item| **item == Item::Flood).count();
        assert_eq!((items.len() - floods, floods), (2 * LINES as usize, 2));
        assert!(begun.elapsed() >= 2 * WINDOW);
    }
}
