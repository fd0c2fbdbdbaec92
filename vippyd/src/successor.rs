//! The process that takes this one's place at a restart: the program that this
//! one was started from, as it is on disk by then, with the same arguments and
//! environment, under the same process id.
//!
//! Blocks: [`Successor::try_out`] belongs on a thread of its own. When to do
//! which is the loop's business ([`crate::daemon`]).

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::unistd::execve;
use thiserror::Error;
use vippy_core::identity::NodeName;

/// Time for the new program to look at the configuration, or to say its version.
const PATIENCE: Duration = Duration::from_secs(3);

/// Time between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(2);

/// What is kept of what it says, in bytes.
const WORDS: u64 = 64 << 10;

/// Why a program must not take this one's place. Nothing was changed.
#[derive(Debug, Error)]
pub enum Unfit {
    /// It cannot be started.
    #[error("cannot run {}: {source}", program.display())]
    NotRunnable {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It takes too long to say anything.
    #[error("{} {doing} did not end within {} s", program.display(), PATIENCE.as_secs())]
    Silent {
        /// The program.
        program: PathBuf,
        /// Its option.
        doing: &'static str,
    },
    /// It refuses the configuration, or something else.
    #[error("{} {doing} failed: {how}", program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// Its option.
        doing: &'static str,
        /// How it ended.
        how: ExitStatus,
        /// What it said, line by line.
        said: Vec<String>,
    },
}

impl Unfit {
    /// What the program itself said about it.
    pub fn said(&self) -> &[String] {
        match self {
            Unfit::Refused { said, .. } => said,
            Unfit::NotRunnable { .. } | Unfit::Silent { .. } => &[],
        }
    }
}

/// A program and how to run it in this one's place.
#[derive(Clone, Debug)]
pub struct Successor {
    program: PathBuf,
    /// The first one is the name by which this program was called.
    arguments: Vec<OsString>,
    /// Makes `--check` refuse a file that no longer names this node.
    check: Vec<OsString>,
}

impl Successor {
    /// Of this process, which runs as `node`; `named` when its command line
    /// says so. To be called before anything changes the working directory.
    ///
    /// # Errors
    /// When the system does not tell which program this is.
    pub fn of_this_process(node: &NodeName, named: bool) -> io::Result<Successor> {
        let arguments: Vec<OsString> = env::args_os().collect();
        let mut check = vec![OsString::from("--check")];
        if !named {
            check.extend(["-n".into(), node.as_str().into()]);
        }
        Ok(Successor { program: own_path(arguments.first())?, arguments, check })
    }

    /// The program's path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Whether the program runs and takes the configuration as it is now; says
    /// its version.
    ///
    /// # Errors
    /// When it must not take over.
    pub fn try_out(&self) -> Result<String, Unfit> {
        let said = self.run("--version", ["--version"])?;
        let version = said.split_whitespace().last().unwrap_or("unknown").to_owned();
        let arguments = self.arguments.iter().skip(1).chain(&self.check);
        self.run("--check", arguments)?;
        Ok(version)
    }

    /// Replaces this process. Returns only when that failed; then nothing has
    /// happened.
    pub fn take_over(&self) -> io::Error {
        let text = |part: &OsStr| CString::new(part.as_bytes()).map_err(io::Error::other);
        let program = match text(self.program.as_os_str()) {
            Ok(program) => program,
            Err(e) => return e,
        };
        let arguments = self.arguments.iter().map(|argument| text(argument));
        let environment = env::vars_os().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            text(&name)
        });
        let arguments: io::Result<Vec<CString>> = arguments.collect();
        let environment: io::Result<Vec<CString>> = environment.collect();
        match (arguments, environment) {
            (Ok(arguments), Ok(environment)) => match execve(&program, &arguments, &environment) {
                Ok(never) => match never {},
                Err(errno) => errno.into(),
            },
            (Err(e), _) | (_, Err(e)) => e,
        }
    }

    /// Runs the program to its end; what it says on standard output.
    fn run(
        &self,
        doing: &'static str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<String, Unfit> {
        let program = || self.program.clone();
        let mut child = Command::new(&self.program)
            .args(arguments)
            // The service manager listens to one process only.
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| Unfit::NotRunnable { program: program(), source })?;
        let output = listen(child.stdout.take());
        let errors = listen(child.stderr.take());
        let ended = wait(&mut child);
        let (output, errors) = (hear(output), hear(errors));
        match ended {
            Ok(Some(status)) if status.success() => Ok(output),
            Ok(Some(how)) => {
                let said = errors.lines().map(str::to_owned).collect();
                Err(Unfit::Refused { program: program(), doing, how, said })
            }
            Ok(None) => Err(Unfit::Silent { program: program(), doing }),
            Err(source) => Err(Unfit::NotRunnable { program: program(), source }),
        }
    }
}

