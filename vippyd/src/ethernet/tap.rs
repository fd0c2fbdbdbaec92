//! One interface on which questions leave and answers come in.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

use futures_util::future::{pending, select_all};
use nix::errno::Errno;
use pnet_datalink::MacAddr;
use tokio::io::Interest as Readiness;
use tokio::io::unix::AsyncFd;

use super::filter::{Interest, program};
use super::frames::{arp_request, solicitation};
use super::port::{Interfaces, Port};

/// Room for one frame of an answer.
const BUFFER: usize = 128;

/// Frames read in a row: whoever listens has other things to do as well.
const READS: usize = 64;

/// An open interface.
#[derive(Debug)]
pub(crate) struct Tap {
    socket: AsyncFd<Ears>,
    name: String,
    mac: MacAddr,
    interest: Interest,
}

#[derive(Debug)]
struct Ears(Port);

impl AsRawFd for Ears {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Tap {
    /// Opens an interface for what is of interest. `None` where addresses are not asked for: it is not
    /// Ethernet. Must be called inside a runtime.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(
        name: &str,
        interfaces: &Interfaces,
        interest: Interest,
    ) -> io::Result<Option<Tap>> {
        let Some(identity) = interfaces.identity(name)? else { return Ok(None) };
        let port =
            Port::open_ears(name, interfaces, interest.kind(), &program(identity.mac, interest))?;
        // The replacement is `unsafe`, because a type might close or swap its
        // descriptor while it is registered; `Ears` does neither.
        #[allow(deprecated)]
        let socket = AsyncFd::with_interest(Ears(port), Readiness::READABLE)?;
        Ok(Some(Tap { socket, name: name.to_owned(), mac: identity.mac, interest }))
    }

    /// Whether this is still the interface of its name, with the same MAC.
    pub(crate) fn is_current(&self, interfaces: &Interfaces) -> bool {
        let same_mac = interfaces
            .identity(&self.name)
            .is_ok_and(|found| found.is_some_and(|identity| identity.mac == self.mac));
        same_mac && self.port().is(&self.name, interfaces)
    }

    /// The interface's MAC.
    pub(crate) fn mac(&self) -> MacAddr {
        self.mac
    }

    /// What is heard.
    pub(crate) fn interest(&self) -> Interest {
        self.interest
    }

    /// What is to be heard from now on.
    pub(crate) fn listen_for(&mut self, interest: Interest) {
        if self.interest != interest && self.port().filter(&program(self.mac, interest)).is_ok() {
            self.interest = interest;
        }
    }

    /// Asks for an address, from one of this host's own or from nobody.
    ///
    /// # Errors
    /// The question did not leave.
    pub(crate) fn ask(&self, source: Option<IpAddr>, target: IpAddr) -> Result<(), Errno> {
        let frame = match (target, source) {
            (IpAddr::V4(target), Some(IpAddr::V4(own))) => arp_request(self.mac, Some(own), target),
            (IpAddr::V4(target), _) => arp_request(self.mac, None, target),
            (IpAddr::V6(target), Some(IpAddr::V6(own))) => {
                solicitation(self.mac, Some(own), target)
            }
            (IpAddr::V6(target), _) => solicitation(self.mac, None, target),
        };
        self.port().send(&frame)
    }

    /// Completes when something may have come in. Dropping the future loses
    /// nothing.
    pub(crate) async fn ready(&self) {
        // An error shows when it is read.
        let _ = self.socket.readable().await.map(|mut guard| guard.retain_ready());
    }

    /// Takes a bounded number of frames that came in, and says whether that were all.
    ///
    /// # Errors
    /// The interface is gone.
    pub(crate) fn read(&self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let mut buffer = [0; BUFFER];
        for _ in 0..READS {
            let received = self.socket.try_io(Readiness::READABLE, |ears| {
                ears.0.receive(&mut buffer).map_err(io::Error::from)
            });
            match received {
                Ok(length) => take(&buffer[..length.min(BUFFER)]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    fn port(&self) -> &Port {
        &self.socket.get_ref().0
    }
}

/// The next of several interfaces on which something came in.
pub(crate) async fn any_ready<K: Clone>(taps: &BTreeMap<K, Tap>) -> K {
    if taps.is_empty() {
        return pending().await;
    }
    let waits = taps.iter().map(|(key, tap)| {
        Box::pin(async move {
            tap.ready().await;
            key.clone()
        })
    });
    select_all(waits).await.0
}
