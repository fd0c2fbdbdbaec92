//! A raw socket on one interface: frames go out, nothing comes in.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, bind, send, socket};
use pnet_datalink::MacAddr;

/// `ARPHRD_ETHER`: the only kind of link whose frames are built here.
const ETHERNET: u16 = 1;
/// An interface that takes no frame for this long is given up: a full queue
/// empties in less, a dead one must not keep what waits for the frames.
const PATIENCE: Duration = Duration::from_millis(5);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_micros(250);

/// An interface as frames leave by it.
#[derive(Debug)]
pub(super) struct Port {
    socket: OwnedFd,
    index: usize,
}

/// Who the frames come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    /// The interface's present MAC.
    pub(super) mac: MacAddr,
    /// It forwards IPv6.
    pub(super) router: bool,
}

/// The interfaces that exist now.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    by_name: BTreeMap<String, LinkAddr>,
}

impl Interfaces {
    /// Asks the kernel.
    pub(super) fn now() -> Result<Interfaces, Errno> {
        let link = |entry: nix::ifaddrs::InterfaceAddress| {
            let address = entry.address.as_ref()?.as_link_addr().copied()?;
            Some((entry.interface_name, address))
        };
        Ok(Interfaces { by_name: getifaddrs()?.filter_map(link).collect() })
    }

    /// An interface's MAC and role. `None` if it is not Ethernet: nobody there
    /// keeps a cache to correct.
    pub(super) fn identity(&self, name: &str) -> Result<Option<Identity>, Errno> {
        let address = self.by_name.get(name).ok_or(Errno::ENODEV)?;
        let Some(mac) = address.addr().filter(|_| address.hatype() == ETHERNET) else {
            return Ok(None);
        };
        let forwarding = fs::read(format!("/proc/sys/net/ipv6/conf/{name}/forwarding"));
        let router = forwarding.is_ok_and(|text| !text.starts_with(b"0"));
        Ok(Some(Identity { mac: MacAddr::from(mac), router }))
    }
}

/// A socket that is on no interface yet. It names no protocol: the kernel
/// hands it nothing that arrives.
pub(super) fn raw_socket() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
}

impl Port {
    /// Opens the interface of this name.
    pub(super) fn open(name: &str, interfaces: &Interfaces) -> Result<Port, Errno> {
        let address = interfaces.by_name.get(name).ok_or(Errno::ENODEV)?;
        let socket = raw_socket()?;
        bind(socket.as_raw_fd(), address)?;
        Ok(Port { socket, index: address.ifindex() })
    }

    /// Whether this is still the interface of that name; one that was deleted
    /// and made again is another.
    pub(super) fn is(&self, name: &str, interfaces: &Interfaces) -> bool {
        interfaces.by_name.get(name).is_some_and(|address| address.ifindex() == self.index)
    }

    /// Sends one frame; waits a little while the queue is full.
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), Errno> {
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
