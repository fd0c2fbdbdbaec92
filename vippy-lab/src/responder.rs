//! The far end of a probe: every machine answers with its own port, from the
//! very address that was asked.
//!
//! Owns the probe's datagrams and the answering thread. Measuring is
//! [`crate::probe`]'s.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{Context, LabError};
use crate::lan::Port;
use crate::machine::Machine;
use crate::prompt::make_prompt;

/// The UDP port on which every machine answers.
pub(crate) const UDP_PORT: u16 = 7077;

/// Bytes of a socket's buffers.
const BUFFER: usize = 4 << 20;

/// Answers taken from one socket before the next has its turn.
const A_TURN: usize = 64;

/// A question as it goes out; the answer is the same with a port behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Tells one probe's datagrams from another's.
    pub(crate) probe: u32,
    /// Which target of the probe.
    pub(crate) target: u16,
    /// Counts the target's questions.
    pub(crate) number: u64,
}

impl Question {
    /// Bytes of a question.
    pub(crate) const SIZE: usize = 18;
    const MAGIC: [u8; 4] = *b"vlab";

    pub(crate) fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&Self::MAGIC);
        bytes[4..8].copy_from_slice(&self.probe.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.target.to_be_bytes());
        bytes[10..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Self::SIZE]) -> Option<Question> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (probe, rest) = rest.split_first_chunk::<4>()?;
        let (target, rest) = rest.split_first_chunk::<2>()?;
        let number = rest.first_chunk::<8>()?;
        (*magic == Self::MAGIC).then_some(Question {
            probe: u32::from_be_bytes(*probe),
            target: u16::from_be_bytes(*target),
            number: u64::from_be_bytes(*number),
        })
    }
}

/// Bytes of an answer: the question, the kind of port, its number.
pub(crate) const ANSWER_SIZE: usize = Question::SIZE + 3;

fn encode_port(port: Port) -> [u8; 3] {
    let (kind, number) = match port {
        Port::Node(number) => (b'n', number),
        Port::Client(number) => (b'c', number),
    };
    let [high, low] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    [kind, high, low]
}

/// Reads an answer; `None` is somebody else's datagram.
pub(crate) fn decode_answer(bytes: &[u8]) -> Option<(Question, Port)> {
    let (question, port) = bytes.split_first_chunk::<{ Question::SIZE }>()?;
    let question = Question::decode(question)?;
    let [kind, high, low] = *<&[u8; 3]>::try_from(port).ok()?;
    let number = usize::from(u16::from_be_bytes([high, low]));
    match kind {
        b'n' => Some((question, Port::Node(number))),
        b'c' => Some((question, Port::Client(number))),
        _ => None,
    }
}

