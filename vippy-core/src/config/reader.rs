//! Typed access to the tree.
//!
//! Each function returns the value, or notes a problem and returns nothing.
//! What the parser already reported ([`Value::Broken`]) stays silent.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::report::Report;
use super::suggest::nearest;
use super::text::{Member, Node, Value};

/// Numbers above lose digits in JavaScript and other readers of `/status`.
pub(super) const LARGEST_INTEGER: u64 = (1 << 53) - 1;

/// The readers' common state.
pub(super) struct Reader {
    pub(super) report: Report,
    /// Where syntax errors are, ascending: around them entries may have been
    /// swallowed, and nothing is reported as absent.
    damage: Vec<usize>,
}

/// An object whose keys are checked.
pub(super) struct Fields<'t> {
    start: usize,
    intact: bool,
    members: &'t [Member<'t>],
}

impl<'t> Fields<'t> {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'t Node<'t>> {
        self.members.iter().find(|member| member.key.as_str() == key).map(|member| &member.value)
    }

    /// Whether what is absent from it is absent from the text.
    pub(super) fn intact(&self) -> bool {
        self.intact
    }

    /// Where the key stands, else where its object starts.
    pub(super) fn place_of(&self, key: &str) -> usize {
        self.get(key).map_or(self.start, |node| node.start)
    }
}

impl Reader {
    pub(super) fn new(report: Report, damage: Vec<usize>) -> Self {
        Reader { report, damage }
    }

    /// Whether no syntax error lies in a node, so that what is absent from it is
    /// absent from the text.
    pub(super) fn intact(&self, node: &Node<'_>) -> bool {
        let first = self.damage.partition_point(|&at| at < node.start);
        self.damage.get(first).is_none_or(|&at| at >= node.end)
    }

    /// Notes that a node holds the wrong thing.
    pub(super) fn wrong<T>(&mut self, node: &Node<'_>, expected: impl Into<String>) -> Option<T> {
        self.wrong_but(node, expected, None::<String>)
    }

    /// As [`Reader::wrong`], with what was probably meant.
    pub(super) fn wrong_but<T>(
        &mut self,
        node: &Node<'_>,
        expected: impl Into<String>,
        hint: Option<impl Into<String>>,
    ) -> Option<T> {
        if !matches!(node.value, Value::Broken) {
            self.report.error(node.start, describe(node), expected).maybe_hint(hint);
        }
        None
    }

    /// Notes that an object lacks a key it needs.
    pub(super) fn missing<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &'static str,
        expected: impl Into<String>,
    ) -> Option<T> {
        if fields.intact {
            self.report.error(fields.start, "nothing", expected).key(key);
        }
        None
    }

    /// An object that has no other keys than `known`.
    pub(super) fn object<'t>(
        &mut self,
        node: &'t Node<'t>,
        expected: &str,
        known: &[&'static str],
    ) -> Option<Fields<'t>> {
        let Value::Object(members) = &node.value else {
            return self.wrong(node, expected);
        };
        for member in members {
            let key = member.key.as_str();
            if !known.contains(&key) && self.report.is_full() {
                self.report.error(member.at, "an unknown key", "a known key");
            } else if !known.contains(&key) {
                let found = format!("the unknown key {}", quoted(key));
                let hint = nearest(key, known.iter().copied());
                let expected = match hint {
                    Some(_) => "a known key".to_owned(),
                    None => format!("one of {}", known.join(", ")),
                };
                self.report.error(member.at, found, expected).maybe_hint(hint);
            }
        }
        Some(Fields { start: node.start, intact: self.intact(node), members })
    }

    /// An object with keys of the operator's choice: places, keys and values.
    pub(super) fn map<'t>(
        &mut self,
        node: &'t Node<'t>,
        expected: &str,
    ) -> Option<&'t [Member<'t>]> {
        match &node.value {
            Value::Object(members) => Some(members),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Broken => self.wrong(node, expected),
        }
    }

    pub(super) fn list<'t>(
        &mut self,
        node: &'t Node<'t>,
        expected: &str,
    ) -> Option<&'t [Node<'t>]> {
        match &node.value {
            Value::Array(items) => Some(items),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)
            | Value::Broken => self.wrong(node, expected),
        }
    }

    pub(super) fn text<'t>(&mut self, node: &'t Node<'t>, expected: &str) -> Option<&'t str> {
        match &node.value {
            Value::String(text) => Some(text.as_str()),
            // A bare number where a text is expected only lacks its quotes.
            Value::Number(number) => self.wrong_but(node, expected, Some(quoted(number))),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Broken => {
                self.wrong(node, expected)
            }
        }
    }

    pub(super) fn boolean(&mut self, node: &Node<'_>) -> Option<bool> {
        let hint = match &node.value {
            Value::Bool(value) => return Some(*value),
            Value::String(text) => match text.as_str().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some("true"),
                "false" | "no" | "off" | "0" => Some("false"),
                _ => None,
            },
            Value::Number("1") => Some("true"),
            Value::Number("0") => Some("false"),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) | Value::Broken => {
                None
            }
        };
        self.wrong_but(node, "true or false", hint)
    }

    /// A whole number from 0 to [`LARGEST_INTEGER`].
    pub(super) fn integer(&mut self, node: &Node<'_>) -> Option<u64> {
        let expected = format!("a whole number from 0 to {LARGEST_INTEGER}");
        match &node.value {
            Value::Number(literal) => match whole(literal) {
                Some(number) if number <= LARGEST_INTEGER => Some(number),
                Some(_) | None => self.wrong(node, expected),
            },
            Value::String(text) => {
                let hint = whole(text.as_str()).map(|number| number.to_string());
                self.wrong_but(node, expected, hint)
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Broken => {
                self.wrong(node, expected)
            }
        }
    }

    /// A whole number between two bounds, both included.
    pub(super) fn within<T: TryFrom<u64> + PartialOrd + Display>(
        &mut self,
        node: &Node<'_>,
        bounds: RangeInclusive<T>,
        expected: &str,
    ) -> Option<T> {
        let number = |text| whole(text).and_then(|n| T::try_from(n).ok());
        let number = |text| number(text).filter(|n| bounds.contains(n));
        let hint = match &node.value {
            Value::Number(literal) => match number(literal) {
                Some(number) => return Some(number),
                None => None,
            },
            Value::String(text) => number(text.as_str()).map(|number| number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Broken => {
                None
            }
        };
        self.wrong_but(node, expected, hint)
    }

    /// Seconds between two bounds, both included; rounded to microseconds.
    pub(super) fn seconds(&mut self, node: &Node<'_>, bounds: (f64, f64)) -> Option<Duration> {
        let expected = format!("{} to {} seconds", bounds.0, bounds.1);
        match &node.value {
            Value::Number(literal) => match span(literal, bounds) {
                Some(span) => Some(span),
                None => self.wrong(node, expected),
            },
            Value::String(text) => {
                let text = text.as_str();
                let expected = if float(text).is_some() { expected } else { no_unit(bounds) };
                let meant = span(text, bounds).or_else(|| with_unit(text, bounds));
                self.wrong_but(node, expected, meant.map(|span| span.as_secs_f64().to_string()))
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Broken => {
                self.wrong(node, expected)
            }
        }
    }
}

/// What a span looks like, for who wrote something else.
fn no_unit((least, most): (f64, f64)) -> String {
    let example = 0.5_f64.clamp(least, most);
    format!("a number of seconds without a unit, such as {example}")
}

/// What `500ms` or `2 s` means.
fn with_unit(text: &str, bounds: (f64, f64)) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "us" => 1e6,
        "ms" => 1e3,
        "s" | "sec" => 1.0,
        _ => return None,
    };
    let seconds = float(digits.trim())? / scale;
    span(&seconds.to_string(), bounds)
}

