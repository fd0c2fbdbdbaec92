//! What can be asked, by whom, and how the answer travels.

use std::convert::Infallible;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, header};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use vippy_client::{ApiError, ConfigFile};
use vippy_core::config::MOST_BYTES;
use vippy_core::input::Command;
use vippy_core::recorder::Recording;
use zeroize::Zeroizing;

use super::planning::Question;
use super::query::{NAMELESS, Query};
use super::{Desk, Peer, REQUEST_TIME, Request, exposition, feed};
use crate::logging::Level;

/// Longest body of a request that needs none, in bytes.
const BODY_LIMIT: usize = 4096;

/// Longest time for which a configuration may be on trial, in seconds: a day.
const LONGEST_TRIAL: u64 = 86_400;

/// A year, in seconds: who drains a node for longer resumes it by hand.
const LONGEST_DRAIN: u64 = 31_536_000;

/// The type that the original program announced, errors included.
const CONTENT_TYPE: &str = "text/json";

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Why there is no answer of the daemon's: an HTTP status and its text.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) ApiError);

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Refusal {
        Refusal(status, ApiError::new(text))
    }
}

#[derive(Clone, Copy)]
enum Route {
    Status,
    Timeline,
    Events,
    Metrics,
    Explain,
    Plan,
    Recording,
    Drain,
    Resume,
    Config,
    Apply,
    Confirm,
    Forget,
    Reload,
    Restart,
    LogLevel,
}

impl Route {
    fn of(path: &str) -> Option<Route> {
        match path {
            "/status" => Some(Route::Status),
            "/timeline" => Some(Route::Timeline),
            "/events" => Some(Route::Events),
            "/metrics" => Some(Route::Metrics),
            "/explain" => Some(Route::Explain),
            "/plan" => Some(Route::Plan),
            "/recording" => Some(Route::Recording),
            "/drain" => Some(Route::Drain),
            "/resume" => Some(Route::Resume),
            "/config" => Some(Route::Config),
            "/apply" => Some(Route::Apply),
            "/confirm" => Some(Route::Confirm),
            "/config/forget" => Some(Route::Forget),
            "/reload" => Some(Route::Reload),
            "/restart" => Some(Route::Restart),
            "/log-level" => Some(Route::LogLevel),
            _ => None,
        }
    }

    fn methods(self) -> &'static [Method] {
        match self {
            Route::Status
            | Route::Timeline
            | Route::Events
            | Route::Metrics
            | Route::Explain
            | Route::Recording
            | Route::Config => &[Method::GET],
            Route::Plan | Route::LogLevel => &[Method::GET, Method::POST],
            Route::Drain
            | Route::Resume
            | Route::Apply
            | Route::Confirm
            | Route::Forget
            | Route::Reload
            | Route::Restart => &[Method::POST],
        }
    }

    /// Whether its body is a configuration file.
    fn takes_a_file(self, method: &Method) -> bool {
        matches!(self, Route::Apply) || matches!(self, Route::Plan) && method == Method::POST
    }
}

/// Answers one request, always, within [`REQUEST_TIME`].
pub(super) async fn answer(request: hyper::Request<Incoming>, peer: Peer, desk: &Desk) -> Answer {
    let Some(route) = Route::of(request.uri().path()) else {
        return refusal(Refusal::new(StatusCode::NOT_FOUND, "no such command"));
    };
    if !route.methods().contains(request.method()) {
        return wrong_method(&request, route);
    }
    let (head, body) = request.into_parts();
    let work = async {
        allow(peer, route, &head.method)?;
        let file = route.takes_a_file(&head.method);
        let body = read(body, file).await?;
        carry_out(route, &head, body, peer, desk).await
    };
    match tokio::time::timeout(REQUEST_TIME, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(reason)) => refusal(reason),
        Err(_) => refusal(Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("no answer within {} s", REQUEST_TIME.as_secs()),
        )),
    }
}

fn wrong_method(request: &hyper::Request<Incoming>, route: Route) -> Answer {
    let (found, path) = (request.method(), request.uri().path());
    let expected: Vec<&str> = route.methods().iter().map(Method::as_str).collect();
    let text = format!("{path}: found the method {found}, expected {}", expected.join(" or "));
    let mut answer = refusal(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text));
    if let Ok(value) = header::HeaderValue::from_str(&expected.join(", ")) {
        answer.headers_mut().insert(header::ALLOW, value);
    }
    answer
}

