//! A raw socket on one interface: frames go out and, where that is asked for,
//! come in.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, recv, send, socket,
};
use pnet_datalink::MacAddr;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

/// `ARPHRD_ETHER`: the only kind of link whose frames are built here.
const ETHERNET: u16 = 1;
/// An interface that takes no frame for this long is given up: a full queue
/// empties in less, a dead one must not keep what waits for the frames.
const PATIENCE: Duration = Duration::from_millis(5);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_micros(250);

/// `BPF_RET | BPF_K`: with zero, drop.
const RETURN: u16 = 0x06;

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
        let mut since = None;
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => return Ok(()),
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
    }
}
