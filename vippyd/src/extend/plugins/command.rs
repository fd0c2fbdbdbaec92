//! What a plugin says, line by line.

use serde_json::{Map, Value};

use crate::extend::words::printable;
use crate::logging::Level;

/// Longest reason and longest log line in bytes; the rest is cut off.
const LONGEST_REASON: usize = 120;
const LONGEST_TEXT: usize = 2048;

const EXPECTED: &str = "expected {\"active\": true or false, \"reason\": \"…\"} or \
                        {\"log\": \"…\", \"priority\": \"info\"}";

/// A line that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// This node should, or should not, own anything as far as `reason` goes.
    Active { active: bool, reason: String },
    /// Whether it wants to be told of announcements and neighbours.
    Watch(bool),
    /// A line for the log.
    Log { level: Level, text: String },
}

impl Command {
    /// # Errors
    /// What was found and what was expected.
    pub(super) fn parse(line: &[u8]) -> Result<Command, String> {
        let found = || {
            let text = String::from_utf8_lossy(line);
            let shortened: String = text.chars().take(60).collect();
            let rest = if text.chars().nth(60).is_some() { "…" } else { "" };
            format!("found {shortened:?}{rest}, {EXPECTED}")
        };
        let Ok(Value::Object(fields)) = serde_json::from_slice(line) else { return Err(found()) };
        if fields.contains_key("active") {
            Command::active(&fields)
        } else if fields.contains_key("log") {
            Command::log(&fields)
        } else if let Some(watch) = fields.get("watch").and_then(Value::as_bool) {
            known(&fields, &["watch"])?;
            Ok(Command::Watch(watch))
        } else {
            Err(found())
        }
    }

    fn active(fields: &Map<String, Value>) -> Result<Command, String> {
        known(fields, &["active", "reason"])?;
        let Some(active) = fields["active"].as_bool() else {
            return Err(format!("found active: {}, expected true or false", fields["active"]));
        };
        let reason = text(fields, "reason")?.unwrap_or_default();
        Ok(Command::Active { active, reason: printable(&reason, LONGEST_REASON) })
    }

    fn log(fields: &Map<String, Value>) -> Result<Command, String> {
        known(fields, &["log", "priority"])?;
        let level = match text(fields, "priority")? {
            None => Level::Info,
            Some(name) => level(&name).ok_or_else(|| {
                format!("found priority: {name:?}, expected a level from \"debug\" to \"emerg\"")
            })?,
        };
        let said = text(fields, "log")?.unwrap_or_default();
        Ok(Command::Log { level, text: printable(&said, LONGEST_TEXT) })
    }
}

fn level(name: &str) -> Option<Level> {
    use Level::{Alert, Crit, Debug, Emerg, Err, Info, Notice, Warning};
    let all = [Emerg, Alert, Crit, Err, Warning, Notice, Info, Debug];
    all.into_iter().find(|level| level.name() == name)
}

fn known(fields: &Map<String, Value>, keys: &[&str]) -> Result<(), String> {
    match fields.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(format!("found the unknown key {key:?}, expected {}", keys.join(" and "))),
        None => Ok(()),
    }
}

fn text(fields: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("found {key}: {other}, expected a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_commands_are_understood() {
        let active = |active, reason: &str| Ok(Command::Active { active, reason: reason.into() });
        let parse = |line: &str| Command::parse(line.as_bytes());
        assert_eq!(
            parse(r#"{"active": false, "reason": "doSomething"}"#),
            active(false, "doSomething")
        );
        assert_eq!(parse(r#" {"active":true} "#), active(true, ""));
        let log = |level, text: &str| Ok(Command::Log { level, text: text.into() });
        assert_eq!(parse(r#"{"log": "a\nb"}"#), log(Level::Info, "a b"));
        assert_eq!(parse(r#"{"log": "x", "priority": "err"}"#), log(Level::Err, "x"));
    }

    #[test]
    fn everything_else_is_told_with_what_was_expected() {
        for (line, wanted) in [
            ("hello", "found \"hello\", expected"),
            ("[1]", "expected {\"active\""),
            ("{}", "expected {\"active\""),
            ("{\"active\": 0}", "true or false"),
            ("{\"active\": true, \"why\": 1}", "unknown key \"why\""),
            ("{\"active\": true, \"reason\": 1}", "a text"),
            ("{\"log\": \"x\", \"priority\": \"loud\"}", "a level"),
        ] {
            let told = Command::parse(line.as_bytes()).unwrap_err();
            assert!(told.contains(wanted), "{line}: {told}");
        }
        assert!(Command::parse(&[0xff, 0x00]).is_err());
        assert!(Command::parse("x".repeat(9_999).as_bytes()).unwrap_err().len() < 300);
    }
}
