//! Children, started by the daemon's own program as in earnest.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use vippyd::extend::launch::{Command, Launcher, Running, Streams, refusal};

const PATIENCE: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_millis(300);

fn launcher() -> Launcher {
    Launcher::by(env!("CARGO_BIN_EXE_vippyd"))
}

/// Runs a test's body in a runtime as that of the daemon's thread.
fn inside(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, body).await.unwrap() });
}

fn start(script: &str, variables: &[(String, String)]) -> Running {
    let words = ["sh", "-c", script].map(str::to_owned);
    let command = Command { words: &words, user: None, variables, streams: Streams::Merged };
    launcher().start(&command).unwrap()
}

/// Everything it says until nobody can say anything any more.
async fn output(running: &mut Running) -> String {
    let mut said = Vec::new();
    running.output.take().unwrap().read_to_end(&mut said).await.unwrap();
    String::from_utf8(said).unwrap()
}

/// What a script says, run to its end.
async fn says(script: &str) -> String {
    let mut running = start(script, &[]);
    let said = output(&mut running).await;
    running.ended().await.unwrap();
    said
}

/// A line of `/proc/PID/status`.
fn status(said: &str, key: &str) -> String {
    let line = said.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("no {key} in {said}")).trim().to_owned()
}

/// How a command ends that cannot be run, and why.
async fn refused(words: &[&str], user: Option<&str>) -> Option<String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let command = Command { words: &words, user, variables: &[], streams: Streams::Merged };
    let mut running = launcher().start(&command).unwrap();
    let mut said = Vec::new();
    running.output.take().unwrap().read_to_end(&mut said).await.unwrap();
    refusal(running.ended().await.unwrap().unwrap(), &said)
}

