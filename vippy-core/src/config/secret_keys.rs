//! The keys `secret` and `secret_file`. Whatever is wrong with their values, no
//! message repeats it.

use super::reader::{Fields, Reader, kind};
use super::secret::{MOST_SECRETS, Secret, SecretFile, flaw, risks};
use super::text::{Node, Value};

const A_SECRET: &str = "a text that is the same on all nodes and known to nobody else";

/// The secrets of a configuration, or where they are; one of the two is empty.
#[derive(Default)]
pub(super) struct Secrets {
    pub(super) here: Vec<Secret>,
    pub(super) files: Vec<SecretFile>,
}

impl Reader {
    pub(super) fn secrets(&mut self, top: &Fields<'_>) -> Secrets {
        match (top.get("secret"), top.get("secret_file")) {
            (Some(secret), None) => Secrets {
                here: self.each(secret, |reader, item| reader.secret(item)),
                files: Vec::new(),
            },
            (None, Some(file)) => Secrets {
                here: Vec::new(),
                files: self.each(file, |reader, item| reader.secret_file(item)),
            },
            (Some(_), Some(file)) => {
                self.report.error(file.start, "`secret` as well", "one of the two");
                Secrets::default()
            }
            (None, None) => {
                self.missing::<()>(top, "secret", format!("{A_SECRET}, or `secret_file`"));
                Secrets::default()
            }
        }
    }

    /// One value, or a list of values that all differ.
    fn each<'t, T: PartialEq>(
        &mut self,
        node: &'t Node<'t>,
        read: impl Fn(&mut Reader, &'t Node<'t>) -> Option<T>,
    ) -> Vec<T> {
        let Value::Array(items) = &node.value else {
            return read(self, node).into_iter().collect();
        };
        if items.is_empty() || items.len() > MOST_SECRETS {
            let expected = format!("1 to {MOST_SECRETS}: the first signs, all verify");
            self.report.error(node.start, format!("a list of {}", items.len()), expected);
            return Vec::new();
        }
        let mut values: Vec<(T, usize)> = Vec::new();
        for item in items {
            let Some(value) = read(self, item) else { continue };
            match values.iter().find(|(earlier, _)| *earlier == value) {
                Some((_, first)) => {
                    self.report.error(item.start, "the same", "every entry once").first_at(*first);
                }
                None => values.push((value, item.start)),
            }
        }
        values.into_iter().map(|(value, _)| value).collect()
    }

    fn secret(&mut self, node: &Node<'_>) -> Option<Secret> {
        let text = self.hushed_text(node, A_SECRET)?;
        if let Some((found, expected)) = flaw(text) {
            self.report.error(node.start, found, expected);
            return None;
        }
        for (found, expected) in risks(text) {
            self.report.warn(node.start, found, expected);
        }
        Some(Secret::from(text))
    }

    fn secret_file(&mut self, node: &Node<'_>) -> Option<SecretFile> {
        let expected = "an absolute path or \"credential:NAME\"";
        let text = self.hushed_text(node, expected)?;
        let file = SecretFile::read(text);
        if file.is_none() {
            // It may be the secret itself.
            self.report.error(node.start, kind(node), expected);
        }
        file
    }

    /// A text that is not empty.
    fn hushed_text<'t>(&mut self, node: &'t Node<'t>, expected: &str) -> Option<&'t str> {
        match &node.value {
            Value::String(text) if !text.as_str().is_empty() => Some(text.as_str()),
            Value::Broken => None,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                self.report.error(node.start, kind(node), expected);
                None
            }
        }
    }
}
