//! Datagrams that an attacker on the LAN can make, one at a time or very many.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;
use vippy_core::config::Secret;
use vippy_core::wire::announcement::Announcement;
use vippy_core::wire::auth::Keyring;
use vippy_core::wire::frame::{self, Body, Header};
use vippy_core::wire::{MAGIC, VERSION};
use vippy_lab::{LabError, Machine};

/// What a step of the pace lasts.
const STEP: Duration = Duration::from_millis(1);

/// Bytes that are no frame at all.
pub fn garbage(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 37 + 11).to_le_bytes()[0]).collect()
}

/// A frame without its last bytes.
pub fn truncated(frame: &[u8]) -> Vec<u8> {
    frame[..frame.len() - 7].to_vec()
}

/// A frame with one bit changed, in the part that the tag covers.
pub fn bit_flipped(frame: &[u8], bit: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    // Behind magic, version, kind and key id, in front of the tag.
    let signed = frame.len() - 33 - 10;
    frame[10 + bit / 8 % signed] ^= 1 << (bit % 8);
    frame
}

/// A frame of the same sender with the same content, signed with another
/// secret, and a tag that claims the right one if `disguised`.
///
/// # Panics
/// `original` is no frame that `secret` signed.
pub fn wrong_key(original: &[u8], secret: &str, disguised: bool) -> Vec<u8> {
    let opened = frame::open(original, &keys(secret)).expect("a frame of this cluster");
    let (header, body): (Header, Body) = (opened.header, opened.body);
    let mut forged = frame::seal(&header, &body, &keys("the attacker's own secret"));
    if disguised {
        forged[6..10].copy_from_slice(&original[6..10]);
    }
    debug_assert!(forged.starts_with(&MAGIC) && forged[4] == VERSION);
    forged
}

/// What a frame announces, if it is a frame that `secret` signed and announces
/// anything.
pub fn announcement(frame: &[u8], secret: &str) -> Option<Announcement> {
    match frame::open(frame, &keys(secret)).ok()?.body {
        Body::Announcement(announcement) => Some(announcement),
        Body::DocumentRequest(_) | Body::DocumentChunk(_) => None,
    }
}

fn keys(secret: &str) -> Keyring {
    Keyring::new(&[Secret::from(secret)], "")
}

/// A flood under way; ends when dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sent>>,
}

/// What a flood came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Datagrams sent.
    pub count: u64,
    /// For how long.
    pub lasted: Duration,
}

impl Sent {
    /// Datagrams a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.lasted.as_secs_f64().max(1e-9)
    }
}

impl Flood {
    /// Sends the datagrams in turn from a machine with the address `own`, as
    /// many a second, or as many as the machine can.
    ///
    /// # Errors
    /// The machine is gone or the kernel refuses.
    pub fn start(
        machine: &Machine,
        own: Ipv4Addr,
        to: SocketAddr,
        rate: u32,
        datagrams: Vec<Vec<u8>>,
    ) -> Result<Flood, LabError> {
        let system = |what: &str| {
            let what = what.to_owned();
            move |source| LabError::System { what, source }
        };
        let open = move || {
            let socket = UdpSocket::bind((own, 0))?;
            SockRef::from(&socket).set_multicast_if_v4(&own)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = machine.run(open)?.map_err(system("open a flood's socket"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("flood".into()).spawn({
            let stop = stop.clone();
            move || send(&socket, to, rate, &datagrams, &stop)
        });
        let thread = Some(thread.map_err(system("start a flood's thread"))?);
        Ok(Flood { stop, thread })
    }

    /// Ends the flood.
    pub fn finish(mut self) -> Sent {
        self.end().unwrap_or_default()
    }

    fn end(&mut self) -> Option<Sent> {
        self.stop.store(true, Ordering::Release);
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.end();
    }
}

fn send(
    socket: &UdpSocket,
    to: SocketAddr,
    rate: u32,
    datagrams: &[Vec<u8>],
    stop: &AtomicBool,
) -> Sent {
    let begin = Instant::now();
    let mut turn = datagrams.iter().cycle();
    let mut count = 0;
    let mut point = begin;
    while !stop.load(Ordering::Acquire) {
        // Whoever comes late makes up for at most a few steps.
        point = (point + STEP).max(Instant::now() - STEP * 5);
        for datagram in turn.by_ref().take((rate / 1000).max(1).try_into().unwrap_or(1)) {
            if socket.send_to(datagram, to).is_ok() {
                count += 1;
            }
        }
        std::thread::sleep(point.saturating_duration_since(Instant::now()));
    }
    Sent { count, lasted: begin.elapsed() }
}
