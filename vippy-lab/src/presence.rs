//! Which node's kernel has which address, and since when, by the kernels' own
//! messages: one thread listens to all nodes, so the times of different nodes
//! compare.
//!
//! Owns the listening and the arithmetic of spans. What the daemons believe is
//! none of its business.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::{Context, LabError};
use crate::lan::Port;
use crate::machine::Machine;
use crate::netlink::own_address;
use crate::prompt::make_prompt;

/// The kernel's groups for IPv4 and IPv6 addresses.
const GROUPS: u32 = 0x10 | 0x100;
/// Room for a burst of messages: a takeover of thousands.
const BUFFER: usize = 16 << 20;
const DATAGRAM: usize = 1 << 16;

/// A time during which a node had an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it came, or when the watch began.
    pub from: Instant,
    /// When it went; `None` while it is there.
    pub to: Option<Instant>,
}

/// Who had what and when, up to a moment.
#[derive(Clone, Debug)]
pub struct Presence {
    spans: BTreeMap<(IpAddr, Port), Vec<Span>>,
    /// When the watch began.
    pub began: Instant,
    /// Up to when this tells everything.
    pub until: Instant,
    /// Kernel messages were lost: what is told may be wrong.
    pub incomplete: bool,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its begin.
    pub from: Instant,
    /// Its end.
    pub to: Instant,
}

impl Stretch {
    /// How long it is.
    pub fn length(&self) -> Duration {
        self.to.saturating_duration_since(self.from)
    }
}

impl Presence {
    fn new() -> Presence {
        let now = Instant::now();
        Presence { spans: BTreeMap::new(), began: now, until: now, incomplete: false }
    }

    fn came(&mut self, ip: IpAddr, port: Port, at: Instant) {
        let spans = self.spans.entry((ip, port)).or_default();
        // A renewal says the same as an arrival.
        if spans.last().is_none_or(|last| last.to.is_some()) {
            spans.push(Span { from: at, to: None });
        }
    }

    fn went(&mut self, ip: IpAddr, port: Port, at: Instant) {
        if let Some(last) = self.spans.get_mut(&(ip, port)).and_then(|spans| spans.last_mut()) {
            last.to.get_or_insert(at);
        }
    }

    /// As if a node had had nothing from a moment on: nobody reaches a crashed
    /// one, whatever its kernel still has.
    #[must_use]
    pub fn without(mut self, port: impl Into<Port>, from: Instant) -> Presence {
        let port = port.into();
        for ((_, on), spans) in &mut self.spans {
            if *on == port {
                spans.retain(|span| span.from < from);
                for span in spans {
                    span.to = Some(span.to.map_or(from, |to| to.min(from)));
                }
            }
        }
        self
    }

    /// The times during which a node had an address, in order.
    pub fn spans(&self, ip: IpAddr, port: impl Into<Port>) -> &[Span] {
        self.spans.get(&(ip, port.into())).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every address that was anywhere.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.spans.keys().map(|(ip, _)| *ip).collect()
    }

    /// Every node that had the address at some time.
    pub fn ever(&self, ip: IpAddr) -> BTreeSet<Port> {
        let on = |((of, port), spans): (&(IpAddr, Port), &Vec<Span>)| {
            (*of == ip && !spans.is_empty()).then_some(*port)
        };
        self.spans.iter().filter_map(on).collect()
    }

    /// Who has the address at the end of what is told.
    pub fn holders(&self, ip: IpAddr) -> Vec<Port> {
        let here = |((of, port), spans): (&(IpAddr, Port), &Vec<Span>)| {
            let held = spans.last().is_some_and(|last| last.to.is_none());
            (*of == ip && held).then_some(*port)
        };
        self.spans.iter().filter_map(here).collect()
    }

