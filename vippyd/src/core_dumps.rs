//! No memory of this process goes to a disk: the secrets are in it.

use std::io;

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Forbids core dumps of this process, to files and to a collecting program, and
/// with them debuggers of ordinary users. Lasts until another program is run.
///
/// # Errors
/// When the system refuses.
pub fn forbid() -> io::Result<()> {
    // A collecting program gets a dump whatever the limit is; without this flag
    // there is none.
    set_dumpable(false)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    if soft > 0 {
        setrlimit(Resource::RLIMIT_CORE, 0, hard)?;
    }
    Ok(())
}
