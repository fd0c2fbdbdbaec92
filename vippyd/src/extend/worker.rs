//! The thread: takes orders and hands them on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use vippy_core::chatter::Chatter;
use vippy_core::config::Config;
use vippy_core::event::Event;
use vippy_core::identity::{BootId, CheckName, Epoch, GroupId, NodeName};
use vippy_core::neighbours::Station;
use vippy_core::status::Status;

use super::Told;
use super::checks::Checks;
use super::hooks::{Hooks, Ticket};
use super::launch::Launcher;
use super::occasion::Scene;
use super::plugins::{Plugins, Tools};

/// An order.
#[derive(Debug)]
pub(super) enum Order {
    Configure(Arc<Config>),
    Check(Vec<CheckName>),
    /// How things are, for who did not listen until now.
    Recall(Box<Status>),
    Happened(Event),
    /// A frame of this node left.
    Announced(Chatter),
    Neighbours(NodeName, Arc<[Station]>),
    OpenGate(Ticket, GroupId),
    CloseGate(Ticket),
    CleanUp {
        node: NodeName,
        boot: BootId,
        epoch: Epoch,
    },
    Finish(oneshot::Sender<()>),
}

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) launcher: Launcher,
    pub(super) told: UnboundedSender<Told>,
    /// Set while somebody watches announcements go by.
    pub(super) watched: Arc<AtomicBool>,
}

/// Everything the thread has.
#[derive(Debug)]
pub(super) struct Worker {
    checks: Checks,
    scene: Scene,
    hooks: Hooks,
    plugins: Plugins,
}

impl Worker {
    /// Must be called inside the runtime.
    pub(super) fn new(config: &Config, node: NodeName, lines: Lines) -> Worker {
        let Lines { launcher, told, watched } = lines;
        let mut checks = Checks::new(node.clone(), launcher.clone(), told.clone());
        checks.configure(config);
        Worker {
            checks,
            scene: Scene::new(node.clone(), config),
            hooks: Hooks::new(node.clone(), config, launcher.clone(), told.clone()),
            plugins: Plugins::new(node, config, Tools { launcher, told, watched }),
        }
    }

    /// Works until the loop is gone.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            self.obey(order);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Configure(config) => {
                self.checks.configure(&config);
                self.scene.configure(&config);
                self.hooks.configure(&config);
                self.plugins.configure(&config);
            }
            Order::Check(names) => self.checks.run_now(&names),
            Order::Recall(status) => {
                self.scene.recall(&status);
                self.plugins.recall(&status);
            }
            Order::Happened(event) => {
                let occasion = Arc::new(self.scene.occasion(&event));
                self.hooks.happened(&occasion);
                self.plugins.happened(&event, &occasion);
            }
            Order::Announced(chatter) => self.plugins.announced(&chatter),
            Order::Neighbours(node, stations) => self.plugins.neighbours(&node, &stations),
            Order::OpenGate(ticket, group) => {
                let occasion = Arc::new(self.scene.before_up(group));
                self.hooks.open_gate(ticket, &occasion);
            }
            Order::CloseGate(ticket) => self.hooks.close_gate(ticket),
            Order::CleanUp { node, boot, epoch } => {
                let occasion = Arc::new(self.scene.clean_up(&node, boot, epoch));
                self.hooks.clean_up(boot, &occasion);
            }
            Order::Finish(done) => {
                let (hooks, plugins) = (self.hooks.finish(), self.plugins.finish());
                tokio::spawn(async move {
                    hooks.await;
                    plugins.await;
                    // Who asked may have given up waiting.
                    let _ = done.send(());
                });
            }
        }
    }
}
