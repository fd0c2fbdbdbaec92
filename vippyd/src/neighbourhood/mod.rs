//! What the LAN says of the cluster's addresses: who answers for one that another
//! node has taken, and who else says that he has one that is here.
//!
//! Owns the questions, their pace, and the ears. Concludes nothing: what was heard
//! goes to the engine. All of it happens on a thread of its own. What is open there
//! while nobody asks hears only, by the kernel's own look, other stations that speak
//! of addresses next to those held here.

mod claims;
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
    /// Another station says that it has an address of a group that is held here.
    Claimed {
        /// The group.
        group: GroupId,
        /// The station.
        mac: Mac,
        /// How often, as far as it was read, since this was last told.
        times: u64,
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

    /// A group's addresses are up here: listens for others who say that they have
    /// them. Never blocks.
    pub fn hold(&self, group: &Group, homes: &Homes) {
        let place = |address| Some((homes.of(address)?.to_owned(), address.ip()));
        let places = group.addresses.iter().filter_map(place).collect();
        self.order(Order::Hold(group.id.clone(), places));
    }

    /// They are not any more.
    pub fn release(&self, group: &GroupId) {
        self.order(Order::Release(group.clone()));
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
