//! The thread: takes orders and hands them on.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use vippy_core::config::Config;
use vippy_core::identity::{CheckName, NodeName};

use super::Told;
use super::checks::Checks;
use super::launch::Launcher;

/// An order.
#[derive(Debug)]
pub(super) enum Order {
    Configure(Arc<Config>),
    Check(Vec<CheckName>),
}

/// Everything the thread has.
#[derive(Debug)]
pub(super) struct Worker {
    checks: Checks,
}

impl Worker {
    /// Must be called inside the runtime.
    pub(super) fn new(
        config: &Config,
        node: NodeName,
        launcher: Launcher,
        told: UnboundedSender<Told>,
    ) -> Worker {
        let mut checks = Checks::new(node, launcher, told);
        checks.configure(config);
        Worker { checks }
    }

    /// Works until the loop is gone.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Configure(config) => self.checks.configure(&config),
                Order::Check(names) => self.checks.run_now(&names),
            }
        }
    }
}
