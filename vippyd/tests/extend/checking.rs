//! Every kind of check against what it is for: real processes, sockets and files.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::timeout;
use vippy_core::config::checks::{Check, Kind};
use vippy_core::config::{Config, parse};
use vippy_core::health::{Outcome, Run};
use vippy_core::identity::CheckName;
use vippy_core::input::Input;
use vippyd::extend::launch::Launcher;
use vippyd::extend::{Extensions, Told};

const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration with these checks, in its own language.
fn config(checks: &str) -> Config {
    let text = format!(
        "{{chat: '224.1.1.1:5007', secret: 'a secret of some length', version: 1, \
         nodes: ['node1'], vips: [[{{interface: 'lo', ip: '10.0.0.1/24'}}]], checks: [{checks}]}}"
    );
    parse(&text, "test").unwrap_or_else(|problems| panic!("{text}: {problems:?}")).config
}

fn start(config: Config) -> Extensions {
    let launcher = Launcher::by(env!("CARGO_BIN_EXE_vippyd"));
    Extensions::start(Arc::new(config), "node1".into(), launcher).unwrap()
}

fn inside(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, body).await.unwrap() });
}

/// The next run of any check.
async fn next(extensions: &mut Extensions) -> (CheckName, Run) {
    let told = extensions.told().await.unwrap();
    let Told::Input(Input::Checked { check, run }) = told else { panic!("{told:?}") };
    (check, run)
}

/// What the only check comes to first.
fn first(check: &str) -> Outcome {
    first_of(config(check))
}

fn first_of(config: Config) -> Outcome {
    let mut outcome = None;
    inside(async { outcome = Some(next(&mut start(config)).await.1.outcome) });
    outcome.unwrap()
}

/// The reason of a bad outcome.
fn bad(outcome: &Outcome) -> &str {
    let Outcome::Bad(why) = outcome else { panic!("{outcome:?}") };
    why
}

/// A check that runs a script of the shell.
fn script(script: &str, rest: &str) -> String {
    format!("{{name: 'c', run: ['sh', '-c', {script:?}], interval: 0.1, {rest}}}")
}

/// A program of some name that does nothing for long.
fn sleeper(directory: &Path, name: &str) -> (PathBuf, std::process::Child) {
    let program = directory.join(name);
    std::fs::copy("/bin/sleep", &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let child = std::process::Command::new(&program).arg("1000").spawn().unwrap();
    (program, child)
}

/// A server that answers every connection with these words, as long as it lives.
fn server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(answer.as_bytes());
            if answer.is_empty() {
                // It never says a word.
                std::mem::forget(stream);
            }
        }
    });
    port
}

#[test]
fn a_command_is_good_when_it_ends_with_zero() {
    assert_eq!(first(&script("true", "")), Outcome::Good);
    assert_eq!(first(&script("test $VIPPY_CHECK = c", "")), Outcome::Good);
}

#[test]
fn a_failing_command_gives_its_last_line_and_its_exit_code() {
    let outcome = first(&script("echo one; echo two >&2; echo; exit 7", ""));
    assert_eq!(bad(&outcome), "two (exit code 7)");
    assert_eq!(bad(&first(&script("kill -9 $$", ""))), "signal 9");
}

#[test]
fn a_command_that_cannot_be_started_says_nothing_about_what_it_asks() {
    let outcome = first("{name: 'c', run: ['no-such-command'], interval: 0.1}");
    let Outcome::NotStarted(why) = &outcome else { panic!("{outcome:?}") };
    assert!(why.starts_with("cannot run no-such-command: No such file"), "{why}");
    let outcome = first("{name: 'c', run: ['true'], user: 'no-such-user', interval: 0.1}");
    assert!(matches!(outcome, Outcome::NotStarted(_)), "{outcome:?}");
}

