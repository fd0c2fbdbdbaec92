//! The daemon's clock, its alarm and its dice.
//!
//! Protocol time is `CLOCK_BOOTTIME`: it goes on while the machine sleeps, so a
//! suspension shows up as the gap that rule F2 looks for. The alarm is a timer
//! descriptor on the same clock: exact to some microseconds where an event
//! loop's own timers round to milliseconds, and due at once after a resume.
//! Nothing here decides when anything should happen.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vippy_core::identity::BootId;
use vippy_core::time::Instant;

/// The present, in protocol time.
pub fn now() -> Instant {
    let reading = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .expect("CLOCK_BOOTTIME is part of every Linux since 2.6.39");
    let seconds = u64::try_from(reading.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(reading.tv_nsec()).unwrap_or(0);
    Instant::from_micros(seconds * 1_000_000 + nanos / 1_000)
}

/// Milliseconds since 1970, for the epoch's floor (W7) and for people's eyes.
pub fn wall_millis() -> u64 {
    let span = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A fresh identity for one life of the daemon: 64 bits from the kernel's
/// random generator (W1).
///
/// # Errors
/// When the kernel has none, which happens only where `getrandom` is forbidden.
pub fn fresh_boot() -> io::Result<BootId> {
    getrandom::u64().map(BootId).map_err(io::Error::other)
}

/// One settable moment at which [`Alarm::ring`] completes.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<Timer>,
    set: Option<Instant>,
}

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// An alarm that is not set. Must be made inside the runtime.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = Timer(TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?);
        // The replacement is `unsafe`, because a type might close or swap its
        // descriptor while it is registered; `Timer` does neither.
        #[allow(deprecated)]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Alarm { timer, set: None })
    }

    /// Sets the moment, or unsets it. A moment in the past rings at once.
    ///
    /// # Errors
    /// The kernel's, none of which a valid descriptor can cause.
    pub fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
        if self.set == at {
            return Ok(());
        }
        let timer = &self.timer.get_ref().0;
        match at {
            Some(at) => timer.set(
                // The origin itself would mean "never" to the kernel.
                Expiration::OneShot(timespec(at.max(Instant::from_micros(1)))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )?,
            None => timer.unset()?,
        }
        self.set = at;
        Ok(())
    }

    /// Completes once the set moment has come, and is then unset. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// When the runtime has shut down.
    pub async fn ring(&mut self) -> io::Result<()> {
        loop {
            let mut guard = self.timer.readable().await?;
            let read = guard.try_io(|timer| match timer.get_ref().0.wait() {
                Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
                other => other.map_err(io::Error::from),
            });
            if let Ok(rung) = read {
                self.set = None;
                return rung;
            }
        }
    }
}

fn timespec(at: Instant) -> TimeSpec {
    let micros = at.as_micros();
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    let nanos = i64::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
    TimeSpec::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn alarm_rings_at_its_moment_and_not_before() {
        run(async {
            let mut alarm = Alarm::new().unwrap();
            let due = now() + Duration::from_micros(2_500);
            alarm.set(Some(due)).unwrap();
            alarm.ring().await.unwrap();
            assert!(now() >= due);
        });
    }

    #[test]
    fn moment_in_the_past_rings_at_once() {
        run(async {
            let mut alarm = Alarm::new().unwrap();
            alarm.set(Some(Instant::ZERO)).unwrap();
            alarm.ring().await.unwrap();
        });
    }

    #[test]
    fn alarm_set_anew_forgets_the_ring_it_owed() {
        run(async {
            let mut alarm = Alarm::new().unwrap();
            alarm.set(Some(Instant::ZERO)).unwrap();
            let due = now() + Duration::from_millis(20);
            alarm.set(Some(due)).unwrap();
            alarm.ring().await.unwrap();
            assert!(now() >= due);
        });
    }

    #[test]
    fn boots_differ() {
        assert_ne!(fresh_boot().unwrap(), fresh_boot().unwrap());
    }
}
