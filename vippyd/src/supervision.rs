//! What the service manager is told: ready, reloading, stopping, a status line,
//! and that the loop still turns.
//!
//! The messages are one datagram each over a non-blocking socket, sent by the
//! loop itself: a watchdog fed from elsewhere would vouch for a loop that hangs.
//! Without `NOTIFY_SOCKET` nothing is sent.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use vippy_core::time::Instant;

/// Messages kept for a service manager that does not read.
const BACKLOG: usize = 16;

/// The line to the service manager.
#[derive(Debug)]
pub struct Supervision {
    line: Option<(UnixDatagram, SocketAddr)>,
    unsent: VecDeque<String>,
    feed_every: Option<Duration>,
    fed: Option<Instant>,
}

impl Supervision {
    /// From the environment that systemd sets.
    ///
    /// # Errors
    /// When `NOTIFY_SOCKET` is set and is not an address, or no socket is left.
    pub fn from_environment() -> io::Result<Supervision> {
        let line = match std::env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Some(connect(&name)?),
            _ => None,
        };
        let feed_every = line.as_ref().and(watchdog()).map(|timeout| timeout / 2);
        Ok(Supervision { line, unsent: VecDeque::new(), feed_every, fed: None })
    }

    /// The service does its work; also ends a reload.
    pub fn ready(&mut self) {
        self.tell("READY=1".into());
    }

    /// The configuration is being read again.
    pub fn reloading(&mut self) {
        // systemd takes only CLOCK_MONOTONIC here.
        let micros = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
            .map(|t| t.tv_sec() * 1_000_000 + t.tv_nsec() / 1_000)
            .unwrap_or(0);
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The service is on its way out.
    pub fn stopping(&mut self) {
        self.tell("STOPPING=1".into());
    }

    /// One line for `systemctl status`.
    pub fn status(&mut self, text: &str) {
        self.tell(format!("STATUS={text}"));
    }

    /// When [`Supervision::feed`] must be called next.
    pub fn next_feeding(&self, now: Instant) -> Option<Instant> {
        self.feed_every.map(|every| self.fed.map_or(now, |fed| fed + every))
    }

    /// Feeds the watchdog when it is time, and sends what could not be sent.
    pub fn feed(&mut self, now: Instant) {
        if self.next_feeding(now).is_some_and(|due| due <= now) {
            self.fed = Some(now);
            self.tell("WATCHDOG=1".into());
        } else if !self.unsent.is_empty() {
            self.flush();
        }
    }

    fn tell(&mut self, text: String) {
        if self.line.is_none() {
            return;
        }
        if self.unsent.len() == BACKLOG {
            self.unsent.pop_front();
        }
        self.unsent.push_back(text);
        self.flush();
    }

    fn flush(&mut self) {
        let Some((socket, to)) = &self.line else { return };
        while let Some(text) = self.unsent.front() {
            match socket.send_to_addr(text.as_bytes(), to) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // Any other failure will not pass by waiting.
                Ok(_) | Err(_) => self.unsent.pop_front(),
            };
        }
    }
}

fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// How long systemd waits for a sign of life, if it wants one of this process.
fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("WATCHDOG_PID") {
        Some(pid) if pid != u64::from(std::process::id()) => None,
        _ => number("WATCHDOG_USEC").filter(|micros| *micros > 0).map(Duration::from_micros),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_manager(feed_every: Option<Duration>) -> (Supervision, UnixDatagram) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let line = Some(connect(path.as_os_str()).unwrap());
        // The socket goes on working for who has its address in the kernel only
        // while the file is there.
        std::mem::forget(dir);
        (Supervision { line, unsent: VecDeque::new(), feed_every, fed: None }, manager)
    }

    fn heard(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn messages_reach_the_manager_in_order() {
        let (mut supervision, manager) = with_manager(None);
        supervision.ready();
        supervision.status("active");
        assert_eq!(heard(&manager), "READY=1");
        assert_eq!(heard(&manager), "STATUS=active");
    }

    #[test]
    fn watchdog_is_fed_at_once_and_then_every_period() {
        let period = Duration::from_secs(5);
        let (mut supervision, manager) = with_manager(Some(period));
        let start = Instant::from_micros(1);
        supervision.feed(start);
        assert_eq!(heard(&manager), "WATCHDOG=1");
        assert_eq!(supervision.next_feeding(start), Some(start + period));
        supervision.feed(start + period / 2);
        supervision.feed(start + period);
        assert_eq!(heard(&manager), "WATCHDOG=1");
        manager.set_nonblocking(true).unwrap();
        assert!(manager.recv(&mut [0; 16]).is_err());
    }

    #[test]
    fn manager_that_does_not_read_costs_no_time_and_bounded_memory() {
        let (mut supervision, _manager) = with_manager(None);
        for _ in 0..2_000 {
            supervision.status("active");
        }
        assert!(supervision.unsent.len() <= BACKLOG);
    }
}
