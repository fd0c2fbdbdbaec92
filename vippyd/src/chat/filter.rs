//! The kernel's own look at a datagram before it wakes the daemon (W3).
//!
//! A classic BPF program on the socket drops what cannot be a frame: wrong
//! length, wrong magic, wrong protocol version; and what this daemon says to the
//! group itself, which the kernel hands back because other daemons of the host may
//! listen (not by the loopback: there it is delivered like anybody's). Everything
//! else, authentic or not, is for the engine to judge and to count.

use std::net::{IpAddr, SocketAddr};

use socket2::SockFilter;
use vippy_core::wire::{MAGIC, MAX_FRAME, MIN_FRAME, VERSION};

use crate::bpf::{
    IP_HEADER, JUMP_IF_ABOVE, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, LOAD_BYTE, LOAD_HALF, LOAD_LENGTH,
    LOAD_WORD, PACKET_TYPE, RETURN,
};

/// A UDP socket's filter sees the datagram from its UDP header on.
const UDP_HEADER: u32 = 8;

/// `PACKET_LOOPBACK`: it comes back from an interface by which it left.
const CAME_BACK: u32 = 5;

/// The program of a socket that hears the group, for a daemon that speaks from
/// this address.
pub(super) fn without_echo(own: SocketAddr) -> Vec<SockFilter> {
    let (start, source) = match own.ip() {
        IpAddr::V4(ip) => (IP_HEADER + 12, ip.octets().to_vec()),
        IpAddr::V6(ip) => (IP_HEADER + 8, ip.octets().to_vec()),
    };
    let words = source.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word));
    let words = (start..).step_by(4).zip(words).map(|(place, word)| (LOAD_WORD, place, word));
    let tests: Vec<_> = [(LOAD_WORD, PACKET_TYPE, CAME_BACK), (LOAD_HALF, 0, own.port().into())]
        .into_iter()
        .chain(words)
        .collect();
    let mut echo = Vec::new();
    // Whatever is different goes on to the tests of everything else.
    for (passed, (load, place, value)) in (0u8..).zip(&tests) {
        let left = u8::try_from(tests.len()).unwrap_or(u8::MAX) - passed - 1;
        echo.push(SockFilter::new(*load, 0, 0, *place));
        echo.push(SockFilter::new(JUMP_IF_EQUAL, 0, 2 * left + 1, *value));
    }
    echo.push(SockFilter::new(RETURN, 0, 0, 0));
    echo.extend(program());
    echo
}

/// The program; [`MAGIC`] is the first word of a frame, [`VERSION`] its fifth byte.
pub(super) fn program() -> Vec<SockFilter> {
    let longest = UDP_HEADER + u32::try_from(MAX_FRAME).unwrap_or(u32::MAX - UDP_HEADER);
    let shortest = UDP_HEADER + u32::try_from(MIN_FRAME).unwrap_or(0);
    // Jumps count the instructions to skip; the last one drops.
    vec![
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(JUMP_IF_ABOVE, 6, 0, longest),
        SockFilter::new(JUMP_IF_AT_LEAST, 0, 5, shortest),
        SockFilter::new(LOAD_WORD, 0, 0, UDP_HEADER),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, u32::from_be_bytes(MAGIC)),
        SockFilter::new(LOAD_BYTE, 0, 0, UDP_HEADER + 4),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(VERSION)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::process::Command;
    use std::time::Duration;

    use nix::sched::{CloneFlags, unshare};
    use socket2::SockRef;

    use super::*;

    #[test]
    fn only_what_may_be_a_frame_wakes_the_socket() {
        let inbox = UdpSocket::bind("127.0.0.1:0").unwrap();
        SockRef::from(&inbox).attach_filter(&program()).unwrap();
        inbox.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let outbox = UdpSocket::bind("127.0.0.1:0").unwrap();
        let frame = |length: usize| {
            let mut frame = vec![0; length];
            frame[..4].copy_from_slice(&MAGIC);
            frame[4] = VERSION;
            frame
        };
        let mut foreign = frame(MIN_FRAME);
        foreign[3] ^= 1;
        let mut newer = frame(MIN_FRAME);
        newer[4] ^= 0x80;
        let send = |bytes: &[u8]| outbox.send_to(bytes, inbox.local_addr().unwrap()).unwrap();
        for dropped in [&[][..], &frame(MIN_FRAME - 1), &frame(MAX_FRAME + 1), &foreign, &newer] {
            send(dropped);
        }
        send(&frame(MIN_FRAME));
        send(&frame(MAX_FRAME));
        let mut buffer = [0; 2048];
        assert_eq!(inbox.recv(&mut buffer).unwrap(), MIN_FRAME);
        assert_eq!(inbox.recv(&mut buffer).unwrap(), MAX_FRAME);
        inbox.set_nonblocking(true).unwrap();
        assert!(inbox.recv(&mut buffer).is_err());
    }

    /// On Ethernet; the loopback hands nothing back, it delivers. Needs root and `ip`.
    #[test]
    fn a_daemon_does_not_hear_itself_and_its_neighbour_on_the_host_does() {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("this test makes namespaces: it needs root");
            ip("link add eth0 type veth peer name far0");
            ip("link set far0 up");
            ip("link set eth0 up");
            ip("address add 192.0.2.1/24 dev eth0");
            hear_the_neighbour(Ipv4Addr::new(192, 0, 2, 1));
        })
        .join()
        .unwrap();
    }

    fn ip(arguments: &str) {
        assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success());
    }

    fn hear_the_neighbour(host: Ipv4Addr) {
        let group = Ipv4Addr::new(224, 1, 1, 77);
        let speaker = || UdpSocket::bind((host, 0)).unwrap();
        let (own, other) = (speaker(), speaker());
        let inbox = UdpSocket::bind((group, 0)).unwrap();
        inbox.join_multicast_v4(&group, &host).unwrap();
        let program = without_echo(own.local_addr().unwrap());
        SockRef::from(&inbox).attach_filter(&program).unwrap();
        inbox.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut frame = vec![0; MIN_FRAME];
        frame[..4].copy_from_slice(&MAGIC);
        frame[4] = VERSION;
        let to = (group, inbox.local_addr().unwrap().port());
        for socket in [&own, &other] {
            SockRef::from(socket).set_multicast_if_v4(&host).unwrap();
            socket.send_to(&frame, to).unwrap();
        }
        let (_, from) = inbox.recv_from(&mut [0; 2048]).unwrap();
        assert_eq!(from, other.local_addr().unwrap());
    }
}
