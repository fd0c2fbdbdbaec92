//! Plugins: programs that run beside the daemon, are told what happens, and say what
//! they think of this node.
//!
//! What passes between a plugin and the daemon is described in `docs/PLUGINS.md`. A
//! plugin that dies is started again, after pauses that grow; what it said counts no
//! more until then.

mod board;
mod command;
mod inbox;
mod outbox;
mod program;
mod supervisor;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vippy_core::chatter::Chatter;
use vippy_core::config::{Config, Plugin};
use vippy_core::event::Event;
use vippy_core::identity::NodeName;
use vippy_core::neighbours::Station;
use vippy_core::status::Status;

use self::board::Board;
use self::outbox::Outbox;
use super::Told;
use super::launch::Launcher;
use super::occasion::Occasion;

/// What a plugin thinks of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// The plugin.
    pub plugin: String,
    /// What it said last; `None`: nothing, or it does not run.
    pub fit: Option<Fitness>,
}

/// Whether this node should own anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// It may.
    Fit,
    /// Better not, for these reasons.
    Unfit(String),
}

/// The plugins that run on a node: those that are configured, and those of its command
/// line, under names that differ.
pub(super) fn configured(config: &Config, node: &NodeName) -> impl Iterator<Item = Plugin> {
    let shared = config.shared.plugins.iter().filter(|plugin| plugin.runs_on(node)).cloned();
    let own = config.local.plugins.iter().cloned().map(Plugin::of_file);
    let mut seen = BTreeMap::new();
    let differing = shared.chain(own).map(move |plugin| {
        let times = seen.entry(plugin.name.clone()).or_insert(0u32);
        *times += 1;
        match *times {
            1 => plugin,
            times => Plugin { name: format!("{}#{times}", plugin.name), ..plugin },
        }
    });
    differing.collect::<Vec<_>>().into_iter()
}

/// All plugins of this node.
#[derive(Debug)]
pub(super) struct Plugins {
    node: NodeName,
    running: BTreeMap<String, Running>,
    /// Those that were told to stop and have not yet.
    leaving: Vec<JoinHandle<()>>,
    board: Board,
    tools: Tools,
}

/// What plugins are run with.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    pub(super) launcher: Launcher,
    pub(super) told: UnboundedSender<Told>,
    /// Set while a plugin watches announcements go by.
    pub(super) watched: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Running {
    plugin: Plugin,
    outbox: Outbox,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Plugins {
    pub(super) fn new(node: NodeName, config: &Config, tools: Tools) -> Plugins {
        let mut plugins = Plugins {
            board: Board::new(&node, config),
            node,
            running: BTreeMap::new(),
            leaving: Vec::new(),
            tools,
        };
        plugins.keep_up(config);
        plugins
    }

    /// Goes on with another configuration: plugins that it changes are started anew.
    pub(super) fn configure(&mut self, config: &Config) {
        self.keep_up(config);
        if let Some(line) = self.board.configure(config) {
            self.running.values().for_each(|running| running.outbox.push(&line));
        }
    }

    /// How things are, before anybody was told.
    pub(super) fn recall(&mut self, status: &Status) {
        self.board.recall(status);
    }

    /// Something happened.
    pub(super) fn happened(&mut self, event: &Event, occasion: &Occasion) {
        self.board.note(event);
        if !self.running.is_empty() {
            let line: Arc<str> = occasion.line().into();
            self.running.values().for_each(|running| running.outbox.push(&line));
        }
    }

    /// A frame of this node left, and these were heard by then.
    pub(super) fn announced(&mut self, chatter: &Chatter) {
        let watches = |running: &&Running| running.outbox.watches();
        let watching: Vec<&Running> = self.running.values().filter(watches).collect();
        self.tools.watched.store(!watching.is_empty(), Ordering::Relaxed);
        for line in self.board.announced(chatter) {
            watching.iter().for_each(|running| running.outbox.push(&line));
        }
    }

    /// These are the neighbours of a node now.
    pub(super) fn neighbours(&mut self, node: &NodeName, stations: &[Station]) {
        let line = self.board.neighbours(node, stations);
        let watching = self.running.values().filter(|running| running.outbox.watches());
        watching.for_each(|running| running.outbox.push(&line));
    }

    /// Tells all to stop; completes when they have.
    pub(super) fn finish(&mut self) -> impl Future<Output = ()> + use<> {
        for running in std::mem::take(&mut self.running).into_values() {
            self.stop(running);
        }
        let leaving = std::mem::take(&mut self.leaving);
        async move {
            for task in leaving {
                // One that panicked has taken the process with it.
                let _ = task.await;
            }
        }
    }

    fn keep_up(&mut self, config: &Config) {
        let wanted: BTreeMap<String, Plugin> =
            configured(config, &self.node).map(|plugin| (plugin.name.clone(), plugin)).collect();
        let stays = |running: &Running| wanted.get(&running.plugin.name) == Some(&running.plugin);
        let running = std::mem::take(&mut self.running);
        let (stay, go) = running.into_iter().partition(|(_, running)| stays(running));
        self.running = stay;
        let go: BTreeMap<String, Running> = go;
        self.leaving.retain(|task| !task.is_finished());
        let mut before = BTreeMap::new();
        for (name, running) in go {
            before.insert(name, self.stop(running));
        }
        for (name, plugin) in wanted {
            if !self.running.contains_key(&name) {
                let running = self.start(plugin, before.remove(&name));
                self.running.insert(name, running);
            }
        }
    }

    /// `before`: what has the name until it has stopped.
    fn start(&self, plugin: Plugin, before: Option<watch::Receiver<bool>>) -> Running {
        let (stop, stopped) = watch::channel(false);
        let outbox = Outbox::default();
        let supervisor = supervisor::Supervisor {
            plugin: plugin.clone(),
            outbox: outbox.clone(),
            board: self.board.clone(),
            tools: self.tools.clone(),
        };
        let task = tokio::spawn(async move {
            if let Some(mut before) = before {
                // Its end is that of the channel.
                while before.changed().await.is_ok() {}
            }
            supervisor.run(stopped).await;
        });
        Running { plugin, outbox, stop, task }
    }

    /// Its channel ends with it.
    fn stop(&mut self, running: Running) -> watch::Receiver<bool> {
        let (gone, ended) = watch::channel(false);
        let Running { stop, task, .. } = running;
        self.leaving.push(tokio::spawn(async move {
            stop.send_replace(true);
            // One that panicked has taken the process with it.
            let _ = task.await;
            drop(gone);
        }));
        ended
    }
}

/// How long a plugin that was told to stop may take.
const GRACE: Duration = Duration::from_secs(2);
