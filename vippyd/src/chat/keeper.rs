//! Keeps the chat's sockets in step with the host's interfaces.
//!
//! An interface that is absent, or has no address yet, is a state: the keeper
//! looks again every second and whenever a link changes, and opens what has
//! become possible; while nothing is missing it looks less often. It runs on its
//! own thread, because listing interfaces, joining groups and closing joined
//! sockets all wait for the kernel's configuration lock; the loop gets finished
//! sockets and gives old ones back.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use tokio::sync::mpsc::UnboundedSender;
use vippy_core::config::{ChatInterface, Config};
use vippy_core::identity::NodeName;

use super::interfaces::{self, Interface, Way};
use super::sockets::{self, ChatError};

/// Time between two looks at the interfaces while something is missing.
const PERIOD: Duration = Duration::from_secs(1);

/// The same while nothing is: how late the change of an address may be noticed.
const CALM_PERIOD: Duration = Duration::from_secs(5);

/// A look may cost at most one part in this many of a processor: hosts with
/// thousands of addresses are looked at less often.
const THRIFT: u32 = 200;

/// A link that changes mostly changes several times in a row. Short: until a
/// look, frames that a dead link swallows count as sent.
const SETTLE: Duration = Duration::from_millis(5);

/// On a host where links change all the time a look may cost one part in this
/// many of a processor.
const CALM: u32 = 20;

/// What the chat needs.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The multicast group, where there is one.
    pub(super) group: Option<SocketAddr>,
    interface: ChatInterface,
    /// The address that everything must come from, where there is one.
    own: Option<SocketAddr>,
    managed: BTreeSet<IpAddr>,
    peers: BTreeSet<IpAddr>,
}

impl Plan {
    /// What `config` asks of `node`. Without a group and without an own address
    /// the system chooses the address; peers answer to where frames came from.
    pub(super) fn new(config: &Config, node: &NodeName) -> Plan {
        let local = &config.local;
        let mut own = local.peers.get(node).copied();
        if local.chat.is_none() && own.is_none() {
            let v4 = local.peers.values().next().is_none_or(SocketAddr::is_ipv4);
            own = Some(SocketAddr::new(interfaces::unspecified(v4), 0));
        }
        Plan {
            group: local.chat,
            interface: local.chat_interface.clone(),
            own,
            managed: managed(config),
            peers: local.peers.values().map(SocketAddr::ip).collect(),
        }
    }

    /// Indexes of the interfaces on which the chat takes place.
    pub(super) fn used(&self, interfaces: &[Interface]) -> BTreeSet<u32> {
        let mut used = BTreeSet::new();
        if let Some(group) = self.group {
            let ways = interfaces::choose(group.ip(), &self.interface, &self.managed, interfaces);
            used.extend(ways.into_iter().flatten().map(|way| way.index));
        }
        match self.own.map(|own| own.ip()) {
            None => {}
            Some(own) if !own.is_unspecified() => {
                used.extend(interfaces::carrier(interfaces, own).map(|it| it.index));
            }
            // The system chooses for each peer.
            Some(_) => {
                let near = |it: &&Interface| {
                    self.peers.iter().any(|ip| it.addresses.iter().any(|net| net.contains(ip)))
                };
                used.extend(interfaces.iter().filter(near).map(|it| it.index));
            }
        }
        used
    }

    /// Whether frames to the group come from an own address that is set.
    fn group_uses_own(&self, group: SocketAddr) -> bool {
        self.own.is_some_and(|own| own.is_ipv4() == group.is_ipv4())
    }
}

/// The addresses that the cluster moves.
pub(super) fn managed(config: &Config) -> BTreeSet<IpAddr> {
    let groups = config.shared.groups.iter();
    groups.flat_map(|group| &group.addresses).map(|address| address.ip()).collect()
}

/// What the keeper did; the loop follows.
#[derive(Debug)]
pub(super) enum Change {
    /// The socket of the address that is set is open.
    Home(UdpSocket),
    /// A way is open: the group's socket and, unless the home socket serves,
    /// one of its own.
    Open {
        /// The way.
        way: Way,
        /// Receives what is sent to the group.
        group: UdpSocket,
        /// Sends, and receives what is sent to us alone.
        own: Option<UdpSocket>,
    },
    /// A way is gone.
    Close {
        /// The way.
        way: Way,
        /// Why, unless a [`Change::Trouble`] tells.
        why: Option<String>,
    },
    /// Whether frames can leave from the address that is set.
    HomeLink(bool),
    /// Something is missing (or no longer).
    Trouble(Option<String>),
}

/// What the loop asks of the keeper.
#[derive(Debug)]
pub(super) enum Request {
    /// The cluster moves other addresses now.
    Managed(BTreeSet<IpAddr>),
    /// Close this socket: that may take a moment.
    Retire(UdpSocket),
}

