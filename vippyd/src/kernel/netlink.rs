//! The layout of netlink messages: typed verbs for what Vippy asks of the
//! kernel and typed news for what the kernel tells.
//!
//! Nothing outside this file, [`super::neighbours`] and [`super::sieve`] builds or
//! reads a netlink message. This file decides nothing: which address goes where is
//! [`super::plan`]'s business.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink is open-ended: kinds and attributes not used here are skipped"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, LinkAttribute, LinkFlags, LinkMessage,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::proto::{Connection, ConnectionHandle};
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use socket2::SockRef;
use tokio::task::JoinHandle;

use super::addresses::{Found, Spot};
use super::links::Link;
use super::sieve;

/// The value of `IFA_PROTO` that marks an address as put there by Vippy (`V`).
/// The kernel gives 1 to 3 a meaning of its own; the rest is free for programs.
pub(super) const TAG: u8 = 0x56;

/// Requests that share one datagram. Their acknowledgements must fit in the
/// receive buffer even where it cannot be enlarged.
const BATCH: usize = 128;

/// Buffer for acknowledgements and news; thousands of each come in one go.
const RECEIVE_BUFFER: usize = 2 << 20;

/// The kernel answers while the request is being sent, so a reply that takes
/// this long was lost (its buffer was full).
const PATIENCE: Duration = Duration::from_secs(5);

/// A dump that other changes keep interrupting is repeated this often.
const DUMP_TRIES: usize = 5;

/// `NLM_F_DUMP_INTR`: the table changed during the dump, which may have gaps.
const DUMP_INTERRUPTED: u16 = 0x10;

/// Seconds that mean "for ever" to the kernel.
const FOREVER: u32 = u32::MAX;

type Message = NetlinkMessage<RouteNetlinkMessage>;

/// Why a request got no proper answer. Whether it took effect is unknown.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be opened.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// The socket broke; it must be opened again.
    #[error("the netlink socket closed while {doing}")]
    Closed {
        /// What was being done.
        doing: &'static str,
    },
    /// No answer came.
    #[error("the kernel did not answer within {} s while {doing}", PATIENCE.as_secs())]
    Silent {
        /// What was being done.
        doing: &'static str,
    },
    /// The kernel said no.
    #[error("the kernel refused {doing}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        #[source]
        errno: Errno,
    },
}

/// One address to be put on, or whose lifetime is to be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Which address, where.
    pub(super) spot: Spot,
    /// IPv4 networks of more than two addresses have one.
    pub(super) broadcast: Option<Ipv4Addr>,
    /// Whether the kernel makes a route to the address's network.
    pub(super) prefix_route: bool,
    /// Kernel lifetime in whole seconds; `None` is for ever.
    pub(super) valid: Option<u32>,
}

/// One change to the kernel's address table.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Put on an address that is not there.
    Add(Order),
    /// Renew the lifetime of one that is.
    Renew(Order),
    /// Take one off.
    Remove(Spot),
}

/// What the kernel tells without being asked.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// An address appeared or changed.
    Address(Found),
    /// An address went.
    AddressGone(Spot),
    /// A link appeared or changed.
    Link(Link),
    /// A link went.
    LinkGone(u32),
    /// News were lost: everything must be looked at again.
    Lost,
}

