//! `http`: what a GET is answered with.

use std::pin::pin;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use vippy_core::config::checks::Endpoint;
use vippy_core::health::Outcome;

use super::tcp;

/// What an answer's head may have, in bytes.
const MOST: usize = 64 << 10;

/// A question by HTTP.
#[derive(Debug)]
pub(super) struct Http {
    endpoint: Endpoint,
    path: String,
    /// `None`: any that is no error.
    status: Option<u16>,
}

impl Http {
    pub(super) fn new(endpoint: Endpoint, path: String, status: Option<u16>) -> Http {
        Http { endpoint, path, status }
    }

    pub(super) async fn run(&self) -> Outcome {
        match self.ask().await {
            Ok(status) if self.is_fine(status) => Outcome::Good,
            Ok(status) => Outcome::Bad(format!("it answers {status}")),
            Err(why) => Outcome::Bad(why),
        }
    }

    fn is_fine(&self, status: StatusCode) -> bool {
        match self.status {
            Some(expected) => status.as_u16() == expected,
            None => status.is_success() || status.is_redirection(),
        }
    }

    /// The status of the answer; the rest of it is not read.
    async fn ask(&self) -> Result<StatusCode, String> {
        let stream = tcp::connect(&self.endpoint).await?;
        let told = |e: hyper::Error| format!("{}: {e}", self.endpoint);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MOST);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(told)?;
        let request = Request::get(&self.path)
            .header(header::HOST, self.endpoint.to_string())
            .header(header::USER_AGENT, concat!("vippyd/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        let mut answer = pin!(sender.send_request(request));
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map(|answer| answer.status()).map_err(told),
            ended = connection => ended.map_err(told)?,
        }
        // The answer and the end came at the same time.
        answer.await.map(|answer| answer.status()).map_err(told)
    }
}
