//! What a process costs: processor time and memory, read from /proc.

use std::fs;
use std::time::{Duration, Instant};

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
        // Nanoseconds on a processor, all threads: finer than `stat`.
        let mut processor = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text.split_whitespace().next().and_then(|number| number.parse().ok());
            processor += Duration::from_nanos(first.unwrap_or(0));
        }
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
    fn a_busy_process_is_seen_to_be_busy() {
        let own = std::process::id();
        let before = Cost::now(own).unwrap();
        let end = Instant::now() + Duration::from_millis(50);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        let after = Cost::now(own).unwrap();
        assert!(before.per_second(&after) > 1.0);
        assert!(Cost::memory(own).unwrap() > 100);
    }
}
