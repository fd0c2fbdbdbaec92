//! An ordinary user as root of a small world of their own.
//!
//! Owns the step into a user namespace. The namespaces of machines are made in
//! [`crate::machine`].

use std::fs;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::error::{Context, LabError};

/// CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN: links, raw frames, namespaces.
const NEEDED: u64 = (1 << 12) | (1 << 13) | (1 << 21);

/// Makes the process root of a user namespace of its own, unless it already has
/// the privileges a lab needs. Returns whether it did.
///
/// Call it first thing in `main`: the kernel allows it only while the process
/// has a single thread, so before any runtime, logger or test harness. Inside,
/// files belong to whom they belonged before; everybody else is `nobody`.
///
/// # Errors
/// [`LabError::TooManyThreads`], or the kernel refuses: some systems forbid
/// user namespaces to ordinary users (`/proc/sys/user/max_user_namespaces`,
/// `kernel.unprivileged_userns_clone`,
/// `kernel.apparmor_restrict_unprivileged_userns`).
pub fn enter_user_namespace_if_needed() -> Result<bool, LabError> {
    let status = read("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).unwrap_or_default()
    };
    let capabilities = u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0);
    if capabilities & NEEDED == NEEDED {
        return Ok(false);
    }
    let threads = field("Threads:").parse().unwrap_or(1);
    if threads > 1 {
        return Err(LabError::TooManyThreads { threads });
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .context(|| "enter a user namespace (are they allowed to ordinary users here?)".into())?;
    // Without this the kernel accepts no group map from an ordinary user.
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {user} 1"))?;
    write("/proc/self/gid_map", &format!("0 {group} 1"))?;
    Ok(true)
}

fn read(path: &str) -> Result<String, LabError> {
    fs::read_to_string(path).context(|| format!("read {path}"))
}

fn write(path: &str, text: &str) -> Result<(), LabError> {
    fs::write(path, text).context(|| format!("write {text:?} to {path}"))
}
