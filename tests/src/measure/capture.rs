//! Frames of one node as a bystander on the LAN receives them, with the time at
//! which the bystander's kernel got them.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use vippy_lab::{LabError, Machine};

use super::GROUP;

/// A frame that passed.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When the kernel received it, since the epoch of its wall clock.
    pub at: Duration,
    /// Its bytes.
    pub frame: Vec<u8>,
}

/// A capture under way; ends when dropped.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Captured>>>,
}

impl Capture {
    /// Captures on a machine with the address `own` what `sender` says to the
    /// chat's group, and nothing else: a flood does not fill its socket.
    ///
    /// # Errors
    /// The machine is gone or the kernel refuses.
    pub fn start(machine: &Machine, own: Ipv4Addr, sender: Ipv4Addr) -> Result<Capture, LabError> {
        let socket = machine.run(move || open(own, sender))?;
        let system = |what: &str| {
            let what = what.to_owned();
            move |source| LabError::System { what, source }
        };
        let socket = socket.map_err(system("open a capture"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("capture".into()).spawn({
            let stop = stop.clone();
            move || collect(&socket, &stop)
        });
        let thread = Some(thread.map_err(system("start a capture's thread"))?);
        Ok(Capture { stop, thread })
    }

    /// Ends the capture.
    pub fn finish(mut self) -> Vec<Captured> {
        self.end().unwrap_or_default()
    }

    fn end(&mut self) -> Option<Vec<Captured>> {
        self.stop.store(true, Ordering::Release);
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

fn open(own: Ipv4Addr, sender: Ipv4Addr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(GROUP))?;
    socket.join_multicast_v4(GROUP.ip(), &own)?;
    socket.connect(&SockAddr::from(SocketAddrV4::new(sender, GROUP.port())))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(socket.into())
}

fn collect(socket: &UdpSocket, stop: &AtomicBool) -> Vec<Captured> {
    let mut all = Vec::new();
    let mut buffer = [0; 2048];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    while !stop.load(Ordering::Acquire) {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received =
            recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
        // A timeout, or an ICMP answer: nothing to record.
        let Ok(message) = received else { continue };
        let length = message.bytes;
        let stamp = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|one| {
                if let ControlMessageOwned::ScmTimestampns(time) = one {
                    return Some(Duration::from(time));
                }
                None
            })
        });
        if let Some(at) = stamp {
            all.push(Captured { at, frame: buffer[..length].to_vec() });
        }
    }
    all
}
