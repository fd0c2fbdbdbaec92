//! Makes the kernel's address table agree with what this node should hold.
//!
//! Owns the addresses that Vippy puts on interfaces: adding, renewing, putting
//! back and removing them, telling ours from other people's (F3), and watching
//! links. Decides nothing about who should hold a group: it carries out the
//! loop's orders and reports facts. Telling the neighbours is
//! [`crate::announce`]'s business.
//!
//! Netlink may wait for a kernel lock inside `sendmsg`, so all of it happens
//! on a thread of its own behind an ordered queue; no method of [`Kernel`]
//! waits for it, except [`Kernel::start`], [`Kernel::release_all`] and drop.

mod addresses;
mod budding;
mod homes;
mod ledger;
mod links;
pub(crate) mod neighbours;
mod netlink;
mod plan;
mod reconcile;
mod restore;
mod sieve;
mod wanted;
mod worker;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use vippy_core::config::Group;
use vippy_core::identity::GroupId;
use vippy_core::input::ResourceReport;

pub use homes::Homes;
pub(crate) use homes::homeless;
pub use ledger::LedgerError;
pub use netlink::NetlinkError;

use worker::{Command, Worker};

/// The value of `IFA_PROTO` by which `ip address show proto 0x56` (and
/// anybody else) recognises addresses that Vippy put there.
pub const ADDRESS_PROTOCOL: u8 = netlink::TAG;

/// What the worker needs to know beside its orders.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The ledger's file in the state directory (F3). Its directory must exist.
    pub ledger: PathBuf,
}

/// A running worker and what it found.
#[derive(Debug)]
pub struct Started {
    /// The handle.
    pub kernel: Kernel,
    /// Facts about groups, in the order in which they became known. It ends
    /// only if the worker died.
    pub reports: UnboundedReceiver<Report>,
    /// Sentences for the log: an address was put back, a setting was refused.
    pub notices: UnboundedReceiver<String>,
    /// Time for which each renewal kept a processor busy, one an order.
    pub renewals: UnboundedReceiver<Duration>,
    /// Where addresses belong on this host. What is reported of a group is never
    /// newer than that.
    pub homes: watch::Receiver<Homes>,
    /// Groups whose addresses were all on already, ours and unexpired. They
    /// stay on until they are unplumbed or run out.
    pub present: BTreeSet<GroupId>,
}

/// A fact about a group's addresses on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The group.
    pub group: GroupId,
    /// The fact.
    pub report: ResourceReport,
}

/// Why the worker could not start, or could not release everything.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The process may not change addresses; nothing was changed.
    #[error(
        "this process lacks CAP_NET_ADMIN, without which it cannot put addresses on interfaces: \
         run it as root, or give its unit AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"
    )]
    Capability,
    /// The worker's thread could not be made; nothing was changed.
    #[error("cannot start the kernel worker")]
    Thread(#[source] io::Error),
    /// The worker's thread died while starting: a bug.
    #[error("the kernel worker died while starting")]
    Died,
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Netlink did not work.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Some addresses could not be removed; all others were.
    #[error("could not remove {}", refusals.join(", "))]
    Release {
        /// What was refused and why, each in one sentence.
        refusals: Vec<String>,
    },
}

/// What the worker counted since it started.
#[derive(Debug, Default)]
struct Counters {
    restored: AtomicU64,
    lapsed: AtomicU64,
    lost: AtomicU64,
    looks: AtomicU64,
    echoes: AtomicU64,
}

/// A reading of the worker's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Addresses put back after somebody else took them off.
    pub restored: u64,
    /// Groups that ran out because nobody renewed them (F1).
    pub lapsed: u64,
    /// Times the kernel had more news than it could keep for us.
    pub lost: u64,
    /// Times the whole address table was read.
    pub looks: u64,
    /// News that told only what we had done ourselves.
    pub echoes: u64,
}

