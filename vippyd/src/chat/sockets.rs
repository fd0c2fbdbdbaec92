//! How the chat's sockets are made. All of this may wait for kernel locks
//! (joining a group takes the one that netlink holds), so the keeper's thread
//! does it; the loop only reads and writes.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{
    Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockFilter, SockRef, Socket, Type,
};
use thiserror::Error;

use super::filter;
use super::interfaces::{Way, is_link_scope_v6};

/// Room for a burst: some hundred nodes' frames while the loop is busy.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Bounds what may wait for link-layer addresses; nothing is reserved for it. Frames to
/// peers that do not answer ARP or NDP wait in the kernel, some 200 KiB for each peer
/// (`unres_qlen_bytes`), at the socket's expense: with less, dead peers would keep
/// everything from the living ones.
const SEND_BUFFER: usize = 128 << 20;

/// Hops of a multicast frame. Nodes that share addresses share a link, so no
/// router has business with it, whatever the group's scope.
const MULTICAST_HOPS: u32 = 1;

/// DSCP CS6, network control, as routing protocols use it.
const TRAFFIC_CLASS: u32 = 0xc0;

/// Why a socket cannot be had. Nothing stays open.
#[derive(Debug, Error)]
pub enum ChatError {
    /// Somebody else has the address and port.
    #[error("chat: {address} is in use by another program")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address is not on this host at present, or not usable yet (RFC 4862).
    #[error("chat: no interface carries {address}, or not as a usable address yet")]
    Absent {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("chat: cannot {doing} for {address}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// For which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The thread that keeps the sockets cannot be started.
    #[error("chat: cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A socket bound to the group, joined on one interface: what it receives was
/// addressed to the group, and nothing else was. What is said from `own` is not
/// heard.
pub(super) fn group(
    group: SocketAddr,
    way: &Way,
    own: Option<SocketAddr>,
) -> Result<UdpSocket, ChatError> {
    let address = scoped(group, way.index);
    let failed = |doing| move |source| ChatError::Io { doing, address, source };
    let filter = own.map_or_else(filter::program, filter::without_echo);
    let socket = bare(address, &filter)?;
    // Several daemons of one host chat in one group.
    socket.set_reuse_address(true).map_err(failed("share the port"))?;
    match address.ip() {
        IpAddr::V4(ip) => {
            // Only what comes from the joined interface, not what others joined.
            socket.set_multicast_all_v4(false).map_err(failed("restrict the socket"))?;
            bind(&socket, address)?;
            let interface = InterfaceIndexOrAddress::Index(way.index);
            socket.join_multicast_v4_n(&ip, &interface).map_err(failed("join"))?;
        }
        IpAddr::V6(ip) => {
            socket.set_multicast_all_v6(false).map_err(failed("restrict the socket"))?;
            // IPv6 compares groups without their interface, so binding to the
            // device is what keeps the other interfaces' frames out.
            let device = Some(way.name.as_bytes());
            socket.bind_device(device).map_err(failed("bind to the interface"))?;
            bind(&socket, address)?;
            socket.join_multicast_v6(&ip, way.index).map_err(failed("join"))?;
        }
    }
    Ok(socket.into())
}

/// A socket bound to one of our own addresses: sends everything, receives what
/// was sent to us alone. Frames to a group leave by `way`.
pub(super) fn own(address: SocketAddr, way: Option<&Way>) -> Result<UdpSocket, ChatError> {
    let failed = |doing| move |source| ChatError::Io { doing, address, source };
    let socket = bare(address, &filter::program())?;
    if address.is_ipv4() {
        socket.set_multicast_loop_v4(true).map_err(failed("loop frames back"))?;
        socket.set_multicast_ttl_v4(MULTICAST_HOPS).map_err(failed("limit the hops"))?;
        socket.set_tos_v4(TRAFFIC_CLASS).map_err(failed("set the traffic class"))?;
    } else {
        socket.set_multicast_loop_v6(true).map_err(failed("loop frames back"))?;
        socket.set_multicast_hops_v6(MULTICAST_HOPS).map_err(failed("limit the hops"))?;
        socket.set_tclass_v6(TRAFFIC_CLASS).map_err(failed("set the traffic class"))?;
    }
    bind(&socket, address)?;
    if let Some(way) = way {
        aim(&socket, way).map_err(failed("choose the interface"))?;
    }
    Ok(socket.into())
}

/// As [`own`], at the chat's port; where another daemon of this host has it
/// already, at a free one. Peers answer to whatever port a frame came from.
pub(super) fn own_at_or_near(way: &Way, port: u16) -> Result<UdpSocket, ChatError> {
    match own(way.socket_address(port), Some(way)) {
        Err(ChatError::InUse { .. }) => own(way.socket_address(0), Some(way)),
        other => other,
    }
}

/// Makes frames to a group leave by `way`.
pub(super) fn aim(socket: &Socket, way: &Way) -> io::Result<()> {
    match way.source {
        IpAddr::V4(ip) => socket.set_multicast_if_v4(&ip),
        IpAddr::V6(_) => socket.set_multicast_if_v6(way.index),
    }
}

/// The group as an address to send to or bind to on one interface.
pub(super) fn scoped(group: SocketAddr, index: u32) -> SocketAddr {
    match group {
        SocketAddr::V4(_) => group,
        SocketAddr::V6(v6) => {
            let scope = if is_link_scope_v6(*v6.ip()) { index } else { 0 };
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into()
        }
    }
}

fn bare(address: SocketAddr, filter: &[SockFilter]) -> Result<Socket, ChatError> {
    let failed = |doing| move |source| ChatError::Io { doing, address, source };
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))
        .map_err(failed("open a socket"))?;
    if address.is_ipv6() {
        socket.set_only_v6(true).map_err(failed("restrict the socket"))?;
    }
    // Before binding, so that nothing unfiltered can arrive.
    socket.attach_filter(filter).map_err(failed("attach the filter"))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        // Without the privilege the system's limits apply.
        socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(failed("enlarge the buffer"))?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        socket.set_send_buffer_size(SEND_BUFFER).map_err(failed("enlarge the buffer"))?;
    }
    Ok(socket)
}

fn bind(socket: &Socket, address: SocketAddr) -> Result<(), ChatError> {
    socket.bind(&SockAddr::from(address)).map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            ChatError::InUse { address }
        } else if source.kind() == io::ErrorKind::AddrNotAvailable {
            ChatError::Absent { address }
        } else {
            ChatError::Io { doing: "bind", address, source }
        }
    })
}

/// Sends without waiting, whatever the runtime believes about the socket.
pub(super) fn send(
    socket: &impl std::os::fd::AsFd,
    frame: &[u8],
    to: SocketAddr,
) -> io::Result<()> {
    SockRef::from(socket).send_to(frame, &SockAddr::from(to)).map(drop)
}