/// A number literal as seconds within bounds.
pub(super) fn span(literal: &str, (least, most): (f64, f64)) -> Option<Duration> {
    let seconds = float(literal)?;
    (least..=most).contains(&seconds).then(|| {
        let span = Duration::from_secs_f64(seconds);
        Duration::from_micros(u64::try_from((span.as_nanos() + 500) / 1_000).unwrap_or(u64::MAX))
    })
}

/// A number literal as a float; hexadecimal included.
fn float(literal: &str) -> Option<f64> {
    if !super::text::is_number(literal) {
        return None;
    }
    let unsigned = literal.trim_start_matches(['+', '-']);
    let sign = if literal.starts_with('-') { -1.0 } else { 1.0 };
    let digits = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"));
    let value = match digits {
        // 32 bits are more than any bound, and exact.
        Some(digits) => f64::from(u32::from_str_radix(digits, 16).unwrap_or(u32::MAX)),
        None => unsigned.parse().ok()?,
    };
    Some(sign * value)
}

/// A number literal as a whole number: `7`, `+7`, `0x7`, `7.0` and `7e2` are.
pub(super) fn whole(literal: &str) -> Option<u64> {
    if !super::text::is_number(literal) {
        return None;
    }
    let unsigned = literal.strip_prefix('+').unwrap_or(literal);
    if let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok();
    }
    unsigned.parse().ok().or_else(|| {
        let value: f64 = unsigned.parse().ok()?;
        let fits = (0.0..=9_007_199_254_740_991.0).contains(&value) && value.fract() == 0.0;
        // `f64` prints whole numbers without a fraction, so nothing is cut off.
        fits.then(|| value.abs().to_string().parse().ok()).flatten()
    })
}

/// A node in words, shortened and safe to print.
fn describe(node: &Node<'_>) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(literal) => shortened(literal),
        Value::String(text) if text.as_str().is_empty() => "an empty text".into(),
        Value::String(text) => quoted(text.as_str()),
        Value::Array(items) if items.is_empty() => "an empty list".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(members) if members.is_empty() => "an empty object".into(),
        Value::Object(_) => "an object".into(),
        Value::Broken => "something unreadable".into(),
    }
}

/// The kind of a node, for where its content may be a secret.
pub(super) fn kind(node: &Node<'_>) -> &'static str {
    match &node.value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(text) if text.as_str().is_empty() => "an empty text",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
        Value::Broken => "something unreadable",
    }
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.into(),
    }
}

/// A text in quotes, with control characters escaped, shortened.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// A span as an operator writes it.
pub(super) fn in_seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}
