//! The real binary with files of its own, in a network namespace of its own.
//!
//! Making namespaces needs root; without it these tests fail.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A directory with a configuration, a state directory and a socket of its own.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(text: &str) -> Bench {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        std::fs::write(bench.config(), text).unwrap();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("v.conf")
    }

    pub(crate) fn command(&self, node: &str) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_vippyd")), node)
    }

    pub(crate) fn command_of(&self, program: &Path, node: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.config()).args(["-n", node]);
        command.arg("--state").arg(self.path("state"));
        command.arg("--management").arg(self.path(&format!("{node}.socket")));
        command.env_remove("JOURNAL_STREAM").env_remove("NOTIFY_SOCKET");
        command.stderr(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, node: &str) -> Output {
        finish(self.command(node).spawn().unwrap())
    }

    pub(crate) fn check(&self) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vippyd"));
        command.arg("--check").arg("-c").arg(self.config()).output().unwrap()
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) fn start(&self, node: &str) -> Daemon {
        self.start_as(self.command(node), node)
    }

    pub(crate) fn start_as(&self, mut command: Command, node: &str) -> Daemon {
        let path = self.path(&format!("{node}.notify"));
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = command.env("NOTIFY_SOCKET", &path).spawn().unwrap();
        let daemon = Daemon { child: Some(child), manager };
        daemon.hear("READY=1");
        daemon
    }
}

/// A running daemon; killed when the test forgets it.
pub(crate) struct Daemon {
    child: Option<Child>,
    manager: UnixDatagram,
}

impl Daemon {
    /// Waits for a message to the service manager.
    pub(crate) fn hear(&self, expected: &str) {
        let mut buffer = [0; 4096];
        loop {
            let length = match self.manager.recv(&mut buffer) {
                Ok(length) => length,
                Err(e) => panic!("the daemon never said {expected}: {e}"),
            };
            if String::from_utf8_lossy(&buffer[..length]).contains(expected) {
                return;
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    pub(crate) fn finish(mut self) -> Output {
        finish(self.child.take().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for the end, but not for ever.
pub(crate) fn finish(mut child: Child) -> Output {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("vippyd did not end: {}", text(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn assert_exit(output: &Output, code: i32, says: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(says), "expected {says:?} in {stderr:?}");
}

/// Runs a test in a network namespace of its own, with the loopback up.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("this test needs root for a network namespace");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            let up = rtnetlink::LinkUnspec::new_with_index(1).up().build();
            handle.link().set(up).execute().await.unwrap();
        });
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) fn config(more: &str) -> String {
    format!(
        "{{
            chat: '224.1.1.1:5007', chat_interface: '127.0.0.1',
            secret: 'a secret that is long enough', version: 5,
            nodes: ['node1', 'node2'],
            vips: [[{{interface: 'lo', ip: '10.99.0.1/32'}}], [{{interface: 'lo', ip: '10.99.0.2/32'}}]],
            interval: 0.05, stale: 0.3, mature: 0.3,
            {more}
        }}"
    )
}

/// Whether the calling thread's loopback carries an address: only then can it
/// be bound to.
pub(crate) fn lo_has(address: &str) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}
