//! The real binary against a fake daemon: what it prints, where, and its exit code.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use tempfile::TempDir;

const STATUS: &str = r#"{"identity":"node1",
 "stats":{"net":{"ignore":0,"send-announce":16,"recv-announce":48},"state-changes":3,
  "rejects":{},"relayed":0},
 "config":{"version":5,"vips":[],"nodes":["node1"],"digest":"00112233445566778899aabbccddeeff"},
 "state":{"mature":true,"active":true,"inactive_reason":null,"ownership":{"_":[]}},
 "node":{"state":"active","reason":"none","detail":"","uptime_ms":1,"boot":"00","key":"01","epoch":7,
  "program":"0.1.0","lifetime_s":10,"interval_ms":500.0,"stale_ms":5000.0,"warnings":[]},
 "groups":[{"id":"10.0.0.1","name":null,"prefer":null,"exclusive":false,
  "addresses":["10.0.0.1/24"],"owner":"node1","holders":["node1"],"succession":["node1"],
  "here":"held","cannot":null,"epoch":7}],
 "peers":[]}"#;

/// A daemon that answers a number of requests, whatever they are; joining the
/// thread tells what was asked.
struct Fake {
    _dir: TempDir,
    path: PathBuf,
    asked: thread::JoinHandle<String>,
}

fn fake(status: &'static str, body: &'static str) -> Fake {
    fake_series(vec![(status, body)])
}

fn fake_series(answers: Vec<(&'static str, &'static str)>) -> Fake {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vippy.socket");
    let listener = UnixListener::bind(&path).unwrap();
    let answer = move |(status, body): &(&str, &str)| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        while !lines.next().unwrap().unwrap().is_empty() {}
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        first
    };
    let asked = thread::spawn(move || {
        let asked: Vec<String> = answers.iter().map(answer).collect();
        asked.join(", ")
    });
    Fake { _dir: dir, path, asked }
}

fn vippyctl(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vippyctl"));
    command.arg("-s").arg(socket).args(arguments);
    command.env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR").output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn status_prints_the_screen_without_colours_into_a_pipe() {
    let fake = fake("200 OK", STATUS);
    let output = vippyctl(&fake.path, &["status"]);
    assert_eq!(output.status.code(), Some(0));
    let screen = text(&output.stdout);
    assert!(screen.starts_with("node1 is active\n"), "{screen}");
    assert!(screen.contains("*  #1     node1  -        10.0.0.1/24\n"), "{screen}");
    assert!(!screen.contains('\u{1b}'));
    assert_eq!(fake.asked.join().unwrap(), "GET /status HTTP/1.1");
}

#[test]
fn json_is_the_daemons_own_text() {
    let fake = fake("200 OK", STATUS);
    let output = vippyctl(&fake.path, &["status", "--json"]);
    assert_eq!(text(&output.stdout), format!("{STATUS}\n"));
}

/// What a daemon sends for these events.
const EVENTS: &str = "id: 00000000000000a1-1\nevent: peer-up\n\
    data: {\"id\":\"00000000000000a1-1\",\"unix_ms\":1795248000123,\"monotonic_ms\":1,\
    \"identity\":\"node1\",\"event\":\"peer-up\",\"node\":\"node2\",\"new\":1}\n\n:\n\n\
    id: 00000000000000a1-2\nevent: dance\ndata: {\"id\":\"00000000000000a1-2\",\"event\":\"dance\"}\n\n";

