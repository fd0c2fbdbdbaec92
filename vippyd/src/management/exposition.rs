//! The page of metrics, for however many ask.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::body::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::Request;
use super::places::Places;
use super::routes::{Refusal, aside, ask};
use crate::history::History;
use crate::logging::Logger;
use crate::metrics::{self, Surroundings};

/// The type of the page.
pub(super) const CONTENT_TYPE: &str = metrics::CONTENT_TYPE;

/// A page is good for this long: however many ask, the loop is asked once.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Makes the page; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Exposition {
    requests: mpsc::Sender<Request>,
    history: History,
    readers: Places,
    logger: Logger,
    started: SystemTime,
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Exposition {
    pub(super) fn new(
        requests: mpsc::Sender<Request>,
        history: History,
        readers: Places,
        logger: Logger,
    ) -> Exposition {
        let (started, last) = (SystemTime::now(), Arc::default());
        Exposition { requests, history, readers, logger, started, last }
    }

    /// The page as OpenMetrics text, at most a second old.
    pub(super) async fn page(&self) -> Result<Bytes, Refusal> {
        // Whoever comes meanwhile waits here, for the same page.
        let mut last = self.last.lock().await;
        if let Some((_, page)) = last.as_ref().filter(|(made, _)| made.elapsed() < GOOD_FOR) {
            return Ok(page.clone());
        }
        let facts = ask(&self.requests, Request::Metrics).await?;
        let surroundings = Surroundings {
            tally: self.history.tally(),
            readers: self.readers.taken(),
            lost_lines: self.logger.lost(),
            started: self.started,
        };
        let page = aside(move || {
            metrics::render(facts, surroundings)
                .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
        });
        let page = Bytes::from(page.await?);
        *last = Some((Instant::now(), page.clone()));
        Ok(page)
    }
}
