//! The management socket: HTTP/1.1 with JSON for operators, on the daemon's loop.
//!
//! Owns the Unix socket, who may ask what, and the routes (`docs/API.md`). It
//! knows nothing about the cluster: whatever needs the engine or the
//! configuration goes to the daemon's loop as a [`Request`], which answers
//! through the sender inside; the history of events and the log's level are at
//! hand without it. A client that is slow, silent, hostile or one of too many
//! costs a bounded amount of memory and none of the loop's time.

mod exposition;
mod feed;
mod listener;
mod outside;
mod places;
mod planning;
mod query;
mod routes;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use vippy_client::{
    Answer, ApiError, Applying, ConfigFile, Configurations, Explanation, Reloaded, Restarting,
    Status, Timeline,
};
use vippy_core::explanation::UnknownGroup;
use vippy_core::input::Command;
use vippy_core::outlook::Outlook;
use vippy_core::recorder::Recording;

pub use feed::MAX_READERS;
pub use listener::{Listener, ManagementError, bind};

use self::exposition::Exposition;
use self::feed::Endless;
use self::places::Places;
use crate::history::History;
use crate::logging::Logger;
use crate::metrics::Facts;

/// Connections open at a time; one more is told so and closed.
pub const MAX_CONNECTIONS: usize = 32;

/// How many of them are kept for those who may act.
const KEPT_FOR_OPERATORS: usize = 8;

/// Time for a request's head to arrive, and for its answer to be found.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);

/// Longest head of a request, in bytes (the least that hyper accepts).
const HEAD_LIMIT: usize = 8192;

/// What the daemon's loop is asked. A dropped sender means that the daemon
/// cannot answer; the client is told so.
#[derive(Debug)]
pub enum Request {
    /// The cluster as this node sees it, now.
    Status(oneshot::Sender<Status>),
    /// What metrics are made of.
    Metrics(oneshot::Sender<Facts>),
    /// The last moves of groups as this node knows them.
    Timeline(oneshot::Sender<Timeline>),
    /// Why the group that somebody calls so is where it is.
    Explain(String, oneshot::Sender<Result<Explanation, UnknownGroup>>),
    /// What this node knows, to think ahead with.
    Outlook(oneshot::Sender<Outlook>),
    /// The flight recorder's contents; `None` when nothing is recorded.
    Recording(oneshot::Sender<Option<Recording>>),
    /// Drain or resume; the answer is the node's state right after the engine
    /// has handled the command.
    Command(Command, oneshot::Sender<Result<Answer, ApiError>>),
    /// Read the configuration file again, as SIGHUP does.
    Reload(oneshot::Sender<Result<Reloaded, ApiError>>),
    /// What runs, and what this node's file says.
    Configurations(oneshot::Sender<Configurations>),
    /// Propose a configuration to all live nodes; the answer comes when that has
    /// begun, or was refused.
    Apply {
        /// A configuration file.
        file: ConfigFile,
        /// It goes again unless it is confirmed within this time.
        confirm_within: Option<Duration>,
        /// The answer.
        reply: oneshot::Sender<Result<Applying, ApiError>>,
    },
    /// Run what the file says instead of what runs.
    Forget(oneshot::Sender<Reloaded>),
    /// Let the program as it is on disk take this process's place; the answer
    /// comes when that is about to happen.
    Restart(oneshot::Sender<Result<Restarting, ApiError>>),
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
struct Peer {
    uid: u32,
    /// The user the daemon runs as.
    own: u32,
}

impl Peer {
    /// Whoever can open the socket may look; root and the daemon's own user
    /// may also act.
    fn may_act(self) -> bool {
        self.uid == 0 || self.uid == self.own
    }
}

/// What answers are made of; clones share it.
#[derive(Clone, Debug)]
pub struct Desk {
    requests: mpsc::Sender<Request>,
    history: History,
    readers: Places,
    exposition: Exposition,
    logger: Logger,
}

impl Desk {
    /// `requests` may be short (8 is plenty): waiting for room counts as waiting
    /// for the answer.
    pub fn new(requests: mpsc::Sender<Request>, history: History, logger: Logger) -> Desk {
        let readers = feed::places();
        let exposition =
            Exposition::new(requests.clone(), history.clone(), readers.clone(), logger.clone());
        Desk { requests, history, readers, exposition, logger }
    }

    /// Whether anybody still follows the events.
    pub fn is_followed(&self) -> bool {
        self.readers.taken() > 0
    }

