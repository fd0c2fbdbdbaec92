//! What the keeper waits for: requests of the loop, and changes of the host's
//! links and addresses.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use socket2::SockRef;

use crate::kernel::sieve;

/// What the loop asks of the keeper.
#[derive(Debug)]
pub(super) enum Request {
    /// The cluster moves other addresses now.
    Managed(BTreeSet<IpAddr>),
    /// Close this socket: that may take a moment.
    Retire(UdpSocket),
}

/// The loop's end.
#[derive(Debug)]
pub(super) struct Requests {
    queue: Sender<Request>,
    bell: Arc<EventFd>,
}

/// The keeper's end.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: Receiver<Request>,
    bell: Arc<EventFd>,
    /// Tells of every change of a link, and of an address that is not ours.
    watch: Option<OwnedFd>,
}

/// Both ends.
///
/// # Errors
/// No descriptor is left.
pub(super) fn open() -> io::Result<(Requests, Inbox)> {
    let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (sender, queue) = channel();
    let inbox = Inbox { queue, bell: Arc::clone(&bell), watch: watch() };
    Ok((Requests { queue: sender, bell }, inbox))
}

impl Requests {
    /// Asks, and waits for nothing. The keeper may have ended because it has
    /// nothing to watch.
    pub(super) fn send(&self, request: Request) {
        if self.queue.send(request).is_ok() {
            // It can only fail when it has been rung already.
            let _ = self.bell.write(1);
        }
    }
}

impl Inbox {
    /// Whether [`Inbox::wait`] notices changes of links and addresses.
    pub(super) fn hears_changes(&self) -> bool {
        self.watch.is_some()
    }

    /// Waits for a request or a change, at most `pause`; after a change `settle`
    /// longer for more.
    pub(super) fn wait(&self, pause: Duration, settle: Duration) {
        let watched = [Some(self.bell.as_fd()), self.watch.as_ref().map(AsFd::as_fd)];
        let mut fds: Vec<PollFd<'_>> =
            watched.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::thread::sleep(pause),
        }
        let _ = self.bell.read();
        let Some(watch) = &self.watch else { return };
        // An overflow (ENOBUFS) says that much has changed.
        if fds.get(1).and_then(PollFd::any) == Some(true) {
            std::thread::sleep(settle);
            let mut buffer = [0; 4096];
            while recv(watch.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
        }
    }

    /// The requests that came.
    pub(super) fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        self.queue.try_iter()
    }
}

fn watch() -> Option<OwnedFd> {
    const RTMGRP_LINK: u32 = 0x1;
    const RTMGRP_IPV4_IFADDR: u32 = 0x10;
    const RTMGRP_IPV6_IFADDR: u32 = 0x100;
    let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    let watch = socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute).ok()?;
    SockRef::from(&watch).attach_filter(&sieve::without_ours()).ok()?;
    bind(watch.as_raw_fd(), &NetlinkAddr::new(0, groups)).ok()?;
    Some(watch)
}
