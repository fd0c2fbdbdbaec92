//! Reading the configuration: at the start, and again at HUP.
//!
//! Owns what of a new configuration takes effect in a running daemon
//! ([`adopt`]). What a configuration means is `vippy_core::config`'s business.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use vippy_core::config::{self, Config, LocalPart, MOST_BYTES, Problem, SecretFile};
use vippy_core::identity::NodeName;
use zeroize::Zeroizing;

use crate::cli::Cli;
use crate::secrets::{self, Found};

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
    /// The files of secrets that it names cannot be used.
    #[error("{} is refused, problems with `secret_file`: {}", path.display(), problems.len())]
    NoSecrets {
        /// The file that names them.
        path: PathBuf,
        /// What is wrong.
        problems: Vec<String>,
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
            LoadError::NoSecrets { problems, .. } => {
                problems.iter().map(|problem| format!("secret_file: {problem}")).collect()
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
    /// Where the service manager put this process's credentials.
    credentials: Option<PathBuf>,
}

impl From<&Cli> for Source {
    fn from(cli: &Cli) -> Source {
        Source {
            path: cli.config.clone(),
            management: cli.management.clone(),
            state: cli.state.clone(),
            plugins: cli.plugins.iter().map(absolute).collect(),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        }
    }
}

/// A path of the command line, for a process whose directory is another one.
fn absolute(path: &PathBuf) -> PathBuf {
    // Without a current directory it fails later, by the name that was given.
    std::path::absolute(path).unwrap_or_else(|_| path.clone())
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
    /// Reads and validates everything. Blocks.
    ///
    /// # Errors
    /// When the file, or one of secrets that it names, cannot be read or is wrong.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        self.with_secrets(self.load_file()?)
    }

    /// As [`Source::load`], but for a look only: credentials that only the
    /// daemon's service has are warned of.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub fn look(&self) -> Result<Loaded, LoadError> {
        let mut loaded = self.load_file()?;
        let local = &mut loaded.config.local;
        let (out_of_reach, files): (Vec<_>, Vec<_>) =
            local.secret_files.drain(..).partition(|file| match file {
                SecretFile::Credential(_) => self.credentials.is_none(),
                SecretFile::Path(_) => false,
            });
        local.secret_files = files;
        loaded.warnings.extend(out_of_reach.iter().map(|file| {
            format!("secret_file: {file} was not looked at: only the service's processes have it")
        }));
        self.with_secrets(loaded)
    }

    fn with_secrets(&self, mut loaded: Loaded) -> Result<Loaded, LoadError> {
        let local = &mut loaded.config.local;
        if local.secret_files.is_empty() {
            return Ok(loaded);
        }
        let Found { secrets, warnings } =
            secrets::read(&local.secret_files, self.credentials.as_deref())
                .map_err(|problems| LoadError::NoSecrets { path: self.path.clone(), problems })?;
        local.secrets = secrets;
        loaded.warnings.extend(warnings);
        Ok(loaded)
    }

    /// The file alone: secrets that it does not hold itself are lacking. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read or is wrong.
    pub fn load_file(&self) -> Result<Loaded, LoadError> {
        let (metadata, text) = read(&self.path)
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
        let mut warnings: Vec<String> = parsed.warnings.iter().map(Problem::to_string).collect();
        if config.local.secret_files.is_empty() {
            warnings.extend(secrets::exposure(&self.path, &metadata));
        }
        Ok(Loaded { config, warnings })
    }
}

