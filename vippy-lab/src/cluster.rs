//! Real daemons on a LAN: one `vippyd` a node, with its files and its log.
//!
//! Owns the daemons' lives. The wires are [`crate::lan`]'s, and what the daemons
//! say is [`vippy_client`]'s. Everything blocks; from async code call it on a
//! blocking thread.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vippy_client::status::{GroupStatus, NodeState};
use vippy_client::{Client, ClientError, Status};

use crate::directory::Directory;
use crate::error::{Context, LabError};
use crate::lan::{Lan, LanOptions, Port};
use crate::options::Options;
use crate::process::Process;

/// How long a daemon may take to answer one question.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a stopping daemon is waited for.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// The kernel's limit for the path of a Unix socket.
const LONGEST_SOCKET_PATH: usize = 107;
/// Lines of a log that go into an error.
const LAST_WORDS: usize = 20;

/// What became of a node's daemon by the lab's hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Not started yet.
    New,
    /// Started; it may have ended by itself since.
    Running,
    /// Stopped by SIGSTOP.
    Paused,
    /// Ended by SIGTERM.
    Stopped,
    /// Ended by SIGKILL.
    Killed,
    /// Its machine lost power and its port was cut at the same moment.
    Crashed,
}

/// How a daemon stopped.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// Its exit status.
    pub status: ExitStatus,
    /// Time from the signal to the end.
    pub took: Duration,
}

/// A cluster of real daemons. All of it vanishes when dropped, in a panic, and
/// when the process is killed. Nodes count from 1, as in `node1`.
#[derive(Debug)]
pub struct Cluster {
    // Dropped first: the daemons write into the directory.
    lan: Lan,
    nodes: Vec<Mutex<Node>>,
    options: Options,
    directory: Directory,
}

#[derive(Debug)]
struct Node {
    life: Life,
    process: Option<Process>,
}

impl Cluster {
    /// Builds the LAN, starts a daemon on every node and waits until each
    /// answers on its management socket.
    ///
    /// # Errors
    /// The LAN cannot be built, or a daemon does not start; its last words are
    /// in the error. Nothing is left then.
    pub fn start(options: Options) -> Result<Cluster, LabError> {
        let cluster = Cluster::prepare(options)?;
        let all = 1..=cluster.lan.nodes();
        all.clone().try_for_each(|node| cluster.launch_node(node))?;
        all.clone().try_for_each(|node| cluster.wait_ready(node))?;
        Ok(cluster)
    }