/// Two netlink sockets: one asks, one listens. Kept apart so that a flood of
/// news never costs an acknowledgement.
pub(super) struct Netlink {
    requests: ConnectionHandle<RouteNetlinkMessage>,
    news: futures_util::stream::BoxStream<'static, Message>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Netlink {
    /// Opens both sockets in the calling thread's network namespace. Must run
    /// inside a tokio runtime that drives I/O.
    pub(super) fn open() -> Result<Netlink, NetlinkError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (mut listening, _, news) =
            new_multicast_connection(&groups).map_err(NetlinkError::Open)?;
        widen(&mut listening);
        // What it refuses the worker can do without.
        let _ = SockRef::from(listening.socket_mut().socket_ref())
            .attach_filter(&sieve::without_renewals());
        let (mut asking, requests, _) =
            rtnetlink::proto::new_connection(rtnetlink::sys::protocols::NETLINK_ROUTE)
                .map_err(NetlinkError::Open)?;
        widen(&mut asking);
        asking.set_forward_ack(true);
        asking.set_forward_done(true);
        let tasks = [tokio::spawn(listening), tokio::spawn(asking)];
        Ok(Netlink { requests, news: news.map(|(message, _)| message).boxed(), tasks })
    }

    /// Waits for the next piece of news that matters here. `None`: the socket
    /// broke and must be opened again. Dropping the future loses nothing.
    pub(super) async fn next_news(&mut self) -> Option<News> {
        loop {
            if let Some(news) = read_news(self.news.next().await?) {
                return Some(news);
            }
        }
    }

    /// The next piece of news if it is here already.
    pub(super) fn news_at_hand(&mut self) -> Option<News> {
        self.next_news().now_or_never().flatten()
    }

    /// Whether the kernel lets this process change addresses here. It checks
    /// that before it looks at the request, so one for an interface that
    /// cannot exist tells, user namespaces included.
    pub(super) async fn may_change(&self) -> Result<bool, NetlinkError> {
        Ok(self.change_nothing().await? != [Err(Errno::EPERM)])
    }

    /// Waits until the kernel has finished whatever change it was making: all
    /// take one lock, and so does this.
    pub(super) async fn wait_for_lock(&self) -> Result<(), NetlinkError> {
        self.change_nothing().await.map(drop)
    }

    /// A change that is refused because its interface cannot exist.
    async fn change_nothing(&self) -> Result<Vec<Result<(), Errno>>, NetlinkError> {
        let nowhere = Spot { ip: Ipv6Addr::UNSPECIFIED.into(), prefix: 128, index: 0 };
        self.change(&[Change::Remove(nowhere)]).await
    }

    /// All addresses of all interfaces.
    pub(super) async fn addresses(&self) -> Result<Vec<Found>, NetlinkError> {
        let ask = || RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let read = |message| match read_news(message) {
            Some(News::Address(found)) => Some(found),
            _ => None,
        };
        self.dump("listing addresses", ask, read).await
    }

    /// All links.
    pub(super) async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let ask = || RouteNetlinkMessage::GetLink(LinkMessage::default());
        let read = |message| match read_news(message) {
            Some(News::Link(link)) => Some(link),
            _ => None,
        };
        self.dump("listing links", ask, read).await
    }

    /// Carries out `changes` in order, many in one datagram, and returns the
    /// kernel's answer to each. On an error some may have taken effect.
    pub(super) async fn change(
        &self,
        changes: &[Change],
    ) -> Result<Vec<Result<(), Errno>>, NetlinkError> {
        let mut answers = Vec::with_capacity(changes.len());
        for batch in changes.chunks(BATCH) {
            let messages: Vec<_> = batch.iter().map(change_message).collect();
            answers.append(&mut self.ask(messages, "changing addresses").await?);
        }
        Ok(answers)
    }

    /// Makes removing an interface's first IPv4 address of a network promote
    /// the next one instead of taking all others along (F4).
    pub(super) async fn promote_secondaries(&self, index: u32) -> Result<(), NetlinkError> {
        let doing = "setting promote_secondaries";
        let mut conf = InetDevConf::default();
        conf.promote_secondaries = 1;
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![
            AfSpecInet::DevConfRequest(conf),
        ])])];
        let message = request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK);
        let answers = self.ask(vec![message], doing).await?;
        answers
            .into_iter()
            .collect::<Result<(), Errno>>()
            .map_err(|errno| NetlinkError::Refused { doing, errno })
    }

    /// Sends requests as one datagram and collects one acknowledgement each.
    async fn ask(
        &self,
        messages: Vec<Message>,
        doing: &'static str,
    ) -> Result<Vec<Result<(), Errno>>, NetlinkError> {
        let expected = messages.len();
        let replies = self
            .requests
            .request_batch(messages, SocketAddr::new(0, 0))
            .map_err(|_| NetlinkError::Closed { doing })?;
        let answers: Vec<_> = in_time(replies, doing).await?.iter().filter_map(verdict).collect();
        if answers.len() == expected { Ok(answers) } else { Err(NetlinkError::Closed { doing }) }
    }

    /// Reads a whole table, again if it changed meanwhile.
    async fn dump<T>(
        &self,
        doing: &'static str,
        ask: impl Fn() -> RouteNetlinkMessage,
        read: impl Fn(Message) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let replies = self
                .requests
                .request(request(ask(), NLM_F_DUMP), SocketAddr::new(0, 0))
                .map_err(|_| NetlinkError::Closed { doing })?;
            let replies = in_time(replies, doing).await?;
            let last = replies.last().and_then(verdict);
            match last {
                Some(Ok(())) => {}
                Some(Err(errno)) => return Err(NetlinkError::Refused { doing, errno }),
                None => return Err(NetlinkError::Closed { doing }),
            }
            let torn = replies.iter().any(|reply| reply.header.flags & DUMP_INTERRUPTED != 0);
            if !torn || tries == DUMP_TRIES {
                return Ok(replies.into_iter().filter_map(read).collect());
            }
        }
    }
}

/// Asks for a big receive buffer. Refused without CAP_NET_ADMIN, which the
/// caller checks by other means; a smaller buffer only means more lost news.
fn widen(connection: &mut Connection<RouteNetlinkMessage>) {
    let _ = setsockopt(connection.socket_mut().socket_ref(), RcvBufForce, &RECEIVE_BUFFER);
}