/// The text, wiped when dropped: the secret may be in it.
fn read(path: &Path) -> io::Result<(Metadata, Zeroizing<String>)> {
    use io::Read;
    let file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    // In one piece, so that growing leaves no copy behind.
    let room = usize::try_from(metadata.len()).unwrap_or(MOST_BYTES).min(MOST_BYTES) + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    if file.take(MOST_BYTES as u64 + 1).read_to_string(&mut text)? > MOST_BYTES {
        return Err(io::Error::other(format!("it has more than {MOST_BYTES} bytes")));
    }
    Ok((metadata, text))
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
    keep("cluster", local.cluster == running.cluster);
    keep("management", local.management == running.management);
    keep("state", local.state == running.state);
    keep("realtime", local.realtime == running.realtime);
    local.chat = running.chat;
    local.chat_interface.clone_from(&running.chat_interface);
    match running.peers.get(node) {
        Some(own) => local.peers.insert(node.clone(), *own),
        None => local.peers.remove(node),
    };
    local.cluster.clone_from(&running.cluster);
    local.management.clone_from(&running.management);
    local.state.clone_from(&running.state);
    local.realtime = running.realtime;
    ignored
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn config(extra: &str) -> Config {
        let text = format!(
            "{{chat: '224.1.1.1:5007', secret: 'a secret of some length', version: 1, \
             nodes: ['node1', 'node2'], vips: [[{{interface: 'lo', ip: '10.0.0.1/24'}}]], {extra}}}"
        );
        config::parse(&text, "test").unwrap().config
    }

    fn node1() -> NodeName {
        NodeName::from("node1")
    }

    #[test]
    fn keys_that_only_a_start_reads_keep_their_values_and_are_told() {
        let running = config("");
        let mut new = config("cluster: 'other', management: '/run/other.socket', stop_timeout: 9");
        let ignored = adopt(&running.local, &mut new, &node1());
        assert_eq!(ignored, ["cluster", "management"]);
        assert_eq!(new.local.cluster, "");
        assert_eq!(new.local.management, running.local.management);
        assert_eq!(new.local.stop_timeout.as_secs(), 9);
    }

    #[test]
    fn new_secrets_are_taken_over() {
        let running = config("");
        let mut new = config("");
        new.local.secrets = vec!["the new secret".into(), "a secret of some length".into()];
        assert_eq!(adopt(&running.local, &mut new, &node1()), Vec::<&str>::new());
        assert_eq!(new.local.secrets[0], "the new secret".into());
    }

    /// Where a configuration with this key for its secrets comes from.
    fn source(dir: &Path, secrets: &str, credentials: Option<&Path>) -> Source {
        let path = dir.join("v.conf");
        let text = format!(
            "{{chat: '224.1.1.1:5007', {secrets}, version: 1, nodes: ['node1'],
               vips: [[{{interface: 'lo', ip: '10.0.0.1/24'}}]]}}"
        );
        std::fs::write(&path, text).unwrap();
        let credentials = credentials.map(Path::to_owned);
        Source { path, management: None, state: None, plugins: Vec::new(), credentials }
    }

    #[test]
    fn secrets_come_from_the_files_that_the_configuration_names() {
        let dir = tempfile::tempdir().unwrap();
        let lines = "the new secret, of some length\na secret of some length\n";
        std::fs::write(dir.path().join("vippy.secret"), lines).unwrap();
        let key = "secret_file: 'credential:vippy.secret'";
        let loaded = source(dir.path(), key, Some(dir.path())).load().unwrap();
        let wanted = lines.lines().map(Into::into).collect::<Vec<config::Secret>>();
        assert_eq!(loaded.config.local.secrets, wanted);
        let exposed = format!("{}: found mode 0644", dir.path().join("vippy.secret").display());
        assert!(loaded.warnings.len() == 1 && loaded.warnings[0].starts_with(&exposed));
    }

    #[test]
    fn what_is_wrong_with_files_of_secrets_is_told_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let key = "secret_file: ['/no/such/file', 'credential:none']";
        let error = source(dir.path(), key, None).load().unwrap_err();
        assert!(error.to_string().ends_with("is refused, problems with `secret_file`: 2"));
        let lines = error.lines();
        assert!(lines[0].starts_with("secret_file: cannot read /no/such/file: No such file"));
        assert!(lines[1].starts_with("secret_file: no credential none: $CREDENTIALS_DIRECTORY"));
    }

    #[test]
    fn a_mere_look_misses_the_credentials_of_a_service_but_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let look = |key| source(dir.path(), key, None).look();
        let loaded = look("secret_file: 'credential:vippy.secret'").unwrap();
        let told = "secret_file: credential:vippy.secret was not looked at";
        assert!(loaded.warnings.iter().any(|warning| warning.starts_with(told)));
        assert!(look("secret_file: ['credential:vippy.secret', '/no/such/file']").is_err());
        let there = source(dir.path(), "secret_file: 'credential:none'", Some(dir.path())).look();
        assert!(there.unwrap_err().lines()[0].contains("none: No such file"));
    }

    #[test]
    fn a_configuration_with_a_secret_that_others_may_read_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let source = source(dir.path(), "secret: 'a secret of some length'", None);
        let warned = || !source.load().unwrap().warnings.is_empty();
        assert!(warned());
        std::fs::set_permissions(&source.path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(!warned());
    }

    #[test]
    fn addresses_of_other_nodes_are_taken_over_and_ones_own_is_not() {
        let running = config("peers: {node1: '10.0.0.8:5007', node2: '10.0.0.9:5007'}");
        let mut new = config("peers: {node1: '10.0.0.7:5007', node2: '10.0.0.6:5007'}");
        let ignored = adopt(&running.local, &mut new, &node1());
        assert_eq!(ignored, ["peers (this node's own address)"]);
        assert_eq!(new.local.peers[&node1()], "10.0.0.8:5007".parse().unwrap());
        assert_eq!(new.local.peers[&NodeName::from("node2")], "10.0.0.6:5007".parse().unwrap());
    }

    #[test]
    fn command_line_wins_over_the_file() {
        use clap::Parser;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.conf");
        let text = "{chat: '224.1.1.1:5007', secret: 'a secret of some length', version: 1, \
                    nodes: ['node1'], vips: [[{interface: 'lo', ip: '10.0.0.1/24'}]], \
                    state: '/from/file', management: '/from/file.socket'}";
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        let cli = Cli::parse_from(["vippyd", "-c", path, "--state", "/s", "-p", "x.js"]);
        let local = Source::from(&cli).load().unwrap().config.local;
        assert_eq!(local.state, Path::new("/s"));
        assert_eq!(local.management, Path::new("/from/file.socket"));
        assert_eq!(local.plugins, [std::env::current_dir().unwrap().join("x.js")]);
    }
}
