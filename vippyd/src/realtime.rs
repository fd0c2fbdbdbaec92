//! Being on time on a busy machine: what may wait stands behind what may not; the
//! real-time scheduler and locked memory where the configuration asks for them
//! (`realtime`).
//!
//! The loop has the priority that is set; its workers (chat, kernel, neighbours,
//! witnesses) have the next lower one, since a thousand netlink requests in a
//! row must not keep an announcement waiting. Everything that may wait (log,
//! disk, management) stays where it was. The class is `SCHED_RR`: with priority
//! 1, which the loop then shares with its workers, they take turns; otherwise it
//! is as `SCHED_FIFO`.
//!
//! Threads inherit the class of the one that starts them, so the order of the
//! calls in [`crate::startup`] decides who has it. A thread that is started
//! later, for something that may wait, calls [`step_back`] first.

use std::sync::OnceLock;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue,
    ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// How much nicer a thread is that may wait: a third of the processor's time
/// beside one that may not.
const BEHIND: i32 = 5;

/// `CAP_IPC_LOCK`: memory may be locked whatever the limit is.
const IPC_LOCK: u32 = 14;

/// The class this process took, and what it had before.
static TAKEN: OnceLock<Taken> = OnceLock::new();

#[derive(Clone, Copy, Debug)]
struct Taken {
    priority: u8,
    nice: i32,
}

/// Takes the class for the calling thread's workers-to-be and locks the memory.
/// What could not be had, each in one sentence; nothing else changes then.
pub fn begin(priority: Option<u8>) -> Vec<String> {
    let Some(priority) = priority else { return Vec::new() };
    let nice = nice();
    let workers = priority.saturating_sub(1).max(1);
    // Tried first with what the loop will need.
    if let Err(e) = take(priority).and_then(|()| take(workers)) {
        step_down(nice);
        return vec![format!(
            "realtime: the scheduler refuses priority {priority}: {e}; expected \
             LimitRTPRIO={priority} or more and RestrictRealtime=no in the unit, or CAP_SYS_NICE \
             (see docs/OPERATIONS.md)"
        )];
    }
    // Nothing else in this process takes it.
    let _ = TAKEN.set(Taken { priority, nice });
    lock_memory().err().into_iter().collect()
}

/// Gives the calling thread the loop's priority, if the class was taken.
pub fn lead() {
    if let Some(taken) = TAKEN.get() {
        // It was allowed once.
        let _ = take(taken.priority);
    }
}

/// Takes the calling thread out of the class, if the class was taken.
pub fn step_back() {
    if let Some(taken) = TAKEN.get() {
        step_down(taken.nice);
    }
}

/// Makes the calling thread a nicer one: of the ordinary threads of this process it
/// comes behind those on which addresses wait.
pub fn stand_behind() {
    // At worst it is as nice as the others.
    let _ = rustix::process::nice(BEHIND);
}

fn take(priority: u8) -> Result<(), thread_priority::Error> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let priority = ThreadPriorityValue::try_from(priority)
        .map_err(|_| thread_priority::Error::Priority("expected 1 to 99"))?;
    set(ThreadPriority::Crossplatform(priority), policy)
}

fn step_down(nice: i32) {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    // The crate counts niceness in steps of its own.
    let mut steps = (0..=99).filter_map(|step| ThreadPriorityValue::try_from(step).ok());
    let same = |step: &ThreadPriorityValue| {
        let found = ThreadPriority::Crossplatform(*step).to_posix(policy);
        found.is_ok_and(|found| found == nice)
    };
    if let Some(step) = steps.find(same) {
        // The kernel lets every thread become an ordinary one.
        let _ = set(ThreadPriority::Crossplatform(step), policy);
    }
}

fn set(
    priority: ThreadPriority,
    policy: ThreadSchedulePolicy,
) -> Result<(), thread_priority::Error> {
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
}

/// The calling thread's niceness: field 19 of proc(5) `stat`; the second field,
/// a name in parentheses, may hold anything.
fn nice() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(16).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// With a limit, memory that is asked for later would be refused once the limit
/// is reached: then it is better not to begin.
fn lock_memory() -> Result<(), String> {
    let unlimited =
        getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY);
    let advice = "expected LimitMEMLOCK=infinity in the unit, or CAP_IPC_LOCK";
    if !unlimited && !crate::startup::has_capability(IPC_LOCK) {
        return Err(format!("realtime: memory is not locked, its limit is finite; {advice}"));
    }
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)
        .map_err(|errno| format!("realtime: memory is not locked: {}; {advice}", errno.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policy and priority of the calling thread: fields 41 and 40.
    fn class() -> (u32, u32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[38].parse().unwrap(), fields[37].parse().unwrap())
    }

    /// Needs root. One test, since the class is the whole process's.
    #[test]
    fn the_loop_goes_before_its_workers_and_what_may_wait_stays_behind() {
        const ROUND_ROBIN: u32 = 2;
        let body = || {
            assert_eq!(begin(None), Vec::<String>::new());
            assert_eq!(class(), (0, 0));
            let nice = nice();
            assert_eq!(begin(Some(20)), Vec::<String>::new(), "this test needs root");
            assert_eq!(class(), (ROUND_ROBIN, 19));
            let worker = std::thread::spawn(class).join().unwrap();
            assert_eq!(worker, (ROUND_ROBIN, 19));
            lead();
            assert_eq!(class(), (ROUND_ROBIN, 20));
            step_back();
            assert_eq!((class(), super::nice()), ((0, 0), nice));
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
            let kilobytes: u64 = locked.split_whitespace().next().unwrap().parse().unwrap();
            println!("{kilobytes} kB locked");
            assert!(kilobytes > 1_000, "{locked}");
        };
        std::thread::spawn(body).join().unwrap();
    }
}
