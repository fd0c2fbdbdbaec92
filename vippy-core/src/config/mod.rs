//! The configuration: one file for the whole cluster.
//!
//! [`parse`] turns text into a validated [`Config`] or into every problem it
//! has, each with its place. [`model`] is what the rest of the program sees;
//! it holds only configurations that can work. What every key means is told in
//! `docs/CONFIG.md`.
//!
//! Inside, `text` reads JSON5 into a tree with positions, `reader` and
//! `values` take typed values out of it, `shared`, `groups`, `policy`, `chat`,
//! `logging` and `local` know the keys and the rules between them, and `report` collects
//! and places problems. [`mod@digest`] says what two nodes compare.
//!
//! Nothing here reads files: the text and its file's name are arguments. The
//! copies of the secret that are made here are wiped; wiping the text is up to
//! the caller.

mod chat;
pub mod digest;
mod groups;
mod local;
mod logging;
pub mod model;
mod policy;
mod problem;
mod reader;
mod report;
mod shared;
mod suggest;
#[cfg(test)]
mod tests;
mod text;
mod values;

pub use model::{
    Address, ChatInterface, Config, Digest, Failback, Group, Lifetime, LocalPart, Logging,
    LoggingDriver, Node, NotifyTarget, Secret, SharedPart,
};
pub use problem::Problem;
pub(crate) use suggest::nearest;

use reader::Reader;
use report::Report;
use text::{Node as TextNode, Tree};

/// All keys of a configuration.
const KEYS: [&str; 25] = [
    "chat",
    "chat_interface",
    "peers",
    "secret",
    "cluster",
    "version",
    "vips",
    "nodes",
    "interval",
    "mature",
    "stale",
    "arp-cache",
    "notify",
    "management",
    "state",
    "failback",
    "hold_down",
    "quorum",
    "witness",
    "isolation",
    "stop_timeout",
    "lifetime",
    "realtime",
    "logging",
    "plugins",
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
    // Editors do not count a byte order mark as a column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::default();
    let mut tree = text::read(text, &mut report);
    let mut reader = Reader::new(report, std::mem::take(&mut tree.damage));
    let config = read_config(&mut reader, &tree);
    let (problems, warnings) = reader.report.place(file, text, &tree);
    config.map(|config| Parsed { config, warnings }).ok_or(problems)
}

/// Reads everything; the configuration, when no problem was noted.
fn read_config(reader: &mut Reader, tree: &Tree<'_>) -> Option<Config> {
    let root: &TextNode<'_> = &tree.root;
    let top = reader.object(root, "an object: `{ … }`", &KEYS)?;
    let version = reader.version(&top);
    let nodes = reader.nodes(&top);
    let groups = reader.groups(&top, &nodes);
    let timers = reader.timers(&top);
    let chat = reader.chat(&top, &nodes, &groups);
    let local = reader.local(&top, &timers, chat);
    let policy = reader.policy(&top, &timers, &nodes, &groups);
    reader.check_exclusive(&top, &local, &groups);
    reader.check_witnesses(&top, &policy, local.fixed_addresses());
    if reader.report.has_errors() {
        return None;
    }
    let mut shared = SharedPart {
        version,
        digest: Digest::default(),
        nodes: nodes.into_model(),
        groups: groups.groups,
        interval: timers.interval,
        mature: timers.mature,
        stale: timers.stale,
        quorum: policy.quorum,
        witness: policy.witness,
        isolation: policy.isolation,
        hold_down: policy.hold_down,
    };
    shared.digest = digest::digest(&shared);
    Some(Config { shared, local })
}
