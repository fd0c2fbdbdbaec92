//! Collects this node's neighbours, to be shared with the others.
//!
//! A thread of its own reads the kernel's neighbour table every `arp-cache` seconds,
//! on the interfaces where managed addresses belong, and tells when what it knows
//! has changed. Without `notify` it sleeps. What others know comes by the engine;
//! whom to tell of what is [`crate::announce`]'s business.

mod memory;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use vippy_core::config::{Address, Config};
use vippy_core::neighbours::{self, Station};

use self::memory::Memory;
use crate::kernel::Homes;
use crate::kernel::neighbours::Neighbours;
use crate::realtime;

/// What this node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// For the others.
    pub document: Arc<str>,
    /// For this node.
    pub stations: Arc<[Station]>,
}

/// Orders to the thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Collector {
    orders: UnboundedSender<Arc<Config>>,
    caches: UnboundedReceiver<Cache>,
}

impl Collector {
    /// Starts the thread in the caller's network namespace.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(config: Arc<Config>, homes: watch::Receiver<Homes>) -> io::Result<Collector> {
        let (orders, queue) = unbounded_channel();
        let (told, caches) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let reader =
            Reader { config, homes, told, kernel: None, memory: Memory::default(), last: None };
        std::thread::Builder::new().name("vippy-collect".into()).spawn(move || {
            realtime::step_back();
            runtime.block_on(reader.run(queue));
        })?;
        Ok(Collector { orders, caches })
    }

    /// Takes note of another configuration.
    pub fn reconfigure(&self, config: Arc<Config>) {
        // A thread that ended shows by the end of its caches.
        let _ = self.orders.send(config);
    }

    /// What this node knows, whenever that has changed. Dropping the future loses
    /// none; `None`: the thread ended.
    pub async fn changed(&mut self) -> Option<Cache> {
        self.caches.recv().await
    }
}

/// Everything the thread has.
struct Reader {
    config: Arc<Config>,
    homes: watch::Receiver<Homes>,
    told: UnboundedSender<Cache>,
    /// Open while the table is read.
    kernel: Option<Neighbours>,
    memory: Memory,
    /// What was told last.
    last: Option<Vec<Station>>,
}

impl Reader {
    async fn run(mut self, mut queue: UnboundedReceiver<Arc<Config>>) {
        loop {
            self.read().await;
            let next = tokio::time::sleep(self.pause());
            tokio::select! {
                config = queue.recv() => match config {
                    Some(config) => self.config = config,
                    None => return,
                },
                () = next => {}
            }
        }
    }

    /// Until the next look.
    fn pause(&self) -> Duration {
        match self.config.local.notify.is_empty() {
            // An order comes before that.
            true => Duration::from_secs(86_400),
            false => self.config.local.arp_cache,
        }
    }

    async fn read(&mut self) {
        if self.config.local.notify.is_empty() {
            (self.kernel, self.memory) = (None, Memory::default());
        } else {
            self.look().await;
        }
        let stations = self.memory.shared();
        if self.last.as_ref().is_some_and(|last| *last == stations)
            || (self.last.is_none() && stations.is_empty())
        {
            return;
        }
        let document = neighbours::document(&stations);
        // The loop is gone when the process is about to end.
        let _ = self.told.send(Cache { document, stations: stations.clone().into() });
        self.last = Some(stations);
    }

    async fn look(&mut self) {
        if self.kernel.is_none() {
            self.kernel = Neighbours::open().ok();
        }
        let Some(kernel) = &self.kernel else { return };
        let (found, gateways) = (kernel.list().await, kernel.gateways().await);
        let addresses = || self.config.shared.groups.iter().flat_map(|group| &group.addresses);
        let managed: BTreeSet<IpAddr> = addresses().map(Address::ip).collect();
        let homes = self.homes.borrow();
        let names: BTreeSet<&str> = addresses().filter_map(|address| homes.of(address)).collect();
        let indexes: BTreeSet<u32> =
            names.into_iter().filter_map(|name| if_nametoindex(name).ok()).collect();
        let found = found.iter().filter(|neighbour| indexes.contains(&neighbour.index));
        self.memory.note(Instant::now(), found, &gateways, |ip| managed.contains(&ip));
    }
}
