//! Reading the configuration: at the start, and again at HUP.
//!
//! Owns what of a new configuration takes effect in a running daemon
//! ([`adopt`]). What a configuration means is `vippy_core::config`'s business.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use vippy_core::config::{self, Config, LocalPart, Problem, Secret};
use vippy_core::identity::NodeName;

use crate::cli::Cli;

/// Largest configuration that is read, in bytes: room for 10,000 groups, and
/// for a mistyped path to be told instead of filling the memory.
const LIMIT: u64 = 16 << 20;

/// Why there is no configuration. Nothing was changed.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is wrong; every problem with its place.
    #[error("{} is refused, problems: {}", path.display(), problems.len())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problems: Vec<Problem>,
    },
}

impl LoadError {
    /// One line for each thing that is wrong.
    pub fn lines(&self) -> Vec<String> {
        match self {
            LoadError::Unreadable { .. } => vec![self.to_string()],
            LoadError::Refused { problems, .. } => {
                problems.iter().map(Problem::to_string).collect()
            }
        }
    }
}

/// Where a configuration comes from: a file, and what the command line says
/// instead of it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    management: Option<PathBuf>,
    state: Option<PathBuf>,
    plugins: Vec<PathBuf>,
}

impl From<&Cli> for Source {
    fn from(cli: &Cli) -> Source {
        Source {
            path: cli.config.clone(),
            management: cli.management.clone(),
            state: cli.state.clone(),
            plugins: cli.plugins.clone(),
        }
    }
}

/// A configuration, and what is risky in it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One line each.
    pub warnings: Vec<String>,
}

impl Source {
    /// Reads and validates. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read or is wrong.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        let text = read(&self.path)
            .map_err(|source| LoadError::Unreadable { path: self.path.clone(), source })?;
        let parsed = config::parse(&text, &self.path.display().to_string())
            .map_err(|problems| LoadError::Refused { path: self.path.clone(), problems })?;
        let mut config = parsed.config;
        if let Some(path) = &self.management {
            config.local.management.clone_from(path);
        }
        if let Some(path) = &self.state {
            config.local.state.clone_from(path);
        }
        config.local.plugins.extend(self.plugins.iter().cloned());
        let warnings = parsed.warnings.iter().map(Problem::to_string).collect();
        Ok(Loaded { config, warnings })
    }
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    if file.take(LIMIT + 1).read_to_string(&mut text)? as u64 > LIMIT {
        return Err(io::Error::other(format!("it has more than {LIMIT} bytes")));
    }
    Ok(text)
}

/// What a running daemon takes from a new configuration: everything but the
/// keys that only a start reads. Those keep their running values, and their
/// names are the second result when the file says otherwise.
pub fn adopt(running: &LocalPart, new: &mut Config, node: &NodeName) -> Vec<&'static str> {
    let local = &mut new.local;
    let mut ignored = Vec::new();
    let mut keep = |name, same: bool| {
        if !same {
            ignored.push(name);
        }
    };
    keep("chat", local.chat == running.chat);
    keep("chat_interface", local.chat_interface == running.chat_interface);
    keep("peers (this node's own address)", local.peers.get(node) == running.peers.get(node));
    keep("secret", same_secrets(&local.secrets, &running.secrets));
    keep("cluster", local.cluster == running.cluster);
    keep("management", local.management == running.management);
    keep("state", local.state == running.state);
    keep("plugins", local.plugins == running.plugins);
    local.chat = running.chat;
    local.chat_interface.clone_from(&running.chat_interface);
    match running.peers.get(node) {
        Some(own) => local.peers.insert(node.clone(), *own),
        None => local.peers.remove(node),
    };
    local.secrets.clone_from(&running.secrets);
    local.cluster.clone_from(&running.cluster);
    local.management.clone_from(&running.management);
    local.state.clone_from(&running.state);
    local.plugins.clone_from(&running.plugins);
    ignored
}

fn same_secrets(a: &[Secret], b: &[Secret]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0)
}