    /// Serves the metrics alone over TCP wherever `address` says, until nobody can
    /// say so any more.
    pub async fn publish(&self, address: watch::Receiver<Option<SocketAddr>>) {
        outside::serve(address, self.exposition.clone(), self.logger.clone()).await;
    }
}

/// Serves until its future is dropped; then every connection is closed and the
/// socket's file is gone, if it was still ours.
pub async fn serve(listener: Listener, desk: Desk) {
    let own = nix::unistd::geteuid().as_raw();
    let places = Places::new(MAX_CONNECTIONS, KEPT_FOR_OPERATORS);
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok(stream) = stream else {
            // Out of descriptors, or the client is gone already: asking again
            // at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(credentials) = stream.peer_cred() else { continue };
        let peer = Peer { uid: credentials.uid(), own };
        match places.take(peer) {
            Some(place) => {
                let desk = desk.clone();
                connections.spawn(async move {
                    serve_connection(stream, peer, desk).await;
                    drop(place);
                });
            }
            None => turn_away(&stream),
        }
    }
}

/// Says why on the way out; a client that does not read it is closed anyway.
fn turn_away(stream: &UnixStream) {
    let body = format!(r#"{{"error":"{MAX_CONNECTIONS} connections are open, try again later"}}"#);
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // Best effort: the connection is closed whether this fits or not.
    let _ = stream.try_write(answer.as_bytes());
}

/// One connection, with any number of requests. After [`REQUEST_TIME`] no
/// further request is taken, after twice that time the connection is cut: a
/// client that reads its answer too slowly cannot keep it in memory for long. One
/// that follows the events stays: nothing is kept for it.
async fn serve_connection(stream: UnixStream, peer: Peer, desk: Desk) {
    let follows = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&follows);
    let service = service_fn(move |request| {
        let (desk, follows) = (desk.clone(), Arc::clone(&noted));
        async move {
            let answer = routes::answer(request, peer, &desk).await;
            let endless = answer.extensions().get::<Endless>().is_some();
            follows.fetch_or(endless, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(HEAD_LIMIT)
        // Scripts pipe a request in and close their side while they wait.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ended is the client's business only.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(REQUEST_TIME) => connection.as_mut().graceful_shutdown(),
    }
    let last = tokio::time::timeout(REQUEST_TIME, connection.as_mut()).await;
    if last.is_err() && follows.load(Ordering::Relaxed) {
        let _ = connection.await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use vippy_core::config::{Logging, LoggingDriver};
    use vippy_core::identity::BootId;

    use super::*;

    const DAEMON: u32 = 998;

    fn desk(requests: mpsc::Sender<Request>) -> Desk {
        let (_teller, _scribe, history) = History::begin(BootId(1), "node1".into());
        let mask = [false; 8];
        let logging = Logging { driver: LoggingDriver::Console, facility: "daemon".into(), mask };
        Desk::new(requests, history, Logger::start(&logging, &"node1".into()).unwrap())
    }

    /// What a client of this user gets for these bytes, and whether the loop
    /// was asked (it answers like one that is stopping).
    async fn talk(uid: u32, sent: &str) -> (String, bool) {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (sender, mut requests) = mpsc::channel(1);
        let serving =
            tokio::spawn(serve_connection(server, Peer { uid, own: DAEMON }, desk(sender)));
        client.write_all(sent.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let asked = requests.recv().await.map(drop).is_some();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        serving.await.unwrap();
        (answer, asked)
    }

    #[tokio::test]
    async fn a_stranger_with_access_may_not_act_and_the_loop_never_hears_of_it() {
        for path in ["/drain", "/resume", "/reload", "/restart", "/log-level?level=err"] {
            let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            let (answer, asked) = talk(1000, &request).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
            assert!(answer.contains("found user id 1000, expected 0 (root) or 998"), "{answer}");
            assert!(!asked);
        }
    }

    #[tokio::test]
    async fn whoever_may_look_may_plan_but_not_send_a_configuration() {
        assert!(talk(1000, "GET /plan?down=node1 HTTP/1.1\r\nhost: x\r\n\r\n").await.1);
        let request = "POST /plan HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
        let (answer, asked) = talk(1000, request).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(!asked);
    }

    #[tokio::test]
    async fn a_configuration_with_problems_never_reaches_the_loop() {
        let text = "{ version: -5, secret: 'hunter2-hunter2-hunter2' }";
        let request = format!(
            "POST /plan?file=my.conf HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let (answer, asked) = talk(0, &request).await;
        assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
        assert!(answer.contains("my.conf:1:12: version: found -5"), "{answer}");
        assert!(!answer.contains("hunter2") && !asked);
    }

    #[tokio::test]
    async fn a_configuration_has_a_largest_size() {
        let length = vippy_core::config::MOST_BYTES + 1;
        let request =
            format!("POST /plan HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{{}}");
        let (answer, asked) = talk(0, &request).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("at most 16777216") && !asked, "{answer}");
    }

    #[tokio::test]
    async fn wrong_parameters_are_refused_before_the_loop_is_asked() {
        for to in ["/plan", "/plan?dwon=node1", "/explain", "/explain?of=", "/explain?x=y"] {
            let (answer, asked) = talk(0, &format!("GET {to} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{to}: {answer}");
            assert!(!asked);
        }
    }

    #[tokio::test]
    async fn a_recording_is_for_operators() {
        let (answer, asked) = talk(1000, "GET /recording HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(!asked);
    }

    #[tokio::test]
    async fn a_stranger_with_access_may_look() {
        assert!(talk(1000, "GET /status HTTP/1.1\r\nhost: x\r\n\r\n").await.1);
    }

    #[tokio::test]
    async fn root_and_the_daemons_own_user_may_act() {
        for uid in [0, DAEMON] {
            let (answer, asked) = talk(uid, "POST /drain HTTP/1.1\r\nhost: x\r\n\r\n").await;
            assert!(asked);
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert!(answer.contains("the daemon is stopping"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_finishes_its_request_is_cut_off() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (sender, _requests) = mpsc::channel(1);
        let start = tokio::time::Instant::now();
        client.write_all(b"GET /status HTTP/1.1\r\n").await.unwrap();
        serve_connection(server, Peer { uid: 0, own: DAEMON }, desk(sender)).await;
        assert!(start.elapsed() <= 2 * REQUEST_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_does_not_answer_is_reported_in_time() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (sender, _requests) = mpsc::channel(1);
        tokio::spawn(serve_connection(server, Peer { uid: 0, own: DAEMON }, desk(sender)));
        client.write_all(b"GET /status HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 504"), "{answer}");
        assert!(answer.ends_with(r#"{"error":"no answer within 10 s"}"#), "{answer}");
    }
}
