//! Decides when which frames leave: at once, and again twice.
//!
//! A thread of its own, since a raw socket may have to be waited for. What the
//! loop waits for is that a group was told about for the first time; the answer
//! comes in any case, a few milliseconds later for each interface that is dead.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vippy_core::config::{Address, Group};
use vippy_core::identity::{GroupId, Mac};
use vippy_core::time::Instant as Moment;

use super::licence::Licence;
use super::mouth::{Lapsed, Mouth, Places};
use crate::ethernet::frames::Form;
use crate::ethernet::port::raw_socket;
use crate::kernel::Homes;

/// How often everything is said.
const ROUNDS: u32 = 3;
/// Time between two rounds. Older Linux ignores a change of an ARP entry
/// within a second of the last one, so the gap must be longer than that.
const GAP: Duration = Duration::from_millis(1_200);

/// Groups whose frames leave before the first of them are reported told: a
/// thousand are not kept waiting for the last.
const BATCH: usize = 256;

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

/// One address of a group and its interface.
type Place = (String, IpAddr);

/// Tells an order about a group from an earlier one about it.
type OrderNumber = u64;

#[derive(Debug)]
enum Command {
    Notify { group: GroupId, places: Vec<Place>, order: OrderNumber },
    Silence(GroupId),
}

/// The first round of this order is over.
#[derive(Debug)]
struct Told {
    group: GroupId,
    order: OrderNumber,
    /// Where they were told that its first address is.
    mac: Option<Mac>,
}

