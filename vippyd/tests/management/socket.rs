//! The management socket as clients see it: real sockets, a loop that answers.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use vippy_client::status::{NodeReason, NodeState};
use vippy_client::{
    Answer, ApiError, Applying, Client, ClientError, ConfigFile, Configurations, Level, Reloaded,
    Restarting, SharedText, Status, Timeline, WhatIf,
};
use vippy_core::config::parse;
use vippy_core::engine::{Engine, Start};
use vippy_core::identity::{BootId, Epoch};
use vippy_core::input::Command;
use vippy_core::memory::Memory;
use vippyd::histogram::Histogram;
use vippyd::history::History;
use vippyd::logging::Logger;
use vippyd::management::{Desk, MAX_CONNECTIONS, ManagementError, Request, bind, serve};
use vippyd::metrics::Facts;
use zeroize::Zeroizing;

use crate::server::Server;

const STATUS: &str = r#"{"identity":"node1",
 "stats":{"net":{"ignore":0,"send-announce":16,"recv-announce":48},"state-changes":3,
  "rejects":{},"relayed":0},
 "config":{"version":5,"vips":[["node2",{"ip":"10.99.0.103","netmask":"255.255.255.0",
  "broadcast":"10.99.0.255","network":"10.99.0.0","name":"eth0"}]],"nodes":["node1","node2"],
  "digest":"00112233445566778899aabbccddeeff"},
 "state":{"mature":true,"active":true,"inactive_reason":null,"ownership":{"_":[],
  "node2":[["node2",{"ip":"10.99.0.103","netmask":"255.255.255.0",
  "broadcast":"10.99.0.255","network":"10.99.0.0","name":"eth0"}]]}},
 "node":{"state":"active","reason":"none","detail":"","uptime_ms":1,"boot":"00","key":"01","epoch":7,
  "program":"0.1.0","lifetime_s":10,"interval_ms":500.0,"stale_ms":5000.0,"warnings":[]},
 "groups":[],"peers":[]}"#;

/// A daemon's loop that takes `pause` over every answer.
fn start(pause: Duration) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vippy.socket");
    let listener = bind(&path).unwrap();
    let (sender, mut requests) = mpsc::channel(8);
    let (_teller, _scribe, history) = History::begin(BootId(7), "node1".into());
    let serving = tokio::spawn(serve(listener, Desk::new(sender, history, logger())));
    let answering = tokio::spawn(async move {
        let status: Status = serde_json::from_str(STATUS).unwrap();
        while let Some(request) = requests.recv().await {
            tokio::time::sleep(pause).await;
            answer(request, &status);
        }
    });
    Server::new(dir, path, vec![serving, answering])
}

fn logger() -> Logger {
    let text = CONFIG.replace("a b", "web");
    let logging = parse(&text, "f").unwrap().config.local.logging;
    Logger::start(&logging, &"node1".into()).unwrap()
}

const CONFIG: &str = "{ chat: '239.77.0.1:5007', secret: 'hunter2-hunter2-hunter2', version: 5,
    nodes: ['node1', 'node2'],
    vips: [{ name: 'a b', vips: [{ interface: 'eth0', ip: '10.0.0.1/24' }] }] }";

/// A node that has just started.
fn engine() -> Engine {
    let text = CONFIG.replace("a b", "web");
    let start = Start {
        config: Arc::new(parse(&text, "f").unwrap().config),
        node: "node1".into(),
        boot: BootId(1),
        epoch_floor: Epoch(0),
        present: BTreeSet::new(),
        memory: Memory::default(),
        trial: None,
    };
    Engine::new(vippy_core::time::Instant::ZERO, start)
}