/// Looking is for whoever can open the socket; acting is not, nor is a recording,
/// which holds the whole configuration, nor a plan for a configuration, which the
/// daemon must read.
fn allow(peer: Peer, route: Route, method: &Method) -> Result<(), Refusal> {
    let looks = match route {
        Route::Status
        | Route::Timeline
        | Route::Events
        | Route::Metrics
        | Route::Explain
        | Route::Config => true,
        Route::Plan | Route::LogLevel => method == Method::GET,
        Route::Recording
        | Route::Drain
        | Route::Resume
        | Route::Apply
        | Route::Confirm
        | Route::Forget
        | Route::Reload
        | Route::Restart => false,
    };
    if looks || peer.may_act() {
        return Ok(());
    }
    let own = match peer.own {
        0 => String::new(),
        own => format!(" or {own} (the daemon's own)"),
    };
    let text = format!("found user id {}, expected 0 (root){own} for this", peer.uid);
    Err(Refusal::new(StatusCode::FORBIDDEN, text))
}

/// The body as text. A configuration may have its secret in it: it is wiped.
async fn read(body: Incoming, file: bool) -> Result<Zeroizing<String>, Refusal> {
    let limit = if file { MOST_BYTES } else { BODY_LIMIT };
    let too_long = || {
        let expected = if file { format!("at most {limit}") } else { "none".to_owned() };
        let text = format!("a body of more than {limit} bytes, expected {expected}");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_long());
    }
    let mut body = Limited::new(body, limit);
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
                true => too_long(),
                false => Refusal::new(StatusCode::BAD_REQUEST, error.to_string()),
            })?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) if !file => Ok(Zeroizing::default()),
        Err(error) => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("found a byte that is not UTF-8 at {}, expected text", error.valid_up_to()),
        )),
    }
}

async fn carry_out(
    route: Route,
    head: &Parts,
    body: Zeroizing<String>,
    peer: Peer,
    desk: &Desk,
) -> Result<Answer, Refusal> {
    let requests = &desk.requests;
    let query = head.uri.query();
    let body = match route {
        Route::Events => return feed::answer(query, &head.headers, peer, desk),
        Route::Metrics => {
            let page = desk.exposition.page().await?;
            return Ok(respond(StatusCode::OK, exposition::CONTENT_TYPE, page));
        }
        Route::Plan if head.method == Method::POST => plan_config(query, body, requests).await,
        Route::Status => {
            let status = ask(requests, Request::Status).await?;
            // Ten thousand groups take milliseconds to write: not on the loop.
            aside(move || json(&status)).await
        }
        Route::Recording => match ask(requests, Request::Recording).await? {
            // A signature for each frame: not on the loop.
            Some(recording) => aside(move || lines(recording)).await,
            None => Err(Refusal::new(StatusCode::CONFLICT, "this daemon does not record")),
        },
        Route::Timeline => json(&ask(requests, Request::Timeline).await?),
        Route::Explain => {
            let of = explained(query)?;
            ask(requests, |sender| Request::Explain(of, sender))
                .await?
                .map_err(|error| Refusal::new(StatusCode::NOT_FOUND, error.to_string()))
                .and_then(|explanation| json(&explanation))
        }
        Route::Plan => {
            let question = Question::read(query)?;
            if question.is_empty() {
                let text = "/plan: found nothing that happens, expected down=NODE or up=NODE";
                return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
            }
            plan(question, requests).await
        }
        Route::Drain => {
            let mut query = Query::read("/drain", query, &["for"])?;
            let lasting = query.seconds("for", LONGEST_DRAIN)?;
            command(requests, Command::Drain { lasting }).await
        }
        Route::Resume => command(requests, Command::Resume).await,
        Route::Config => {
            let configurations = ask(requests, Request::Configurations).await?;
            aside(move || json(&configurations)).await
        }
        Route::Apply => {
            let mut query = Query::read("/apply", query, &["file", "confirm-within"])?;
            let confirm_within = query.seconds("confirm-within", LONGEST_TRIAL)?;
            let name = query.take("file").unwrap_or_else(|| NAMELESS.to_owned());
            let file = ConfigFile { name, text: body };
            ask(requests, |reply| Request::Apply { file, confirm_within, reply })
                .await?
                .map_err(|error| Refusal(StatusCode::UNPROCESSABLE_ENTITY, error))
                .and_then(|applying| json(&applying))
        }
        Route::Confirm => command(requests, Command::Confirm).await,
        Route::Forget => json(&ask(requests, Request::Forget).await?),
        Route::Reload => ask(requests, Request::Reload)
            .await?
            .map_err(|error| Refusal(StatusCode::UNPROCESSABLE_ENTITY, error))
            .and_then(|reloaded| json(&reloaded)),
        Route::Restart => ask(requests, Request::Restart)
            .await?
            .map_err(|error| Refusal(StatusCode::CONFLICT, error))
            .and_then(|restarting| json(&restarting)),
        Route::LogLevel => {
            if head.method == Method::POST {
                set_log_level(query, desk)?;
            }
            json(&desk.logger.level())
        }
    };
    body.map(|body| respond(StatusCode::OK, CONTENT_TYPE, body.into()))
}

