//! One machine: a clock of its own, a disk, a kernel that keeps addresses, and
//! a process or none. It decides nothing; [`super::world`] moves it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use vippy_core::config::{Config, Digest};
use vippy_core::identity::{BootId, Epoch, Mac};
use vippy_core::input::Input;
use vippy_core::memory::Memory;
use vippy_core::recorder::Recorded;
use vippy_core::status::NodeState;
use vippy_core::time::Instant;

use super::Micros;
use super::random::Random;

/// A datagram in flight or in a socket buffer.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Its source address.
    pub source: SocketAddr,
    /// Whether it came by multicast.
    pub multicast: bool,
    /// Its payload.
    pub bytes: Arc<[u8]>,
    /// Number of the recorded frame that it is; `None` for an attacker's work.
    pub frame: Option<u64>,
}

/// What a machine's kernel has on its interfaces: group and end of lifetime.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    addresses: BTreeMap<usize, Option<Micros>>,
}

impl Kernel {
    /// Puts a group's addresses on until `until`; true if they were not there.
    pub fn put(&mut self, group: usize, until: Option<Micros>) -> bool {
        self.addresses.insert(group, until).is_none()
    }

    /// Takes a group's addresses off; true if they were there.
    pub fn take(&mut self, group: usize) -> bool {
        self.addresses.remove(&group).is_some()
    }

    /// Gives everything present a new end.
    pub fn renew(&mut self, until: Micros) {
        self.addresses.values_mut().for_each(|end| *end = Some(until));
    }

    /// Time stood still for so long; says when everything ends now.
    pub fn postpone(&mut self, span: Micros) -> Vec<Micros> {
        self.addresses.values_mut().flatten().for_each(|end| *end += span);
        self.addresses.values().copied().flatten().collect()
    }

    /// Removes and names what has reached its end.
    pub fn expire(&mut self, now: Micros) -> Vec<usize> {
        let ended = |end: &Option<Micros>| end.is_some_and(|end| end <= now);
        let gone: Vec<usize> =
            self.addresses.iter().filter(|(_, end)| ended(end)).map(|(group, _)| *group).collect();
        self.addresses.retain(|_, end| !ended(end));
        gone
    }

    /// When a group's addresses end, if nobody renews them.
    pub fn end_of(&self, group: usize) -> Option<Micros> {
        self.addresses.get(&group).copied().flatten()
    }

    /// Groups whose addresses are present.
    pub fn groups(&self) -> impl Iterator<Item = usize> + '_ {
        self.addresses.keys().copied()
    }

    /// Whether a group's addresses are present.
    pub fn has(&self, group: usize) -> bool {
        self.addresses.contains_key(&group)
    }
}

/// A running `vippyd`.
pub struct Process {
    /// Number of this life on this machine; the first is 1.
    pub life: u64,
    /// Its engine.
    pub engine: Recorded,
    /// Its identity at the moment.
    pub boot: BootId,
    /// Stopped by a signal: gets no input.
    pub paused: bool,
    /// Was told to stop.
    pub stopping: bool,
    /// Was told to drain.
    pub drained: bool,
    /// Its state as last told by an event.
    pub state: NodeState,
    /// When it will wake for a deadline.
    pub wake_at: Option<Micros>,
    /// What came while it was paused, oldest first.
    pub socket: VecDeque<Parcel>,
    /// Signals, commands and kernel news that came while it was paused.
    pub pending: VecDeque<Input>,
    /// Finished work it could not be told of while it was paused.
    pub finished: VecDeque<Work>,
    /// When the last job for a group ends: jobs of one group keep their order.
    pub busy_until: BTreeMap<usize, Micros>,
    /// Groups that the neighbours are being told of, each under the number of the
    /// order that is being carried out.
    pub telling: BTreeMap<usize, u64>,
    /// The lifetime that addresses are to have; `None` is for ever.
    pub lifetime: Option<Micros>,
    /// Groups that could not be plumbed in this life, and when that was last tried.
    pub failed: BTreeMap<usize, Micros>,
    /// Recorded frames that reached it, newest last, bounded.
    pub received: VecDeque<u64>,
    /// When it started.
    pub started: Micros,
    /// Until when it notes what arrives beside the chat.
    pub listens_until: Micros,
    /// Wake-ups in the current second, against busy loops.
    pub wakes: (Micros, u32),
}

