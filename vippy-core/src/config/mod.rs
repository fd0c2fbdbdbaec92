//! The configuration: one file for the whole cluster.
//!
//! [`parse`] turns text into a validated [`Config`] or into every problem it
//! has, each with its place. [`model`] is what the rest of the program sees;
//! it holds only configurations that can work. What every key means is told in
//! `docs/CONFIG.md`.
//!
//! Inside, `text` reads JSON5 into a tree with positions, `reader` and
//! `values` take typed values out of it, `shared`, `groups`, `policy`, `checks`,
//! `hooks`, `plugins`, `chat`, `logging`, `secret_keys` and `local` know the keys and
//! the rules between them, `line` and `written` how some of them are written down,
//! and `report` collects and places problems. [`mod@digest`] says what two nodes
//! compare, [`document()`] what they give each other, and [`localize()`] fits
//! another node's configuration to this one's interfaces.
//!
//! Nothing here reads files: texts and their files' names are arguments. A
//! configuration that says where its secrets are gets them from its caller, who
//! has [`SecretTexts`] to understand the files. The copies of secrets that are
//! made here are wiped; wiping the texts is up to the caller.

mod chat;
pub mod checks;
pub mod digest;
mod document;
mod groups;
pub mod hooks;
mod line;
mod local;
mod localize;
mod logging;
pub mod model;
mod notify;
pub mod plugins;
mod policy;
mod problem;
mod reader;
mod report;
mod secret;
mod secret_keys;
mod shared;
mod suggest;
#[cfg(test)]
mod tests;
mod text;
mod values;
mod written;

pub use document::{Kept, MOST_BYTES, document, parse_document, parse_shared};
pub use hooks::Hook;
pub use localize::localize;
pub use model::{
    Address, ChatInterface, Config, Digest, Failback, Group, Lifetime, LocalPart, Logging,
    LoggingDriver, Node, NotifyTarget, SharedPart,
};
pub use plugins::{Plugin, PluginStart};
pub use problem::Problem;
pub use secret::{Secret, SecretFile, SecretTexts};
pub(crate) use suggest::nearest;

use reader::Reader;
use report::Report;
use text::Node as TextNode;

/// Keys of the part that all nodes share: those that a document has.
pub const SHARED_KEYS: [&str; 14] = [
    "version",
    "vips",
    "nodes",
    "interval",
    "mature",
    "stale",
    "failback",
    "hold_down",
    "quorum",
    "witness",
    "isolation",
    "checks",
    "hooks",
    "plugins",
];

/// Keys of the part that only this node reads.
pub const LOCAL_KEYS: [&str; 16] = [
    "chat",
    "chat_interface",
    "peers",
    "secret",
    "secret_file",
    "cluster",
    "arp-cache",
    "notify",
    "notify_rate",
    "management",
    "state",
    "stop_timeout",
    "lifetime",
    "realtime",
    "metrics",
    "logging",
];

/// A valid configuration and what is risky about it.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// What works but is probably not wanted, in the order of the text.
    pub warnings: Vec<Problem>,
}

/// Reads and validates a configuration.
///
/// `file` is only repeated in problems.
///
/// # Errors
///
/// Every problem of the text, in its order; at least one, and at most about a
/// thousand (the last then tells how many there are more). After a syntax
/// error the rest is checked as far as it can be read, but nothing is reported
/// as missing.
pub fn parse(text: &str, file: &str) -> Result<Parsed, Vec<Problem>> {
    read(text, file, read_config).map(|(config, warnings)| Parsed { config, warnings })
}

/// Reads a text with `take`; its value and the warnings, or every problem.
fn read<T>(
    text: &str,
    file: &str,
    take: impl FnOnce(&mut Reader, &TextNode<'_>) -> Option<T>,
) -> Result<(T, Vec<Problem>), Vec<Problem>> {
    // Editors do not count a byte order mark as a column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::default();
    let mut tree = text::read(text, &mut report);
    let mut reader = Reader::new(report, std::mem::take(&mut tree.damage));
    let taken = take(&mut reader, &tree.root);
    let (problems, warnings) = reader.report.place(file, text, &tree);
    taken.map(|taken| (taken, warnings)).ok_or(problems)
}

/// Reads everything; the configuration, when no problem was noted.
fn read_config(reader: &mut Reader, root: &TextNode<'_>) -> Option<Config> {
    let keys = [&LOCAL_KEYS[..], &SHARED_KEYS].concat();
    let top = reader.object(root, "an object: `{ … }`", &keys)?;
    let shared = reader.shared(&top);
    let chat = reader.chat(&top, &shared.nodes, &shared.groups);
    let local = reader.local(&top, &shared.timers, chat);
    reader.check_exclusive(&top, &local, &shared.groups);
    reader.check_witnesses(&top, &shared.policy, local.fixed_addresses());
    if reader.report.has_errors() {
        return None;
    }
    let shared = shared.into_model();
    let document = document(&shared);
    Some(Config { shared, local, document })
}
