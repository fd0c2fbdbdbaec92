//! One request, one connection, one answer, all within a time and a size.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::time::Duration;

use form_urlencoded::Serializer;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use vippy_core::explanation::Explanation;
use vippy_core::plan::Plan;
use vippy_core::status::Status;
use vippy_core::timeline::Timeline;
use zeroize::Zeroizing;

use crate::api::{
    Answer, ApiError, Applying, ConfigFile, Configurations, LogLevel, Reloaded, Restarting, WhatIf,
};
use crate::event_stream::EventStream;
use crate::events::Since;
use crate::level::Level;

/// Time a request may take, from connecting to the last byte of the answer.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer that is read: ten thousand groups need a third of it.
pub const ANSWER_LIMIT: usize = 64 << 20;

/// A daemon's management socket. Cheap to make; nothing is opened before the
/// first request, and every request opens a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
    timeout: Duration,
}

/// Why a request has no answer, or a bad one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The socket is missing or nobody listens on it. Nothing was asked.
    #[error("no daemon answers at {}: {source}; is vippyd running?", path.display())]
    NoDaemon {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This user may not open the socket. Nothing was asked.
    #[error("not allowed to open {}: {source}; expected root or a member of the socket's group", path.display())]
    PermissionDenied {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket could not be used for another reason. A command may or may
    /// not have been carried out.
    #[error("cannot talk to the daemon at {}: {source}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No complete answer in time. A command may or may not have been carried out.
    #[error("the daemon at {} did not answer within {} s", path.display(), after.as_secs_f64())]
    TimedOut {
        /// The socket's path.
        path: PathBuf,
        /// The time it was given.
        after: Duration,
    },
    /// The daemon answered that it does not do this. Nothing changed.
    #[error("{error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        error: ApiError,
    },
    /// The answer is not what this program understands: another program on the
    /// socket, or a daemon of another version. A command was probably carried out.
    #[error("the answer of {} is unreadable: {what}", path.display())]
    Unreadable {
        /// The socket's path.
        path: PathBuf,
        /// What was found.
        what: String,
    },
}

impl Client {
    /// A client for the daemon that listens on `path`.
    pub fn new(path: impl Into<PathBuf>) -> Client {
        Client { path: path.into(), timeout: DEFAULT_TIMEOUT }
    }