    /// The stretches from a moment on during which at least `least` and at most
    /// `most` nodes had the address, in order.
    pub fn counted(&self, ip: IpAddr, least: usize, most: usize, since: Instant) -> Vec<Stretch> {
        let of_ip = self.spans.iter().filter(|((of, _), _)| *of == ip);
        let mut steps: Vec<(Instant, isize)> = Vec::new();
        for span in of_ip.flat_map(|(_, spans)| spans) {
            let to = span.to.unwrap_or(self.until);
            if to > since {
                steps.extend([(span.from.max(since), 1), (to, -1)]);
            }
        }
        // What goes and comes at the same instant is counted as going first.
        steps.sort_unstable();
        steps.push((self.until, 0));
        let (mut count, mut at) = (0_isize, since);
        let mut found: Vec<Stretch> = Vec::new();
        for (next, step) in steps {
            let held = usize::try_from(count).unwrap_or(0);
            if next > at && (least..=most).contains(&held) {
                match found.last_mut().filter(|last| last.to == at) {
                    Some(last) => last.to = next,
                    None => found.push(Stretch { from: at, to: next }),
                }
            }
            (count, at) = (count + step, at.max(next));
        }
        found
    }

    /// When at least two nodes had the address, from a moment on.
    pub fn doubled(&self, ip: IpAddr, since: Instant) -> Vec<Stretch> {
        self.counted(ip, 2, usize::MAX, since)
    }

    /// When no node had the address, from a moment on.
    pub fn unheld(&self, ip: IpAddr, since: Instant) -> Vec<Stretch> {
        self.counted(ip, 0, 0, since)
    }

    /// How long in all at least two nodes had the address, from a moment on.
    pub fn double_time(&self, ip: IpAddr, since: Instant) -> Duration {
        self.doubled(ip, since).iter().map(Stretch::length).sum()
    }

    /// When the node first got the address after a moment.
    pub fn next_arrival(
        &self,
        ip: IpAddr,
        port: impl Into<Port>,
        since: Instant,
    ) -> Option<Instant> {
        self.spans(ip, port).iter().map(|span| span.from).find(|from| *from >= since)
    }

    /// When the address went from the node for the last time, if it went after
    /// a moment and has not come back.
    pub fn departure(&self, ip: IpAddr, port: impl Into<Port>, since: Instant) -> Option<Instant> {
        self.spans(ip, port).last().and_then(|last| last.to).filter(|to| *to >= since)
    }
}

