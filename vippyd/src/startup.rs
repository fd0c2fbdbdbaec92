//! From a command line to a running loop, and back to an exit code.
//!
//! Everything that may block or fail for outside reasons is opened here, once,
//! before the loop begins; each refusal says what was found and what would do.

mod check;
mod recall;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Runtime;
use vippy_core::config::Config;
use vippy_core::engine::{Engine, Start};
use vippy_core::identity::{Epoch, GroupId, NodeName};

use self::recall::Recalled;
use crate::announce::{AnnounceError, Announcer};
use crate::chat::{Chat, ChatError};
use crate::cli::{Cli, Exit};
use crate::clock;
use crate::collector::Collector;
use crate::core_dumps;
use crate::daemon::{Daemon, Ending, Parts};
use crate::extend::Extensions;
use crate::extend::launch::Launcher;
use crate::kernel::{self, Kernel, KernelError};
use crate::load::{LoadError, Loaded, Source};
use crate::logging::{Level, Logger};
use crate::management::ManagementError;
use crate::neighbourhood::Neighbourhood;
use crate::operators::Operators;
use crate::realtime;
use crate::signals::Signals;
use crate::state_dir::{StateDir, StateError, Writer};
use crate::successor::Successor;
use crate::supervision::Supervision;
use crate::witness::Prober;

/// How long the last lines may take to be written.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Why the daemon does not run. Nothing was changed but what is said.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration cannot be read or is wrong.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The configuration does not know this node.
    #[error("node {name} is not in {path}; expected one of: {known} (choose with -n)", path = path.display())]
    NotANode {
        /// The name that was tried.
        name: String,
        /// The configuration.
        path: std::path::PathBuf,
        /// The names it has.
        known: String,
    },
    /// The kernel would refuse what the daemon is for.
    #[error(
        "capability {missing} is missing; expected root, or CAP_NET_ADMIN and CAP_NET_RAW \
         (AmbientCapabilities= in a unit)"
    )]
    Capability {
        /// Its name.
        missing: &'static str,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The management socket cannot be used.
    #[error(transparent)]
    Management(#[from] ManagementError),
    /// The sockets to the other daemons cannot be used.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The kernel side does not start.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The raw sockets for ARP and neighbour discovery cannot be had.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// Threads, descriptors or other things that every process gets are not to be had.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StartError {
    fn exit(&self) -> Exit {
        match self {
            StartError::Load(_) | StartError::NotANode { .. } => Exit::Refused,
            StartError::Capability { .. }
            | StartError::State(_)
            | StartError::Management(_)
            | StartError::Chat(_)
            | StartError::Kernel(_)
            | StartError::Announce(_)
            | StartError::System { .. } => Exit::CannotRun,
        }
    }

    /// One line for each thing that is wrong, causes included.
    fn lines(&self) -> Vec<String> {
        if let StartError::Load(error) = self {
            return error.lines();
        }
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors repeat their cause in their own words.
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        vec![line]
    }
}

fn system(doing: &'static str) -> impl Fn(std::io::Error) -> StartError {
    move |source| StartError::System { doing, source }
}

/// Does what the command line asks.
pub fn main(cli: &Cli) -> ExitCode {
    match act(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            for line in error.lines() {
                eprintln!("vippyd: {line}");
            }
            error.exit().into()
        }
    }
}

fn act(cli: &Cli) -> Result<Exit, StartError> {
    // Before a secret is read.
    if !cli.core_dumps {
        core_dumps::forbid().map_err(system("forbid core dumps"))?;
    }
    let source = Source::from(cli);
    if cli.check {
        check::check(cli, &source)
    } else if cli.release {
        release(cli, &source)
    } else {
        run(cli, source)
    }
}

/// Takes off what an earlier run left; no secret is needed for that.
fn release(cli: &Cli, source: &Source) -> Result<Exit, StartError> {
    let Loaded { config, .. } = source.load_file()?;
    let (node, state) = open(cli, source, &config)?;
    let removed = Kernel::release_all(&kernel::Settings { ledger: state.ledger() })?;
    println!("{node}: removed {} that an earlier run left", addresses(removed));
    Ok(Exit::Fine)
}

