//! The kernel's own look at a datagram before it wakes the daemon (W3).
//!
//! A classic BPF program on the socket drops what cannot be a frame: wrong
//! length, wrong magic, wrong protocol version. Everything else, authentic or
//! not, is for the engine to judge and to count.

use socket2::SockFilter;
use vippy_core::wire::{MAGIC, MAX_FRAME, MIN_FRAME, VERSION};

/// A UDP socket's filter sees the datagram from its UDP header on.
const UDP_HEADER: u32 = 8;

// Operation codes of classic BPF (`linux/bpf_common.h`).
const LOAD_LENGTH: u16 = 0x80;
const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_ABOVE: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// The program; [`MAGIC`] is the first word of a frame, [`VERSION`] its fifth byte.
pub(super) fn program() -> [SockFilter; 9] {
    let longest = UDP_HEADER + u32::try_from(MAX_FRAME).unwrap_or(u32::MAX - UDP_HEADER);
    let shortest = UDP_HEADER + u32::try_from(MIN_FRAME).unwrap_or(0);
    // Jumps count the instructions to skip; the last one drops.
    [
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
    use std::net::UdpSocket;
    use std::time::Duration;

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
}
