//! What operators add to the daemon: programs and questions of their own.
//!
//! All of it lives on a thread of its own, where starting a child or connecting to
//! something may take as long as it takes. The loop gives orders and never waits; what
//! comes of them it gets as inputs of the engine and lines for the log.

pub mod launch;
pub mod pidfd;
mod worker;

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vippy_core::config::Config;
use vippy_core::identity::NodeName;
use vippy_core::input::Input;

use self::launch::Launcher;
use self::worker::{Order, Worker};
use crate::logging::Level;
use crate::realtime;

/// What came of it.
#[derive(Clone, Debug)]
pub enum Told {
    /// Something for the engine.
    Input(Input),
    /// A line for the log.
    Line(Level, String),
}

/// Orders to the thread. Dropping it ends the thread, and all children with it.
#[derive(Debug)]
pub struct Extensions {
    orders: UnboundedSender<Order>,
    told: UnboundedReceiver<Told>,
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
        std::thread::Builder::new().name("vippy-extend".into()).spawn(move || {
            realtime::step_back();
            runtime.block_on(Worker::new(config, node, launcher, sender).run(queue));
        })?;
        Ok(Extensions { orders, told })
    }

    /// Takes note of another configuration.
    pub fn reconfigure(&self, config: Arc<Config>) {
        self.order(Order::Configure(config));
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