async fn is_gone(pid: u32) {
    let exists = || std::fs::read_to_string(format!("/proc/{pid}/stat"));
    while exists().is_ok_and(|stat| !stat.contains(") Z ")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_child_has_no_capabilities_and_can_get_none() {
    inside(async {
        let said = says("cat /proc/self/status").await;
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(status(&said, set), "0000000000000000", "{set}");
        }
        assert_eq!(status(&said, "NoNewPrivs:"), "1");
        // Whoever may change the bounding set has emptied it.
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let own = u64::from_str_radix(&status(&own, "CapEff:"), 16).unwrap();
        if own & (1 << 8) != 0 {
            assert_eq!(status(&said, "CapBnd:"), "0000000000000000");
        }
    });
}

#[test]
fn a_child_has_a_stated_environment_and_nothing_else() {
    inside(async {
        let variables = [("VIPPY_GROUP".to_owned(), "web".to_owned())];
        let mut running = start("env | sort | grep -v ^_= | grep -v ^PWD=; pwd", &variables);
        let said = output(&mut running).await;
        let names: Vec<&str> =
            said.lines().map(|line| line.split('=').next().unwrap_or(line)).collect();
        assert_eq!(names, ["HOME", "LANG", "PATH", "VIPPY_GROUP", "/"], "{said}");
        assert!(said.contains("LANG=C\n") && said.contains("VIPPY_GROUP=web\n"), "{said}");
    });
}

#[test]
fn a_child_leads_a_group_and_a_session() {
    inside(async {
        let said = says("cut -d' ' -f1,5,6 /proc/$$/stat").await;
        let numbers: Vec<&str> = said.split_whitespace().collect();
        assert!(numbers.len() == 3 && numbers.iter().all(|n| *n == numbers[0]), "{said}");
    });
}

#[test]
fn a_child_inherits_no_descriptor_of_the_daemon() {
    inside(async {
        // Whatever this test was itself started with goes to every child.
        let bare = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
        let _open = std::fs::File::open("/dev/null").unwrap();
        let said = says("exec ls /proc/self/fd").await;
        assert_eq!(said, String::from_utf8(bare.stdout).unwrap());
    });
}

#[test]
fn a_child_has_the_default_signals_and_an_ordinary_priority() {
    inside(async {
        let said = says("cat /proc/self/status; cut -d' ' -f19 /proc/self/stat").await;
        assert_eq!(status(&said, "SigBlk:"), "0000000000000000");
        let ignored = u64::from_str_radix(&status(&said, "SigIgn:"), 16).unwrap();
        assert_eq!(ignored & (1 << 12), 0, "SIGPIPE is ignored: {said}");
        assert_eq!(said.lines().last(), Some("0"));
    });
}

#[test]
fn a_command_that_cannot_be_run_is_told_from_one_that_fails() {
    inside(async {
        let why = refused(&["no-such-command", "x"], None).await.unwrap();
        assert!(why.starts_with("cannot run no-such-command: No such file"), "{why}");
        let why = refused(&["/etc/passwd"], None).await.unwrap();
        assert!(why.starts_with("cannot run /etc/passwd: Permission denied"), "{why}");
        let why = refused(&["true"], Some("no-such-user")).await.unwrap();
        assert_eq!(why, "cannot run as user no-such-user: there is no such user");
        assert_eq!(refused(&["sh", "-c", "echo oh no >&2; exit 125"], None).await, None);
    });
}

#[test]
fn a_child_runs_as_another_user_with_that_users_groups_and_home() {
    assert!(nix::unistd::geteuid().is_root(), "needs root");
    inside(async {
        let words =
            ["sh", "-c", "id -un; id -gn; id -G; echo $HOME; grep CapEff /proc/self/status"];
        let words = words.map(str::to_owned);
        let user = Some("nobody");
        let command = Command { words: &words, user, variables: &[], streams: Streams::Merged };
        let mut running = launcher().start(&command).unwrap();
        let said = output(&mut running).await;
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..2], ["nobody", "nogroup"], "{said}");
        assert_eq!(lines[2].split(' ').count(), 1, "{said}");
        assert_eq!(lines[3], "/nonexistent", "{said}");
        assert!(lines[4].ends_with("0000000000000000"), "{said}");
    });
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    inside(async {
        let mut running = start("sleep 1000 >/dev/null 2>&1 & echo $!", &[]);
        let pid = output(&mut running).await.trim().parse().unwrap();
        let status = running.ended().await.unwrap().unwrap();
        assert!(status.success());
        is_gone(pid).await;
    });
}

#[test]
fn a_whole_group_is_ended_and_one_that_does_not_listen_is_killed() {
    inside(async {
        let mut running = start("trap '' TERM; sleep 1000 & echo $!; exec >&-; wait; wait", &[]);
        let pid = {
            let mut said = [0; 16];
            let output = running.output.as_mut().unwrap();
            let length = output.read(&mut said).await.unwrap();
            String::from_utf8_lossy(&said[..length]).trim().parse().unwrap()
        };
        let began = Instant::now();
        let status = running.end(GRACE).await.unwrap().unwrap();
        assert!(!status.success());
        assert!(began.elapsed() >= GRACE, "it was given time");
        is_gone(pid).await;
    });
}

#[test]
fn a_child_that_nobody_wants_any_more_is_gone() {
    inside(async {
        let mut running = start("echo $$; exec sleep 1000", &[]);
        let mut said = [0; 16];
        let length = running.output.as_mut().unwrap().read(&mut said).await.unwrap();
        let pid = String::from_utf8_lossy(&said[..length]).trim().parse().unwrap();
        drop(running);
        is_gone(pid).await;
    });
}

#[test]
fn a_child_does_not_outlive_the_thread_that_started_it() {
    inside(async {
        let body = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut running = start("echo $$; exec sleep 1000", &[]);
                let mut said = [0; 16];
                let length = running.output.as_mut().unwrap().read(&mut said).await.unwrap();
                // Neither dropped nor ended: as when the process is killed.
                std::mem::forget(running);
                String::from_utf8_lossy(&said[..length]).trim().parse().unwrap()
            })
        };
        let pid = std::thread::spawn(body).join().unwrap();
        is_gone(pid).await;
    });
}