#[test]
fn a_command_that_hangs_is_told_at_its_timeout_and_ended_with_its_children() {
    let directory = TempDir::new().unwrap();
    let pids = directory.path().join("pids");
    let text = format!("sleep 1000 & echo $! >>{0}; echo $$ >>{0}; wait", pids.display());
    inside(async {
        let mut extensions = start(config(&script(&text, "timeout: 0.05")));
        let (_, run) = next(&mut extensions).await;
        assert_eq!(run.outcome, Outcome::TimedOut);
        assert!(run.took < Duration::from_millis(90), "{:?}", run.took);
        let (_, run) = next(&mut extensions).await;
        assert_eq!(run.outcome, Outcome::TimedOut);
        drop(extensions);
        let pids = std::fs::read_to_string(&pids).unwrap();
        assert!(pids.lines().count() >= 4, "{pids}");
        for pid in pids.lines() {
            let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) => stat.contains(") Z "),
                Err(_) => true,
            };
            while !gone() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
}

#[test]
fn a_command_that_leaves_children_with_its_output_is_not_waited_for_longer() {
    inside(async {
        let mut extensions = start(config(&script("sleep 1000 & exit 3", "")));
        let (_, run) = next(&mut extensions).await;
        assert_eq!(bad(&run.outcome), "exit code 3");
        assert!(run.took < Duration::from_millis(90), "{:?}", run.took);
    });
}

#[test]
fn a_command_that_does_not_stop_talking_is_bad_and_costs_little() {
    let outcome = first(&script("exec yes", "interval: 1").replace("interval: 0.1, ", ""));
    assert_eq!(bad(&outcome), "it wrote more than 1024 KiB");
}

#[test]
fn a_check_never_runs_twice_at_once() {
    let directory = TempDir::new().unwrap();
    let (lock, clash) = (directory.path().join("lock"), directory.path().join("clash"));
    // It takes its time to end when it is told to.
    let text = format!(
        "trap 'sleep 0.05; rmdir {0}; exit' TERM; mkdir {0} || touch {1}; sleep 1000 & wait",
        lock.display(),
        clash.display()
    );
    inside(async {
        let mut extensions = start(config(&script(&text, "timeout: 0.06")));
        for _ in 0..6 {
            extensions.check(vec!["c".into()]);
            next(&mut extensions).await;
        }
        assert!(!clash.exists());
    });
}

#[test]
fn a_check_runs_at_once_when_it_is_wanted() {
    inside(async {
        let check = "{name: 'c', file: '/', interval: 3600, timeout: 1}";
        let mut extensions = start(config(check));
        for _ in 0..3 {
            let asked = vippyd::clock::now();
            extensions.check(vec!["c".into(), "unknown".into()]);
            let (_, run) = next(&mut extensions).await;
            assert!(run.began >= asked && run.outcome == Outcome::Good);
        }
    });
}

#[test]
fn runs_of_many_checks_are_spread_over_the_interval() {
    let checks: Vec<String> =
        (0..50).map(|n| format!("{{name: 'c{n}', file: '/', interval: 0.5}}")).collect();
    inside(async {
        let mut extensions = start(config(&checks.join(", ")));
        let mut began: BTreeMap<CheckName, Run> = BTreeMap::new();
        while began.len() < 50 {
            let (name, run) = next(&mut extensions).await;
            began.entry(name).or_insert(run);
        }
        let start = began.values().map(|run| run.began).min().unwrap();
        let mut tenths = [0; 10];
        for run in began.values() {
            let tenth = run.began.since(start).as_millis() * 10 / 501;
            tenths[usize::try_from(tenth).unwrap().min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| *count <= 15), "{tenths:?}");
    });
}

#[test]
fn a_port_is_good_when_somebody_listens() {
    let check = |port| format!("{{name: 'c', tcp: '127.0.0.1:{port}', interval: 0.1}}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(first(&check(port)), Outcome::Good);
    drop(listener);
    let outcome = first(&check(port));
    assert!(bad(&outcome).contains("refused"), "{outcome:?}");
    let outcome = first("{name: 'c', tcp: 'localhost:1', interval: 0.5}");
    assert!(bad(&outcome).contains("localhost:1: "), "{outcome:?}");
}

#[test]
fn an_answer_by_http_is_judged_by_its_status() {
    let check = |answer, rest: &str| {
        let port = server(answer);
        first(&format!(
            "{{name: 'c', http: 'http://127.0.0.1:{port}/health', interval: 0.3, {rest}}}"
        ))
    };
    let fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(check(fine, ""), Outcome::Good);
    assert_eq!(check("HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", ""), Outcome::Good);
    assert_eq!(check(fine, "status: 200"), Outcome::Good);
    assert_eq!(bad(&check(fine, "status: 204")), "it answers 200 OK");
    let unwell = "HTTP/1.1 503 Service Unavailable\r\n\r\n";
    assert_eq!(bad(&check(unwell, "")), "it answers 503 Service Unavailable");
    assert_eq!(check("", ""), Outcome::TimedOut);
    let outcome = check("SSH-2.0-OpenSSH_9.6\r\n", "");
    assert!(bad(&outcome).starts_with("127.0.0.1:"), "{outcome:?}");
}

#[test]
fn the_end_of_a_process_is_seen_at_once() {
    let directory = TempDir::new().unwrap();
    let (_, mut child) = sleeper(directory.path(), "vippy-proxy");
    inside(async {
        let check = "{name: 'c', process: 'vippy-proxy', interval: 60, timeout: 1}";
        let mut extensions = start(config(check));
        extensions.check(vec!["c".into()]);
        assert_eq!(next(&mut extensions).await.1.outcome, Outcome::Good);
        let before = Instant::now();
        child.kill().unwrap();
        let (_, run) = next(&mut extensions).await;
        assert!(before.elapsed() < Duration::from_millis(500), "{:?}", before.elapsed());
        assert!(bad(&run.outcome).starts_with("no process vippy-proxy runs; process "));
        child.wait().unwrap();
        extensions.check(vec!["c".into()]);
        assert_eq!(bad(&next(&mut extensions).await.1.outcome), "no process vippy-proxy runs");
    });
}

#[test]
fn another_process_of_the_name_will_do() {
    let directory = TempDir::new().unwrap();
    let (_, mut one) = sleeper(directory.path(), "vippy-worker");
    let (_, mut other) = sleeper(directory.path(), "vippy-worker2");
    let renamed = directory.path().join("elsewhere");
    std::fs::create_dir(&renamed).unwrap();
    let (_, mut second) = sleeper(&renamed, "vippy-worker");
    inside(async {
        let check = "{name: 'c', process: 'vippy-worker', interval: 60, timeout: 1}";
        let mut extensions = start(config(check));
        extensions.check(vec!["c".into()]);
        assert_eq!(next(&mut extensions).await.1.outcome, Outcome::Good);
        one.kill().unwrap();
        second.try_wait().unwrap();
        one.wait().unwrap();
        // Whichever was found: one is left.
        extensions.check(vec!["c".into()]);
        assert_eq!(next(&mut extensions).await.1.outcome, Outcome::Good);
        second.kill().unwrap();
        second.wait().unwrap();
        while next(&mut extensions).await.1.outcome == Outcome::Good {}
    });
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_process_is_found_by_the_number_in_a_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("pid");
    let (_, mut child) = sleeper(directory.path(), "vippy-numbered");
    std::fs::write(&file, format!("{}\n", child.id())).unwrap();
    inside(async {
        let check = format!(
            "{{name: 'c', process: {:?}, interval: 60, timeout: 1}}",
            file.display().to_string()
        );
        let mut extensions = start(config(&check));
        extensions.check(vec!["c".into()]);
        assert_eq!(next(&mut extensions).await.1.outcome, Outcome::Good);
        child.kill().unwrap();
        assert!(bad(&next(&mut extensions).await.1.outcome).contains("has ended"));
        child.wait().unwrap();
        std::fs::remove_file(&file).unwrap();
        extensions.check(vec!["c".into()]);
        assert!(bad(&next(&mut extensions).await.1.outcome).contains("does not run"));
    });
}

#[test]
fn an_interface_is_good_when_it_is_there_and_up() {
    assert_eq!(first("{name: 'c', interface: 'lo', interval: 0.5}"), Outcome::Good);
    let outcome = first("{name: 'c', interface: 'vippy-none', interval: 0.5}");
    assert_eq!(bad(&outcome), "vippy-none does not exist");
}

#[test]
fn a_file_is_good_when_it_is_there_or_when_it_is_not() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("maintenance");
    let check = |rest: &str| {
        let file = file.display().to_string();
        first(&format!("{{name: 'c', file: {file:?}, interval: 0.1, {rest}}}"))
    };
    assert!(bad(&check("")).ends_with("maintenance does not exist"));
    assert_eq!(check("absent: true"), Outcome::Good);
    std::fs::write(&file, "").unwrap();
    assert_eq!(check(""), Outcome::Good);
    assert!(bad(&check("absent: true")).ends_with("maintenance exists"));
}

/// A configuration with a ping of any address, also one that no file may name.
fn pinging(ip: &str) -> Config {
    let mut config = config("{name: 'c', ping: '10.0.0.9', interval: 0.3}");
    let check =
        Check { kind: Kind::Ping(ip.parse().unwrap()), ..(*config.shared.checks[0]).clone() };
    config.shared.checks = vec![Arc::new(check)];
    config
}

#[test]
fn an_address_is_good_when_it_answers_an_echo_request() {
    assert!(nix::unistd::geteuid().is_root(), "needs root");
    assert_eq!(first_of(pinging("127.0.0.1")), Outcome::Good);
    assert_eq!(first_of(pinging("::1")), Outcome::Good);
    let alone = || {
        // A network of its own, in which nothing is up.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        first_of(pinging("127.0.0.1"))
    };
    let outcome = std::thread::spawn(alone).join().unwrap();
    assert!(bad(&outcome).contains("unreachable"), "{outcome:?}");
}

#[test]
fn another_configuration_ends_what_it_does_not_ask_and_disturbs_nothing_else() {
    inside(async {
        let stays = "{name: 'stays', file: '/', interval: 0.2}";
        let goes = "{name: 'goes', file: '/', interval: 0.2}";
        let mut extensions = start(config(&format!("{stays}, {goes}")));
        let mut seen = BTreeMap::new();
        while seen.len() < 2 {
            let (name, run) = next(&mut extensions).await;
            seen.insert(name, run.began);
        }
        extensions.reconfigure(Arc::new(config(stays)), || panic!("nobody minds events"));
        let mut last = seen[&CheckName::from("stays")];
        let mut late = 0;
        for _ in 0..8 {
            let (name, run) = next(&mut extensions).await;
            if name == CheckName::from("goes") {
                late += 1;
                continue;
            }
            let pause = run.began.since(last);
            assert!(pause < Duration::from_millis(300), "{pause:?}");
            last = run.began;
        }
        assert!(late <= 1, "{late} more runs");
    });
}
