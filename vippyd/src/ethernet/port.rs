//! A raw socket on one interface: frames go out and, where that is asked for,
//! come in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::IoSlice;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrStorage, bind,
    recv, sendmmsg, socket,
};
use pnet_datalink::MacAddr;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use crate::bpf::RETURN;

/// `ARPHRD_ETHER`: the only kind of link whose frames are built here.
const ETHERNET: u16 = 1;
/// An interface that takes no frame for this long is given up: a full queue
/// empties in less, a dead one must not keep what waits for the frames.
const PATIENCE: Duration = Duration::from_millis(5);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_micros(250);

/// Frames handed to the kernel in one call.
pub(crate) const BATCH: usize = 64;

/// An interface as frames leave by it.
#[derive(Debug)]
pub(crate) struct Port {
    socket: OwnedFd,
    index: usize,
}

/// Who the frames come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// The interface's present MAC.
    pub(crate) mac: MacAddr,
    /// It forwards IPv6.
    pub(crate) router: bool,
}

/// The interfaces that exist now.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    by_name: BTreeMap<String, LinkAddr>,
}

impl Interfaces {
    /// Asks the kernel.
    pub(crate) fn now() -> Result<Interfaces, Errno> {
        let link = |entry: nix::ifaddrs::InterfaceAddress| {
            let address = entry.address.as_ref()?.as_link_addr().copied()?;
            Some((entry.interface_name, address))
        };
        Ok(Interfaces { by_name: getifaddrs()?.filter_map(link).collect() })
    }

    /// An interface's MAC, if it is Ethernet.
    pub(crate) fn mac(&self, name: &str) -> Option<MacAddr> {
        let address = self.by_name.get(name)?;
        address.addr().filter(|_| address.hatype() == ETHERNET).map(MacAddr::from)
    }

    /// An interface's MAC and role. `None` if it is not Ethernet: nobody there
    /// keeps a cache to correct.
    pub(crate) fn identity(&self, name: &str) -> Result<Option<Identity>, Errno> {
        self.by_name.get(name).ok_or(Errno::ENODEV)?;
        let Some(mac) = self.mac(name) else { return Ok(None) };
        let forwarding = fs::read(format!("/proc/sys/net/ipv6/conf/{name}/forwarding"));
        let router = forwarding.is_ok_and(|text| !text.starts_with(b"0"));
        Ok(Some(Identity { mac, router }))
    }
}

/// The networks of the addresses that interfaces carry now.
#[derive(Debug, Default)]
pub(crate) struct Networks(BTreeSet<(String, IpNet)>);

impl Networks {
    /// Asks the kernel.
    pub(crate) fn now() -> Result<Networks, Errno> {
        let network = |entry: nix::ifaddrs::InterfaceAddress| {
            let ip = ip_of(entry.address.as_ref()?)?;
            let net = IpNet::with_netmask(ip, ip_of(entry.netmask.as_ref()?)?).ok()?;
            Some((entry.interface_name, net.trunc()))
        };
        Ok(Networks(getifaddrs()?.filter_map(network).collect()))
    }

    /// The narrowest network on an interface that has more than this address.
    pub(crate) fn around(&self, interface: &str, ip: IpAddr) -> Option<IpNet> {
        let near = self.0.iter().filter(|(name, net)| name == interface && net.contains(&ip));
        let wide = near.map(|(_, net)| *net).filter(|net| net.prefix_len() < net.max_prefix_len());
        wide.max_by_key(IpNet::prefix_len)
    }
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// A socket that is on no interface yet. It names no protocol: the kernel
/// hands it nothing that arrives.
pub(crate) fn raw_socket() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
}

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Port {
    /// Opens the interface of this name.
    pub(crate) fn open(name: &str, interfaces: &Interfaces) -> Result<Port, Errno> {
        let address = interfaces.by_name.get(name).ok_or(Errno::ENODEV)?;
        let socket = raw_socket()?;
        bind(socket.as_raw_fd(), address)?;
        Ok(Port { socket, index: address.ifindex() })
    }

    /// Opens it for what arrives as well: frames of one Ethernet type, or with
    /// `ETH_P_ALL` of all, as far as `filter` lets them through.
    pub(crate) fn open_ears(
        name: &str,
        interfaces: &Interfaces,
        kind: u16,
        filter: &[SockFilter],
    ) -> Result<Port, Errno> {
        let address = interfaces.by_name.get(name).ok_or(Errno::ENODEV)?;
        let protocol = Protocol::from(i32::from(kind.to_be()));
        let errno = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(0));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).map_err(errno)?;
        socket.set_nonblocking(true).map_err(errno)?;
        let port = Port { socket: socket.into(), index: address.ifindex() };
        // Until it is bound it hears every interface; none of that may stay.
        port.filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
        while port.receive(&mut [0; 1]).is_ok() {}
        bind(port.socket.as_raw_fd(), address)?;
        port.filter(filter)?;
        Ok(port)
    }

    /// Lets other frames through from now on.
    pub(crate) fn filter(&self, filter: &[SockFilter]) -> Result<(), Errno> {
        let attached = SockRef::from(&self.socket).attach_filter(filter);
        attached.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
    }

    /// The next frame that came in, as much of it as fits.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)
    }

    /// Whether this is still the interface of that name; one that was deleted
    /// and made again is another.
    pub(crate) fn is(&self, name: &str, interfaces: &Interfaces) -> bool {
        interfaces.by_name.get(name).is_some_and(|address| address.ifindex() == self.index)
    }

    /// Sends one frame; waits a little while the queue is full.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        self.send_all(&[frame])
    }

    /// Sends frames in their order; waits a little whenever the queue is full.
    pub(crate) fn send_all(&self, frames: &[impl AsRef<[u8]>]) -> Result<(), Errno> {
        let mut since = None;
        let mut rest = frames;
        while !rest.is_empty() {
            match self.send_some(&rest[..rest.len().min(BATCH)]) {
                Ok(sent) => (rest, since) = (&rest[sent..], None),
                Err(Errno::EINTR) => {}
                Err(errno @ (Errno::ENOBUFS | Errno::EAGAIN)) => {
                    if since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                        return Err(errno);
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Hands frames to the kernel; how many of them it took, at least one.
    fn send_some(&self, frames: &[impl AsRef<[u8]>]) -> Result<usize, Errno> {
        let slices: Vec<_> = frames.iter().map(|frame| [IoSlice::new(frame.as_ref())]).collect();
        let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
        let nobody = vec![None; slices.len()];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        Ok(sendmmsg(fd, &mut headers, &slices, nobody, [], flags)?.count())
    }
}
