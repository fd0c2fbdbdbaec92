//! One interface as the asker uses it: questions leave, answers come in.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use pnet_datalink::MacAddr;
use tokio::io::Interest as Readiness;
use tokio::io::unix::AsyncFd;

use super::filter::{Interest, program};
use crate::ethernet::frames::{answer, arp_request, solicitation};
use crate::ethernet::port::{Interfaces, Port};

/// Room for one frame of an answer.
const BUFFER: usize = 128;

/// Frames read in a row: the asker has other things to do as well.
const READS: usize = 64;

/// A frame that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Somebody says where this address is.
    Answer(IpAddr),
    /// Something else.
    Other,
}

/// An open interface.
#[derive(Debug)]
pub(super) struct Tap {
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
    /// Opens an interface. `None` where addresses are not asked for: it is not
    /// Ethernet. Must be called inside a runtime.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(name: &str, interfaces: &Interfaces) -> io::Result<Option<Tap>> {
        let Some(identity) = interfaces.identity(name)? else { return Ok(None) };
        let interest = Interest::Answers;
        let port = Port::open_ears(name, interfaces, &program(identity.mac, interest))?;
        // The replacement is `unsafe`, because a type might close or swap its
        // descriptor while it is registered; `Ears` does neither.
        #[allow(deprecated)]
        let socket = AsyncFd::with_interest(Ears(port), Readiness::READABLE)?;
        Ok(Some(Tap { socket, name: name.to_owned(), mac: identity.mac, interest }))
    }

    /// Whether this is still the interface of its name, with the same MAC.
    pub(super) fn is_current(&self, interfaces: &Interfaces) -> bool {
        let same_mac = interfaces
            .identity(&self.name)
            .is_ok_and(|found| found.is_some_and(|identity| identity.mac == self.mac));
        same_mac && self.port().is(&self.name, interfaces)
    }

    /// What is heard.
    pub(super) fn interest(&self) -> Interest {
        self.interest
    }

    /// What is to be heard from now on.
    pub(super) fn listen_for(&mut self, interest: Interest) {
        if self.interest != interest && self.port().filter(&program(self.mac, interest)).is_ok() {
            self.interest = interest;
        }
    }

    /// Asks for an address, from one of this host's own or from nobody.
    ///
    /// # Errors
    /// The question did not leave.
    pub(super) fn ask(&self, source: Option<IpAddr>, target: IpAddr) -> Result<(), Errno> {
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
    pub(super) async fn ready(&self) {
        // An error shows when it is read.
        let _ = self.socket.readable().await.map(|mut guard| guard.retain_ready());
    }

    /// What came in.
    ///
    /// # Errors
    /// The interface is gone.
    pub(super) fn read(&self) -> io::Result<Vec<Heard>> {
        let mut heard = Vec::new();
        let mut buffer = [0; BUFFER];
        for _ in 0..READS {
            let received = self.socket.try_io(Readiness::READABLE, |ears| {
                ears.0.receive(&mut buffer).map_err(io::Error::from)
            });
            match received {
                Ok(length) => {
                    let frame = &buffer[..length.min(BUFFER)];
                    heard.push(answer(frame).map_or(Heard::Other, Heard::Answer));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(heard)
    }

    fn port(&self) -> &Port {
        &self.socket.get_ref().0
    }
}