#[test]
fn events_are_lines_and_what_is_unknown_is_shown_as_it_came() {
    let fake = fake("200 OK", EVENTS);
    let output = vippyctl(&fake.path, &["events", "--since", "1h 30m"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let expected = "2026-11-21T08:00:00.123Z notice  peer up node=node2\n\
                    {\"id\":\"00000000000000a1-2\",\"event\":\"dance\"}\n";
    assert_eq!(text(&output.stdout), expected);
    let asked = fake.asked.join().unwrap();
    assert_eq!(asked, "GET /events?follow=false&since=1h+30m HTTP/1.1");
}

#[test]
fn events_as_json_are_the_daemons_own_lines() {
    let fake = fake("200 OK", EVENTS);
    let output = vippyctl(&fake.path, &["events", "--json"]);
    let lines: Vec<&str> = EVENTS.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(text(&output.stdout), lines.join("\n") + "\n");
}

#[test]
fn who_follows_the_events_goes_on_after_the_last_one_when_the_daemon_is_back() {
    let refusal = r#"{"error":"that is enough"}"#;
    let fake = fake_series(vec![("200 OK", EVENTS), ("503 Service Unavailable", refusal)]);
    let output = vippyctl(&fake.path, &["events", "--follow"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout).lines().count(), 2);
    assert_eq!(
        text(&output.stderr),
        "vippyctl: waiting for the daemon: it ends\nvippyctl: that is enough\n"
    );
    let asked = fake.asked.join().unwrap();
    let again = "GET /events?follow=true&since=00000000000000a1-2 HTTP/1.1";
    assert_eq!(asked, format!("GET /events?follow=true HTTP/1.1, {again}"));
}

#[test]
fn a_place_in_the_history_that_makes_no_sense_is_explained() {
    let output = vippyctl(Path::new("/nonexistent"), &["events", "--since", "yesterday"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected an event's id, a span such as 90s"));
}

#[test]
fn the_log_level_is_shown_and_set() {
    let answer = r#"{"level":"err","levels":["emerg","alert","crit","err"]}"#;
    let fake = fake_series(vec![("200 OK", answer), ("200 OK", answer)]);
    for arguments in [&["log-level"][..], &["log-level", "err"]] {
        assert_eq!(text(&vippyctl(&fake.path, arguments).stdout), "err and graver\n");
    }
    let asked = fake.asked.join().unwrap();
    assert_eq!(asked, "GET /log-level HTTP/1.1, POST /log-level?level=err HTTP/1.1");
    let output = vippyctl(Path::new("/nonexistent"), &["log-level", "verbose"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected one of emerg, alert"));
}

#[test]
fn no_daemon_is_one_clear_line_and_exit_code_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("absent");
    for arguments in [&["status"][..], &["status", "--json"], &["drain"], &["resume"], &["reload"]]
    {
        let output = vippyctl(&path, arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let complaint = text(&output.stderr);
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(complaint.starts_with("vippyctl: no daemon answers at "), "{complaint}");
        assert!(complaint.contains(path.to_str().unwrap()), "{complaint}");
        assert_eq!(complaint.matches("No such file").count(), 1, "{complaint}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_exit_code_two() {
    for arguments in [&["dance"][..], &["status", "--jason"], &[]] {
        let output = vippyctl(Path::new("/nonexistent"), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn drain_and_resume_post_and_report_the_new_state() {
    let drained =
        fake("200 OK", r#"{"state":"draining","reason":"operator","detail":"2 groups to go"}"#);
    let output = vippyctl(&drained.path, &["drain"]);
    assert_eq!(text(&output.stdout), "this node is draining: 2 groups to go\n");
    assert_eq!(drained.asked.join().unwrap(), "POST /drain HTTP/1.1");
    let resumed = fake("200 OK", r#"{"state":"active","reason":"none","detail":""}"#);
    let output = vippyctl(&resumed.path, &["resume"]);
    assert_eq!(text(&output.stdout), "this node is active\n");
    assert_eq!(resumed.asked.join().unwrap(), "POST /resume HTTP/1.1");
}

#[test]
fn reload_reports_what_is_in_force_and_who_follows_and_warns_on_standard_error() {
    let reloaded =
        r#"{"version":5,"digest":"00112233445566778899aabbccddeeff","warnings":["odd"]}"#;
    let fake = fake_series(vec![("200 OK", reloaded), ("200 OK", STATUS)]);
    let output = vippyctl(&fake.path, &["reload"]);
    assert_eq!(text(&output.stderr), "warning: odd\n");
    let wanted = "configuration 5 (00112233) is in force\n\
                  configuration 5 (00112233) runs on 1 live node\n";
    assert_eq!(text(&output.stdout), wanted);
    let asked = fake.asked.join().unwrap();
    assert_eq!(asked, "POST /reload HTTP/1.1, GET /status HTTP/1.1");
}

#[test]
fn a_refused_reload_lists_every_problem() {
    let fake = fake(
        "422 Unprocessable Entity",
        r#"{"error":"the file is not valid","problems":["vippy.conf:3:9: x","vippy.conf:4:1: y"]}"#,
    );
    let output = vippyctl(&fake.path, &["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "vippyctl: the file is not valid\n  vippy.conf:3:9: x\n  vippy.conf:4:1: y\n"
    );
}

#[test]
fn hostile_text_of_a_daemon_does_not_reach_the_terminal_raw() {
    let fake = fake("409 Conflict", r#"{"error":"a\u001b[2Jb"}"#);
    let output = vippyctl(&fake.path, &["drain"]);
    assert_eq!(text(&output.stderr), "vippyctl: a\u{fffd}[2Jb\n");
}

#[test]
fn colours_can_be_forced_and_forbidden() {
    for (variable, coloured) in [("CLICOLOR_FORCE", true), ("NO_COLOR", false)] {
        let fake = fake("200 OK", STATUS);
        let mut command = Command::new(env!("CARGO_BIN_EXE_vippyctl"));
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env(variable, "1");
        let output = command.arg("status").arg("-s").arg(&fake.path).output().unwrap();
        assert_eq!(text(&output.stdout).contains('\u{1b}'), coloured, "{variable}");
    }
}

#[test]
fn a_drain_for_a_time_asks_for_its_seconds() {
    let answer = r#"{"state":"draining","reason":"operator","detail":"drained by the operator"}"#;
    let fake = fake("200 OK", answer);
    let output = vippyctl(&fake.path, &["drain", "--for", "1h 30m"]);
    assert_eq!(text(&output.stdout), "this node is draining: drained by the operator\n");
    assert_eq!(fake.asked.join().unwrap(), "POST /drain?for=5400 HTTP/1.1");
}