/// What is open, and why not more.
#[derive(Debug)]
pub(super) struct Keeper {
    plan: Plan,
    home: bool,
    /// The link of the address that is set is up, as far as is known.
    home_link: bool,
    open: BTreeSet<Way>,
    trouble: Option<String>,
    /// How long the last listing of the interfaces took.
    scan_took: Duration,
}

impl Keeper {
    pub(super) fn new(plan: Plan) -> Keeper {
        Keeper {
            plan,
            home: false,
            home_link: true,
            open: BTreeSet::new(),
            trouble: None,
            scan_took: Duration::ZERO,
        }
    }

    /// Opens what can be opened and gives up what is gone.
    ///
    /// # Errors
    /// When an address or port is in use; what was open stays open.
    pub(super) fn look(&mut self) -> Result<Vec<Change>, ChatError> {
        let mut changes = Vec::new();
        let mut trouble = None;
        match self.look_at_home(&mut changes) {
            Err(e @ ChatError::InUse { .. }) => return Err(e),
            Err(e) => trouble = Some(text(&e)),
            Ok(()) => {}
        }
        if self.needs_interfaces() {
            let begun = Instant::now();
            let found = interfaces::scan();
            self.scan_took = begun.elapsed();
            match found {
                Err(e) => trouble = Some(format!("chat: cannot list the interfaces: {e}")),
                Ok(interfaces) => {
                    let down = self.look_at_home_link(&interfaces, &mut changes);
                    trouble = trouble.or(down);
                    if let Some(group) = self.plan.group {
                        match self.look_at_ways(group, &interfaces, &mut changes) {
                            Err(e @ ChatError::InUse { .. }) => return Err(e),
                            Err(e) => trouble = Some(text(&e)),
                            Ok(found) => trouble = trouble.or(found),
                        }
                    }
                }
            }
        }
        if trouble != self.trouble {
            self.trouble.clone_from(&trouble);
            changes.push(Change::Trouble(trouble));
        }
        Ok(changes)
    }

    fn look_at_home(&mut self, changes: &mut Vec<Change>) -> Result<(), ChatError> {
        if let (Some(address), false) = (self.plan.own, self.home) {
            changes.push(Change::Home(sockets::own(address, None)?));
            self.home = true;
        }
        Ok(())
    }

    /// The address that is set, unless the system chooses it for each frame.
    fn set_address(&self) -> Option<IpAddr> {
        self.plan.own.map(|own| own.ip()).filter(|ip| !ip.is_unspecified())
    }

    fn needs_interfaces(&self) -> bool {
        self.plan.group.is_some() || self.set_address().is_some()
    }

    /// Why nothing leaves from the address that is set, if so.
    fn look_at_home_link(
        &mut self,
        interfaces: &[Interface],
        changes: &mut Vec<Change>,
    ) -> Option<String> {
        let set = self.set_address().filter(|_| self.home)?;
        let interface = interfaces::carrier(interfaces, set)?;
        let link = interfaces::need_link(interface);
        if link.is_ok() != self.home_link {
            self.home_link = link.is_ok();
            changes.push(Change::HomeLink(self.home_link));
        }
        link.err().map(|why| format!("chat: {why}"))
    }

    /// What stands in the way, if anything; errors are those of single sockets.
    fn look_at_ways(
        &mut self,
        group: SocketAddr,
        interfaces: &[Interface],
        changes: &mut Vec<Change>,
    ) -> Result<Option<String>, ChatError> {
        let plan = &self.plan;
        let chosen = interfaces::choose(group.ip(), &plan.interface, &plan.managed, interfaces);
        let (wanted, trouble) = match chosen {
            Ok(ways) => (ways.into_iter().collect(), None),
            Err(why) => (BTreeSet::new(), Some(format!("chat: {why}"))),
        };
        for gone in self.open.difference(&wanted).cloned().collect::<Vec<_>>() {
            self.open.remove(&gone);
            let why = trouble.is_none().then(|| why_gone(&gone, interfaces));
            changes.push(Change::Close { way: gone, why });
        }
        let mut failure = None;
        for way in wanted {
            if self.open.contains(&way) {
                continue;
            }
            match self.open_way(group, &way) {
                Ok(change) => {
                    changes.push(change);
                    self.open.insert(way);
                }
                Err(e @ ChatError::InUse { .. }) => return Err(e),
                Err(e) => failure = Some(format!("{} (on {})", text(&e), way.name)),
            }
        }
        Ok(trouble.or(failure))
    }

