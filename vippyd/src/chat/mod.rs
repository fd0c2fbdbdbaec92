//! The chat: datagrams to and from the other daemons.
//!
//! Owns the sockets as the loop sees them: reads without waiting, writes
//! without waiting, knows for every datagram whether it was addressed to the
//! multicast group (it has a socket of its own for that). What the bytes mean
//! is the engine's business; how sockets come and go with the interfaces is
//! `keeper`'s.
//!
//! A frame to the group leaves on every open way, with one hop to live: nodes
//! that share addresses share a link. Each daemon speaks from an address of its
//! own (the one that `peers` sets, else the interface's own at the chat's port,
//! or at a free port where another daemon of this host has that one), so that
//! whoever hears it can answer to it alone.

mod filter;
mod interfaces;
mod keeper;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vippy_core::config::Config;
use vippy_core::identity::NodeName;
use vippy_core::input::Datagram;
use vippy_core::output::Destination;
use vippy_core::time::Instant;

use self::interfaces::Way;
pub(crate) use self::interfaces::{Interface, scan};
use self::keeper::{Change, Keeper, Plan, Request};
pub use self::sockets::ChatError;
use crate::clock;
use crate::logging::Logger;

/// A little more than the largest frame, so that one is never cut unnoticed.
const BUFFER: usize = 2_048;

/// A kind of failure is told again after this long, with its count.
const REMIND: Duration = Duration::from_secs(60);

/// Where the chat takes place, for who looks at the same wires.
#[derive(Clone, Debug)]
pub(crate) struct Wires {
    plan: Plan,
}

impl Wires {
    /// What `config` makes `node` use.
    pub(crate) fn new(config: &Config, node: &NodeName) -> Wires {
        Wires { plan: Plan::new(config, node) }
    }

    /// Indexes of the chat's interfaces among those that there are.
    pub(crate) fn used(&self, interfaces: &[Interface]) -> BTreeSet<u32> {
        self.plan.used(interfaces)
    }
}

/// The sockets of one node.
pub struct Chat {
    group: Option<SocketAddr>,
    home: Option<Home>,
    ways: BTreeMap<Way, Sockets>,
    changes: UnboundedReceiver<Change>,
    requests: Sender<Request>,
    failures: Failures,
    logger: Logger,
    buffer: Box<[u8; BUFFER]>,
}

/// The socket of the address that `peers` sets for this node.
struct Home {
    socket: UdpSocket,
    /// Frames can leave from its address.
    link: bool,
    /// By which way its frames to the group leave at present.
    aimed: Option<Way>,
}

/// One way's sockets.
struct Sockets {
    group: UdpSocket,
    own: Option<UdpSocket>,
}

impl Chat {
    /// Opens what can be opened now and starts to watch for the rest. Must be
    /// called inside the runtime; the only call here that may block.
    ///
    /// # Errors
    /// When an address or port is in use.
    pub fn open(config: &Config, node: &NodeName, logger: Logger) -> Result<Chat, ChatError> {
        let plan = Plan::new(config, node);
        let group = plan.group;
        let mut keeper = Keeper::new(plan);
        let first = keeper.look()?;
        let (sender, changes) = unbounded_channel();
        let (requests, inbox) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("chat".into())
            .spawn(move || keeper.run(&sender, &inbox))
            .map_err(ChatError::Thread)?;
        let mut chat = Chat {
            group,
            home: None,
            ways: BTreeMap::new(),
            changes,
            requests,
            failures: Failures::default(),
            logger,
            buffer: Box::new([0; BUFFER]),
        };
        for change in first {
            chat.follow(change);
        }
        Ok(chat)
    }

    /// Takes note of the addresses that a new configuration moves.
    pub fn reconfigure(&self, config: &Config) {
        // The keeper may have ended because it has nothing to watch.
        let _ = self.requests.send(Request::Managed(keeper::managed(config)));
    }

    /// Sends without waiting. False when it did not leave on any way; a chat
    /// without a group has nobody to miss what is sent to it.
    pub fn send(&mut self, to: Destination, frame: &[u8]) -> bool {
        match to {
            Destination::Multicast => match self.group {
                Some(group) => self.send_to_group(group, frame),
                None => self.home_link(),
            },
            Destination::Unicast(to) => self.send_to_one(to, frame),
        }
    }

    /// Completes when a datagram waits. Follows the keeper meanwhile.
    pub async fn readable(&mut self) {
        poll_fn(|cx| {
            while let Poll::Ready(Some(change)) = self.changes.poll_recv(cx) {
                self.follow(change);
            }
            self.poll_sockets(cx)
        })
        .await;
    }

