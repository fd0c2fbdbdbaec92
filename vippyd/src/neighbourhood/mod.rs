//! What the LAN says of the cluster's addresses: who answers for one that another
//! node has taken.
//!
//! Owns the questions, their pace and the ears for the answers. Concludes nothing:
//! which station answered goes to the engine. All of it happens on a thread of its
//! own, and nothing is open there while nobody asks.

mod questions;
mod worker;

use std::io;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vippy_core::config::Group;
use vippy_core::identity::{GroupId, Mac};

use self::questions::Question;
use self::worker::{Order, Worker};
use crate::kernel::Homes;

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The answer to [`Neighbourhood::look`].
    Sighted {
        /// The group.
        group: GroupId,
        /// The station that answers for its first address, another one than
        /// expected if any such does; `None`: nobody.
        mac: Option<Mac>,
    },
}

/// Orders to the thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Neighbourhood {
    orders: UnboundedSender<Order>,
    news: UnboundedReceiver<News>,
}

impl Neighbourhood {
    /// Starts the thread in the caller's network namespace.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start() -> io::Result<Neighbourhood> {
        let (orders, queue) = unbounded_channel();
        let (sender, news) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("vippy-neighbour".into())
            .spawn(move || runtime.block_on(Worker::new(sender).run(queue)))?;
        Ok(Neighbourhood { orders, news })
    }

    /// Asks the LAN for a group's first address. Never blocks. Where it cannot be
    /// asked for there is no answer; a second order about a group replaces the first.
    pub fn look(&self, group: &Group, homes: &Homes, expected: Mac) {
        let place = |address| Some((homes.of(address)?.to_owned(), address.ip()));
        if let Some((interface, ip)) = group.addresses.iter().find_map(place) {
            let group = group.id.clone();
            self.order(Order::Look(Question { group, interface, ip, expected }));
        }
    }

    /// What is heard next. Dropping the future loses nothing; `None`: the thread
    /// ended.
    pub async fn news(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// The same without waiting; `None`: there is nothing now.
    pub fn news_at_hand(&mut self) -> Option<News> {
        self.news.try_recv().ok()
    }

    fn order(&self, order: Order) {
        // A thread that ended shows by the end of its news.
        let _ = self.orders.send(order);
    }
}
