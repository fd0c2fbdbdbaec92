//! The history of events as a stream that goes on.
//!
//! Nothing is queued for a reader: a piece is made when the connection has room
//! for it, from wherever the reader stands by then.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Frame};
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;
use vippy_client::events::Since;

use super::places::Places;
use super::query::Query;
use super::routes::{Answer, Refusal};
use super::{Desk, Peer};
use crate::history::Reader;

/// Readers that follow at a time.
pub const MAX_READERS: usize = 16;

/// How many of them are kept for those who may act.
const KEPT_FOR_OPERATORS: usize = 4;

/// How often a sign of life is sent when nothing happens: so that a reader that is
/// gone is noticed, and a daemon that hangs as well.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Events of which one piece is made.
const PIECE: usize = 32;

/// Marks an answer that ends when somebody has had enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endless;

/// Places for those who follow.
pub(super) fn places() -> Places {
    Places::new(MAX_READERS, KEPT_FOR_OPERATORS)
}

struct Feed {
    reader: Reader,
    /// Held while it follows.
    place: Option<OwnedSemaphorePermit>,
}

/// The answer to `GET /events`.
pub(super) fn answer(
    query: Option<&str>,
    headers: &HeaderMap,
    peer: Peer,
    desk: &Desk,
) -> Result<Answer, Refusal> {
    let mut query = Query::read("/events", query, &["since", "follow"])?;
    let since = since(&mut query, headers)?;
    let follow = match query.take("follow").as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => {
            let text = format!("/events: follow: found {other:?}, expected true or false");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        }
    };
    let place = if follow { Some(desk.readers.take(peer).ok_or_else(too_many)?) } else { None };
    let feed = Feed { reader: desk.history.reader(since.as_ref()), place };
    let pieces = stream::unfold(feed, |mut feed| async {
        let piece = feed.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(piece)), feed))
    });
    let mut answer = Response::new(UnsyncBoxBody::new(StreamBody::new(pieces)));
    if follow {
        answer.extensions_mut().insert(Endless);
    }
    let headers = answer.headers_mut();
    let value = header::HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, value("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, value("no-store"));
    Ok(answer)
}

/// An `EventSource` that connects again says where it was in a header.
fn since(query: &mut Query<'_>, headers: &HeaderMap) -> Result<Option<Since>, Refusal> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("/events: {what}: {error}"))
    };
    let asked = query.take("since");
    let asked = asked.map(|text| text.parse::<Since>().map_err(|error| wrong("since", &error)));
    let Some(last) = headers.get("last-event-id").filter(|last| !last.is_empty()) else {
        return asked.transpose();
    };
    let last = String::from_utf8_lossy(last.as_bytes());
    last.parse().map(|id| Some(Since::After(id))).map_err(|error| wrong("Last-Event-ID", &error))
}

fn too_many() -> Refusal {
    let text = format!("{MAX_READERS} readers follow the events, try again later");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

impl Feed {
    /// The next piece of the stream, when there is one.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let messages = self.reader.read(PIECE);
            if !messages.is_empty() {
                return Some(messages.concat().into());
            }
            self.place.as_ref()?;
            match tokio::time::timeout(SIGN_OF_LIFE, self.reader.more()).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => return Some(Bytes::from_static(b":\n\n")),
            }
        }
    }
}
