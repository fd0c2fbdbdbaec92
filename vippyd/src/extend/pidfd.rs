//! The end of a process, without asking again and again.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process that is watched. Its number may be given to another one when it has
/// ended; this goes on meaning the one that had it.
#[derive(Debug)]
pub struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// Must be called inside the runtime.
    ///
    /// # Errors
    /// When there is no such process, or no descriptor is left.
    pub fn open(pid: Pid) -> io::Result<Watched> {
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        // The replacement is `unsafe`, because a type might close or swap its
        // descriptor while it is registered; `OwnedFd` does neither.
        #[allow(deprecated)]
        let watched = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
        Ok(Watched(watched))
    }

    /// Completes when it has ended. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the runtime has shut down.
    pub async fn gone(&self) -> io::Result<()> {
        self.0.readable().await?.retain_ready();
        Ok(())
    }
}