async fn in_time(
    replies: impl Stream<Item = Message>,
    doing: &'static str,
) -> Result<Vec<Message>, NetlinkError> {
    tokio::time::timeout(PATIENCE, replies.collect())
        .await
        .map_err(|_| NetlinkError::Silent { doing })
}

/// The answer that a message ends a request with, if it does.
fn verdict(message: &Message) -> Option<Result<(), Errno>> {
    let code = match &message.payload {
        NetlinkPayload::Error(answer) => answer.raw_code(),
        NetlinkPayload::Done(done) => done.code,
        _ => return None,
    };
    Some(if code < 0 { Err(Errno::from_raw(-code)) } else { Ok(()) })
}

fn request(message: RouteNetlinkMessage, flags: u16) -> Message {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message
}

fn change_message(change: &Change) -> Message {
    match change {
        Change::Add(order) => request(
            RouteNetlinkMessage::NewAddress(order_message(order)),
            NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        ),
        Change::Renew(order) => request(
            RouteNetlinkMessage::NewAddress(order_message(order)),
            NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
        ),
        Change::Remove(spot) => {
            request(RouteNetlinkMessage::DelAddress(spot_message(spot)), NLM_F_ACK)
        }
    }
}

fn spot_message(spot: &Spot) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match spot.ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.prefix_len = spot.prefix;
    message.header.scope = AddressScope::Universe;
    message.header.index = spot.index;
    message.attributes = vec![AddressAttribute::Local(spot.ip), AddressAttribute::Address(spot.ip)];
    message
}

fn order_message(order: &Order) -> AddressMessage {
    let mut message = spot_message(&order.spot);
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, !order.prefix_route);
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = order.valid.unwrap_or(FOREVER);
    if order.spot.ip.is_ipv4() {
        lifetime.ifa_preferred = lifetime.ifa_valid;
    } else {
        // Usable at once, and never chosen as a source by accident (F4).
        flags |= AddressFlags::Nodad;
        lifetime.ifa_preferred = 0;
    }
    message.header.flags = AddressHeaderFlags::from_bits_truncate(flags.bits().to_ne_bytes()[0]);
    message.attributes.extend(order.broadcast.map(AddressAttribute::Broadcast));
    message.attributes.extend([
        AddressAttribute::Flags(flags),
        AddressAttribute::Protocol(AddressProtocol::Other(TAG)),
        AddressAttribute::CacheInfo(lifetime),
    ]);
    message
}

fn read_news(message: Message) -> Option<News> {
    match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
            read_address(&address).map(News::Address)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) => {
            read_address(&address).map(|found| News::AddressGone(found.spot))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
            read_link(&link).map(News::Link)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
            read_link(&link).map(|link| News::LinkGone(link.index))
        }
        NetlinkPayload::Overrun(_) => Some(News::Lost),
        _ => None,
    }
}

/// `None` for what is neither IPv4 nor IPv6.
fn read_address(message: &AddressMessage) -> Option<Found> {
    let mut near = None;
    let mut far = None;
    let mut found = Found {
        spot: Spot {
            ip: Ipv4Addr::UNSPECIFIED.into(),
            prefix: message.header.prefix_len,
            index: message.header.index,
        },
        tag: None,
        flags: u32::from(message.header.flags.bits()),
        valid: None,
        confirmed: true,
    };
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => near = Some(*ip),
            AddressAttribute::Address(ip) => far = Some(*ip),
            AddressAttribute::Flags(flags) => found.flags = flags.bits(),
            AddressAttribute::Protocol(tag) => found.tag = Some(u8::from(*tag)),
            AddressAttribute::CacheInfo(lifetime) if lifetime.ifa_valid != FOREVER => {
                found.valid = Some(lifetime.ifa_valid);
            }
            _ => {}
        }
    }
    // On a point-to-point address the far end comes as the address.
    found.spot.ip = near.or(far)?;
    Some(found)
}

/// `None` for what is about a bridge's ports: the same message types, but a
/// port that leaves its bridge is not a link that leaves.
fn read_link(message: &LinkMessage) -> Option<Link> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    Some(Link {
        index: message.header.index,
        name,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Running | LinkFlags::LowerUp),
        promotes: promotes(&message.attributes),
    })
}

fn promotes(attributes: &[LinkAttribute]) -> bool {
    let families = attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::AfSpecUnspec(families) => Some(families),
        _ => None,
    });
    let inet = families.flatten().filter_map(|family| match family {
        AfSpecUnspec::Inet(inet) => Some(inet),
        _ => None,
    });
    inet.flatten()
        .any(|part| matches!(part, AfSpecInet::DevConf(conf) if conf.promote_secondaries != 0))
}
