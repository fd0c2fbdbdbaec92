//! What operators add to the daemon: programs and questions of their own.
//!
//! All of it lives on a thread of its own, where starting a child or connecting to
//! something may take as long as it takes. The loop gives orders and never waits; what
//! comes of them it gets as inputs of the engine and lines for the log.

mod checks;
mod hooks;
pub mod launch;
mod occasion;
pub mod pidfd;
mod plugins;
mod words;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use vippy_core::chatter::Chatter;
use vippy_core::config::Config;
use vippy_core::config::hooks::BEFORE_UP;
use vippy_core::event::Event;
use vippy_core::identity::{BootId, CheckName, Epoch, GroupId, NodeName, Seq};
use vippy_core::input::Input;
use vippy_core::neighbours::Station;
use vippy_core::status::Status;

pub use self::hooks::{Passed, Ticket};
use self::launch::Launcher;
use self::plugins::configured;
pub use self::plugins::{Fitness, Opinion};
use self::worker::{Lines, Order, Worker};
use crate::logging::Level;
use crate::realtime;

/// What came of it.
#[derive(Clone, Debug)]
pub enum Told {
    /// Something for the engine.
    Input(Input),
    /// A line for the log.
    Line(Level, String),
    /// Something that an operator may want to know.
    Event(Event),
    /// What a plugin thinks of this node.
    Opinion(Opinion),
    /// What had to run before a group's addresses are put on has run.
    Passed(Passed),
}

/// Orders to the thread. Dropping it ends the thread, and all children with it.
#[derive(Debug)]
pub struct Extensions {
    orders: UnboundedSender<Order>,
    told: UnboundedReceiver<Told>,
    node: NodeName,
    config: Arc<Config>,
    /// Somebody minds what happens here.
    listens: bool,
    /// Somebody watches announcements go by.
    watched: Arc<AtomicBool>,
    /// The last that was told of.
    last: Seq,
    neighbours: BTreeMap<NodeName, Arc<[Station]>>,
}

impl Extensions {
    /// Starts the thread in the caller's network namespace.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        config: Arc<Config>,
        node: NodeName,
        launcher: Launcher,
    ) -> io::Result<Extensions> {
        let (orders, queue) = unbounded_channel();
        let (sender, told) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listens = listens(&config, &node);
        let (of_the_loop, name) = (Arc::clone(&config), node.clone());
        let watched = Arc::new(AtomicBool::new(false));
        let watch = Arc::clone(&watched);
        std::thread::Builder::new().name("vippy-extend".into()).spawn(move || {
            realtime::step_back();
            runtime.block_on(async {
                let lines = Lines { launcher, told: sender, watched: watch };
                Worker::new(&config, node, lines).run(queue).await;
            });
        })?;
        Ok(Extensions {
            orders,
            told,
            node: name,
            config: of_the_loop,
            listens,
            watched,
            last: Seq(0),
            neighbours: BTreeMap::new(),
        })
    }

    /// Takes note of another configuration. `status` tells how things are, for who did
    /// not mind until now.
    pub fn reconfigure(&mut self, config: Arc<Config>, status: impl FnOnce() -> Status) {
        let listened = std::mem::replace(&mut self.listens, listens(&config, &self.node));
        if self.listens && !listened {
            self.order(Order::Recall(Box::new(status())));
            for (node, stations) in &self.neighbours {
                self.order(Order::Neighbours(node.clone(), Arc::clone(stations)));
            }
        }
        self.config = Arc::clone(&config);
        self.order(Order::Configure(config));
    }

    /// Something happened.
    pub fn happened(&self, event: &Event) {
        if self.listens {
            self.order(Order::Happened(event.clone()));
        }
    }

    /// A frame of this node left; `chatter` is what was heard by then.
    pub fn announced(&mut self, seq: Seq, chatter: impl FnOnce() -> Chatter) {
        if self.watched.load(Ordering::Relaxed) && seq > self.last {
            self.last = seq;
            self.order(Order::Announced(chatter()));
        }
    }

    /// These are the neighbours of a node now.
    pub fn neighbours(&mut self, node: &NodeName, stations: &Arc<[Station]>) {
        self.neighbours.insert(node.clone(), Arc::clone(stations));
        if self.listens {
            self.order(Order::Neighbours(node.clone(), Arc::clone(stations)));
        }
    }

    /// Whether anything must run before this group's addresses are put on.
    pub fn is_gated(&self, group: &GroupId) -> bool {
        let hooks = &self.config.shared.hooks;
        hooks.iter().any(|hook| hook.minds(&self.node, BEFORE_UP, Some(group)))
    }

    /// Runs it; answered by [`Told::Passed`] with this ticket.
    pub fn open_gate(&self, ticket: Ticket, group: GroupId) {
        self.order(Order::OpenGate(ticket, group));
    }

    /// Nobody waits for that any more.
    pub fn close_gate(&self, ticket: Ticket) {
        self.order(Order::CloseGate(ticket));
    }

    /// Runs the `once` hooks for a process that is gone; answered by
    /// [`Input::CleanedUp`].
    pub fn clean_up(&self, node: NodeName, boot: BootId, epoch: Epoch) {
        self.order(Order::CleanUp { node, boot, epoch });
    }

    /// Tells all plugins to stop, and completes when they have, and when every hook
    /// that was to run has run.
    pub async fn finish(&mut self) {
        let (done, finished) = oneshot::channel();
        self.order(Order::Finish(done));
        // A thread that ended has nothing left to finish.
        let _ = finished.await;
    }

    /// Runs some checks at once, beside their pace.
    pub fn check(&self, names: Vec<CheckName>) {
        self.order(Order::Check(names));
    }

    /// What comes next. Dropping the future loses nothing; `None`: the thread ended.
    pub async fn told(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// The same without waiting; `None`: there is nothing now.
    pub fn told_at_hand(&mut self) -> Option<Told> {
        self.told.try_recv().ok()
    }

    fn order(&self, order: Order) {
        // A thread that ended shows by the end of what it tells.
        let _ = self.orders.send(order);
    }
}

/// Whether anybody on this node minds what happens.
fn listens(config: &Config, node: &NodeName) -> bool {
    let here = |nodes: &[NodeName]| nodes.is_empty() || nodes.contains(node);
    config.shared.hooks.iter().any(|hook| here(&hook.nodes))
        || configured(config, node).next().is_some()
}
