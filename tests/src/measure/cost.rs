//! What a process costs: processor time by its own clock, memory from /proc.

use std::fs;
use std::time::{Duration, Instant};

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// What a process has used up at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    at: Instant,
    processor: Duration,
}

impl Cost {
    /// Reads the present figures of a process.
    ///
    /// # Errors
    /// It has ended.
    pub fn now(pid: u32) -> std::io::Result<Cost> {
        // Threads that have ended are in it, which the files of its tasks forget.
        let pid = i32::try_from(pid).map_err(std::io::Error::other)?;
        let clock = clock_getcpuclockid(Pid::from_raw(pid))?;
        let processor = Duration::from(clock.now()?);
        Ok(Cost { at: Instant::now(), processor })
    }

    /// Processor milliseconds a second from `self` to `later`.
    pub fn per_second(&self, later: &Cost) -> f64 {
        let used = later.processor.saturating_sub(self.processor).as_secs_f64();
        used * 1e3 / later.at.duration_since(self.at).as_secs_f64().max(1e-9)
    }

    /// The share of memory that is this process's own, in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn memory(pid: u32) -> std::io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.and_then(|number| number.parse().ok()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_is_seen_to_be_busy_when_its_thread_has_ended() {
        let own = std::process::id();
        let before = Cost::now(own).unwrap();
        let busy = || {
            let end = Instant::now() + Duration::from_millis(50);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        };
        std::thread::spawn(busy).join().unwrap();
        let after = Cost::now(own).unwrap();
        assert!(before.per_second(&after) > 1.0);
        assert!(Cost::memory(own).unwrap() > 100);
    }
}