/// Orders to the worker. They are carried out in the order in which they are
/// given; those given in one burst share their netlink requests.
///
/// Dropping it ends the worker, after what it is doing; addresses stay until
/// their lifetime ends.
#[derive(Debug)]
pub struct Kernel {
    commands: Option<UnboundedSender<Command>>,
    orders: AtomicU64,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Kernel {
    /// Starts the worker in the calling thread's network namespace.
    ///
    /// Everything of ours that belongs to none of `groups`, or to a group that
    /// is not wholly there, is removed; availability of all `groups` is
    /// reported. Waits until that is done.
    pub fn start(settings: Settings, groups: &[Arc<Group>]) -> Result<Started, KernelError> {
        let (commands, command_queue) = unbounded_channel();
        let (report_queue, reports) = unbounded_channel();
        let (notice_queue, notices) = unbounded_channel();
        let (renewal_queue, renewals) = unbounded_channel();
        let (home_board, homes) = watch::channel(Homes::default());
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let counters = Arc::new(Counters::default());
        let groups = groups.to_vec();
        let lines = worker::Lines {
            commands: command_queue,
            reports: report_queue,
            notices: notice_queue,
            renewals: renewal_queue,
            homes: home_board,
            counters: Arc::clone(&counters),
        };
        let runtime = runtime()?;
        let work = move || {
            runtime.block_on(async {
                match Worker::open(settings, groups, lines).await {
                    Ok((worker, present)) => {
                        // Nobody waits any more: then the queue is closed, too.
                        let _ = ready.send(Ok(present));
                        worker.run().await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        };
        let thread = named("vippy-kernel").spawn(work).map_err(KernelError::Thread)?;
        let present = started.recv().map_err(|_| KernelError::Died)??;
        let orders = AtomicU64::new(0);
        let kernel = Kernel { commands: Some(commands), orders, counters, thread: Some(thread) };
        Ok(Started { kernel, reports, notices, renewals, homes, present })
    }

    /// Watches these groups from now on and no others; reports the
    /// availability of each, now and whenever it changes.
    pub fn watch(&self, groups: Vec<Arc<Group>>) {
        self.order(Command::Watch(groups));
    }

    /// Puts a group's addresses on and keeps them on, for `lifetime` (`None`:
    /// for ever). Answers `Up` or, with nothing left on, `Failed`.
    pub fn plumb(&self, group: Arc<Group>, lifetime: Option<Duration>) {
        self.order(Command::Plumb { group, lifetime });
    }

    /// Takes a group's addresses off. Answers `Down`.
    pub fn unplumb(&self, group: GroupId) {
        self.order(Command::Unplumb(group));
    }

    /// Gives everything that should be on a new lifetime (F1). What it cost comes
    /// out of [`Started::renewals`].
    pub fn renew(&self, lifetime: Duration) {
        self.order(Command::Renew(lifetime));
    }

    /// Answers when everything ordered before is carried out, as far as the
    /// kernel lets it, and reported.
    pub fn settled(&self) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        self.give(Command::Settled(done));
        answer
    }

    /// How many orders were given so far.
    pub fn orders(&self) -> u64 {
        self.orders.load(Ordering::Relaxed)
    }

    /// What the worker counted so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            restored: read(&self.counters.restored),
            lapsed: read(&self.counters.lapsed),
            lost: read(&self.counters.lost),
            looks: read(&self.counters.looks),
            echoes: read(&self.counters.echoes),
        }
    }

    /// Removes everything that is ours, without a worker: for a stopped
    /// daemon. Returns how many addresses that were. One that cannot be
    /// removed does not keep the others.
    pub fn release_all(settings: &Settings) -> Result<usize, KernelError> {
        let settings = settings.clone();
        let runtime = runtime()?;
        // A thread of its own, since the caller may have a runtime already.
        let work = move || runtime.block_on(reconcile::release(settings));
        let thread = named("vippy-release").spawn(work).map_err(KernelError::Thread)?;
        thread.join().map_err(|_| KernelError::Died)?
    }

    /// Where the addresses of these groups would belong on this host now, were
    /// none of them on. Changes nothing and needs no privilege.
    pub fn survey(groups: &[Arc<Group>]) -> Result<Homes, KernelError> {
        let groups = groups.to_vec();
        let runtime = runtime()?;
        let work = move || runtime.block_on(reconcile::survey(&groups));
        let thread = named("vippy-survey").spawn(work).map_err(KernelError::Thread)?;
        thread.join().map_err(|_| KernelError::Died)?
    }

    fn order(&self, command: Command) {
        self.orders.fetch_add(1, Ordering::Relaxed);
        self.give(command);
    }

    fn give(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A dead worker shows by the end of its reports.
            let _ = commands.send(command);
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed there.
            let _ = thread.join();
        }
    }
}

fn runtime() -> Result<Runtime, KernelError> {
    Builder::new_current_thread().enable_io().enable_time().build().map_err(KernelError::Thread)
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}
