//! How grave something is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Severities of syslog, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

/// A word that is no [`Level`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}, expected one of emerg, alert, crit, err, warning, notice, info, debug")]
pub struct NotALevel(String);

impl Level {
    /// All of them, the gravest first.
    pub const ALL: [Level; 8] = [
        Level::Emerg,
        Level::Alert,
        Level::Crit,
        Level::Err,
        Level::Warning,
        Level::Notice,
        Level::Info,
        Level::Debug,
    ];

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

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = NotALevel;

    fn from_str(text: &str) -> Result<Level, NotALevel> {
        let known = Level::ALL.into_iter().find(|level| level.name() == text);
        known.ok_or_else(|| NotALevel(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_read_as_they_are_written() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
        let error = "verbose".parse::<Level>().unwrap_err().to_string();
        assert!(error.starts_with("found \"verbose\", expected one of emerg, "), "{error}");
    }
}
