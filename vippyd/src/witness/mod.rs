//! Asks other stations of the LAN whether they hear this node (O7).
//!
//! Owns the questions (ARP, neighbour solicitations), whom to ask where nobody
//! is configured, and the ears for the answers. Concludes nothing: what was
//! asked, who answered and that something arrived goes to the engine.
//!
//! All of it happens on a thread of its own; nothing here is open before the
//! first question, and some seconds after the last one all of it is closed.

mod asker;
mod choice;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vippy_core::config::Config;
use vippy_core::identity::NodeName;

use self::asker::{Asker, Order};

/// Evidence that this node is, or may not be, cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Questions left to this many addresses; the answer to each order.
    Asked {
        /// How many.
        targets: usize,
    },
    /// This address, which was asked, has answered.
    Answered {
        /// Which.
        from: IpAddr,
    },
    /// A frame of another station that is neither an answer nor of the chat came
    /// in on an interface of the chat; told at most once an order.
    Arrived,
}

/// Whom to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The configured witnesses; none: neighbours that answered lately.
    pub witnesses: Vec<IpAddr>,
    /// Addresses of other daemons, which are never guessed to be witnesses.
    pub peers: BTreeSet<IpAddr>,
}

/// Orders to the thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Prober {
    orders: UnboundedSender<Order>,
    evidence: UnboundedReceiver<Evidence>,
}

impl Prober {
    /// Starts the thread in the caller's network namespace.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(config: &Config, node: &NodeName) -> io::Result<Prober> {
        let (orders, queue) = unbounded_channel();
        let (sender, evidence) = unbounded_channel();
        let asker = Asker::new(config, node, sender);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("vippy-witness".into())
            .spawn(move || runtime.block_on(asker.run(queue)))?;
        Ok(Prober { orders, evidence })
    }

    /// Asks. Never blocks; of several questions that wait only the last is put.
    pub fn ask(&self, question: Question) {
        self.order(Order::Ask(question));
    }

    /// Takes note of another configuration.
    pub fn reconfigure(&self, config: &Config, node: &NodeName) {
        self.order(Order::reconfigure(config, node));
    }

    /// The next piece of evidence. Dropping the future loses none; `None`: the
    /// thread ended.
    pub async fn evidence(&mut self) -> Option<Evidence> {
        self.evidence.recv().await
    }

    fn order(&self, order: Order) {
        // A thread that ended shows by the end of its evidence.
        let _ = self.orders.send(order);
    }
}