/// This node and its state directory, which no other process has.
fn open(cli: &Cli, source: &Source, config: &Config) -> Result<(NodeName, StateDir), StartError> {
    let node = node_name(cli.node.as_deref(), config, &source.path)?;
    let state = StateDir::open(&config.local.state, &config.local.cluster, &node)?;
    need_capabilities()?;
    Ok((node, state))
}

fn run(cli: &Cli, source: Source) -> Result<Exit, StartError> {
    let Loaded { config, warnings } = source.load()?;
    let (node, state) = open(cli, &source, &config)?;
    let logger = Logger::start(&config.local.logging, &node).map_err(system("start the log"))?;
    die_of_panics(logger.clone());
    for warning in warnings {
        logger.warning(warning);
    }
    let successor = Successor::of_this_process(&node, cli.node.is_some())
        .map_err(system("find the running program"))?;
    let exit = operate(source, config, node, successor, &state, &logger);
    if let Err(error) = &exit {
        for line in error.lines() {
            logger.log(Level::Crit, line);
        }
    }
    logger.flush(LAST_WORDS);
    exit
}

fn addresses(number: usize) -> String {
    if number == 1 { "1 address".into() } else { format!("{number} addresses") }
}

/// Opens everything, runs the loop, and says how it ended.
fn operate(
    source: Source,
    file: Config,
    node: NodeName,
    successor: Successor,
    state: &StateDir,
    logger: &Logger,
) -> Result<Exit, StartError> {
    let runtime = runtime().map_err(system("start the loop"))?;
    let _inside = runtime.enter();
    // First: from here on nobody can end this process without its letting go.
    let signals = Signals::catch().map_err(system("catch signals"))?;
    let Recalled { config, trial, epoch, memory, warnings } = recall::recall(state, &file)?;
    for warning in warnings {
        logger.warning(warning);
    }
    let config = Arc::new(config);
    let (writer, stored) = Writer::start(state).map_err(system("start a thread"))?;
    let process = clock::fresh_boot().map_err(system("draw random bits"))?;
    let (operators, opened) = Operators::open(&config.local, &node, process, logger)?;
    // Threads inherit this: what follows is on time, what came before waits.
    for warning in realtime::begin(config.local.realtime) {
        logger.warning(warning);
    }
    let chat = Chat::open(&config, &node, logger.clone())?;
    let settings = kernel::Settings { ledger: state.ledger() };
    let kernel = Kernel::start(settings, &config.shared.groups)?;
    let announcer = Announcer::start()?;
    announcer.configure(&config.local);
    let collector = Collector::start(Arc::clone(&config), kernel.homes.clone())
        .map_err(system("start a thread"))?;
    let prober = Prober::start(&config, &node).map_err(system("start a thread"))?;
    let neighbourhood = Neighbourhood::start().map_err(system("start a thread"))?;
    let launcher = Launcher::of_this_program();
    let extensions = Extensions::start(Arc::clone(&config), node.clone(), launcher)
        .map_err(system("start a thread"))?;
    let start = Start {
        config: Arc::clone(&config),
        node: node.clone(),
        boot: clock::fresh_boot().map_err(system("draw random bits"))?,
        epoch_floor: epoch.max(Epoch::from_wall_clock(clock::wall_millis())),
        present: kernel.present.clone(),
        memory,
        trial,
    };
    let engine = Engine::new(clock::now(), start);
    let parts = Parts {
        source,
        node: node.clone(),
        successor,
        logger: logger.clone(),
        chat,
        kernel: kernel.kernel,
        reports: kernel.reports,
        notices: kernel.notices,
        present: kernel.present,
        renewals: kernel.renewals,
        homes: kernel.homes,
        announcer,
        collector,
        prober,
        neighbourhood,
        extensions,
        writer,
        stored,
        opened,
        signals,
        supervision: Supervision::from_environment()
            .map_err(system("reach the service manager"))?,
        config,
        file: Arc::new(file),
    };
    let daemon = Daemon::new(parts, engine).map_err(system("make a timer"))?;
    logger.notice(format_args!("vippyd {} runs as node={node}", env!("CARGO_PKG_VERSION")));
    realtime::lead();
    let ending = runtime.block_on(daemon.run());
    drop(operators);
    // Threads that wait for a disk or a kernel lock are left behind.
    runtime.shutdown_background();
    Ok(farewell(&ending, logger))
}

