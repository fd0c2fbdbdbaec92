//! What a child does before it becomes its command: gives up whatever the daemon has
//! and a command must not.
//!
//! Scheduling of the real-time class is not inherited: the thread that starts children
//! left it ([`crate::realtime::step_back`]).

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::prctl::{set_no_new_privs, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::{User, getppid, getuid, initgroups, setresgid, setresuid, setsid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// The first argument of a process that becomes a command.
pub const NAME: &str = "launch";

/// The exit code of one that could not, as of `env` and its like.
pub const REFUSED: i32 = 125;

/// What one that could not begins its complaint with: commands write no such thing.
pub const MARK: &[u8] = b"\0vippyd launch\0";

/// Stands for nobody where a user is expected.
const NOBODY: &str = "-";

/// The arguments before those of the command.
pub(super) fn arguments(parent: u32, user: Option<&str>) -> [OsString; 3] {
    [NAME.into(), parent.to_string().into(), user.unwrap_or(NOBODY).into()]
}

/// Becomes the command in `arguments`, those after [`NAME`]. Returns only when that
/// failed.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Err(why) = become_command(arguments);
    let mut complaint = MARK.to_vec();
    complaint.extend_from_slice(why.as_bytes());
    complaint.push(b'\n');
    // Where nobody listens the exit code has to do.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), &complaint);
    ExitCode::from(u8::try_from(REFUSED).unwrap_or(u8::MAX))
}

fn become_command(mut arguments: impl Iterator<Item = OsString>) -> Result<Infallible, String> {
    let mut next = |what| arguments.next().ok_or(format!("no {what} given"));
    let parent = next("parent")?;
    let user = next("user")?;
    let program = next("command")?;
    setsid().map_err(|e| format!("cannot begin a session: {e}"))?;
    lower_priority();
    let user = user.to_str().filter(|user| *user != NOBODY);
    let user = user.map(known_user).transpose()?;
    if let Some(user) = &user {
        change_to(user)?;
    }
    drop_capabilities()?;
    // After the last change of credentials, which would take it back.
    set_pdeathsig(Signal::SIGKILL).map_err(|e| format!("cannot be tied to the daemon: {e}"))?;
    if getppid().to_string().as_str() != parent {
        return Err("the daemon is gone".into());
    }
    let mut command = Command::new(&program);
    command.args(arguments);
    if std::env::var_os("HOME").is_none() {
        let user = user.or_else(|| User::from_uid(getuid()).ok().flatten());
        command.env("HOME", user.map_or("/".into(), |user| user.dir));
    }
    // This also gives it the default signals.
    Err(format!("cannot run {}: {}", program.display(), command.exec()))
}

/// To that of everybody.
fn lower_priority() {
    // Nobody may be refused less; what stays is what there was.
    let _ = rustix::process::setpriority_process(None, 0);
    let _ = fs::write("/proc/self/oom_score_adj", "0");
}

fn known_user(name: &str) -> Result<User, String> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("cannot run as user {name}: there is no such user")),
        Err(e) => Err(format!("cannot run as user {name}: {e}")),
    }
}

fn change_to(user: &User) -> Result<(), String> {
    if user.uid == getuid() {
        return Ok(());
    }
    let cannot = |e| format!("cannot run as user {}: {e}", user.name);
    let name = CString::new(user.name.as_str()).map_err(|e| e.to_string())?;
    // While it may: afterwards the bounding set cannot be changed.
    empty_bounding_set();
    initgroups(&name, user.gid).map_err(cannot)?;
    setresgid(user.gid, user.gid, user.gid).map_err(cannot)?;
    setresuid(user.uid, user.uid, user.uid).map_err(cannot)
}

/// All of them, for good.
fn drop_capabilities() -> Result<(), String> {
    let cannot = |e: std::io::Error| format!("cannot drop capabilities: {e}");
    empty_bounding_set();
    clear_ambient_capability_set().map_err(|e| cannot(e.into()))?;
    set_no_new_privs().map_err(|e| cannot(e.into()))?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    match set_capabilities(None, sets) {
        // Where a filter of system calls forbids it: without ambient ones a program that
        // an ordinary user begins has none, and its file gives it none.
        Err(Errno::PERM) if !getuid().is_root() => Ok(()),
        dropped => dropped.map_err(|e| cannot(e.into())),
    }
}

/// As far as CAP_SETPCAP is there: without it the set stays, and gives nothing to a
/// process that may gain no privileges.
fn empty_bounding_set() {
    for (_, capability) in CapabilitySet::all().iter_names() {
        let _ = remove_capability_from_bounding_set(capability);
    }
}
