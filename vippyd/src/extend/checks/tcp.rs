//! `tcp`: whether a connection can be made.

use std::io;

use tokio::net::TcpStream;
use vippy_core::config::checks::Endpoint;
use vippy_core::health::Outcome;

pub(super) async fn run(endpoint: &Endpoint) -> Outcome {
    match connect(endpoint).await {
        Ok(_) => Outcome::Good,
        Err(why) => Outcome::Bad(why),
    }
}

/// A connection that leaves nothing behind in the kernel when it is dropped.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<TcpStream, String> {
    let told = |e: io::Error| format!("{endpoint}: {e}");
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(told)?;
    // A port of the range from which connections begin may answer itself.
    if stream.local_addr().ok() == stream.peer_addr().ok() {
        return Err(format!("{endpoint}: nobody listens"));
    }
    stream.set_zero_linger().map_err(told)?;
    Ok(stream)
}
