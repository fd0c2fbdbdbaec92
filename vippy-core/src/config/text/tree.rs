//! The tree of values with their places.

use std::fmt::Write;

use zeroize::Zeroizing;

/// A value and the bytes it was read from.
#[derive(Debug)]
pub(in crate::config) struct Node<'t> {
    /// Offset of its first byte.
    pub(in crate::config) start: usize,
    /// Offset behind its last byte.
    pub(in crate::config) end: usize,
    pub(in crate::config) value: Value<'t>,
}

impl Node<'_> {
    /// Whether it lies wholly before an offset. What is absent counts as one
    /// byte wide, so that a complaint about its absence is in it.
    fn is_before(&self, offset: usize) -> bool {
        self.end.max(self.start + 1) <= offset
    }
}

#[derive(Debug)]
pub(in crate::config) enum Value<'t> {
    Null,
    Bool(bool),
    /// As written; it satisfies [`is_number`](super::is_number).
    Number(&'t str),
    String(Text<'t>),
    Array(Vec<Node<'t>>),
    Object(Vec<Member<'t>>),
    /// Something was wrong here and is already reported.
    Broken,
}

/// A string's content. Decoded copies are wiped: one of them may be a secret.
#[derive(Debug)]
pub(in crate::config) enum Text<'t> {
    Plain(&'t str),
    Decoded(Zeroizing<String>),
}

impl Text<'_> {
    pub(in crate::config) fn as_str(&self) -> &str {
        match self {
            Text::Plain(text) => text,
            Text::Decoded(text) => text,
        }
    }
}

/// A key and its value in an object.
#[derive(Debug)]
pub(in crate::config) struct Member<'t> {
    /// Offset of the key.
    pub(in crate::config) at: usize,
    pub(in crate::config) key: Text<'t>,
    pub(in crate::config) value: Node<'t>,
}

/// Everything a text says.
pub(in crate::config) struct Tree<'t> {
    pub(in crate::config) root: Node<'t>,
    /// Where syntax errors are, ascending.
    pub(in crate::config) damage: Vec<usize>,
}

impl Tree<'_> {
    /// The path of what stands at `offset`, such as `vips[2][0].ip`; empty for
    /// the root.
    pub(in crate::config) fn path_at(&self, offset: usize) -> String {
        let mut path = String::new();
        let mut node = &self.root;
        let mut hushed = false;
        loop {
            node = match &node.value {
                Value::Array(items) => {
                    let index = items.partition_point(|item| item.is_before(offset));
                    match items.get(index).filter(|item| item.start <= offset) {
                        Some(item) => {
                            let _ = write!(path, "[{index}]");
                            item
                        }
                        None => return path,
                    }
                }
                // Where a secret belongs, even keys are not repeated.
                Value::Object(_) if hushed => return path,
                Value::Object(members) => {
                    let index = members.partition_point(|member| member.value.is_before(offset));
                    match members.get(index).filter(|member| member.at <= offset) {
                        Some(member) => {
                            push_key(&mut path, member.key.as_str());
                            if offset < member.value.start {
                                return path;
                            }
                            hushed = may_be_secret(member.key.as_str());
                            &member.value
                        }
                        None => return path,
                    }
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Broken => return path,
            }
        }
    }
}

/// Whether a value under this key, perhaps misspelt, must not be repeated.
pub(super) fn may_be_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["secret", "pass", "key", "token"].iter().any(|word| key.contains(word))
        || ((4..=8).contains(&key.len()) && strsim::osa_distance(&key, "secret") <= 2)
}

/// Appends a key to a path; an odd one is quoted, escaped and shortened.
pub(in crate::config) fn push_key(path: &mut String, key: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=63).contains(&key.len()) && key.chars().all(plain) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    } else {
        let short: String = key.chars().take(40).collect();
        let _ = write!(path, "[{short:?}]");
    }
}
