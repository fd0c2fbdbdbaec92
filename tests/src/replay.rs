//! Flight recordings, gone through again (`vippy_core::recorder`).

use vippy_core::output::Output;
use vippy_core::recorder::{Deviation, Line, Recording, Replay, Replayed};
use vippy_core::time::Instant;

/// Why a recording was not gone through to its end.
#[derive(Debug)]
pub enum Failure {
    /// A line is not what a recorder writes.
    Unreadable {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// The engine did something else.
    Deviation(Deviation),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Unreadable { line, error } => write!(f, "line {line}: {error}"),
            Failure::Deviation(deviation) => deviation.fmt(f),
        }
    }
}

/// What was gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Inputs.
    pub inputs: u64,
    /// Outputs, each the same as recorded.
    pub outputs: u64,
    /// States that were recorded on the way and are the same.
    pub states: u64,
}

/// Goes through the lines of a recording; tells every step to `watch`.
///
/// # Errors
/// The first line that cannot be read or does not happen again.
pub fn replay<'a>(
    lines: impl Iterator<Item = &'a str>,
    mut watch: impl FnMut(Instant, &[Output]),
) -> Result<Summary, Failure> {
    let mut replay = Replay::new();
    let mut states = 0;
    for (number, text) in (1..).zip(lines) {
        let line: Line = serde_json::from_str(text)
            .map_err(|error| Failure::Unreadable { line: number, error })?;
        match replay.line(line).map_err(Failure::Deviation)? {
            Replayed::Begun => {}
            Replayed::Same => states += 1,
            Replayed::Step { at, outputs } => watch(at, &outputs),
        }
    }
    Ok(Summary { inputs: replay.inputs, outputs: replay.outputs, states })
}

/// A recording as its lines.
///
/// # Errors
/// None that the types of its lines allow.
pub fn lines(recording: Recording) -> Result<Vec<String>, serde_json::Error> {
    recording.lines().map(|line| serde_json::to_string(&line)).collect()
}
