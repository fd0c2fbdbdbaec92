//! The loop's side: orders go to a thread, since a raw socket may have to be waited
//! for. What the loop waits for is that a group was told about for the first time;
//! the answer comes in any case, a few milliseconds later for each interface that
//! is dead.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vippy_core::config::{Address, Group, LocalPart};
use vippy_core::identity::{GroupId, Mac, NodeName};
use vippy_core::neighbours::Station;
use vippy_core::time::Instant as Moment;

use super::licence::Licence;
use super::mouth::Mouth;
use super::rounds::{GAP, ROUNDS, Turn};
use super::work::{Command, Worker};
use super::{OrderNumber, Told};
use crate::ethernet::port::raw_socket;
use crate::kernel::Homes;

/// Why the announcer could not start.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The process may not open raw sockets.
    #[error(
        "this process lacks CAP_NET_RAW, without which it cannot tell the neighbours where an \
         address is: run it as root, or give its unit \
         AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"
    )]
    Capability,
    /// The kernel has no raw sockets for it.
    #[error("cannot open a raw packet socket")]
    Socket(#[source] Errno),
    /// The thread could not be made.
    #[error("cannot start the announcer")]
    Thread(#[source] io::Error),
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) frames: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) forgotten: AtomicU64,
}

/// A reading of the announcer's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that left.
    pub frames: u64,
    /// Times an interface took no frame, or not all of them: absent, down.
    pub failures: u64,
    /// Times that everything was forgotten because the loop was away.
    pub forgotten: u64,
}

/// Orders to the announcer's thread. Dropping it ends the thread; what was
/// not said yet is not said any more.
#[derive(Debug)]
pub struct Announcer {
    commands: Sender<Command>,
    reports: UnboundedReceiver<Told>,
    /// Groups whose first round is not over, by their newest order.
    awaited: BTreeMap<GroupId, OrderNumber>,
    orders: OrderNumber,
    /// When the last repetition of what was ordered so far leaves.
    quiet_at: Option<Instant>,
    licence: Licence,
    counters: Arc<Counters>,
}

impl Announcer {
    /// Starts the thread in the caller's network namespace. Nothing leaves before
    /// [`Announcer::vouch`].
    pub fn start() -> Result<Announcer, AnnounceError> {
        raw_socket().map_err(|errno| {
            let refused = [Errno::EPERM, Errno::EACCES].contains(&errno);
            if refused { AnnounceError::Capability } else { AnnounceError::Socket(errno) }
        })?;
        let (commands, queue) = channel();
        let (told, reports) = unbounded_channel();
        let counters = Arc::new(Counters::default());
        let licence = Licence::default();
        let mouth = Mouth::new(Arc::clone(&counters), licence.clone());
        let worker = Worker::new(mouth, told);
        thread::Builder::new()
            .name("vippy-announce".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(AnnounceError::Thread)?;
        let awaited = BTreeMap::new();
        let quiet_at = None;
        Ok(Announcer { commands, reports, awaited, orders: 0, quiet_at, licence, counters })
    }

    /// Until when, in protocol time, the loop vouches for what it ordered; what
    /// is said later than that is forgotten, with all its repetitions (F2).
    pub fn vouch(&self, until: Option<Moment>) {
        self.licence.set(until);
    }

    /// Tells the neighbours about all of a group's addresses, at once and two
    /// more times, each on the interface where it belongs. Starts over for a group
    /// that is being told about.
    pub fn notify(&mut self, group: &Group, homes: &Homes) {
        self.orders += 1;
        self.quiet_at = Some(Instant::now() + GAP * (ROUNDS - 1) + GAP / 2);
        let order = self.orders;
        self.awaited.insert(group.id.clone(), order);
        let place = |address: &Address| Some((homes.of(address)?.to_owned(), address.net));
        let places = group.addresses.iter().filter_map(place).collect();
        self.order(Command::Notify(group.id.clone(), Turn { order, places }));
    }

    /// Whom to tell beside everybody, and at what pace; before the first time it is
    /// nobody.
    pub fn configure(&self, local: &LocalPart) {
        self.order(Command::Configure { notify: local.notify.clone(), rate: local.notify_rate });
    }

    /// These are the neighbours of a node now.
    pub fn learn(&self, node: NodeName, stations: Arc<[Station]>) {
        self.order(Command::Learn(node, stations));
    }

    /// Says nothing more about a group, and reports nothing more about it.
    pub fn silence(&mut self, group: &GroupId) {
        self.awaited.remove(group);
        self.order(Command::Silence(group.clone()));
    }

    fn order(&self, command: Command) {
        // The thread lives as long as this handle.
        let _ = self.commands.send(command);
    }

    /// The next group about which everything was said once, as far as its
    /// interfaces took it, and the MAC at which its first address was said to be.
    /// Dropping the future loses none; `None`: the thread ended.
    pub async fn told(&mut self) -> Option<(GroupId, Option<Mac>)> {
        loop {
            let told = self.reports.recv().await?;
            if self.is_awaited(&told) {
                return Some((told.group, told.mac));
            }
        }
    }

    /// The same without waiting; `None`: there is none now.
    pub fn told_at_hand(&mut self) -> Option<(GroupId, Option<Mac>)> {
        loop {
            let told = self.reports.try_recv().ok()?;
            if self.is_awaited(&told) {
                return Some((told.group, told.mac));
            }
        }
    }

    fn is_awaited(&mut self, told: &Told) -> bool {
        let newest = self.awaited.get(&told.group) == Some(&told.order);
        if newest {
            self.awaited.remove(&told.group);
        }
        newest
    }

    /// How long it may be until everything ordered so far was said three times.
    pub fn time_to_quiet(&self) -> Duration {
        self.quiet_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// What was sent so far.
    pub fn counts(&self) -> Counts {
        Counts {
            frames: self.counters.frames.load(Ordering::Relaxed),
            failures: self.counters.failures.load(Ordering::Relaxed),
            forgotten: self.counters.forgotten.load(Ordering::Relaxed),
        }
    }
}