/// A first round that is yet to be over.
#[derive(Debug)]
struct First {
    group: GroupId,
    order: OrderNumber,
    /// The interface of its first address.
    interface: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) frames: AtomicU64,
    pub(super) failures: AtomicU64,
    forgotten: AtomicU64,
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
        let counted = Arc::clone(&counters);
        let mouth = Mouth::new(Arc::clone(&counters), licence.clone());
        thread::Builder::new()
            .name("vippy-announce".to_owned())
            .spawn(move || work(&queue, mouth, &told, &counted))
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
        let place = |address: &Address| Some((homes.of(address)?.to_owned(), address.ip()));
        let places = group.addresses.iter().filter_map(place).collect();
        // The thread lives as long as this handle.
        let _ = self.commands.send(Command::Notify { group: group.id.clone(), places, order });
    }

    /// Says nothing more about a group, and reports nothing more about it.
    pub fn silence(&mut self, group: &GroupId) {
        self.awaited.remove(group);
        let _ = self.commands.send(Command::Silence(group.clone()));
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

fn work(
    queue: &Receiver<Command>,
    mut mouth: Mouth,
    told: &UnboundedSender<Told>,
    counters: &Counters,
) {
    let mut schedule = Schedule::default();
    loop {
        let command = match schedule.next() {
            Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match command {
            Ok(command) => {
                schedule.obey(command, Instant::now());
                queue.try_iter().for_each(|command| schedule.obey(command, Instant::now()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let due = schedule.take_due(Instant::now());
        if !due.is_empty() && say(&mut mouth, due, told) == Err(Lapsed) {
            // The loop lets everything go before it orders anything again.
            schedule = Schedule::default();
            counters.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One form for all addresses first, so that the last address is not kept
/// waiting by the second form of the first.
fn say(mouth: &mut Mouth, due: Vec<Due>, told: &UnboundedSender<Told>) -> Result<(), Lapsed> {
    mouth.begin();
    let mut spoken = Vec::new();
    for Due { places, firsts } in due {
        mouth.say(&places, Form::Request)?;
        for First { group, order, interface } in firsts {
            let mac = interface.and_then(|interface| mouth.mac(&interface));
            // The handle is gone when the daemon is about to end.
            let _ = told.send(Told { group, order, mac });
        }
        spoken.push(places);
    }
    spoken.iter().try_for_each(|places| mouth.say(places, Form::Reply))
}

/// What is still to be said, and when.
#[derive(Debug, Default)]
struct Schedule {
    groups: BTreeMap<GroupId, Telling>,
}

#[derive(Debug)]
struct Telling {
    places: Vec<Place>,
    order: OrderNumber,
    rounds_left: u32,
    due: Instant,
}

/// What is due of some groups.
#[derive(Debug, Default)]
struct Due {
    places: Places,
    /// Whose first round this is.
    firsts: Vec<First>,
}

impl Schedule {
    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Notify { group, places, order } => {
                let telling = Telling { places, order, rounds_left: ROUNDS, due: now };
                self.groups.insert(group, telling);
            }
            Command::Silence(group) => {
                self.groups.remove(&group);
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        self.groups.values().map(|telling| telling.due).min()
    }

    /// What is due of all groups, those never told about first.
    fn take_due(&mut self, now: Instant) -> Vec<Due> {
        let mut due: Vec<_> =
            self.groups.iter_mut().filter(|(_, telling)| telling.due <= now).collect();
        due.sort_by_key(|(_, telling)| telling.rounds_left != ROUNDS);
        let mut batches = Vec::new();
        for batch in due.chunks_mut(BATCH) {
            let mut due = Due::default();
            for (group, telling) in batch {
                due.add(group, telling);
                telling.rounds_left -= 1;
                telling.due = now + GAP;
            }
            batches.push(due);
        }
        self.groups.retain(|_, telling| telling.rounds_left > 0);
        batches
    }
}

impl Due {
    fn add(&mut self, group: &GroupId, telling: &Telling) {
        for (interface, ip) in &telling.places {
            match self.places.get_mut(interface) {
                Some(ips) => ips.push(*ip),
                None => drop(self.places.insert(interface.clone(), vec![*ip])),
            }
        }
        if telling.rounds_left == ROUNDS {
            let interface = telling.places.first().map(|(interface, _)| interface.clone());
            self.firsts.push(First { group: group.clone(), order: telling.order, interface });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notify(group: &str, ip: &str) -> Command {
        let places = vec![("eth0".into(), ip.parse().unwrap())];
        Command::Notify { group: group.into(), places, order: 1 }
    }

    #[test]
    fn everything_is_said_three_times_with_gaps_of_more_than_a_second() {
        let mut schedule = Schedule::default();
        let mut now = Instant::now();
        schedule.obey(notify("a", "10.0.0.1"), now);
        let mut said = Vec::new();
        while let Some(due) = schedule.next() {
            said.push(due);
            now = due;
            assert_eq!(schedule.take_due(now).len(), 1);
        }
        assert_eq!(said.len(), 3);
        assert!(said.windows(2).all(|pair| pair[1] - pair[0] > Duration::from_millis(1_100)));
    }

    #[test]
    fn a_silenced_group_is_not_mentioned_again_and_others_are() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.obey(notify("a", "10.0.0.1"), now);
        schedule.obey(notify("b", "10.0.0.2"), now);
        schedule.take_due(now);
        schedule.obey(Command::Silence("a".into()), now);
        let due = schedule.take_due(now + GAP);
        assert_eq!(due[0].places["eth0"], ["10.0.0.2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn groups_never_told_about_come_first_and_are_reported_once() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.obey(notify("a", "10.0.0.1"), now);
        let first = schedule.take_due(now);
        assert_eq!(first[0].firsts[0].group, "a".into());
        (0..BATCH).for_each(|n| schedule.obey(notify(&format!("b{n}"), "10.0.0.2"), now));
        let batches = schedule.take_due(now + GAP);
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].firsts.len(), BATCH);
        assert!(batches[1].firsts.is_empty());
        assert_eq!(batches[1].places["eth0"], ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_second_order_starts_over() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.obey(notify("a", "10.0.0.1"), now);
        schedule.take_due(now);
        schedule.obey(notify("a", "10.0.0.1"), now + GAP / 2);
        assert_eq!(schedule.next(), Some(now + GAP / 2));
    }
}
