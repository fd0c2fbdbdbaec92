//! `ping`: whether an address answers an ICMP echo request (RFC 792, RFC 4443).

use std::io;
use std::net::{IpAddr, SocketAddr};

use pnet_packet::util::checksum;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use vippy_core::health::Outcome;

/// Type of an echo request and of its reply, IPv4 and IPv6.
const V4: (u8, u8) = (8, 0);
const V6: (u8, u8) = (128, 129);

/// Header and a little more.
const LENGTH: usize = 16;

/// An address that should answer.
#[derive(Debug)]
pub(super) struct Ping {
    ip: IpAddr,
    sequence: u16,
}

impl Ping {
    pub(super) fn new(ip: IpAddr) -> Ping {
        Ping { ip, sequence: 0 }
    }

    pub(super) async fn run(&mut self) -> Outcome {
        self.sequence = self.sequence.wrapping_add(1);
        let socket = match open(self.ip) {
            Ok(socket) => socket,
            Err(e) => return Outcome::NotStarted(format!("no socket for {}: {e}", self.ip)),
        };
        match self.ask(&socket).await {
            Ok(()) => Outcome::Good,
            Err(e) => Outcome::Bad(format!("{}: {e}", self.ip)),
        }
    }

    async fn ask(&self, socket: &UdpSocket) -> io::Result<()> {
        socket.connect(SocketAddr::new(self.ip, 0)).await?;
        socket.send(&self.request()).await?;
        let mut buffer = [0; 256];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if self.is_reply(&buffer[..length]) {
                return Ok(());
            }
        }
    }

    /// What tells this question from those of others: everybody's replies come in.
    fn mark(&self) -> [u8; 12] {
        let mut mark = [0; 12];
        mark[..2].copy_from_slice(&std::process::id().to_be_bytes()[2..]);
        mark[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        mark[4..].copy_from_slice(b"vippyd ?");
        mark
    }

    fn request(&self) -> [u8; LENGTH] {
        let mut request = [0; LENGTH];
        request[0] = if self.ip.is_ipv4() { V4.0 } else { V6.0 };
        request[4..].copy_from_slice(&self.mark());
        if self.ip.is_ipv4() {
            let sum = checksum(&request, 1);
            request[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        // That of IPv6 is the kernel's business.
        request
    }

    fn is_reply(&self, packet: &[u8]) -> bool {
        let (header, kind) = match self.ip {
            // The kernel gives the header of IPv4, and none of IPv6.
            IpAddr::V4(_) => (packet.first().map_or(0, |byte| usize::from(byte & 15) * 4), V4.1),
            IpAddr::V6(_) => (0, V6.1),
        };
        let packet = packet.get(header..).unwrap_or_default();
        packet.len() == LENGTH && packet[..2] == [kind, 0] && packet[4..] == self.mark()
    }
}

/// A raw socket: the daemon has the capability, and the unprivileged kind is for users
/// whom `net.ipv4.ping_group_range` names.
fn open(ip: IpAddr) -> io::Result<UdpSocket> {
    let (domain, protocol) = match ip {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    // Only its kind is unusual: it sends and receives like any other.
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_reply_is_told_from_others() {
        let ping = Ping { ip: "192.0.2.1".parse().unwrap(), sequence: 7 };
        let request = ping.request();
        assert_eq!(checksum(&request, LENGTH / 2), 0, "the sum over all of it is zero");
        let mut reply = vec![0x45; 20];
        reply.extend(request);
        assert!(!ping.is_reply(&reply), "its own request");
        reply[20] = 0;
        assert!(ping.is_reply(&reply));
        assert!(!Ping { sequence: 8, ..ping }.is_reply(&reply));
        assert!(!Ping { ip: "192.0.2.1".parse().unwrap(), sequence: 7 }.is_reply(&reply[..30]));
    }
}
