//! The thread: takes orders and hands them on.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use vippy_core::config::Config;
use vippy_core::identity::NodeName;

use super::Told;
use super::launch::Launcher;

/// An order.
#[derive(Debug)]
pub(super) enum Order {
    Configure(Arc<Config>),
}

/// Everything the thread has.
#[derive(Debug)]
pub(super) struct Worker {
    config: Arc<Config>,
    node: NodeName,
    launcher: Launcher,
    told: UnboundedSender<Told>,
}

impl Worker {
    pub(super) fn new(
        config: Arc<Config>,
        node: NodeName,
        launcher: Launcher,
        told: UnboundedSender<Told>,
    ) -> Worker {
        Worker { config, node, launcher, told }
    }

    /// Works until the loop is gone.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Configure(config) => self.config = config,
            }
        }
    }
}
