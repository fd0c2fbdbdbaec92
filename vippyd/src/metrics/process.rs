//! The daemon as a process, under the names that all exporters use, and what its
//! watchers cost.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};

use super::Surroundings;
use super::page::{Page, one};

pub(super) fn write(page: &mut Page<'_>, surroundings: &Surroundings) -> fmt::Result {
    page.gauge(
        "vippy_event_readers",
        "Readers that follow the events.",
        one(surroundings.readers as u64),
    )?;
    page.counter(
        "vippy_log_lines_lost_total",
        "Lines that the log took too slowly.",
        one(surroundings.lost_lines),
    )?;
    let started = surroundings.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        one(started.as_secs_f64()),
    )?;
    page.counter(
        "process_cpu_seconds_total",
        "Processor time, of user and system.",
        processor_time().map(|time| ([], time.as_secs_f64())),
    )?;
    memory(page)?;
    descriptors(page)
}

fn processor_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok().map(Duration::from)
}

fn memory(page: &mut Page<'_>) -> fmt::Result {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_whitespace().next()?.parse::<u64>().ok()
    };
    let bytes = |name| field(name).map(|kilobytes| ([], kilobytes << 10));
    page.gauge("process_resident_memory_bytes", "Memory in use.", bytes("VmRSS:"))?;
    page.gauge("process_virtual_memory_bytes", "Memory mapped.", bytes("VmSize:"))?;
    page.gauge("process_threads", "Threads.", field("Threads:").map(|threads| ([], threads)))
}

fn descriptors(page: &mut Page<'_>) -> fmt::Result {
    let open = std::fs::read_dir("/proc/self/fd").map(|entries| ([], entries.count() as u64));
    page.gauge("process_open_fds", "Open descriptors.", open.ok())?;
    let most = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| ([], soft));
    page.gauge("process_max_fds", "Descriptors that may be open.", most.ok())
}