/// Clients that hung up meanwhile do not matter.
fn answer(request: Request, status: &Status) {
    match request {
        Request::Status(to) => drop(to.send(status.clone())),
        Request::Metrics(to) => {
            let announcing = Histogram::new(&[0.001]);
            drop(to.send(Facts { status: status.clone(), announcing }));
        }
        Request::Recording(to) => drop(to.send(None)),
        Request::Explain(of, to) => {
            drop(to.send(engine().explain(vippy_core::time::Instant::ZERO, &of)));
        }
        Request::Outlook(to) => drop(to.send(engine().outlook())),
        Request::Timeline(to) => drop(to.send(Timeline {
            identity: status.identity.clone(),
            unix_ms: Some(1),
            failovers: Vec::new(),
        })),
        Request::Command(Command::Drain { lasting }, to) => drop(to.send(Ok(Answer {
            state: NodeState::Draining,
            reason: NodeReason::Operator,
            detail: lasting.map(|lasting| format!("for {lasting:?}")).unwrap_or_default(),
        }))),
        Request::Command(
            Command::Resume | Command::Stop | Command::Confirm | Command::Forget | Command::Restart,
            to,
        ) => {
            drop(to.send(Err(ApiError::new("not draining"))));
        }
        Request::Configurations(to) => {
            let text = |version| SharedText { version, digest: "ab".into(), text: "{}".into() };
            let (running, file) = (text(6), text(5));
            drop(to.send(Configurations { running, file, path: "/v.conf".into() }));
        }
        // What came back tells what was understood.
        Request::Apply { file, confirm_within, reply } => {
            let version = confirm_within.map_or(0, |within| within.as_secs());
            let digest = format!("{} {}", file.name, file.text.len());
            drop(reply.send(Ok(Applying { version, digest })));
        }
        Request::Forget(to) => drop(to.send(reloaded())),
        Request::Reload(to) => drop(to.send(Ok(reloaded()))),
        Request::Restart(to) => {
            drop(to.send(Ok(Restarting { program: "0.1.0".into(), successor: "0.2.0".into() })))
        }
    }
}

fn named(name: &str, text: String) -> ConfigFile {
    ConfigFile { name: name.into(), text: Zeroizing::new(text) }
}

fn reloaded() -> Reloaded {
    Reloaded { version: 6, digest: "ab".into(), warnings: vec!["careful".into()] }
}

