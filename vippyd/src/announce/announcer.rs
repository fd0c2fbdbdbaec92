//! Decides when which frames leave: at once, and again twice.
//!
//! A thread of its own, since a raw socket may block on a slow interface.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use vippy_core::config::Group;
use vippy_core::identity::GroupId;

use super::frames::{Form, gratuitous_arp, unsolicited_advertisement};
use super::port::{Identity, Interfaces, Port, raw_socket};

/// How often everything is said.
const ROUNDS: u32 = 3;
/// Time between two rounds. Older Linux ignores a change of an ARP entry
/// within a second of the last one, so the gap must be longer than that.
const GAP: Duration = Duration::from_millis(1_200);

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

#[derive(Debug)]
enum Command {
    Notify(GroupId, Vec<Place>),
    Silence(GroupId),
}

#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    failures: AtomicU64,
}

/// A reading of the announcer's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that left.
    pub frames: u64,
    /// Times an interface took no frame, or not all of them: absent, down.
    pub failures: u64,
}

/// Orders to the announcer's thread. Dropping it ends the thread; what was
/// not said yet is not said any more.
#[derive(Debug)]
pub struct Announcer {
    commands: Sender<Command>,
    counters: Arc<Counters>,
}

impl Announcer {
    /// Starts the thread in the caller's network namespace.
    pub fn start() -> Result<Announcer, AnnounceError> {
        raw_socket().map_err(|errno| {
            let refused = [Errno::EPERM, Errno::EACCES].contains(&errno);
            if refused { AnnounceError::Capability } else { AnnounceError::Socket(errno) }
        })?;
        let (commands, queue) = channel();
        let counters = Arc::new(Counters::default());
        let mouth = Mouth { ports: BTreeMap::new(), counters: Arc::clone(&counters) };
        thread::Builder::new()
            .name("vippy-announce".to_owned())
            .spawn(move || work(&queue, mouth))
            .map_err(AnnounceError::Thread)?;
        Ok(Announcer { commands, counters })
    }

    /// Tells the neighbours about all of a group's addresses, at once and two
    /// more times. Starts over for a group that is being told about.
    pub fn notify(&self, group: &Group) {
        let place =
            |address: &vippy_core::config::Address| (address.interface.clone(), address.ip());
        let places = group.addresses.iter().map(place).collect();
        // The thread lives as long as this handle.
        let _ = self.commands.send(Command::Notify(group.id.clone(), places));
    }

    /// Says nothing more about a group.
    pub fn silence(&self, group: &GroupId) {
        let _ = self.commands.send(Command::Silence(group.clone()));
    }

    /// What was sent so far.
    pub fn counts(&self) -> Counts {
        Counts {
            frames: self.counters.frames.load(Ordering::Relaxed),
            failures: self.counters.failures.load(Ordering::Relaxed),
        }
    }
}

fn work(queue: &Receiver<Command>, mut mouth: Mouth) {
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
        if !due.is_empty() {
            mouth.say(&due);
        }
    }
}

/// What is still to be said, and when.
#[derive(Debug, Default)]
struct Schedule {
    groups: BTreeMap<GroupId, Telling>,
}

#[derive(Debug)]
struct Telling {
    places: Vec<Place>,
    rounds_left: u32,
    due: Instant,
}

impl Schedule {
    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Notify(group, places) => {
                self.groups.insert(group, Telling { places, rounds_left: ROUNDS, due: now });
            }
            Command::Silence(group) => {
                self.groups.remove(&group);
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        self.groups.values().map(|telling| telling.due).min()
    }

    /// The places of all groups that are due, by interface.
    fn take_due(&mut self, now: Instant) -> BTreeMap<String, Vec<IpAddr>> {
        let mut due: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for telling in self.groups.values_mut().filter(|telling| telling.due <= now) {
            for (interface, ip) in &telling.places {
                match due.get_mut(interface) {
                    Some(ips) => ips.push(*ip),
                    None => drop(due.insert(interface.clone(), vec![*ip])),
                }
            }
            telling.rounds_left -= 1;
            telling.due = now + GAP;
        }
        self.groups.retain(|_, telling| telling.rounds_left > 0);
        due
    }
}

/// The sockets, one an interface.
struct Mouth {
    ports: BTreeMap<String, Port>,
    counters: Arc<Counters>,
}

impl Mouth {
    /// Says where addresses are: one form for all of them first, so that the
    /// last address is not kept waiting by the second form of the first.
    fn say(&mut self, places: &BTreeMap<String, Vec<IpAddr>>) {
        // Asked anew each time: interfaces are recreated, MACs change.
        let Ok(interfaces) = Interfaces::now() else {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
            return;
        };
        for form in [Form::Request, Form::Reply] {
            for (interface, ips) in places {
                if self.say_on(interface, &interfaces, ips, form).is_err() {
                    self.ports.remove(interface);
                    self.counters.failures.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Stops at the first frame that cannot leave: the link went down.
    fn say_on(
        &mut self,
        interface: &str,
        interfaces: &Interfaces,
        ips: &[IpAddr],
        form: Form,
    ) -> Result<(), Errno> {
        let Some(identity) = interfaces.identity(interface)? else { return Ok(()) };
        let port = match self.ports.entry(interface.to_owned()) {
            Entry::Occupied(entry) if entry.get().is(interface, interfaces) => entry.into_mut(),
            Entry::Occupied(mut entry) => {
                entry.insert(Port::open(interface, interfaces)?);
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert(Port::open(interface, interfaces)?),
        };
        for ip in ips {
            if let Some(frame) = frame(identity, *ip, form) {
                port.send(&frame)?;
                self.counters.frames.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// IPv6 knows one form only; it goes with the first.
fn frame(identity: Identity, ip: IpAddr, form: Form) -> Option<Vec<u8>> {
    match (ip, form) {
        (IpAddr::V4(ip), form) => Some(gratuitous_arp(identity.mac, ip, form)),
        (IpAddr::V6(ip), Form::Request) => {
            Some(unsolicited_advertisement(identity.mac, ip, identity.router))
        }
        (IpAddr::V6(_), Form::Reply) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notify(group: &str, ip: &str) -> Command {
        Command::Notify(group.into(), vec![("eth0".into(), ip.parse().unwrap())])
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
        assert_eq!(due["eth0"], ["10.0.0.2".parse::<IpAddr>().unwrap()]);
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