    /// The same with another time limit a request.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Client {
        Client { timeout, ..self }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster as this daemon sees it.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/status").await
    }

    /// The same as the daemon wrote it: JSON, with fields of newer versions in it.
    pub async fn status_text(&self) -> Result<String, ClientError> {
        let body = self.exchange(Method::GET, "/status").await?;
        String::from_utf8(body.into()).map_err(|error| self.unreadable(error))
    }

    /// The last moves of groups as this daemon knows them.
    pub async fn timeline(&self) -> Result<Timeline, ClientError> {
        self.ask(Method::GET, "/timeline").await
    }

    /// Why a group is where it is. It is meant by its name, one of its addresses, or
    /// its place in the configuration, as in `#1`.
    pub async fn explain(&self, group: &str) -> Result<Explanation, ClientError> {
        let query = Serializer::new(String::new()).append_pair("of", group).finish();
        self.ask(Method::GET, &format!("/explain?{query}")).await
    }

    /// What would move if these nodes were down or up.
    pub async fn plan(&self, what_if: &WhatIf) -> Result<Plan, ClientError> {
        self.ask(Method::GET, &format!("/plan?{}", query(nodes(what_if)))).await
    }

    /// The same, if every node also took over the configuration that `file` has:
    /// under its own version, or with `applied` under the one that
    /// [`Client::apply`] would give it. Its problems come back in
    /// [`ClientError::Refused`]. For operators.
    pub async fn plan_config(
        &self,
        what_if: &WhatIf,
        file: ConfigFile,
        applied: bool,
    ) -> Result<Plan, ClientError> {
        let applied = applied.then_some(("applied", "true"));
        let pairs = nodes(what_if).chain([("file", file.name.as_str())]).chain(applied);
        self.send(&format!("/plan?{}", query(pairs)), file.text).await
    }

    /// The daemon's flight recording: lines of JSON, for `replay`. For operators;
    /// it holds the configuration, and nothing that the secret was used for.
    pub async fn recording(&self) -> Result<String, ClientError> {
        let body = self.exchange(Method::GET, "/recording").await?;
        String::from_utf8(body.into()).map_err(|error| self.unreadable(error))
    }

    /// Gives every group away that another node can take; the node stays a member
    /// until [`Client::resume`], also after a restart.
    pub async fn drain(&self) -> Result<Answer, ClientError> {
        self.ask(Method::POST, "/drain").await
    }

    /// The same, for a time in whole seconds (what is over a second counts as
    /// another one), at most a year.
    pub async fn drain_for(&self, time: Duration) -> Result<Answer, ClientError> {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        self.ask(Method::POST, &format!("/drain?for={seconds}")).await
    }

    /// Takes part again, at once: ends a drain, a hold-down and failback delays.
    pub async fn resume(&self) -> Result<Answer, ClientError> {
        self.ask(Method::POST, "/resume").await
    }

    /// Reads the configuration file again. A bad file changes nothing and comes
    /// back as [`ClientError::Refused`] with all its problems.
    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        self.ask(Method::POST, "/reload").await
    }

    /// What runs, and what this node's file says.
    pub async fn configurations(&self) -> Result<Configurations, ClientError> {
        self.ask(Method::GET, "/config").await
    }

    /// Proposes a configuration to all live nodes: the shared part of `file`
    /// alone counts. If all of them can take it, all do, under a version above all
    /// others; it goes again unless it is confirmed within `confirm_within` (whole
    /// seconds), if that is given. The status tells how far it is.
    pub async fn apply(
        &self,
        file: ConfigFile,
        confirm_within: Option<Duration>,
    ) -> Result<Applying, ClientError> {
        let within = confirm_within.map(|within| within.as_secs().to_string());
        let within = within.as_deref().map(|seconds| ("confirm-within", seconds));
        let pairs = [("file", file.name.as_str())].into_iter().chain(within);
        self.send(&format!("/apply?{}", query(pairs)), file.text).await
    }

    /// Keeps the configuration that is on trial.
    pub async fn confirm(&self) -> Result<Answer, ClientError> {
        self.ask(Method::POST, "/confirm").await
    }

    /// Runs what the file says, and never again, until a restart, what runs now.
    pub async fn forget(&self) -> Result<Reloaded, ClientError> {
        self.ask(Method::POST, "/config/forget").await
    }

    /// Lets the daemon's program, as it is on disk now, take the running
    /// process's place without letting go of anything. The answer comes before
    /// that happens: wait for another `boot` in the status. A program that does
    /// not run, or refuses the configuration, changes nothing and comes back as
    /// [`ClientError::Refused`].
    pub async fn restart(&self) -> Result<Restarting, ClientError> {
        self.ask(Method::POST, "/restart").await
    }

    /// What happened on this daemon's node, from `since` on, or all that it
    /// remembers; with `follow` also what happens from now on. The time limit is
    /// for the beginning of the answer.
    pub async fn events(
        &self,
        since: Option<&Since>,
        follow: bool,
    ) -> Result<EventStream, ClientError> {
        let since = since.map(ToString::to_string);
        let since = since.as_deref().map(|since| ("since", since));
        let follow = ("follow", if follow { "true" } else { "false" });
        let to = format!("/events?{}", query([follow].into_iter().chain(since)));
        tokio::time::timeout(self.timeout, self.open_stream(&to))
            .await
            .map_err(|_| self.timed_out())?
    }

    async fn open_stream(&self, to: &str) -> Result<EventStream, ClientError> {
        let (mut exchange, response) = self.begin(Method::GET, to, Bytes::new()).await?;
        if response.status() == StatusCode::OK {
            return Ok(EventStream::new(self.path.clone(), exchange, response.into_body()));
        }
        let refusal = exchange.drive(self.read_answer(response)).await;
        Err(refusal.map_or_else(|error| error, |_| self.unreadable("an answer without events")))
    }

    /// What the daemon counts and measures, as OpenMetrics text.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let body = self.exchange(Method::GET, "/metrics").await?;
        String::from_utf8(body.into()).map_err(|error| self.unreadable(error))
    }

    /// What the daemon writes to its log.
    pub async fn log_level(&self) -> Result<LogLevel, ClientError> {
        self.ask(Method::GET, "/log-level").await
    }

    /// Writes this level and graver ones to the log from now on, until the
    /// configuration is read again.
    pub async fn set_log_level(&self, level: Level) -> Result<LogLevel, ClientError> {
        self.ask(Method::POST, &format!("/log-level?level={level}")).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, to: &str) -> Result<T, ClientError> {
        let body = self.exchange(method, to).await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(error))
    }

    async fn exchange(&self, method: Method, to: &str) -> Result<Bytes, ClientError> {
        self.exchange_with(method, to, Bytes::new()).await
    }

    async fn exchange_with(
        &self,
        method: Method,
        to: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        tokio::time::timeout(self.timeout, self.exchange_unhurried(method, to, body))
            .await
            .map_err(|_| self.timed_out())?
    }

    async fn exchange_unhurried(
        &self,
        method: Method,
        to: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let (mut exchange, response) = self.begin(method, to, body).await?;
        exchange.drive(self.read_answer(response)).await
    }

    /// Sends a request and reads the head of its answer.
    async fn begin(
        &self,
        method: Method,
        to: &str,
        body: Bytes,
    ) -> Result<(Exchange, Response<Incoming>), ClientError> {
        let stream =
            UnixStream::connect(&self.path).await.map_err(|error| self.connect_error(error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        let request = Request::builder()
            .method(method)
            .uri(to)
            .header(header::HOST, "localhost")
            .header(header::CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|error| self.unreadable(error))?;
        let mut exchange = Exchange { connection: Some(Box::pin(connection)) };
        let response = exchange.drive(sender.send_request(request)).await;
        Ok((exchange, response.map_err(|error| self.broken(error))?))
    }

    async fn read_answer(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    self.unreadable(format_args!("longer than {} MiB", ANSWER_LIMIT >> 20))
                } else {
                    self.unreadable(error)
                }
            })?
            .to_bytes();
        if status == StatusCode::OK {
            return Ok(body);
        }
        match serde_json::from_slice(&body) {
            Ok(error) => Err(ClientError::Refused { status: status.as_u16(), error }),
            Err(_) => Err(self.unreadable(format_args!("HTTP status {status} without a reason"))),
        }
    }

    fn connect_error(&self, source: io::Error) -> ClientError {
        use io::ErrorKind as Kind;
        let path = self.path.clone();
        let kind = source.kind();
        if matches!(kind, Kind::NotFound | Kind::ConnectionRefused | Kind::NotADirectory) {
            ClientError::NoDaemon { path, source }
        } else if kind == Kind::PermissionDenied {
            ClientError::PermissionDenied { path, source }
        } else {
            ClientError::Io { path, source }
        }
    }

    /// Sends a configuration.
    async fn send<T: DeserializeOwned>(
        &self,
        to: &str,
        text: Zeroizing<String>,
    ) -> Result<T, ClientError> {
        let body = self.exchange_with(Method::POST, to, Bytes::from_owner(text)).await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(error))
    }

    fn broken(&self, error: hyper::Error) -> ClientError {
        if error.is_parse() {
            self.unreadable(error)
        } else {
            ClientError::Io { path: self.path.clone(), source: io::Error::other(error) }
        }
    }

    fn timed_out(&self) -> ClientError {
        ClientError::TimedOut { path: self.path.clone(), after: self.timeout }
    }

    fn unreadable(&self, what: impl ToString) -> ClientError {
        ClientError::Unreadable { path: self.path.clone(), what: what.to_string() }
    }
}

type Connection = http1::Connection<TokioIo<UnixStream>, Full<Bytes>>;

/// One request on its connection. Both halves run in the caller's task: nothing is
/// left behind when the caller gives up.
pub(crate) struct Exchange {
    /// `None` once it is through: what it had read is still there for the answer,
    /// and its failures surface there too.
    connection: Option<Pin<Box<Connection>>>,
}

impl Exchange {
    /// Does what needs the connection to go on.
    pub(crate) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Some(connection) = &mut self.connection {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = connection => self.connection = None,
            }
        }
        work.await
    }
}

/// What happens to nodes, as parameters.
fn nodes(what_if: &WhatIf) -> impl Iterator<Item = (&'static str, &str)> {
    let down = what_if.down.iter().map(|node| ("down", node.as_str()));
    down.chain(what_if.up.iter().map(|node| ("up", node.as_str())))
}

fn query<'a>(parameters: impl Iterator<Item = (&'static str, &'a str)>) -> String {
    Serializer::new(String::new()).extend_pairs(parameters).finish()
}