    /// Reads what waits, at most `each` datagrams from every socket.
    pub fn receive(&mut self, each: usize, mut take: impl FnMut(Datagram)) {
        let Chat { home, ways, buffer, failures, logger, .. } = self;
        for (socket, multicast) in all_sockets(home, ways) {
            for _ in 0..each {
                match socket.try_recv_from(&mut buffer[..]) {
                    Ok((length, source)) => {
                        let bytes = buffer[..length].to_vec();
                        take(Datagram { source, multicast, bytes });
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => {
                        failures.note("receive", &e, logger);
                        break;
                    }
                }
            }
        }
    }

    fn poll_sockets(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ready = Poll::Pending;
        // Every socket must be asked: each remembers whom to wake.
        for (socket, _) in all_sockets(&self.home, &self.ways) {
            if socket.poll_recv_ready(cx).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    fn send_to_group(&mut self, group: SocketAddr, frame: &[u8]) -> bool {
        let mut left = false;
        for (way, sockets) in &self.ways {
            let sent = match (&sockets.own, &mut self.home) {
                (Some(own), _) => sockets::send(own, frame, sockets::scoped(group, way.index)),
                (None, Some(home)) => home.send_by(way, group, frame),
                // An own address that is not on this host yet.
                (None, None) => continue,
            };
            match sent {
                Ok(()) => left = true,
                Err(e) => self.failures.note("send to the group", &e, &self.logger),
            }
        }
        left
    }

    fn home_link(&self) -> bool {
        self.home.as_ref().is_none_or(|home| home.link)
    }

    fn send_to_one(&mut self, to: SocketAddr, frame: &[u8]) -> bool {
        if !self.home_link() {
            return false;
        }
        let Some(socket) = self.socket_towards(to) else { return false };
        match sockets::send(socket, frame, to) {
            Ok(()) => true,
            Err(e) => {
                self.failures.note("send to a peer", &e, &self.logger);
                false
            }
        }
    }

    /// The set address's socket if its family fits, else that of the way in
    /// whose network the peer is, else any of the family.
    fn socket_towards(&self, to: SocketAddr) -> Option<&UdpSocket> {
        let fits = |source: &UdpSocket| {
            source.local_addr().is_ok_and(|local| local.is_ipv4() == to.is_ipv4())
        };
        if let Some(home) = self.home.as_ref().filter(|home| fits(&home.socket)) {
            return Some(&home.socket);
        }
        let mut own = self
            .ways
            .iter()
            .filter_map(|(way, sockets)| Some((way, sockets.own.as_ref()?)))
            .filter(|(_, socket)| fits(socket));
        let near = own.clone().find(|(way, _)| match to {
            SocketAddr::V6(to) if to.scope_id() != 0 => to.scope_id() == way.index,
            SocketAddr::V4(_) | SocketAddr::V6(_) => way.reaches(to.ip()),
        });
        near.or_else(|| own.next()).map(|(_, socket)| socket)
    }

    fn follow(&mut self, change: Change) {
        match change {
            Change::Home(socket) => {
                if let Some(socket) = self.register(socket) {
                    self.tell_open(&socket, "to every peer");
                    self.home = Some(Home { socket, link: true, aimed: None });
                }
            }
            Change::Open { way, group, own } => {
                let own = match own.map(|own| self.register(own)) {
                    Some(None) => return,
                    Some(Some(own)) => {
                        self.tell_open(&own, &format!("on interface={}", way.name));
                        Some(own)
                    }
                    None => None,
                };
                if let Some(group) = self.register(group) {
                    self.ways.insert(way, Sockets { group, own });
                }
            }
            Change::HomeLink(link) => {
                if let Some(home) = &mut self.home {
                    home.link = link;
                }
            }
            Change::Close { way, why } => {
                if let Some(why) = why {
                    self.logger.warning(format_args!(
                        "chat: gave up address={} on interface={}: {why}",
                        way.source, way.name
                    ));
                }
                if let Some(sockets) = self.ways.remove(&way) {
                    self.retire(sockets.group);
                    sockets.own.into_iter().for_each(|own| self.retire(own));
                }
            }
            Change::Trouble(Some(why)) => {
                self.logger.warning(format_args!("{why}; looking again every second"))
            }
            Change::Trouble(None) => self.logger.notice("chat: nothing is missing any more"),
        }
    }

    fn tell_open(&self, socket: &UdpSocket, where_to: &str) {
        if let Ok(address) = socket.local_addr() {
            self.logger.notice(format_args!("chat: speaks from address={address} {where_to}"));
        }
    }

    fn register(&mut self, socket: std::net::UdpSocket) -> Option<UdpSocket> {
        match UdpSocket::from_std(socket) {
            Ok(socket) => Some(socket),
            Err(e) => {
                self.failures.note("watch a socket", &e, &self.logger);
                None
            }
        }
    }

    /// Closing a joined socket waits for the kernel; the keeper does it.
    fn retire(&self, socket: UdpSocket) {
        if let Ok(socket) = socket.into_std() {
            let _ = self.requests.send(Request::Retire(socket));
        }
    }
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Home {
    fn send_by(&mut self, way: &Way, group: SocketAddr, frame: &[u8]) -> io::Result<()> {
        if self.aimed.as_ref() != Some(way) {
            sockets::aim(&SockRef::from(&self.socket), way)?;
            self.aimed = Some(way.clone());
        }
        sockets::send(&self.socket, frame, sockets::scoped(group, way.index))
    }
}

/// Every socket, and whether what it receives was addressed to the group.
fn all_sockets<'a>(
    home: &'a Option<Home>,
    ways: &'a BTreeMap<Way, Sockets>,
) -> impl Iterator<Item = (&'a UdpSocket, bool)> {
    let home = home.iter().map(|home| (&home.socket, false));
    let ways = ways.values().flat_map(|sockets| {
        let own = sockets.own.iter().map(|own| (own, false));
        own.chain(std::iter::once((&sockets.group, true)))
    });
    home.chain(ways)
}

/// Failures by kind, told once a minute each.
#[derive(Debug, Default)]
struct Failures(BTreeMap<(&'static str, Option<i32>), Failure>);

#[derive(Debug)]
struct Failure {
    count: u64,
    told: Instant,
}

impl Failures {
    fn note(&mut self, doing: &'static str, error: &io::Error, logger: &Logger) {
        let now = clock::now();
        let kind = (doing, error.raw_os_error());
        let known = self.0.get_mut(&kind);
        if let Some(failure) = known {
            failure.count += 1;
            if now.since(failure.told) < REMIND {
                return;
            }
            failure.told = now;
            let count = failure.count;
            logger.warning(format_args!("chat: cannot {doing}: {error} ({count} times so far)"));
            return;
        }
        self.0.insert(kind, Failure { count: 1, told: now });
        logger.warning(format_args!("chat: cannot {doing}: {error}"));
    }
}

#[cfg(test)]
mod tests;