    fn open_way(&self, group: SocketAddr, way: &Way) -> Result<Change, ChatError> {
        let own = match self.plan.group_uses_own(group) {
            true => None,
            false => Some(sockets::own_at_or_near(way, group.port())?),
        };
        let speaks_from = match &own {
            Some(own) => own.local_addr().ok(),
            None => self.plan.own.filter(|own| !own.ip().is_unspecified()),
        };
        let group = sockets::group(group, way, speaks_from)?;
        Ok(Change::Open { way: way.clone(), group, own })
    }

    /// Nothing will ever change: no interface matters, and home is open.
    fn is_done(&self) -> bool {
        !self.needs_interfaces() && self.home
    }

    /// The thread: looks until the loop is gone.
    pub(super) fn run(mut self, changes: &UnboundedSender<Change>, requests: &Receiver<Request>) {
        let watch = watch_links();
        let mut pause = PERIOD;
        while !self.is_done() {
            wait(watch.as_ref(), pause, SETTLE.max(self.scan_took * CALM));
            for request in requests.try_iter() {
                match request {
                    Request::Managed(managed) => self.plan.managed = managed,
                    Request::Retire(socket) => drop(socket),
                }
            }
            // Only a start refuses to run beside another program; a daemon that
            // runs waits for the port as it waits for an interface.
            let found = self.look().unwrap_or_else(|e| {
                let trouble = Some(text(&e));
                let news = (trouble != self.trouble).then(|| Change::Trouble(trouble.clone()));
                self.trouble = trouble;
                news.into_iter().collect()
            });
            for change in found {
                if changes.send(change).is_err() {
                    return;
                }
            }
            let period = if self.trouble.is_none() { CALM_PERIOD } else { PERIOD };
            pause = period.max(self.scan_took * THRIFT);
        }
    }
}

/// Why a way that was open is none any more.
fn why_gone(way: &Way, interfaces: &[Interface]) -> String {
    let same = interfaces.iter().find(|interface| interface.index == way.index);
    match same.map(interfaces::need_link) {
        None => format!("there is no interface {} any more", way.name),
        Some(Err(down)) => down,
        Some(Ok(())) => "it is not the one to speak from any more".to_owned(),
    }
}

/// An error with its causes, in one line.
fn text(error: &ChatError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A socket that tells of every change of a link. Without it the period alone
/// serves.
fn watch_links() -> Option<OwnedFd> {
    const RTMGRP_LINK: u32 = 1;
    let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    let watch = socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute).ok()?;
    bind(watch.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_LINK)).ok()?;
    Some(watch)
}

/// Waits for a change of a link, at most `pause`, and `settle` longer for more.
fn wait(watch: Option<&OwnedFd>, pause: Duration, settle: Duration) {
    let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
    let Some(watch) = watch else { return std::thread::sleep(pause) };
    if setsockopt(watch, sockopt::ReceiveTimeout, &TimeVal::milliseconds(millis)).is_err() {
        return std::thread::sleep(pause);
    }
    let mut buffer = [0; 4096];
    match recv(watch.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
        // An overflow (ENOBUFS) says that much has changed.
        Ok(_) | Err(_) => {
            std::thread::sleep(settle);
            while recv(watch.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(group: &str, interface: ChatInterface) -> Plan {
        let (managed, peers) = Default::default();
        Plan { group: Some(group.parse().unwrap()), interface, own: None, managed, peers }
    }

    fn free_port() -> u16 {
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn absent_interface_is_told_once_and_is_no_error() {
        let wanted = ChatInterface::Name("no-such-if".into());
        let mut keeper = Keeper::new(plan("224.1.1.1:5007", wanted));
        let first = keeper.look().unwrap();
        assert!(
            matches!(&first[..], [Change::Trouble(Some(text))] if text.contains("no-such-if")),
            "{first:?}"
        );
        assert!(keeper.look().unwrap().is_empty());
    }

    #[test]
    fn way_is_opened_once() {
        let wanted = ChatInterface::Address("127.0.0.1".parse().unwrap());
        let mut keeper = Keeper::new(plan(&format!("224.1.1.1:{}", free_port()), wanted));
        let first = keeper.look().unwrap();
        assert!(matches!(&first[..], [Change::Open { own: Some(_), .. }]), "{first:?}");
        assert!(keeper.look().unwrap().is_empty());
    }

    #[test]
    fn own_address_in_use_is_an_error_that_names_it() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut keeper = Keeper::new(Plan {
            group: None,
            interface: ChatInterface::All,
            own: Some(address),
            managed: BTreeSet::new(),
            peers: BTreeSet::new(),
        });
        let error = keeper.look().unwrap_err().to_string();
        assert_eq!(error, format!("chat: {address} is in use by another program"));
        drop(taken);
        assert!(matches!(&keeper.look().unwrap()[..], [Change::Home(_)]));
        assert!(!keeper.is_done(), "the link of the address may go down");
    }
}