/// Everything that comes back for these bytes until the server closes.
async fn raw(path: &Path, sent: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn a_configuration_of_megabytes_is_taken_and_one_that_is_no_text_is_not() {
    let server = start(Duration::ZERO);
    let client = Client::new(&server.path);
    let file = named("/my conf", "x".repeat(3 << 20));
    let applying = client.apply(file, Some(Duration::from_secs(60))).await.unwrap();
    assert_eq!((applying.version, applying.digest), (60, format!("/my conf {}", 3 << 20)));
    assert_eq!(client.apply(named("f", String::new()), None).await.unwrap().version, 0);
    let head = "POST /apply HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length:";
    let answer = raw(&server.path, &format!("{head} {}\r\n\r\n", 17 << 20)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(body(&answer).contains("at most 16777216"), "{answer}");
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    let request = [format!("{head} 3\r\n\r\n").as_bytes(), b"ab\xff"].concat();
    stream.write_all(&request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(body(&answer).contains("not UTF-8 at 2"), "{answer}");
}

#[tokio::test]
async fn a_drain_for_no_good_time_is_refused_with_what_is_expected() {
    let server = start(Duration::ZERO);
    let cases = [
        ("for=0", "whole seconds from 1 to 31536000"),
        ("for=1.5", "found \\\"1.5\\\", expected whole seconds"),
        ("for=30m", "found \\\"30m\\\""),
        ("for=31536001", "from 1 to 31536000"),
        ("for=", "found \\\"\\\""),
        ("lasting=30", "found the parameter \\\"lasting\\\", expected for"),
        ("for=30&for=40", "found the parameter \\\"for\\\" again, expected for"),
    ];
    for (query, wanted) in cases {
        let request =
            format!("POST /drain?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = raw(&server.path, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{query}: {answer}");
        assert!(body(&answer).contains(wanted), "{query}: {answer}");
    }
}

#[tokio::test]
async fn our_own_client_can_ask_everything() {
    let server = start(Duration::ZERO);
    let client = Client::new(&server.path);
    assert_eq!(client.status().await.unwrap().identity.as_str(), "node1");
    assert_eq!(client.drain().await.unwrap().state, NodeState::Draining);
    let hour = Duration::from_secs(3_600);
    assert_eq!(client.drain_for(hour).await.unwrap().detail, "for 3600s");
    assert_eq!(client.reload().await.unwrap().version, 6);
    assert_eq!(client.restart().await.unwrap().successor, "0.2.0");
    let refused = client.resume().await;
    let Err(ClientError::Refused { status: 409, error }) = refused else { panic!("{refused:?}") };
    assert_eq!(error.error, "not draining");
}

#[tokio::test]
async fn explanations_and_plans_come_from_the_engine() {
    let server = start(Duration::ZERO);
    let client = Client::new(&server.path);
    for of in ["web", "10.0.0.1", "10.0.0.1/24", "#1"] {
        assert_eq!(client.explain(of).await.unwrap().group.as_str(), "web");
    }
    let refused = client.explain("wbe").await;
    let Err(ClientError::Refused { status: 404, error }) = refused else { panic!("{refused:?}") };
    assert!(error.error.contains("did you mean \"web\"?"), "{error}");
    let what_if = WhatIf { down: Vec::new(), up: vec!["node2".into()] };
    let plan = client.plan(&what_if).await.unwrap();
    assert_eq!((plan.moves.len(), plan.config.is_some()), (1, false));
    let what_if = WhatIf { down: vec!["node3".into()], up: Vec::new() };
    let refused = client.plan(&what_if).await;
    let Err(ClientError::Refused { status: 409, error }) = refused else { panic!("{refused:?}") };
    assert!(error.error.starts_with("found \"node3\", expected the name of a node"), "{error}");
}

#[tokio::test]
async fn a_configuration_is_checked_compared_and_not_repeated() {
    let server = start(Duration::ZERO);
    let client = Client::new(&server.path);
    let send = async |text: String| {
        client.plan_config(&WhatIf::default(), named("my.conf", text), false).await
    };
    let plan =
        send(CONFIG.replace("a b", "www").replace("version: 5", "version: 6")).await.unwrap();
    let change = plan.config.unwrap();
    assert_eq!((change.version, change.added.len(), change.removed.len()), (6, 1, 1));
    // Longer than any read of the server, so that it comes in pieces.
    let long = format!("{}\n{}", CONFIG.replace("a b", "web"), "// a comment\n".repeat(100_000));
    let plan = send(long).await.unwrap();
    assert!(plan.warnings.iter().any(|warning| warning.contains("in force")), "{plan:?}");
    // What `apply` would do with it.
    let file = named("my.conf", CONFIG.replace("a b", "www").replace("version: 5", "version: 1"));
    let plan = client.plan_config(&WhatIf::default(), file, true).await.unwrap();
    assert_eq!((plan.config.unwrap().version, plan.warnings), (6, Vec::new()));
    let refused = send(CONFIG.to_owned()).await;
    let Err(ClientError::Refused { status: 422, error }) = refused else { panic!("{refused:?}") };
    assert!(error.problems[0].starts_with("my.conf:3:20: vips[0].name: found"), "{error}");
    assert!(!error.to_string().contains("hunter2"));
}

/// What node's `http.request({socketPath, path, method})` sends (node 18;
/// since node 19 it keeps the connection instead).
#[tokio::test]
async fn the_original_control_program_finds_what_it_reads() {
    let server = start(Duration::ZERO);
    let request = "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = raw(&server.path, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("content-type: text/json\r\n"), "{answer}");
    let status: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(status["config"]["vips"][0][0], "node2");
    assert_eq!(status["config"]["vips"][0][1]["netmask"], "255.255.255.0");
    assert_eq!(status["state"]["ownership"]["node2"][0][1]["ip"], "10.99.0.103");
    assert_eq!(status["state"]["inactive_reason"], serde_json::Value::Null);
}

#[tokio::test]
async fn old_one_shot_requests_and_kept_connections_both_work() {
    let server = start(Duration::ZERO);
    let answer = raw(&server.path, "GET /status HTTP/1.0\r\n\r\n").await;
    assert!(body(&answer).starts_with(r#"{"identity":"node1""#), "{answer}");
    let twice = "GET /status HTTP/1.1\r\nhost: x\r\n\r\n\
                 GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = raw(&server.path, twice).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
}

#[tokio::test]
async fn a_script_may_close_its_side_before_the_answer() {
    let server = start(Duration::from_millis(30));
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(body(&answer).starts_with(r#"{"identity""#), "{answer}");
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_answered_in_json() {
    let server = start(Duration::ZERO);
    let answer = raw(&server.path, "GET /nonsense HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 404"), "{answer}");
    assert_eq!(body(&answer), r#"{"error":"no such command"}"#);
    let answer = raw(&server.path, "GET /drain HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 405"), "{answer}");
    assert!(answer.to_lowercase().contains("allow: post\r\n"), "{answer}");
    assert_eq!(body(&answer), r#"{"error":"/drain: found the method GET, expected POST"}"#);
    let answer = raw(&server.path, "DELETE /status HTTP/1.0\r\n\r\n").await;
    assert!(body(&answer).contains("expected GET"), "{answer}");
}

#[tokio::test]
async fn oversized_requests_are_refused() {
    let server = start(Duration::ZERO);
    let head = format!("GET /status HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    // The server may hang up before it has taken everything.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    let post = "POST /drain HTTP/1.0\r\ncontent-length: 5000\r\n\r\n".to_owned();
    let answer = raw(&server.path, &(post + &"z".repeat(5000))).await;
    assert!(answer.starts_with("HTTP/1.0 413"), "{answer}");
}

#[tokio::test]
async fn silent_clients_take_places_but_not_the_loop_and_further_ones_are_told() {
    let server = start(Duration::ZERO);
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS - 1 {
        held.push(UnixStream::connect(&server.path).await.unwrap());
    }
    let before = Instant::now();
    Client::new(&server.path).status().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1));
    held.push(UnixStream::connect(&server.path).await.unwrap());
    let mut late = UnixStream::connect(&server.path).await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let error: ApiError = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(error.error, "32 connections are open, try again later");
    drop(held);
    // The places are free again as soon as the server has seen the hang-ups.
    while Client::new(&server.path).status().await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_file_is_private_to_user_and_group_and_goes_with_the_server() {
    let server = start(Duration::ZERO);
    let path = server.path.clone();
    Client::new(&path).status().await.unwrap();
    let file = std::fs::metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o7777, 0o660);
    server.tasks[0].abort();
    while path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_file_that_is_no_longer_ours_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let first = bind(&path).unwrap();
    // The first file lives on under another name, so its inode is not reused.
    std::fs::rename(&path, dir.path().join("moved")).unwrap();
    let second = bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let live = bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, ManagementError::InUse { .. }), "{error}");
    assert!(UnixStream::connect(&path).await.is_ok());
    drop(live);
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let error = bind(&path).unwrap_err();
    assert!(error.to_string().contains("found a file that is no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    let error = bind(dir.path()).unwrap_err();
    assert!(error.to_string().contains("found a directory"), "{error}");
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = bind(&dir.path().join("absent/s")).unwrap_err();
    assert!(matches!(error, ManagementError::NoDirectory { .. }), "{error}");
    assert!(error.to_string().contains("absent does not exist"), "{error}");
}

#[tokio::test]
async fn a_link_leads_to_the_directory_the_daemon_may_write() {
    let dir = tempfile::tempdir().unwrap();
    let (usual, real) = (dir.path().join("vippy.socket"), dir.path().join("vippy/vippy.socket"));
    std::fs::create_dir(dir.path().join("vippy")).unwrap();
    std::os::unix::fs::symlink("vippy/vippy.socket", &usual).unwrap();
    let listener = bind(&usual).unwrap();
    assert_eq!(listener.path(), real);
    assert!(UnixStream::connect(&usual).await.is_ok());
    assert!(matches!(bind(&usual).unwrap_err(), ManagementError::InUse { .. }));
    drop(listener);
    assert!(!real.exists());
    assert!(usual.is_symlink());
    std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
    assert!(bind(&dir.path().join("loop")).is_err());
}

#[tokio::test]
async fn the_log_level_is_shown_and_set() {
    let server = start(Duration::ZERO);
    let client = Client::new(&server.path);
    assert_eq!(client.log_level().await.unwrap().level, Some(Level::Notice));
    let answer = client.set_log_level(Level::Debug).await.unwrap();
    assert_eq!((answer.level, answer.levels.len()), (Some(Level::Debug), 8));
    assert_eq!(client.log_level().await.unwrap(), answer);
    for query in ["", "?level=verbose", "?level=info&level=info", "?lvel=info"] {
        let sent =
            format!("POST /log-level{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = raw(&server.path, &sent).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("expected"), "{answer}");
    }
    assert_eq!(client.log_level().await.unwrap(), answer);
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let server = start(Duration::ZERO);
    let sent = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = raw(&server.path, sent).await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    let page = Client::new(&server.path).metrics().await.unwrap();
    assert!(page.contains("\nvippy_config_version 5\n") && page.ends_with("# EOF\n"), "{page}");
}
