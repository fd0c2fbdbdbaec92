//! Every frame that a machine says anything with, as it enters the switch, with
//! the kernel's own time: chat, ARP, neighbour advertisements. Probes are left
//! out.
//!
//! Owns the listening socket of the switch. Knows of frames only what it needs
//! to tell them apart.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::error::{Context, LabError};
use crate::machine::Machine;
use crate::responder::UDP_PORT;

/// ETH_P_ALL: frames of every kind.
const EVERY_KIND: u16 = 3;
/// PACKET_OUTGOING: what the switch sends to a machine.
const OUTGOING: u8 = 4;
const BUFFER: usize = 16 << 20;
const LONGEST: usize = 2048;

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const NEXT_UDP: u8 = 17;
const NEXT_ICMPV6: u8 = 58;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameKind {
    /// ARP, request or answer.
    Arp,
    /// Neighbour solicitation or advertisement, and other ICMPv6.
    Icmp6,
    /// UDP to this port.
    Udp(u16),
    /// Anything else.
    Other,
}

/// A frame that a machine sent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When the switch's kernel got it.
    pub at: Instant,
    /// What it is about.
    pub kind: FrameKind,
    /// The frame from its Ethernet header on.
    pub bytes: Vec<u8>,
}

/// A capture under way; ends when dropped.
#[derive(Debug)]
pub struct Tap {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Frame>>>,
}

impl Tap {
    pub(crate) fn start(hub: &Machine, link: u32) -> Result<Tap, LabError> {
        let socket = hub.run(open)?.context(|| "open a capture on the switch".into())?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("lab tap".into()).spawn({
            let stop = stop.clone();
            move || collect(&socket, link, &stop)
        });
        let thread = Some(thread.context(|| "start a capture's thread".into())?);
        Ok(Tap { stop, thread })
    }

    /// Ends the capture: what was sent, in order.
    pub fn finish(mut self) -> Vec<Frame> {
        self.end().unwrap_or_default()
    }

    fn end(&mut self) -> Option<Vec<Frame>> {
        self.stop.store(true, Ordering::Release);
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.end();
    }
}

fn open() -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(EVERY_KIND.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.attach_filter(&without_probes())?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        socket.set_recv_buffer_size(BUFFER)?;
    }
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(socket)
}

/// Drops UDP from and to the probes' port: ten thousand a second are no news.
fn without_probes() -> [SockFilter; 18] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF_BEHIND: u16 = 0x48;
    const LOAD_HEADER_LENGTH: u16 = 0xb1;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let port = u32::from(UDP_PORT);
    let step = SockFilter::new;
    [
        step(LOAD_HALF, 0, 0, 12),
        step(JUMP_IF_EQUAL, 0, 7, u32::from(ETHERTYPE_IPV4)),
        step(LOAD_BYTE, 0, 0, 14 + 9),
        step(JUMP_IF_EQUAL, 0, 12, u32::from(NEXT_UDP)),
        // Ports behind a header of variable length.
        step(LOAD_HEADER_LENGTH, 0, 0, 14),
        step(LOAD_HALF_BEHIND, 0, 0, 14),
        step(JUMP_IF_EQUAL, 10, 0, port),
        step(LOAD_HALF_BEHIND, 0, 0, 16),
        step(JUMP_IF_EQUAL, 8, 7, port),
        // Not IPv4: perhaps IPv6 with UDP right behind its header.
        step(JUMP_IF_EQUAL, 0, 6, u32::from(ETHERTYPE_IPV6)),
        step(LOAD_BYTE, 0, 0, 14 + 6),
        step(JUMP_IF_EQUAL, 0, 4, u32::from(NEXT_UDP)),
        step(LOAD_HALF, 0, 0, 14 + 40),
        step(JUMP_IF_EQUAL, 3, 0, port),
        step(LOAD_HALF, 0, 0, 14 + 40 + 2),
        step(JUMP_IF_EQUAL, 1, 0, port),
        step(RETURN, 0, 0, u32::MAX),
        step(RETURN, 0, 0, 0),
    ]
}

fn collect(socket: &Socket, link: u32, stop: &AtomicBool) -> Vec<Frame> {
    let mut all = Vec::new();
    let mut buffer = vec![0; LONGEST];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    // Whatever had arrived when the end was asked for belongs to the capture.
    loop {
        let ending = stop.load(Ordering::Acquire);
        while let Some(frame) = receive(socket, link, &mut buffer, &mut control) {
            all.extend(frame);
        }
        if ending {
            return all;
        }
    }
}

/// Waits for a frame; `None` when none came for a moment, `Some(None)` when it
/// was not of this machine.
fn receive(
    socket: &Socket,
    link: u32,
    buffer: &mut [u8],
    control: &mut [u8],
) -> Option<Option<Frame>> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(control),
        MsgFlags::empty(),
    );
    let message = message.ok()?;
    let stamp = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| {
            if let ControlMessageOwned::ScmTimestampns(time) = one {
                return Some(Duration::from(time));
            }
            None
        })
    });
    let from = message.address.and_then(|address| address.as_link_addr().copied());
    let length = message.bytes;
    let (Some(stamp), Some(from)) = (stamp, from) else { return Some(None) };
    if u32::try_from(from.ifindex()) != Ok(link) || from.pkttype() == OUTGOING {
        return Some(None);
    }
    let bytes = buffer[..length].to_vec();
    Some(Some(Frame { at: at(stamp), kind: kind(&bytes), bytes }))
}

/// The kernel's stamp is of the wall clock.
fn at(stamp: Duration) -> Instant {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let age = wall.duration_since(UNIX_EPOCH + stamp).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

fn kind(frame: &[u8]) -> FrameKind {
    let half = |at: usize| frame.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    match (half(12), frame.get(14 + 9), frame.get(14 + 6)) {
        (Some(ETHERTYPE_ARP), _, _) => FrameKind::Arp,
        (Some(ETHERTYPE_IPV4), Some(&NEXT_UDP), _) => {
            let header = usize::from(frame[14] & 0xf) * 4;
            half(14 + header + 2).map_or(FrameKind::Other, FrameKind::Udp)
        }
        (Some(ETHERTYPE_IPV6), _, Some(&NEXT_UDP)) => {
            half(14 + 40 + 2).map_or(FrameKind::Other, FrameKind::Udp)
        }
        (Some(ETHERTYPE_IPV6), _, Some(&NEXT_ICMPV6)) => FrameKind::Icmp6,
        _ => FrameKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(kind(&arp), FrameKind::Arp);
        let mut udp = vec![0; 60];
        udp[12..15].copy_from_slice(&[8, 0, 0x45]);
        udp[23] = NEXT_UDP;
        udp[36..38].copy_from_slice(&5007_u16.to_be_bytes());
        assert_eq!(kind(&udp), FrameKind::Udp(5007));
        let mut neighbour = vec![0; 90];
        neighbour[12..14].copy_from_slice(&[0x86, 0xdd]);
        neighbour[20] = NEXT_ICMPV6;
        assert_eq!(kind(&neighbour), FrameKind::Icmp6);
        assert_eq!(kind(&[]), FrameKind::Other);
    }
}
