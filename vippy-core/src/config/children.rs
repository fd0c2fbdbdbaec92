//! What all programs that the daemon starts have in common: the command, the user,
//! the nodes; and how that is written down again.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::document::seconds;
use super::groups::Groups;
use super::reader::{Fields, Reader, quoted};
use super::shared::Nodes;
use super::suggest::nearest;
use super::text::{Node, Value};
use crate::identity::{GroupId, NodeName};

/// Arguments of one command, its name included.
const MOST_ARGUMENTS: usize = 256;
/// Longest argument in bytes; the kernel's limit is 128 KiB.
const LONGEST_ARGUMENT: usize = 64 << 10;
/// Longest user name that `useradd` makes.
const LONGEST_USER: usize = 32;

impl Reader {
    /// `run`: a program and its arguments.
    pub(super) fn command(&mut self, node: &Node<'_>) -> Option<Vec<String>> {
        let expected = "a program and its arguments, such as [\"/usr/local/bin/clean\", \"now\"]";
        if let Value::String(text) = &node.value {
            let words: Vec<String> = text.as_str().split_whitespace().map(quoted).collect();
            return self.wrong_but(node, expected, Some(format!("[{}]", words.join(", "))));
        }
        let items = self.list(node, expected)?;
        if items.is_empty() && self.intact(node) {
            return self.wrong(node, expected);
        }
        if let Some(excess) = items.get(MOST_ARGUMENTS) {
            let found = format!("{} arguments", items.len());
            self.report.error(excess.start, found, format!("at most {MOST_ARGUMENTS}"));
        }
        let mut command = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let text = self.text(item, "a text")?;
            if text.contains('\0') || text.len() > LONGEST_ARGUMENT {
                let expected = format!("at most {LONGEST_ARGUMENT} bytes, none of them zero");
                return self.wrong(item, expected);
            }
            if place == 0 && text.is_empty() {
                return self.wrong(item, "the name of a program");
            }
            command.push(text.to_owned());
        }
        Some(command)
    }

    /// `user`: whom a program runs as.
    pub(super) fn user(&mut self, fields: &Fields<'_>) -> Option<String> {
        let node = fields.get("user")?;
        let user = self.text(node, "the name of a user")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '$');
        let fits = !user.is_empty() && user.len() <= LONGEST_USER && user.chars().all(plain);
        match fits && !user.starts_with('-') {
            true => Some(user.to_owned()),
            false => self.wrong(node, format!("a user's name of 1 to {LONGEST_USER} characters")),
        }
    }

    /// `nodes`: where a program runs; empty: everywhere.
    pub(super) fn only_nodes(&mut self, fields: &Fields<'_>, nodes: &Nodes<'_>) -> Vec<NodeName> {
        let expected = "a list of nodes' names";
        self.names(fields, "nodes", expected, |reader, item, name| {
            if nodes.lacks(name) {
                let hint = nearest(name, nodes.trusted_names().iter().copied()).map(quoted);
                return reader.wrong_but(item, "the name of a node in `nodes`", hint);
            }
            Some(NodeName::from(name))
        })
    }

    /// `groups`: which groups a program is about; empty: all. A group without a name
    /// is meant by any of its addresses.
    pub(super) fn only_groups(&mut self, fields: &Fields<'_>, groups: &Groups) -> Vec<GroupId> {
        let expected = "a list of groups' names";
        self.names(fields, "groups", expected, |reader, item, name| {
            let is_meant = |group: &super::Group| match name.parse::<IpAddr>() {
                Ok(ip) => group.addresses.iter().any(|address| address.ip() == ip),
                Err(_) => group.name.as_deref() == Some(name),
            };
            if let Some(group) = groups.groups.iter().find(|group| is_meant(group)) {
                return Some(group.id.clone());
            }
            // A group that was refused itself is lacking here.
            if reader.report.has_errors() {
                return None;
            }
            let named = groups.groups.iter().filter_map(|group| group.name.as_deref());
            let hint = nearest(name, named).map(quoted);
            reader.wrong_but(item, "the name, or an address, of a group in `vips`", hint)
        })
    }

    /// A list of names, each once.
    fn names<T: Ord + Clone>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        expected: &str,
        mut meant: impl FnMut(&mut Reader, &Node<'_>, &str) -> Option<T>,
    ) -> Vec<T> {
        let Some(list) = fields.get(key) else { return Vec::new() };
        let Some(items) = self.list(list, expected) else { return Vec::new() };
        if items.is_empty() && self.intact(list) {
            self.wrong::<()>(list, format!("at least one, or no `{key}`: that means all"));
        }
        let mut seen = BTreeSet::new();
        let mut names = Vec::new();
        for item in items {
            let Some(name) = self.text(item, expected) else { continue };
            let Some(one) = meant(self, item, name) else { continue };
            if !seen.insert(one.clone()) {
                self.report.error(item.start, quoted(name), "each once");
                continue;
            }
            names.push(one);
        }
        names
    }
}

/// An object as it stands in documents and in the canonical text: on one line, only
/// what is not the default.
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

/// A text as JSON writes it.
fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // U+2028 and U+2029 end a line for some readers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
