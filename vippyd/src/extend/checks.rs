//! Asks what the configuration's checks ask, each at its own pace (H1, H5).
//!
//! Every check is a task: it runs at its interval from a start of its own, so that a
//! hundred of them do not all run at once, never twice at the same time, and at once
//! when it is told to. What comes of a run goes to the engine as it is; nothing is
//! judged here.

mod file;
mod http;
mod interface;
mod ping;
mod process;
mod run;
mod tcp;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::pending;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use vippy_core::config::Config;
use vippy_core::config::checks::{Check, Kind};
use vippy_core::health::{Outcome, Run};
use vippy_core::identity::{CheckName, NodeName};
use vippy_core::input::Input;

use self::file::File;
use self::http::Http;
use self::interface::Interface;
use self::ping::Ping;
use self::process::Process;
use self::run::Command;
use super::Told;
use super::launch::Launcher;
use crate::clock;

/// All checks of this node.
#[derive(Debug)]
pub(super) struct Checks {
    node: NodeName,
    launcher: Launcher,
    told: UnboundedSender<Told>,
    tasks: BTreeMap<CheckName, Task>,
}

/// A check that is being asked.
#[derive(Debug)]
struct Task {
    check: Arc<Check>,
    /// To be run once more, at once.
    wanted: Arc<Notify>,
    handle: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Checks {
    pub(super) fn new(node: NodeName, launcher: Launcher, told: UnboundedSender<Told>) -> Checks {
        Checks { node, launcher, told, tasks: BTreeMap::new() }
    }

    /// Asks what this configuration asks of this node. A check that stays the same
    /// goes on undisturbed.
    pub(super) fn configure(&mut self, config: &Config) {
        let mut former = std::mem::take(&mut self.tasks);
        for check in config.shared.checks.iter().filter(|check| check.is_for(&self.node)) {
            let same = |task: &Task| task.check == *check;
            let task = former.remove(&check.name).filter(same);
            let task = task.unwrap_or_else(|| self.begin(check));
            self.tasks.insert(check.name.clone(), task);
        }
    }

    /// Runs some checks at once.
    pub(super) fn run_now(&self, names: &[CheckName]) {
        for task in names.iter().filter_map(|name| self.tasks.get(name)) {
            task.wanted.notify_one();
        }
    }

    fn begin(&self, check: &Arc<Check>) -> Task {
        let wanted = Arc::new(Notify::new());
        let asking = Asking {
            runner: Runner::of(check, &self.launcher),
            check: Arc::clone(check),
            wanted: Arc::clone(&wanted),
            told: self.told.clone(),
            due: Instant::now() + offset(&self.node, check),
        };
        let handle = tokio::spawn(asking.go_on()).abort_handle();
        Task { check: Arc::clone(check), wanted, handle }
    }
}

/// When a check runs first: somewhere within its interval, the same at every start.
fn offset(node: &NodeName, check: &Check) -> Duration {
    let mut hash = DefaultHasher::new();
    (node, &check.name).hash(&mut hash);
    let part = u32::try_from(hash.finish() % 1_000).unwrap_or_default();
    check.interval * part / 1_000
}

/// A check on its way.
struct Asking {
    runner: Runner,
    check: Arc<Check>,
    wanted: Arc<Notify>,
    told: UnboundedSender<Told>,
    due: Instant,
}

impl Asking {
    async fn go_on(mut self) {
        loop {
            tokio::select! {
                () = sleep_until(self.due) => {}
                () = self.wanted.notified() => {}
                () = self.runner.stirred() => {}
            }
            let (began, start) = (clock::now(), Instant::now());
            let outcome = timeout(self.check.timeout, self.runner.run()).await;
            let outcome = outcome.unwrap_or(Outcome::TimedOut);
            self.tell(Run { began, took: start.elapsed(), outcome });
            self.clear().await;
            while self.due <= Instant::now() {
                self.due += self.check.interval;
            }
        }
    }

    /// Waits until nothing of the last run is left. As long as that takes there is no
    /// other one, and no answer.
    async fn clear(&mut self) {
        loop {
            let began = clock::now();
            if timeout(self.check.interval, self.runner.clear()).await.is_ok() {
                return;
            }
            let took = self.check.interval;
            self.tell(Run { began, took, outcome: Outcome::TimedOut });
        }
    }

    fn tell(&self, run: Run) {
        let check = self.check.name.clone();
        // The loop is gone when the process is about to end.
        let _ = self.told.send(Told::Input(Input::Checked { check, run }));
    }
}

/// What asks, by kind of check.
#[derive(Debug)]
enum Runner {
    Command(Command),
    Tcp(vippy_core::config::checks::Endpoint),
    Http(Http),
    Process(Box<Process>),
    Interface(Interface),
    File(File),
    Ping(Ping),
}

impl Runner {
    fn of(check: &Check, launcher: &Launcher) -> Runner {
        match &check.kind {
            Kind::Run { words, user } => {
                let (words, user) = (words.clone(), user.clone());
                let name = check.name.to_string();
                Runner::Command(Command::new(launcher.clone(), name, words, user))
            }
            Kind::Tcp(endpoint) => Runner::Tcp(endpoint.clone()),
            Kind::Http { endpoint, path, status } => {
                Runner::Http(Http::new(endpoint.clone(), path.clone(), *status))
            }
            Kind::Process(name) => Runner::Process(Box::new(Process::named(name))),
            Kind::PidFile(path) => Runner::Process(Box::new(Process::in_file(path))),
            Kind::Interface(name) => Runner::Interface(Interface::new(name)),
            Kind::File { path, absent } => Runner::File(File::new(path, *absent)),
            Kind::Ping(ip) => Runner::Ping(Ping::new(*ip)),
        }
    }

    /// Asks once. Whoever drops the future calls [`Runner::clear`].
    async fn run(&mut self) -> Outcome {
        match self {
            Runner::Command(command) => command.run().await,
            Runner::Tcp(endpoint) => tcp::run(endpoint).await,
            Runner::Http(http) => http.run().await,
            Runner::Process(process) => process.run(),
            Runner::Interface(interface) => interface.run().await,
            Runner::File(file) => file.run().await,
            Runner::Ping(ping) => ping.run().await,
        }
    }

    /// Completes when something has happened that another run will find.
    async fn stirred(&mut self) {
        match self {
            Runner::Process(process) => process.ended().await,
            Runner::Command(_)
            | Runner::Tcp(_)
            | Runner::Http(_)
            | Runner::Interface(_)
            | Runner::File(_)
            | Runner::Ping(_) => pending().await,
        }
    }

    /// Ends what is left of a run.
    async fn clear(&mut self) {
        match self {
            Runner::Command(command) => command.clear().await,
            Runner::File(file) => file.clear().await,
            Runner::Tcp(_)
            | Runner::Http(_)
            | Runner::Process(_)
            | Runner::Interface(_)
            | Runner::Ping(_) => {}
        }
    }
}
