//! The thread that writes what must outlive the process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use vippy_core::identity::Epoch;
use vippy_core::memory::Memory;
use vippy_core::output::Kept;

use super::{CONFIGURATION, Dated, EPOCH, MEMORY, StateDir, replace};

/// Time between two attempts to write what could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// What became of something that was to be stored.
#[derive(Debug)]
pub enum Stored {
    /// This epoch is on disk.
    Epoch(Epoch),
    /// Something could not be written for this reason; it is tried again.
    Failed(String),
}

#[derive(Debug)]
enum Order {
    Epoch(Epoch),
    Memory(Dated<Memory>),
    Configuration(Dated<Kept>),
    Flush(oneshot::Sender<()>),
}

/// Orders to the thread. Of each kind only the newest is written.
#[derive(Debug)]
pub struct Writer {
    orders: Sender<Order>,
}

impl Writer {
    /// Starts the thread; what it did comes out of the receiver.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(state: &StateDir) -> io::Result<(Writer, UnboundedReceiver<Stored>)> {
        let mut desk = Desk::new(state);
        let (orders, queue) = channel();
        let (results, receiver) = unbounded_channel();
        std::thread::Builder::new()
            .name("vippy-state".into())
            .spawn(move || desk.work(&queue, &results))?;
        Ok((Writer { orders }, receiver))
    }

    /// Orders an epoch to be written. Never blocks.
    pub fn store_epoch(&self, epoch: Epoch) {
        self.order(Order::Epoch(epoch));
    }

    /// Orders what is to be remembered to be written. Never blocks.
    pub fn remember(&self, memory: Memory) {
        self.order(Order::Memory(Dated::now(memory)));
    }

    /// Orders what is running to be written. Never blocks.
    pub fn keep(&self, kept: Kept) {
        self.order(Order::Configuration(Dated::now(kept)));
    }

    /// Answers once everything ordered until now was written, or was tried.
    pub fn flush(&self) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Flush(done));
        answer
    }

    fn order(&self, order: Order) {
        // The thread ends only after this sender is gone.
        let _ = self.orders.send(order);
    }
}

/// What is still to be written.
#[derive(Debug)]
struct Desk {
    epoch: Sheet<Epoch>,
    memory: Sheet<Dated<Memory>>,
    configuration: Sheet<Dated<Kept>>,
    flushes: Vec<oneshot::Sender<()>>,
}

/// One file and its next content.
#[derive(Debug)]
struct Sheet<T> {
    path: PathBuf,
    next: Option<T>,
    /// The failure to write it was told.
    told: bool,
}

impl Desk {
    fn new(state: &StateDir) -> Desk {
        Desk {
            epoch: Sheet::new(state.file(EPOCH)),
            memory: Sheet::new(state.file(MEMORY)),
            configuration: Sheet::new(state.file(CONFIGURATION)),
            flushes: Vec::new(),
        }
    }

    fn work(&mut self, orders: &Receiver<Order>, results: &UnboundedSender<Stored>) {
        loop {
            let order = if self.is_empty() {
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                orders.recv_timeout(RETRY)
            };
            match order {
                Ok(order) => {
                    self.take(order);
                    orders.try_iter().for_each(|order| self.take(order));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.write(results);
        }
    }

    fn is_empty(&self) -> bool {
        let written = self.epoch.next.is_none() && self.memory.next.is_none();
        written && self.configuration.next.is_none()
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Epoch(epoch) => {
                self.epoch.next = Some(self.epoch.next.map_or(epoch, |other| other.max(epoch)));
            }
            Order::Memory(memory) => self.memory.next = Some(memory),
            Order::Configuration(kept) => self.configuration.next = Some(kept),
            Order::Flush(done) => self.flushes.push(done),
        }
    }

    fn write(&mut self, results: &UnboundedSender<Stored>) {
        let report = |stored| drop(results.send(stored));
        match self.epoch.write(|epoch| Ok(format!("{epoch}\n"))) {
            Ok(Some(epoch)) => report(Stored::Epoch(epoch)),
            Ok(None) | Err(None) => {}
            Err(Some(text)) => report(Stored::Failed(text)),
        }
        let memory = self.memory.write(json).err();
        let configuration = self.configuration.write(json).err();
        for text in [memory, configuration].into_iter().flatten().flatten() {
            report(Stored::Failed(text));
        }
        // Who asked may have given up waiting.
        for done in self.flushes.drain(..) {
            let _ = done.send(());
        }
    }
}

impl<T> Sheet<T> {
    fn new(path: PathBuf) -> Sheet<T> {
        Sheet { path, next: None, told: false }
    }

    /// Writes what is to be written. Returns it if there was anything, or the
    /// failure if it was not told yet.
    fn write(
        &mut self,
        text: impl FnOnce(&T) -> io::Result<String>,
    ) -> Result<Option<T>, Option<String>> {
        let Some(next) = self.next.take() else { return Ok(None) };
        match text(&next).and_then(|text| replace(&self.path, text.as_bytes())) {
            Ok(()) => {
                self.told = false;
                Ok(Some(next))
            }
            Err(e) => {
                self.next = Some(next);
                let news = !std::mem::replace(&mut self.told, true);
                Err(news.then(|| complaint(&self.path, &e)))
            }
        }
    }
}

fn json(content: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(content)? + "\n")
}

fn complaint(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}; trying again", path.display())
}
