//! What a configuration has wrong, in the words an operator reads.
//!
//! Owns the finished [`Problem`] only; collecting and placing problems is
//! `report`'s work.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong (or, among the warnings, risky) in a configuration.
///
/// No field ever holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file's name as the caller gave it.
    pub file: String,
    /// Line, counted from 1. `\n`, `\r\n` and a lone `\r` end a line.
    pub line: usize,
    /// Column in characters, counted from 1; a tab is one character.
    pub column: usize,
    /// The place inside the configuration, such as `vips[2][0].ip`; empty for
    /// the configuration as a whole.
    pub path: String,
    /// What stands there.
    pub found: String,
    /// What should stand there.
    pub expected: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)?;
        match &self.hint {
            Some(hint) => write!(f, " (did you mean {hint}?)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_place_then_found_then_expected_then_hint() {
        let mut problem = Problem {
            file: "vippy.conf".into(),
            line: 3,
            column: 7,
            path: "vips[2][0].ip".into(),
            found: "\"10.0.0.300\"".into(),
            expected: "an address".into(),
            hint: Some("10.0.0.30".into()),
        };
        assert_eq!(
            problem.to_string(),
            "vippy.conf:3:7: vips[2][0].ip: found \"10.0.0.300\", expected an address \
             (did you mean 10.0.0.30?)"
        );
        problem.hint = None;
        problem.path.clear();
        assert_eq!(
            problem.to_string(),
            "vippy.conf:3:7: found \"10.0.0.300\", expected an address"
        );
    }
}