    /// The same without starting any daemon.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn prepare(options: Options) -> Result<Cluster, LabError> {
        let lan = Lan::new(LanOptions { nodes: options.nodes, clients: options.clients })?;
        let directory = Directory::new()?;
        let new = || Mutex::new(Node { life: Life::New, process: None });
        let nodes = (0..options.nodes).map(|_| new()).collect();
        let cluster = Cluster { lan, nodes, options, directory };
        for node in 1..=cluster.nodes.len() {
            let state = cluster.state_directory(node);
            fs::create_dir_all(&state).context(|| format!("create {}", state.display()))?;
            let length = cluster.management(node).as_os_str().len();
            if length > LONGEST_SOCKET_PATH {
                let expected = format!("at most {LONGEST_SOCKET_PATH} bytes; set TMPDIR");
                let found = format!("{length} bytes");
                return Err(LabError::BadOption { option: "management path", found, expected });
            }
        }
        cluster.rewrite_config(&cluster.options.config_text())?;
        Ok(cluster)
    }

    /// The LAN: faults, machines, probes.
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// What the cluster was made from.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The node's configuration file.
    pub fn config_path(&self, node: usize) -> PathBuf {
        self.directory(node).join("vippy.conf")
    }

    /// The node's management socket.
    pub fn management(&self, node: usize) -> PathBuf {
        self.directory(node).join("management")
    }

    /// The node's state directory.
    pub fn state_directory(&self, node: usize) -> PathBuf {
        self.directory(node).join("state")
    }

    /// The node's log file; a restarted daemon goes on writing to it.
    pub fn log_path(&self, node: usize) -> PathBuf {
        self.directory(node).join("log")
    }

    /// Everything the node's daemons have logged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log(&self, node: usize) -> Result<String, LabError> {
        let path = self.log_path(node);
        match fs::read(&path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).context(|| format!("read {}", path.display())),
        }
    }

    /// Replaces every node's configuration file. The daemons read it at
    /// [`Cluster::hup`] or at their next start.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn rewrite_config(&self, text: &str) -> Result<(), LabError> {
        (1..=self.nodes.len()).try_for_each(|node| self.rewrite_node_config(node, text))
    }

    /// Replaces one node's configuration file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn rewrite_node_config(&self, node: usize, text: &str) -> Result<(), LabError> {
        let path = self.config_path(node);
        let new = path.with_extension("new");
        let write = || {
            // The secret is in it.
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())
        };
        let replace = || write().and_then(|()| fs::rename(&new, &path));
        replace().context(|| format!("write {}", path.display()))
    }

    /// Starts the node's daemon and waits until it answers. After
    /// [`Cluster::crash_node`] the node's port is joined again first.
    ///
    /// # Errors
    /// It runs already, or does not start.
    pub fn start_node(&self, node: usize) -> Result<(), LabError> {
        self.launch_node(node)?;
        self.wait_ready(node)
    }

    /// Starts the node's daemon and waits for nothing.
    ///
    /// # Errors
    /// As [`Cluster::start_node`].
    pub fn launch_node(&self, node: usize) -> Result<(), LabError> {
        let mut state = self.node(node)?;
        if let Some(process) = &state.process
            && process.ended()?.is_none()
        {
            return Err(self.wrong_state(node, "is running already"));
        }
        if state.life == Life::Crashed {
            self.lan.rejoin(node)?;
        }
        let command = self.command(node)?;
        state.process = Some(self.lan.machine(node)?.spawn(command)?);
        state.life = Life::Running;
        Ok(())
    }

    fn command(&self, node: usize) -> Result<Command, LabError> {
        let path = self.log_path(node);
        let open = OpenOptions::new().create(true).append(true).open(&path);
        let log = open.context(|| format!("open {}", path.display()))?;
        let errors = log.try_clone().context(|| format!("open {}", path.display()))?;
        let wrapper = self.options.wrappers.get(&node).into_iter().flatten();
        let mut words =
            wrapper.map(|word| word.as_os_str()).chain([self.options.vippyd.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or(self.options.vippyd.as_os_str()));
        command
            .args(words)
            .arg("-c")
            .arg(self.config_path(node))
            .args(["-n", &name(node)])
            .arg("--management")
            .arg(self.management(node))
            .arg("--state")
            .arg(self.state_directory(node))
            .args(&self.options.arguments)
            .current_dir(self.directory(node))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        Ok(command)
    }

    /// Waits until the node's daemon answers on its management socket.
    ///
    /// # Errors
    /// It ended, or does not answer in time.
    pub fn wait_ready(&self, node: usize) -> Result<(), LabError> {
        let what = format!("an answer of {}'s daemon", name(node));
        let begin = Instant::now();
        loop {
            let Err(error) = self.status(node) else { return Ok(()) };
            if let Some(status) = self.process(node)?.ended()? {
                let (node, log) = (name(node), self.last_words(node)?);
                return Err(LabError::DaemonEnded { node, status, log });
            }
            if begin.elapsed() >= self.options.patience {
                let last = format!("{}; {}", chain(&error), self.last_words(node)?);
                return Err(LabError::TimedOut { what, after: self.options.patience, last });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Kills the daemon alone (SIGKILL); the machine and its port live on.
    ///
    /// # Errors
    /// No daemon runs there, or the kernel refuses.
    pub fn kill(&self, node: usize) -> Result<(), LabError> {
        self.signal(node, Signal::SIGKILL, Life::Killed)?;
        self.process(node)?.wait(STOP_WITHIN).map(drop)
    }

    /// Asks the daemon to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// No daemon runs there, or it has not ended after 30 seconds.
    pub fn stop(&self, node: usize) -> Result<Stopped, LabError> {
        let begin = Instant::now();
        self.signal(node, Signal::SIGTERM, Life::Stopped)?;
        let ended = self.process(node)?.wait(STOP_WITHIN)?;
        let took = begin.elapsed();
        let late = || LabError::TimedOut {
            what: format!("the end of {}'s daemon", name(node)),
            after: STOP_WITHIN,
            last: "it still runs".into(),
        };
        ended.map(|status| Stopped { status, took }).ok_or_else(late)
    }

    /// Freezes the daemon (SIGSTOP).
    ///
    /// # Errors
    /// No daemon runs there, or the kernel refuses.
    pub fn pause(&self, node: usize) -> Result<(), LabError> {
        self.signal(node, Signal::SIGSTOP, Life::Paused)
    }

    /// Thaws the daemon (SIGCONT).
    ///
    /// # Errors
    /// As [`Cluster::pause`].
    pub fn resume(&self, node: usize) -> Result<(), LabError> {
        self.signal(node, Signal::SIGCONT, Life::Running)
    }

    /// Has the daemon read its file again (SIGHUP).
    ///
    /// # Errors
    /// As [`Cluster::pause`].
    pub fn hup(&self, node: usize) -> Result<(), LabError> {
        let life = self.life(node)?;
        self.signal(node, Signal::SIGHUP, life)
    }

    /// The node dies: its port is cut in all directions and everything on it is
    /// killed at the same moment. Its addresses stay in its kernel until they
    /// expire, where nobody can reach them. Returns the moment.
    ///
    /// # Errors
    /// No such node, or the kernel refuses.
    pub fn crash_node(&self, node: usize) -> Result<Instant, LabError> {
        let machine = self.lan.machine(node)?;
        self.lan.isolate(node)?;
        let moment = Instant::now();
        machine.power_off()?;
        self.node(node)?.life = Life::Crashed;
        Ok(moment)
    }

    /// What became of the node's daemon by the lab's hand.
    ///
    /// # Errors
    /// No such node.
    pub fn life(&self, node: usize) -> Result<Life, LabError> {
        Ok(self.node(node)?.life)
    }

    /// The node's daemon.
    ///
    /// # Errors
    /// It was never started.
    pub fn process(&self, node: usize) -> Result<Process, LabError> {
        self.process_of(&*self.node(node)?, node).cloned()
    }

    /// The nodes whose daemon runs and is not paused.
    ///
    /// # Errors
    /// The kernel refuses to tell.
    pub fn running(&self) -> Result<Vec<usize>, LabError> {
        let mut running = Vec::new();
        for node in 1..=self.nodes.len() {
            let state = self.node(node)?;
            let process = state.process.as_ref().filter(|_| state.life == Life::Running);
            if let Some(process) = process
                && process.ended()?.is_none()
            {
                running.push(node);
            }
        }
        Ok(running)
    }

    /// A client of the node's management socket.
    pub fn client(&self, node: usize) -> Client {
        Client::new(self.management(node)).with_timeout(ANSWER_WITHIN)
    }

    /// The cluster as the node's daemon sees it.
    ///
    /// # Errors
    /// The daemon does not answer within a second.
    pub fn status(&self, node: usize) -> Result<Status, LabError> {
        let client = self.client(node);
        self.ask(node, async move || client.status().await)
    }

    /// Drains the node, as `vippyctl drain` does.
    ///
    /// # Errors
    /// The daemon does not answer within a second.
    pub fn drain(&self, node: usize) -> Result<(), LabError> {
        let client = self.client(node);
        self.ask(node, async move || client.drain().await.map(drop))
    }

    /// Ends a drain, as `vippyctl resume` does.
    ///
    /// # Errors
    /// As [`Cluster::drain`].
    pub fn end_drain(&self, node: usize) -> Result<(), LabError> {
        let client = self.client(node);
        self.ask(node, async move || client.resume().await.map(drop))
    }

    fn ask<T: Send>(
        &self,
        node: usize,
        question: impl AsyncFnOnce() -> Result<T, ClientError> + Send,
    ) -> Result<T, LabError> {
        let ask = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.context(|| "start a runtime".into())?;
            runtime
                .block_on(question())
                .map_err(|source| LabError::Status { node: name(node), source: Box::new(source) })
        };
        // A thread of its own: the caller's may be inside another runtime.
        let asked = std::thread::scope(|scope| scope.spawn(ask).join());
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Waits until a condition holds; the condition's error says what is still
    /// missing and ends up in the error.
    ///
    /// # Errors
    /// [`LabError::TimedOut`].
    pub fn wait_until(
        &self,
        what: &str,
        timeout: Duration,
        mut condition: impl FnMut(&Cluster) -> Result<(), String>,
    ) -> Result<(), LabError> {
        let begin = Instant::now();
        while let Err(last) = condition(self) {
            if begin.elapsed() >= timeout {
                return Err(LabError::TimedOut { what: what.into(), after: timeout, last });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits until all running daemons agree on one owner for every group, who
    /// runs, too, and alone holds it.
    ///
    /// # Errors
    /// [`LabError::TimedOut`], with what is missing.
    pub fn wait_settled(&self, timeout: Duration) -> Result<(), LabError> {
        self.wait_until("one holder of every group", timeout, Cluster::settled)
    }

    /// Whether every group has one owner, who runs and alone holds it, in the
    /// eyes of all running daemons. Right after a node's end they still see the
    /// dead one as owner: that is not settled.
    ///
    /// # Errors
    /// What is missing, for people.
    pub fn settled(&self) -> Result<(), String> {
        let mut first: Option<Status> = None;
        let running = self.running().map_err(|error| chain(&error))?;
        let names: Vec<String> = running.iter().copied().map(name).collect();
        for node in running {
            let status = self.status(node).map_err(|error| chain(&error))?;
            if status.node.state == NodeState::Booting {
                return Err(format!("{} is booting", name(node)));
            }
            for group in &status.groups {
                one_holder(group, &names)
                    .map_err(|why| format!("{} says that {why}", name(node)))?;
            }
            let owners = |status: &Status| -> Vec<_> {
                status.groups.iter().map(|group| (group.id.clone(), group.owner.clone())).collect()
            };
            let first = first.get_or_insert_with(|| status.clone());
            if owners(first) != owners(&status) {
                return Err(format!("{} and {} disagree", first.identity, status.identity));
            }
        }
        first.map(drop).ok_or_else(|| "no daemon runs".into())
    }

    fn directory(&self, node: usize) -> PathBuf {
        self.root().join(name(node))
    }

    /// The directory that holds every node's; it goes with the cluster.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    fn node(&self, node: usize) -> Result<MutexGuard<'_, Node>, LabError> {
        self.lan.machine(node)?;
        Ok(self.nodes[node - 1].lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn process_of<'a>(&self, state: &'a Node, node: usize) -> Result<&'a Process, LabError> {
        state.process.as_ref().ok_or_else(|| self.wrong_state(node, "is not running"))
    }

    fn signal(&self, node: usize, signal: Signal, then: Life) -> Result<(), LabError> {
        let mut state = self.node(node)?;
        let process = self.process_of(&state, node)?;
        if process.ended()?.is_some() {
            return Err(self.wrong_state(node, "is not running"));
        }
        process.signal(signal)?;
        state.life = then;
        Ok(())
    }

    fn wrong_state(&self, node: usize, state: &'static str) -> LabError {
        LabError::DaemonState { node: name(node), state }
    }

    fn last_words(&self, node: usize) -> Result<String, LabError> {
        let log = self.log(node)?;
        let lines: Vec<&str> = log.lines().collect();
        Ok(lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n"))
    }
}

fn name(node: usize) -> String {
    Port::Node(node).to_string()
}

/// A group that exactly its owner holds, a running node.
fn one_holder(group: &GroupStatus, running: &[String]) -> Result<(), String> {
    let label = group.name.clone().unwrap_or_else(|| group.id.to_string());
    let Some(owner) = &group.owner else { return Err(format!("{label} has no owner")) };
    if !running.iter().any(|name| name == owner.as_str()) {
        return Err(format!("{label} belongs to {owner}, which does not run"));
    }
    if group.holders == [owner.clone()] {
        return Ok(());
    }
    let holders: Vec<String> = group.holders.iter().map(ToString::to_string).collect();
    let holders = if holders.is_empty() { "nobody".into() } else { holders.join(" and ") };
    Err(format!("{label} belongs to {owner} and is held by {holders}"))
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
