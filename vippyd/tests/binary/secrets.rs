//! The real binary and its secrets: taken at a reload, shown nowhere, and in no
//! core dump. Needs root.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::User;
use vippy_client::{Client, Status};

use crate::support::{Bench, Daemon, assert_exit, config, in_namespace, text};

const OLD: &str = "hunter2-the-secret-of-yesterday";
const NEW: &str = "hunter2-the-secret-of-tomorrow";

/// A configuration with this key for its secrets.
fn with(secrets: &str) -> String {
    config("logging: {driver: 'console', mask: {info: true, debug: true}}")
        .replace("secret: 'a secret that is long enough'", secrets)
}

/// A bench whose secrets are in a file beside the configuration.
fn bench(secrets: &[&str]) -> Bench {
    let bench = Bench::new("");
    let key = format!("secret_file: '{}'", bench.path("secret").display());
    std::fs::write(bench.config(), with(&key)).unwrap();
    write(&bench, secrets);
    bench
}

fn write(bench: &Bench, secrets: &[&str]) {
    std::fs::write(bench.path("secret"), secrets.join("\n") + "\n").unwrap();
    std::fs::set_permissions(bench.path("secret"), PermissionsExt::from_mode(0o600)).unwrap();
}

fn status(bench: &Bench) -> Status {
    let client = Client::new(bench.path("node1.socket"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.status()).unwrap()
}

fn reload(bench: &Bench, daemon: &Daemon, secrets: &[&str]) -> Status {
    write(bench, secrets);
    daemon.signal(Signal::SIGHUP);
    daemon.hear("RELOADING=1");
    daemon.hear("READY=1");
    status(bench)
}

/// Everything that a management socket answers.
fn answer(bench: &Bench, path: &str) -> String {
    let mut stream = UnixStream::connect(bench.path("node1.socket")).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{path}");
    text(&answer)
}

#[test]
fn secrets_act_at_a_reload_and_are_shown_nowhere() {
    in_namespace(|| {
        let bench = bench(&[OLD]);
        let daemon = bench.start("node1");
        daemon.hear("STATUS=active, holds 2 groups");
        let first = status(&bench).node;
        assert_eq!((first.keys.len(), &first.keys[0]), (1, &first.key));
        let second = reload(&bench, &daemon, &[OLD, NEW]).node;
        assert_eq!((&second.key, second.keys.len()), (&first.key, 2));
        let third = reload(&bench, &daemon, &[NEW, OLD]).node;
        assert_eq!(third.keys, [second.keys[1].clone(), second.keys[0].clone()]);
        // What is wrong changes nothing.
        let refused = reload(&bench, &daemon, &[NEW, "", OLD]).node;
        assert_eq!(refused.keys, third.keys);
        let last = reload(&bench, &daemon, &[NEW]).node;
        assert_eq!((&last.key, last.keys.len()), (&third.key, 1));
        let answers = ["/status", "/timeline", "/recording"].map(|path| answer(&bench, path));
        let checked = bench.check();
        daemon.signal(Signal::SIGTERM);
        let output = daemon.finish();
        assert_exit(&output, 0, "secrets changed: signs with another one, verifies 2");
        assert_exit(&output, 0, "secret:2:1: found an empty line, expected a secret");
        assert_exit(&output, 0, "the running configuration stays");
        let said = [&checked.stdout, &checked.stderr, &output.stdout, &output.stderr];
        for told in answers.iter().cloned().chain(said.map(|bytes| text(bytes))) {
            assert!(!told.contains("hunter2"), "{told}");
        }
    });
}

#[test]
fn a_start_without_the_file_of_secrets_is_refused_and_a_release_is_not() {
    in_namespace(|| {
        let bench = bench(&[OLD]);
        std::fs::remove_file(bench.path("secret")).unwrap();
        let wanted = format!("secret_file: cannot read {}", bench.path("secret").display());
        assert_exit(&bench.run("node1"), 3, &wanted);
        assert_exit(&bench.check(), 3, &wanted);
        assert_exit(&bench.command("node1").arg("--release").output().unwrap(), 0, "");
    });
}

#[test]
fn a_credential_is_found_where_the_service_manager_put_it() {
    in_namespace(|| {
        let bench = Bench::new(&with("secret_file: 'credential:secret'"));
        write(&bench, &[OLD]);
        let mut command = bench.command("node1");
        command.env("CREDENTIALS_DIRECTORY", bench.path(""));
        let daemon = bench.start_as(command, "node1");
        daemon.hear("STATUS=active, holds 2 groups");
        assert_eq!(status(&bench).node.keys.len(), 1);
        assert_exit(&bench.run("node2"), 3, "no credential secret: $CREDENTIALS_DIRECTORY is not");
    });
}

/// Soft limit on core dumps, in bytes or `unlimited`.
fn core_limit(daemon: &Daemon) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    line.split_whitespace().nth(4).unwrap().to_owned()
}

