//! The story of a run, for people: what happened, to whom, when.
//!
//! Off by default, because telling costs more than simulating; a seed that
//! fails is run again with it on.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use super::Micros;

/// The last notable happenings.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    capacity: usize,
    lines: VecDeque<(Micros, String)>,
    forgotten: u64,
}

impl Timeline {
    /// Records nothing.
    pub fn off() -> Timeline {
        Timeline::default()
    }

    /// Keeps the last `capacity` lines.
    pub fn of(capacity: usize) -> Timeline {
        Timeline { capacity, ..Timeline::default() }
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.capacity > 0
    }

    /// The lines from `from` to `to`.
    pub fn between(&self, from: Micros, to: Micros) -> String {
        let lines = self.lines.iter().filter(|(at, _)| (from..=to).contains(at));
        lines.map(|(_, line)| format!("{line}\n")).collect()
    }

    /// Adds a line; `text` is only asked when recording.
    pub fn tell(&mut self, now: Micros, who: Option<usize>, text: impl FnOnce() -> String) {
        if !self.is_on() {
            return;
        }
        if self.lines.len() == self.capacity {
            self.lines.pop_front();
            self.forgotten += 1;
        }
        let mut line = format!("{:>4}.{:06}  ", now / 1_000_000, now % 1_000_000);
        let _ = match who {
            Some(station) => write!(line, "s{station:<3}{:indent$}", "", indent = station * 2),
            None => write!(line, "----"),
        };
        line.push_str(&text());
        self.lines.push_back((now, line));
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.forgotten > 0 {
            writeln!(f, "({} earlier lines left out)", self.forgotten)?;
        }
        self.lines.iter().try_for_each(|(_, line)| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_the_rest_is_counted() {
        let mut timeline = Timeline::of(2);
        (0..5).for_each(|n| timeline.tell(n, Some(1), || format!("line {n}")));
        let text = timeline.to_string();
        assert!(text.starts_with("(3 earlier lines left out)"), "{text}");
        assert!(text.contains("line 4") && !text.contains("line 2"), "{text}");
    }

    #[test]
    fn a_silent_timeline_never_asks_for_its_text() {
        Timeline::off().tell(0, None, || unreachable!("asked"));
    }
}
