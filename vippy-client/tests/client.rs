//! The client against sockets that answer well, badly, slowly or not at all.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use vippy_client::status::{NodeReason, NodeState};
use vippy_client::{Client, ClientError, ConfigFile, WhatIf};
use zeroize::Zeroizing;

const STATUS: &str = r#"{"identity":"node1",
 "stats":{"net":{"ignore":0,"send-announce":16,"recv-announce":48},"state-changes":3,
  "rejects":{"unknown-key":2},"relayed":0},
 "config":{"version":5,"vips":[["node2",{"ip":"10.99.0.103","netmask":"255.255.255.0",
  "broadcast":"10.99.0.255","network":"10.99.0.0","name":"eth0"}]],"nodes":["node1","node2"],
  "digest":"00112233445566778899aabbccddeeff"},
 "state":{"mature":true,"active":true,"inactive_reason":null,"ownership":{"_":[]}},
 "node":{"state":"active","reason":"none","detail":"","uptime_ms":1,"boot":"00","key":"01","epoch":7,
  "program":"0.1.0","lifetime_s":10,"interval_ms":500.0,"stale_ms":5000.0,"warnings":[]},
 "groups":[],"peers":[],"a field of the future":1}"#;

fn temp() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vippy.socket");
    (dir, path)
}

/// Answers every connection with the same bytes once a request's head is in.
fn answer(path: &Path, bytes: Vec<u8>) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            // The client may hang up in the middle of an answer it dislikes.
            let _ = stream.write_all(&bytes).await;
        }
    });
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn status_is_read_even_with_fields_this_version_does_not_know() {
    let (_dir, path) = temp();
    answer(&path, http("200 OK", STATUS));
    let client = Client::new(&path);
    let status = client.status().await.unwrap();
    assert_eq!(status.identity.as_str(), "node1");
    assert_eq!(status.node.state, NodeState::Active);
    assert!(client.status_text().await.unwrap().contains("a field of the future"));
}

#[tokio::test]
async fn whatever_a_group_is_called_travels_whole() {
    let (_dir, path) = temp();
    let listener = UnixListener::bind(&path).unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(&http("404 Not Found", r#"{"error":"no"}"#)).await.unwrap();
        String::from_utf8(head).unwrap()
    });
    Client::new(&path).explain("#1 a&b=fd00::1/64").await.unwrap_err();
    let head = asked.await.unwrap();
    assert!(
        head.starts_with("GET /explain?of=%231+a%26b%3Dfd00%3A%3A1%2F64 HTTP/1.1\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_plan_asks_for_every_node_and_sends_the_configuration() {
    let (_dir, path) = temp();
    let listener = UnixListener::bind(&path).unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"{ nodes: [] }") {
            text.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(&http("409 Conflict", r#"{"error":"no"}"#)).await.unwrap();
        String::from_utf8(text).unwrap()
    });
    let what_if = WhatIf { down: vec!["a".into(), "b".into()], up: vec!["c".into()] };
    let text = Zeroizing::new("{ nodes: [] }".to_owned());
    let file = ConfigFile { name: "my file".into(), text };
    Client::new(&path).plan_config(&what_if, file, true).await.unwrap_err();
    let text = asked.await.unwrap();
    let expected = "POST /plan?down=a&down=b&up=c&file=my+file&applied=true HTTP/1.1\r\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("content-length: 13\r\n"), "{text}");
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_read_to_its_end() {
    let (_dir, path) = temp();
    answer(&path, format!("HTTP/1.0 200 OK\r\n\r\n{STATUS}").into_bytes());
    assert_eq!(Client::new(&path).status().await.unwrap().config.version, 5);
}

#[tokio::test]
async fn a_missing_socket_and_a_deserted_one_both_mean_no_daemon() {
    let (_dir, path) = temp();
    let client = Client::new(&path);
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
    drop(UnixListener::bind(&path).unwrap());
    let error = client.drain().await.unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
}

#[tokio::test]
async fn a_closed_directory_means_permission_denied() {
    let (dir, path) = temp();
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o000)).unwrap();
    let outcome = as_nobody(&path).await;
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let error = outcome.unwrap_err();
    assert!(matches!(error, ClientError::PermissionDenied { .. }), "{error}");
}

/// Root walks through closed directories, so root asks as somebody else: from
/// a thread whose file system user is nobody.
async fn as_nobody(path: &Path) -> Result<(), ClientError> {
    let path = path.to_owned();
    let asked = std::thread::spawn(move || {
        // The return value is the previous id, so there is nothing to check;
        // an ordinary user keeps his own and is shut out as well.
        let _ = nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { Client::new(path).status().await.map(drop) })
    });
    tokio::task::spawn_blocking(|| asked.join().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_silent_daemon_times_out_and_says_after_how_long() {
    let (_dir, path) = temp();
    let _listener = UnixListener::bind(&path).unwrap();
    let start = Instant::now();
    let client = Client::new(&path).with_timeout(Duration::from_millis(50));
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("within 0.05 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn an_answer_that_stalls_halfway_times_out() {
    let (_dir, path) = temp();
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").await.unwrap();
        std::future::pending::<()>().await;
    });
    let client = Client::new(&path).with_timeout(Duration::from_millis(50));
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_carries_the_message_and_all_problems() {
    let (_dir, path) = temp();
    let body = r#"{"error":"the file is not valid","problems":["vippy.conf:3:9: x","y"]}"#;
    answer(&path, http("422 Unprocessable Entity", body));
    let outcome = Client::new(&path).reload().await;
    let Err(ClientError::Refused { status, error }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(status, 422);
    assert_eq!(error.problems.len(), 2);
}

#[tokio::test]
async fn commands_answer_with_the_state_they_led_to() {
    let (_dir, path) = temp();
    let body = r#"{"state":"draining","reason":"operator","detail":"2 groups to go"}"#;
    answer(&path, http("200 OK", body));
    let done = Client::new(&path).drain().await.unwrap();
    assert_eq!((done.state, done.reason), (NodeState::Draining, NodeReason::Operator));
}

#[tokio::test]
async fn what_is_no_http_no_json_or_no_status_is_unreadable() {
    for bytes in [
        b"220 mail ready\r\n\r\n".to_vec(),
        http("200 OK", "<html>"),
        http("200 OK", "{}"),
        http("500 Oops", "no reason"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}".to_vec(),
    ] {
        let (_dir, path) = temp();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 512];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(&bytes).await;
        });
        let error = Client::new(&path).status().await.unwrap_err();
        assert!(matches!(error, ClientError::Unreadable { .. }), "{text:?}: {error}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let (_dir, path) = temp();
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let block = vec![b' '; 1 << 20];
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&block).await.is_ok() {}
    });
    let client = Client::new(&path).with_timeout(Duration::from_secs(30));
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("longer than 64 MiB"), "{error}");
}
