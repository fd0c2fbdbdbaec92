//! What follows the question mark of a request.

use std::time::Duration;

use hyper::StatusCode;

use super::routes::Refusal;

/// What stands for the name of a file that has none.
pub(super) const NAMELESS: &str = "configuration";

/// The parameters of one request, each at most once.
pub(super) struct Query<'a> {
    path: &'a str,
    pairs: Vec<(String, String)>,
}

impl<'a> Query<'a> {
    /// Refuses keys that are not among `known`, and a key that comes twice.
    pub(super) fn read(
        path: &'a str,
        query: Option<&str>,
        known: &[&str],
    ) -> Result<Query<'a>, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let twice = pairs.iter().any(|(other, _)| *other == *key);
            if twice || !known.contains(&&*key) {
                let again = if twice { " again" } else { "" };
                let expected = known.join(" or ");
                let text =
                    format!("{path}: found the parameter {key:?}{again}, expected {expected}");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
            }
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Query { path, pairs })
    }

    /// What is said under a key, if anything is.
    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(other, _)| other == key)?;
        Some(self.pairs.swap_remove(at).1)
    }

    /// A time in seconds, from 1 to `longest`.
    pub(super) fn seconds(&mut self, key: &str, longest: u64) -> Result<Option<Duration>, Refusal> {
        let Some(seconds) = self.take(key) else { return Ok(None) };
        match seconds.parse::<u64>() {
            Ok(number) if (1..=longest).contains(&number) => Ok(Some(Duration::from_secs(number))),
            Ok(_) | Err(_) => {
                let expected = format!("whole seconds from 1 to {longest}");
                let text = format!("{}: {key}: found {seconds:?}, expected {expected}", self.path);
                Err(Refusal::new(StatusCode::BAD_REQUEST, text))
            }
        }
    }
}