fn set_log_level(query: Option<&str>, desk: &Desk) -> Result<(), Refusal> {
    let wrong = |error: String| Refusal::new(StatusCode::BAD_REQUEST, error);
    let mut query = Query::read("/log-level", query, &["level"])?;
    let Some(level) = query.take("level") else {
        return Err(wrong("/log-level: expected level=LEVEL, such as level=info".to_owned()));
    };
    let level: Level = level.parse().map_err(|error| wrong(format!("/log-level: {error}")))?;
    let say = || desk.logger.notice(format_args!("operator: log level {level}"));
    // The last line before silence, or the first one after it.
    if level < Level::Notice {
        say();
        desk.logger.set_level(level);
    } else {
        desk.logger.set_level(level);
        say();
    }
    Ok(())
}

/// A plan for the configuration in a request's body.
async fn plan_config(
    query: Option<&str>,
    text: Zeroizing<String>,
    requests: &mpsc::Sender<Request>,
) -> Result<Vec<u8>, Refusal> {
    let mut question = Question::read(query)?;
    let question = aside(move || {
        question.configure(&text)?;
        Ok(question)
    })
    .await?;
    plan(question, requests).await
}

/// The loop says what it knows; thinking ahead is not its work.
async fn plan(question: Question, requests: &mpsc::Sender<Request>) -> Result<Vec<u8>, Refusal> {
    let outlook = ask(requests, Request::Outlook).await?;
    aside(move || json(&question.answer(&outlook)?)).await
}

/// Which group is to be explained: `of=GROUP`.
fn explained(query: Option<&str>) -> Result<String, Refusal> {
    let pairs: Vec<_> = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect();
    match &pairs[..] {
        [(key, of)] if key == "of" && !of.is_empty() => Ok(of.clone().into_owned()),
        _ => {
            let text = "/explain: expected of=GROUP: a name, an address, or a number as in %231";
            Err(Refusal::new(StatusCode::BAD_REQUEST, text))
        }
    }
}

/// Work that would hold the loop up, on a thread of its own.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    })
}

async fn command(requests: &mpsc::Sender<Request>, command: Command) -> Result<Vec<u8>, Refusal> {
    ask(requests, |sender| Request::Command(command, sender))
        .await?
        .map_err(|error| Refusal(StatusCode::CONFLICT, error))
        .and_then(|answer| json(&answer))
}

/// Puts a question to the daemon's loop and waits for its answer.
pub(super) async fn ask<T>(
    requests: &mpsc::Sender<Request>,
    question: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, Refusal> {
    let stopping = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping");
    let (sender, receiver) = oneshot::channel();
    requests.send(question(sender)).await.map_err(|_| stopping())?;
    receiver.await.map_err(|_| stopping())
}

/// One line of JSON for each line of a recording.
fn lines(recording: Recording) -> Result<Vec<u8>, Refusal> {
    let mut text = Vec::new();
    for line in recording.lines() {
        text.extend(json(&line)?);
        text.push(b'\n');
    }
    Ok(text)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value)
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn refusal(Refusal(status, error): Refusal) -> Answer {
    // Two strings and a list of strings always serialise; the empty object
    // would still be valid JSON.
    let body = serde_json::to_vec(&error).unwrap_or_else(|_| b"{}".to_vec());
    respond(status, CONTENT_TYPE, body.into())
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(UnsyncBoxBody::new(Full::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}