/// The daemon's command, where core dumps are allowed.
fn dumping(bench: &Bench, node: &str, more: &[&str]) -> Command {
    let command = bench.command(node);
    let mut limited = Command::new("prlimit");
    limited.arg("--core=unlimited").arg(command.get_program()).args(command.get_args()).args(more);
    limited.env_remove("JOURNAL_STREAM").current_dir(bench.path(""));
    limited.stderr(Stdio::piped()).stdout(Stdio::piped());
    limited
}

#[test]
fn a_crash_leaves_no_memory_behind_unless_that_is_asked_for() {
    in_namespace(|| {
        let bench = bench(&[OLD]);
        let daemon = bench.start_as(dumping(&bench, "node2", &["--core-dumps"]), "node2");
        assert_eq!(core_limit(&daemon), "unlimited");
        let daemon = bench.start_as(dumping(&bench, "node1", &[]), "node1");
        assert_eq!(core_limit(&daemon), "0");
        daemon.signal(Signal::SIGABRT);
        let ended = daemon.finish().status;
        assert_eq!((ended.signal(), ended.core_dumped()), (Some(Signal::SIGABRT as i32), false));
    });
}

/// What the unit does: a user of its own with two capabilities. The kernel gives
/// the files in /proc of a process that must not be dumped to root.
#[test]
fn a_daemon_that_is_not_root_keeps_its_memory_to_itself_and_still_restarts() {
    in_namespace(|| {
        let user = User::from_name("nobody").unwrap().unwrap();
        let bench = bench(&[OLD]);
        for path in [bench.path(""), bench.config(), bench.path("secret")] {
            chown(path, Some(user.uid.as_raw()), None).unwrap();
        }
        let command = bench.command("node1");
        let mut unprivileged = Command::new("sh");
        unprivileged.args(["-c", "chown nobody \"$NOTIFY_SOCKET\" && exec setpriv \"$@\"", "sh"]);
        unprivileged.args(["--reuid", "nobody", "--clear-groups", "--no-new-privs"]);
        for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
            unprivileged.args([set, "-all,+net_admin,+net_raw"]);
        }
        unprivileged.arg(command.get_program()).args(command.get_args());
        unprivileged.stderr(Stdio::piped()).stdout(Stdio::piped());
        unprivileged.current_dir("/");
        let daemon = bench.start_as(unprivileged, "node1");
        daemon.hear("STATUS=active, holds 2 groups");
        let owner = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
            let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
            assert_eq!(uid.split_whitespace().nth(1), Some(user.uid.to_string().as_str()));
            std::fs::metadata(format!("/proc/{}/environ", daemon.pid())).unwrap().uid()
        };
        assert_eq!(owner(), 0);
        let before = status(&bench).node.boot;
        let client = Client::new(bench.path("node1.socket"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(client.restart()).unwrap();
        daemon.hear("RELOADING=1");
        daemon.hear("STATUS=active, holds 2 groups");
        assert_ne!(status(&bench).node.boot, before);
        assert_eq!(owner(), 0, "the successor as well");
        daemon.signal(Signal::SIGTERM);
        assert_exit(&daemon.finish(), 0, "stopped");
    });
}
