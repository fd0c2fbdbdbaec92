//! What a node remembers from one process to the next, beside its epoch.
//!
//! Times are ages and remainders: the next process counts on from what its
//! wall clock says has passed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A node's memory. What an older version did not write is as if never known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(default)]
pub struct Memory {
    /// How long ago this node came back from something that made it let go or
    /// stop speaking, newest first (O4).
    pub returns: Vec<Duration>,
    /// How many of its returns in a row were too many.
    pub strikes: u32,
    /// The process ended in order: the next start is no return.
    pub stopped: bool,
    /// An operator drained it.
    pub drained: Option<Drained>,
}

/// How long a drain lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Drained {
    /// Until an operator resumes.
    UntilResumed,
    /// For this much longer.
    For(Duration),
}

impl Memory {
    /// The same memory, `elapsed` later.
    #[must_use]
    pub fn aged(&self, elapsed: Duration) -> Memory {
        let later = |left: Duration| left.checked_sub(elapsed).filter(|left| !left.is_zero());
        Memory {
            returns: self.returns.iter().map(|age| *age + elapsed).collect(),
            strikes: self.strikes,
            stopped: self.stopped,
            drained: match self.drained {
                Some(Drained::For(left)) => later(left).map(Drained::For),
                lasting @ (Some(Drained::UntilResumed) | None) => lasting,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_that_ended_meanwhile_is_forgotten_and_returns_grow_older() {
        let minute = Duration::from_secs(60);
        let drained = Some(Drained::For(minute));
        let memory = Memory { returns: vec![minute], drained, ..Memory::default() };
        let half = memory.aged(minute / 2);
        assert_eq!(half.drained, Some(Drained::For(minute / 2)));
        assert_eq!(half.returns, [minute * 3 / 2]);
        assert_eq!(memory.aged(minute).drained, None);
    }
}
