//! The page of metrics over TCP, where the configuration asks for it (`metrics`).
//!
//! Nothing else is served there: whoever reaches that port can read what is on the
//! page, and do nothing. Connections are few and short.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::HEAD_LIMIT;
use super::exposition::{CONTENT_TYPE, Exposition};
use super::routes::Refusal;
use crate::logging::Logger;

/// The only page.
const PAGE: &str = "/metrics";

/// Connections open at a time; one more is closed at once.
const MAX_CONNECTIONS: usize = 16;

/// Time for a connection's whole life.
const LIFE: Duration = Duration::from_secs(10);

/// Time between two attempts to listen.
const RETRY: Duration = Duration::from_secs(2);

/// Serves the page wherever `address` says, for as long as it says so.
pub(super) async fn serve(
    mut address: watch::Receiver<Option<SocketAddr>>,
    exposition: Exposition,
    logger: Logger,
) {
    loop {
        let wanted = *address.borrow_and_update();
        let serving = async {
            match wanted {
                Some(address) => serve_at(address, &exposition, &logger).await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            () = serving => continue,
            changed = address.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Never ends; dropping it closes everything.
async fn serve_at(address: SocketAddr, exposition: &Exposition, logger: &Logger) {
    let listener = listen(address, logger).await;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, or the client is gone already: asking again at
            // once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let exposition = exposition.clone();
        connections.spawn(async move {
            // How a connection ended is the client's business only.
            let _ = tokio::time::timeout(LIFE, serve_connection(stream, exposition)).await;
            drop(place);
        });
    }
}

/// Tries until it can be had: an address may come later, another program may go.
async fn listen(address: SocketAddr, logger: &Logger) -> TcpListener {
    let mut told = None;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                logger.notice(format_args!("metrics are served at http://{address}{PAGE}"));
                return listener;
            }
            Err(error) => {
                if told != Some(error.kind()) {
                    told = Some(error.kind());
                    logger.warning(format_args!(
                        "metrics: cannot listen on {address}: {error}; expected a free port of an \
                         address of this host; trying again every {} s",
                        RETRY.as_secs()
                    ));
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn serve_connection(stream: TcpStream, exposition: Exposition) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let exposition = exposition.clone();
        async move { Ok::<_, Infallible>(answer(&request, &exposition).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIFE)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(
    request: &hyper::Request<Incoming>,
    exposition: &Exposition,
) -> Response<Full<Bytes>> {
    let (status, kind, text) = if request.uri().path() != PAGE {
        (StatusCode::NOT_FOUND, "text/plain", format!("expected {PAGE}\n").into())
    } else if request.method() != Method::GET {
        (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "expected GET\n".into())
    } else {
        match exposition.page().await {
            Ok(page) => (StatusCode::OK, CONTENT_TYPE, page),
            Err(Refusal(status, error)) => (status, "text/plain", format!("{error}\n").into()),
        }
    };
    let mut answer = Response::new(Full::new(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET"));
    }
    answer
}
