//! Objects as documents and the canonical text have them, on one line.

use std::fmt::Write;
use std::time::Duration;

use super::document::seconds;
use super::written::json;

/// One in the making: only what is not the default.
#[derive(Debug)]
pub(super) struct Line(String);

impl Line {
    pub(super) fn new() -> Line {
        Line("{".to_owned())
    }

    fn key(&mut self, key: &str) -> &mut String {
        let comma = if self.0.len() == 1 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{comma}\"{key}\": ");
        &mut self.0
    }

    pub(super) fn text(mut self, key: &str, text: &str) -> Line {
        let quoted = json(text);
        self.key(key).push_str(&quoted);
        self
    }

    pub(super) fn maybe(self, key: &str, text: Option<&str>) -> Line {
        match text {
            Some(text) => self.text(key, text),
            None => self,
        }
    }

    pub(super) fn list<T: AsRef<str>>(
        mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
    ) -> Line {
        let items: Vec<String> = items.into_iter().map(|item| json(item.as_ref())).collect();
        if !items.is_empty() {
            let _ = write!(self.key(key), "[{}]", items.join(", "));
        }
        self
    }

    pub(super) fn flag(mut self, key: &str, set: bool) -> Line {
        if set {
            self.key(key).push_str("true");
        }
        self
    }

    pub(super) fn span(mut self, key: &str, span: Duration, default: Duration) -> Line {
        if span != default {
            self.key(key).push_str(&seconds(span));
        }
        self
    }

    pub(super) fn done(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