fn farewell(ending: &Ending, logger: &Logger) -> Exit {
    match ending {
        Ending::Stopped => {
            logger.notice("stopped");
            Exit::Fine
        }
        Ending::Forced(left) if left.is_empty() => {
            logger.notice("stopped at once; all addresses are released");
            Exit::Fine
        }
        Ending::Forced(left) => {
            let left: Vec<&str> = left.iter().map(GroupId::as_str).collect();
            logger.err(format_args!(
                "stopped at once; the kernel has not confirmed the release of groups {}",
                left.join(" ")
            ));
            Exit::Internal
        }
        Ending::Failed(why) => {
            logger.log(Level::Crit, format_args!("cannot go on: {why}"));
            Exit::Internal
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The name given, else the host's: in full, else up to its first dot.
fn node_name(given: Option<&str>, config: &Config, path: &Path) -> Result<NodeName, StartError> {
    let known = |name: &NodeName| config.shared.node_index(name).is_some();
    let host = match given {
        Some(_) => String::new(),
        None => nix::unistd::gethostname()
            .map_err(|e| system("read the host name")(e.into()))?
            .to_string_lossy()
            .into_owned(),
    };
    let name = given.unwrap_or(&host);
    let full = NodeName::from(name);
    if known(&full) {
        return Ok(full);
    }
    let short = NodeName::from(name.split('.').next().unwrap_or(name));
    if given.is_none() && known(&short) {
        return Ok(short);
    }
    let names: Vec<&str> = config.shared.nodes.iter().map(|node| node.name.as_str()).collect();
    Err(StartError::NotANode { name: name.into(), path: path.into(), known: names.join(", ") })
}

/// Says early and by name what would else fail late and in pieces.
fn need_capabilities() -> Result<(), StartError> {
    const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW")];
    let effective = effective_capabilities().map_err(system("read /proc/self/status"))?;
    match NEEDED.iter().find(|(bit, _)| effective & (1 << bit) == 0) {
        Some((_, missing)) => Err(StartError::Capability { missing }),
        None => Ok(()),
    }
}

/// Whether this process has a capability, by its number.
pub(crate) fn has_capability(bit: u32) -> bool {
    effective_capabilities().is_ok_and(|effective| effective & (1 << bit) != 0)
}

fn effective_capabilities() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0))
}

/// A thread that panics takes the process with it: half a daemon would hold
/// addresses that nobody looks after. The next start adopts what is still there.
fn die_of_panics(logger: Logger) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        logger.log(Level::Crit, format_args!("internal error: {info}"));
        logger.flush(LAST_WORDS);
        std::process::exit(Exit::Internal as i32);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(nodes: &str) -> Config {
        let text = format!(
            "{{chat: '224.1.1.1:5007', secret: 'a secret of some length', version: 1, \
             nodes: {nodes}, vips: [[{{interface: 'lo', ip: '10.0.0.1/24'}}]]}}"
        );
        vippy_core::config::parse(&text, "test").unwrap().config
    }

    #[test]
    fn unknown_node_is_told_the_known_ones() {
        let config = config("['node1', 'node2']");
        let error = node_name(Some("node3"), &config, Path::new("v.conf")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "node node3 is not in v.conf; expected one of: node1, node2 (choose with -n)"
        );
        assert_eq!(error.exit(), Exit::Refused);
    }

    #[test]
    fn host_name_serves_in_full_or_up_to_its_first_dot() {
        let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
        let short = host.split('.').next().unwrap().to_owned();
        for name in [host, short] {
            let config = config(&format!("['{name}', 'other']"));
            let found = node_name(None, &config, Path::new("v.conf")).unwrap();
            assert_eq!(found.as_str(), name);
        }
    }

    #[test]
    fn name_that_was_given_is_not_shortened() {
        let config = config("['node1', 'node2']");
        assert!(node_name(Some("node1.example.org"), &config, Path::new("v.conf")).is_err());
    }
}