/// Reads a bounded amount; a child that says more finds the pipe closed.
fn listen(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    let pipe = pipe?;
    let read = move || {
        let mut bytes = Vec::new();
        // What was read before a failure is all there is.
        let _ = pipe.take(WORDS).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    std::thread::Builder::new().name("try-out".into()).spawn(read).ok()
}

fn hear(words: Option<JoinHandle<String>>) -> String {
    words.and_then(|words| words.join().ok()).unwrap_or_default()
}

/// Waits for the end, and makes it end when it takes too long: `None`.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// The path by which this program was called, so that a link that leads to a
/// new version by then leads there; else where the system says it is.
fn own_path(called: Option<&OsString>) -> io::Result<PathBuf> {
    let running = env::current_exe()?;
    let same = |path: &PathBuf| match (path.metadata(), Path::new("/proc/self/exe").metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    };
    let called = called.filter(|name| name.as_bytes().contains(&b'/'));
    let called = called.and_then(|name| std::path::absolute(name).ok()).filter(same);
    Ok(called.unwrap_or_else(|| undeleted(running)))
}

/// What the kernel appends to the path of a program that was replaced.
fn undeleted(path: PathBuf) -> PathBuf {
    const GONE: &[u8] = b" (deleted)";
    let mut bytes = path.into_os_string().into_vec();
    if bytes.ends_with(GONE) {
        bytes.truncate(bytes.len() - GONE.len());
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn successor(dir: &Path, script: &str) -> Successor {
        let program = dir.join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Successor {
            program,
            arguments: ["vippyd".into(), "-c".into(), "v.conf".into()].into(),
            check: ["--check".into(), "-n".into(), "node1".into()].into(),
        }
    }

    #[test]
    fn a_program_that_takes_the_configuration_says_its_version() {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"case "$*" in
            --version) echo vippyd 9.8.7 ;;
            "-c v.conf --check -n node1") echo fine ;;
            *) exit 2 ;;
        esac"#;
        assert_eq!(successor(dir.path(), script).try_out().unwrap(), "9.8.7");
    }

    #[test]
    fn what_is_wrong_with_the_configuration_is_told_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let script = "[ $1 = --version ] || { echo one >&2; echo two >&2; exit 3; }";
        let error = successor(dir.path(), script).try_out().unwrap_err();
        assert_eq!(error.said(), ["one", "two"]);
        assert!(error.to_string().contains("program --check failed: exit status: 3"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let error = successor(dir.path(), "exec sleep 60").try_out().unwrap_err();
        assert!(matches!(error, Unfit::Silent { doing: "--version", .. }), "{error}");
    }

    #[test]
    fn a_program_that_is_gone_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut gone = successor(dir.path(), "");
        gone.program = dir.path().join("absent");
        let error = gone.try_out().unwrap_err().to_string();
        assert!(error.contains("absent: No such file"), "{error}");
        assert_eq!(gone.take_over().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_own_program_is_found_under_the_name_it_was_called_by() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        std::os::unix::fs::symlink(env::current_exe().unwrap(), &link).unwrap();
        assert_eq!(own_path(Some(&link.clone().into())).unwrap(), link);
        let running = env::current_exe().unwrap();
        assert_eq!(own_path(Some(&"vippyd".into())).unwrap(), running);
        assert_eq!(own_path(Some(&"/bin/sh".into())).unwrap(), running);
        assert_eq!(undeleted("/usr/sbin/vippyd (deleted)".into()), Path::new("/usr/sbin/vippyd"));
    }
}
