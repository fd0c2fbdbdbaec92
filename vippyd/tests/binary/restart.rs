//! The real binary replaces itself, or says why it does not. Needs root.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vippy_client::{ApiError, Client, ClientError, Restarting, Status};

use crate::support::{Bench, Daemon, PATIENCE, assert_exit, config, in_namespace, lo_has, text};

/// A daemon whose program may be replaced.
struct Upgradable {
    bench: Bench,
    daemon: Daemon,
}

impl Upgradable {
    fn start() -> Upgradable {
        let bench = Bench::new(&config("logging: {driver: 'console'}"));
        std::fs::copy(env!("CARGO_BIN_EXE_vippyd"), bench.path("vippyd")).unwrap();
        let command = bench.command_of(&bench.path("vippyd"), "node1");
        let daemon = bench.start_as(command, "node1");
        daemon.hear("STATUS=active, holds 2 groups");
        Upgradable { bench, daemon }
    }

    fn program(&self) -> PathBuf {
        self.bench.path("vippyd")
    }

    /// Puts another program in its place, as a package manager does.
    fn replace(&self, script: &str) {
        let new = self.bench.path("vippyd.new");
        std::fs::write(&new, script).unwrap();
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(&new, self.program()).unwrap();
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(Client) -> T) -> T {
        let client = Client::new(self.bench.path("node1.socket")).with_timeout(PATIENCE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(question(client))
    }

    fn status(&self) -> Result<Status, ClientError> {
        self.ask(async |client| client.status().await)
    }

    fn restart(&self) -> Result<Restarting, ClientError> {
        self.ask(async |client| client.restart().await)
    }

    /// What the daemon says when it refuses to restart. It goes on.
    fn refusal(&self) -> ApiError {
        let before = self.status().unwrap();
        let Err(ClientError::Refused { status: 409, error }) = self.restart() else {
            panic!("it was not refused")
        };
        std::thread::sleep(Duration::from_millis(500));
        let after = self.status().unwrap();
        assert_eq!(
            (after.node.boot, before.node.boot.clone()),
            (before.node.boot.clone(), before.node.boot)
        );
        assert!(lo_has("10.99.0.1") && lo_has("10.99.0.2"));
        error
    }

    fn await_another(&self, before: &Status) -> Status {
        let begun = Instant::now();
        loop {
            match self.status() {
                Ok(status) if status.node.boot != before.node.boot => return status,
                other => assert!(begun.elapsed() < PATIENCE, "no new process: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn field(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn a_new_process_takes_over_under_the_same_id_with_everything_in_place() {
    in_namespace(|| {
        let it = Upgradable::start();
        let pid = it.daemon.pid();
        // As an upgrade does: the running file is replaced, not overwritten.
        let new = it.bench.path("vippyd.new");
        std::fs::copy(env!("CARGO_BIN_EXE_vippyd"), &new).unwrap();
        std::fs::rename(&new, it.program()).unwrap();
        for _ in 0..3 {
            let before = it.status().unwrap();
            let restarting = it.restart().unwrap();
            assert_eq!(restarting.program, restarting.successor);
            it.daemon.hear("RELOADING=1");
            it.daemon.hear("READY=1");
            it.daemon.hear("STATUS=active, holds 2 groups");
            let after = it.await_another(&before);
            assert!(after.node.epoch >= before.node.epoch);
            assert!(lo_has("10.99.0.1") && lo_has("10.99.0.2"));
            assert_eq!(it.daemon.pid(), pid);
            let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
            assert_eq!(exe, it.program(), "the new file runs");
            assert_eq!(field(pid, "SigBlk:"), "0000000000000000");
        }
        it.daemon.signal(Signal::SIGTERM);
        let output = it.daemon.finish();
        assert_exit(&output, 0, "stopped");
        let log = text(&output.stderr);
        assert!(log.contains("restarting: ") && log.contains("found here and kept"), "{log}");
        assert!(
            !log.contains("letting go group") || log.find("letting go") > log.rfind("found here"),
            "{log}"
        );
        assert!(!lo_has("10.99.0.1"));
    });
}

#[test]
fn descriptors_do_not_pile_up() {
    in_namespace(|| {
        let it = Upgradable::start();
        let open = || std::fs::read_dir(format!("/proc/{}/fd", it.daemon.pid())).unwrap().count();
        let mut counts = Vec::new();
        for _ in 0..3 {
            let before = it.status().unwrap();
            it.restart().unwrap();
            it.await_another(&before);
            it.daemon.hear("STATUS=active, holds 2 groups");
            counts.push(open());
        }
        assert!(counts.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{counts:?}");
    });
}

#[test]
fn a_configuration_that_would_be_refused_keeps_the_old_process() {
    in_namespace(|| {
        let it = Upgradable::start();
        std::fs::write(it.bench.config(), config("nonsense: 1")).unwrap();
        let error = it.refusal();
        assert!(error.error.starts_with("not restarted: "), "{error}");
        assert!(error.problems.iter().any(|line| line.contains("nonsense")), "{error}");
    });
}

#[test]
fn a_configuration_that_lost_this_node_keeps_the_old_process() {
    in_namespace(|| {
        let it = Upgradable::start();
        std::fs::write(it.bench.config(), config("").replace("'node1', ", "'node3', ")).unwrap();
        let error = it.refusal();
        assert!(error.problems.iter().any(|line| line.contains("node node1 is not in")), "{error}");
    });
}

#[test]
fn a_program_that_does_not_run_keeps_the_old_process() {
    in_namespace(|| {
        let it = Upgradable::start();
        it.replace("#!/bin/sh\necho broken >&2; exit 1\n");
        let error = it.refusal();
        assert_eq!(error.problems, ["broken"]);
        std::fs::remove_file(it.program()).unwrap();
        let error = it.refusal();
        assert!(error.error.contains("No such file"), "{error}");
    });
}

#[test]
fn a_program_that_cannot_take_over_at_the_last_moment_keeps_the_old_process() {
    in_namespace(|| {
        let it = Upgradable::start();
        // It passes both tries and is gone when its turn comes.
        let path = it.program().display().to_string();
        it.replace(&format!(
            "#!/bin/sh\ncase \"$*\" in --version) echo vippyd 9.9;; *) rm {path};; esac\n"
        ));
        let before = it.status().unwrap();
        assert_eq!(it.restart().unwrap().successor, "9.9");
        it.daemon.hear("RELOADING=1");
        it.daemon.hear("READY=1");
        let after = it.status().unwrap();
        assert_eq!(after.node.boot, before.node.boot);
        assert!(lo_has("10.99.0.1") && lo_has("10.99.0.2"));
        it.daemon.signal(Signal::SIGTERM);
        assert_exit(&it.daemon.finish(), 0, "not restarted: cannot run ");
        assert!(!Path::new(&path).exists());
    });
}

#[test]
fn a_stop_goes_before_a_restart() {
    in_namespace(|| {
        let it = Upgradable::start();
        it.restart().unwrap();
        it.daemon.signal(Signal::SIGTERM);
        let output = it.daemon.finish();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(!lo_has("10.99.0.1"));
    });
}