/// A job of the daemon's workers.
#[derive(Clone, Debug)]
pub enum Work {
    /// Put a group's addresses on.
    Plumb {
        /// The group.
        group: usize,
    },
    /// Take a group's addresses off.
    Unplumb {
        /// The group.
        group: usize,
    },
    /// Ask the LAN for a group's address.
    Look {
        /// The group.
        group: usize,
        /// Who should have it.
        expected: Mac,
    },
    /// Run the check of a group.
    Ask {
        /// The group.
        group: usize,
        /// When the run began.
        began: Micros,
    },
    /// Write an epoch to disk.
    Store(Epoch),
    /// Look whether a document is a configuration.
    Examine {
        /// The document.
        document: Arc<str>,
        /// Its digest.
        digest: Digest,
    },
    /// Clean up after a process that is gone.
    CleanUp(BootId),
    /// Tell the neighbours of a group.
    Tell {
        /// The group.
        group: usize,
        /// The order that this follows.
        order: u64,
        /// How often it was told before.
        round: u32,
    },
}

/// A machine.
pub struct Station {
    /// Its clock's reading at the world's zero: engines never agree on time.
    pub clock: Micros,
    /// Since when it stands still.
    pub frozen: Option<Micros>,
    /// Its wall clock's error in milliseconds, added to the world's.
    pub wall_clock: u64,
    /// What its next process reads.
    pub config: Arc<Config>,
    /// Its kernel.
    pub kernel: Kernel,
    /// The epoch on its disk.
    pub disk: Epoch,
    /// What its last process remembered, and when it said so.
    pub memory: (Memory, Micros),
    /// Its process, if one runs.
    pub process: Option<Process>,
    /// Lives so far.
    pub lives: u64,
    /// Whether frames leave: false means the socket refuses them.
    pub uplink: bool,
    /// Groups that cannot be held here (link down and the like).
    pub unavailable: BTreeSet<usize>,
    /// Groups whose plumbing fails here.
    pub unpluggable: BTreeSet<usize>,
    /// Groups whose check is not good here.
    pub ailing: BTreeSet<usize>,
    /// Chance for everything on this machine.
    pub dice: Random,
    /// Seed of what must not depend on how often chance was asked before.
    pub seed: u64,
}

impl Station {
    /// A span for one thing that happens at `now`, whatever else was drawn
    /// before: what a stranger causes must not shift it.
    pub fn lasting(&self, now: Micros, which: u64, span: (Micros, Micros)) -> Micros {
        Random::labelled(self.seed, &[now, which]).span(span)
    }

    /// What this machine's clock shows.
    pub fn instant(&self, now: Micros) -> Instant {
        Instant::from_micros(self.clock + now)
    }

    /// The world's time at which this machine's clock shows `instant`.
    pub fn world_time(&self, instant: Instant) -> Micros {
        instant.as_micros().saturating_sub(self.clock)
    }

    /// What the next process remembers, if it starts now.
    pub fn remembered(&self, now: Micros) -> Memory {
        let (memory, written) = &self.memory;
        memory.aged(Duration::from_micros(now.saturating_sub(*written)))
    }

    /// Whether a process runs and is not paused.
    pub fn awake(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.paused)
    }

    /// The process of this life, if it still runs.
    pub fn process_of(&mut self, life: u64) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.life == life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_drops_what_nobody_renews() {
        let mut kernel = Kernel::default();
        assert!(kernel.put(1, Some(100)));
        assert!(kernel.put(2, None));
        assert!(kernel.put(3, Some(200)));
        assert!(!kernel.put(3, Some(300)), "already there");
        assert_eq!(kernel.expire(250), [1]);
        assert_eq!(kernel.groups().collect::<Vec<_>>(), [2, 3]);
        kernel.renew(500);
        assert_eq!(kernel.expire(400), [0usize; 0]);
        assert!(kernel.take(3) && !kernel.take(3));
    }
}