/// A watch under way; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Mutex<Presence>>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start<'a>(
        machines: impl Iterator<Item = (Port, &'a Machine)>,
    ) -> Result<Watch, LabError> {
        let mut presence = Presence::new();
        let mut sockets = Vec::new();
        for (port, machine) in machines {
            // Messages first, so nothing that happens in between is missed.
            let socket = machine.run(open)?;
            let socket = socket.context(|| format!("listen to the addresses of {port}"))?;
            for (ip, _) in machine.addresses()? {
                presence.came(ip, port, presence.began);
            }
            sockets.push((port, socket));
        }
        let shared = Arc::new(Mutex::new(presence));
        let (stop, stopped) = UnixStream::pair().context(|| "make a socket pair".into())?;
        let thread = std::thread::Builder::new().name("lab presence".into()).spawn({
            let shared = shared.clone();
            move || listen(&shared, &sockets, &stopped)
        });
        let thread = thread.context(|| "start the watching thread".into())?;
        Ok(Watch { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// What has been seen until now.
    pub fn so_far(&self) -> Presence {
        let mut presence = self.locked().clone();
        presence.until = Instant::now();
        presence
    }

    /// Waits until what has been seen satisfies a condition; whether it did in
    /// time.
    pub fn wait(&self, patience: Duration, mut wanted: impl FnMut(&Presence) -> bool) -> bool {
        let begin = Instant::now();
        loop {
            if wanted(&self.so_far()) {
                return true;
            }
            if begin.elapsed() >= patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the watch.
    pub fn finish(self) -> Presence {
        self.so_far()
    }

    fn locked(&self) -> MutexGuard<'_, Presence> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, GROUPS))?;
    socket.set_non_blocking(true)?;
    // An ordinary user has to do with the usual room.
    let _ = setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &BUFFER);
    Ok(socket)
}

fn listen(shared: &Mutex<Presence>, sockets: &[(Port, Socket)], stopped: &UnixStream) {
    make_prompt();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut all: Vec<PollFd<'_>> =
            sockets.iter().map(|(_, socket)| readable(socket.as_fd())).collect();
        all.push(readable(stopped.as_fd()));
        match poll(&mut all, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        let at = Instant::now();
        let ready: Vec<bool> = all.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if ready.last() == Some(&true) {
            return;
        }
        for ((port, socket), _) in sockets.iter().zip(ready).filter(|(_, ready)| *ready) {
            loop {
                let mut space = &mut buffer[..];
                match socket.recv(&mut space, 0) {
                    Ok(length) => note(shared, *port, &buffer[..length], at),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        shared.lock().unwrap_or_else(PoisonError::into_inner).incomplete = true;
                        break;
                    }
                }
            }
        }
    }
}

fn note(shared: &Mutex<Presence>, port: Port, mut bytes: &[u8], at: Instant) {
    let mut presence = shared.lock().unwrap_or_else(PoisonError::into_inner);
    while !bytes.is_empty() {
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else { return };
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        if let NetlinkPayload::InnerMessage(inner) = &message.payload {
            if let RouteNetlinkMessage::NewAddress(address) = inner {
                if let Some((ip, _)) = own_address(address) {
                    presence.came(ip, port, at);
                }
            } else if let RouteNetlinkMessage::DelAddress(address) = inner
                && let Some((ip, _)) = own_address(address)
            {
                presence.went(ip, port, at);
            }
        }
        bytes = bytes.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ip() -> IpAddr {
        crate::options::vip4(1)
    }

    /// Spans in milliseconds from the begin; node, from, to (0: still there).
    fn presence(spans: &[(usize, u32, u32)], until: u32) -> Presence {
        let mut presence = Presence::new();
        for (node, from, to) in spans {
            presence.came(ip(), Port::Node(*node), presence.began + MS * *from);
            if *to > 0 {
                presence.went(ip(), Port::Node(*node), presence.began + MS * *to);
            }
        }
        presence.until = presence.began + MS * until;
        presence
    }

    fn lengths(presence: &Presence, stretches: &[Stretch]) -> Vec<(u128, u128)> {
        let since = |at: Instant| at.duration_since(presence.began).as_millis();
        stretches.iter().map(|stretch| (since(stretch.from), since(stretch.to))).collect()
    }

    #[test]
    fn overlaps_and_gaps_are_found() {
        let presence = presence(&[(1, 0, 10), (2, 7, 20), (3, 25, 0)], 30);
        let began = presence.began;
        assert_eq!(lengths(&presence, &presence.doubled(ip(), began)), [(7, 10)]);
        assert_eq!(lengths(&presence, &presence.unheld(ip(), began)), [(20, 25)]);
        assert_eq!(presence.double_time(ip(), began + MS * 8), MS * 2);
        assert_eq!(presence.holders(ip()), [Port::Node(3)]);
        assert_eq!(presence.ever(ip()).len(), 3);
    }

    #[test]
    fn a_third_holder_does_not_split_a_double() {
        let presence = presence(&[(1, 0, 10), (2, 2, 8), (3, 4, 6)], 12);
        assert_eq!(lengths(&presence, &presence.doubled(ip(), presence.began)), [(2, 8)]);
        assert_eq!(lengths(&presence, &presence.unheld(ip(), presence.began)), [(10, 12)]);
    }

    #[test]
    fn a_hand_over_at_one_instant_is_neither_double_nor_gap() {
        let presence = presence(&[(1, 0, 10), (2, 10, 0)], 20);
        assert_eq!(presence.doubled(ip(), presence.began), []);
        assert_eq!(presence.unheld(ip(), presence.began), []);
    }

    #[test]
    fn a_crashed_node_s_addresses_do_not_count_any_more() {
        let presence = presence(&[(1, 0, 0), (2, 10, 0)], 20);
        assert_eq!(presence.double_time(ip(), presence.began), MS * 10);
        let crashed = presence.began + MS * 8;
        let presence = presence.without(1, crashed);
        assert_eq!(presence.double_time(ip(), presence.began), Duration::ZERO);
        assert_eq!(lengths(&presence, &presence.unheld(ip(), presence.began)), [(8, 10)]);
        assert_eq!(presence.departure(ip(), 1, presence.began), Some(crashed));
        assert_eq!(presence.next_arrival(ip(), 2, presence.began), Some(presence.began + MS * 10));
    }
}