/// The thread that answers for every machine of a LAN. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Responders {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Responders {
    /// Opens the sockets inside the machines and starts to answer.
    pub(crate) fn start(machines: &BTreeMap<Port, Machine>) -> Result<Responders, LabError> {
        let mut sockets = Vec::new();
        for (port, machine) in machines {
            for domain in [Domain::IPV4, Domain::IPV6] {
                let socket = machine
                    .run(move || open(domain))?
                    .context(|| format!("open the answering socket of {port}"))?;
                sockets.push((*port, socket));
            }
        }
        let (stop, stopped) = UnixStream::pair().context(|| "make a socket pair".into())?;
        let thread = std::thread::Builder::new()
            .name("lab responders".into())
            .spawn(move || {
                make_prompt();
                answer_until(&stopped, &sockets);
            })
            .context(|| "start the answering thread".into())?;
        Ok(Responders { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Responders {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket on every address of one family that says which one was asked.
///
/// It may answer for an address that has left since the question came: who was
/// there to receive it is what a probe wants to know, not how soon this thread
/// got to run.
fn open(domain: Domain) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
        socket.set_ip_transparent_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.bind(&(Ipv6Addr::UNSPECIFIED, UDP_PORT).into_socket())?;
    } else {
        socket.set_ip_transparent_v4(true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        socket.bind(&(Ipv4Addr::UNSPECIFIED, UDP_PORT).into_socket())?;
    }
    socket.set_nonblocking(true)?;
    let socket = socket.into();
    enlarge_buffers(&socket)?;
    Ok(socket)
}

/// Room for a second of datagrams, should nobody get to read them: as much as
/// root may have, or as an ordinary user may.
pub(crate) fn enlarge_buffers(socket: &UdpSocket) -> std::io::Result<()> {
    let forced = setsockopt(socket, sockopt::RcvBufForce, &BUFFER)
        .and_then(|()| setsockopt(socket, sockopt::SndBufForce, &BUFFER));
    if forced.is_ok() {
        return Ok(());
    }
    let allowed = socket2::SockRef::from(socket);
    allowed.set_recv_buffer_size(BUFFER)?;
    allowed.set_send_buffer_size(BUFFER)
}

trait IntoSocket {
    fn into_socket(self) -> socket2::SockAddr;
}

impl<T: Into<std::net::IpAddr>> IntoSocket for (T, u16) {
    fn into_socket(self) -> socket2::SockAddr {
        std::net::SocketAddr::new(self.0.into(), self.1).into()
    }
}

fn answer_until(stopped: &UnixStream, sockets: &[(Port, UdpSocket)]) {
    let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
    loop {
        let mut all: Vec<PollFd<'_>> =
            sockets.iter().map(|(_, socket)| readable(socket.as_fd())).collect();
        all.push(readable(stopped.as_fd()));
        match poll(&mut all, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        let ready: Vec<bool> = all.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if ready.last() == Some(&true) {
            return;
        }
        for ((port, socket), _) in sockets.iter().zip(ready).filter(|(_, ready)| *ready) {
            for _ in 0..A_TURN {
                if !answer_one(*port, socket) {
                    break;
                }
            }
        }
    }
}

/// Answers one question; false when there was none.
fn answer_one(port: Port, socket: &UdpSocket) -> bool {
    let fd = socket.as_raw_fd();
    let mut buffer = [0; 64];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let mut control = nix::cmsg_space!(in6_pktinfo);
    let received =
        recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT);
    let Ok(received) = received else { return false };
    let (length, asker) = (received.bytes, received.address);
    let asked = received.cmsgs().ok().and_then(|mut all| all.find_map(asked_address));
    let question = buffer[..length].first_chunk::<{ Question::SIZE }>().copied();
    let (Some(question), Some(asker), Some(asked)) = (question, asker, asked) else { return true };
    if length != Question::SIZE || Question::decode(&question).is_none() {
        return true;
    }
    let mut answer = question.to_vec();
    answer.extend(encode_port(port));
    let answer = [IoSlice::new(&answer)];
    let control = match &asked {
        Asked::V4(info) => ControlMessage::Ipv4PacketInfo(info),
        Asked::V6(info) => ControlMessage::Ipv6PacketInfo(info),
    };
    // What cannot be sent, as without a route, is not answered.
    let _ = sendmsg(fd, &answer, &[control], MsgFlags::MSG_DONTWAIT, Some(&asker));
    true
}

/// The address that was asked, in the form that makes it the answer's source.
enum Asked {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

fn asked_address(message: ControlMessageOwned) -> Option<Asked> {
    if let ControlMessageOwned::Ipv4PacketInfo(info) = message {
        return Some(Asked::V4(in_pktinfo { ipi_ifindex: 0, ..info }));
    }
    if let ControlMessageOwned::Ipv6PacketInfo(info) = message {
        return Some(Asked::V6(in6_pktinfo { ipi6_ifindex: 0, ..info }));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_question_and_who_answered() {
        let question = Question { probe: 7, target: 3, number: 1 << 40 };
        for port in [Port::Node(2), Port::Client(11)] {
            let mut bytes = question.encode().to_vec();
            bytes.extend(encode_port(port));
            assert_eq!(bytes.len(), ANSWER_SIZE);
            assert_eq!(decode_answer(&bytes), Some((question, port)));
        }
    }

    #[test]
    fn a_strangers_datagram_is_no_answer() {
        assert_eq!(decode_answer(b"hello"), None);
        assert_eq!(decode_answer(&[0; ANSWER_SIZE]), None);
    }
}
