//! `vippyctl restart`: a new program without a move.

use std::time::{Duration, Instant};

use vippy_client::{Client, ClientError, Status};

use crate::{Failure, print, words};

/// Try-outs of the new program take up to six seconds.
const ANSWER: Duration = Duration::from_secs(9);

/// Time between two looks for the new process.
const LOOK: Duration = Duration::from_millis(20);

/// Let the daemon's program, as it is on disk, take the running one's place; nothing moves.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long to wait for the new process, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    timeout: u64,
}

pub(crate) async fn run(options: &Options, client: &Client) -> Result<(), Failure> {
    let before = client.status().await?;
    let patient = client.clone().with_timeout(ANSWER);
    match patient.restart().await {
        Ok(_) => {}
        // The old process may be gone before its answer was read.
        Err(ClientError::Io { .. } | ClientError::Unreadable { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    let after = await_another(client, &before, Duration::from_secs(options.timeout)).await?;
    let state = words::standing(after.node.state, after.node.reason, &after.node.detail);
    print::out(&format!(
        "restarted: vippy {}, before {}; this node is {state}\n",
        words::printable(&after.node.program),
        words::printable(&before.node.program),
    ))
}

/// Waits for the status of another process.
async fn await_another(
    client: &Client,
    before: &Status,
    patience: Duration,
) -> Result<Status, Failure> {
    let begun = Instant::now();
    loop {
        let seen = client.status().await;
        let last = match seen {
            Ok(status) if status.node.boot != before.node.boot => return Ok(status),
            Ok(_) => "the old process still answers; its log says why".to_owned(),
            Err(error) => error.to_string(),
        };
        if begun.elapsed() >= patience {
            return Err(format!("no new process within {} s: {last}", patience.as_secs()).into());
        }
        tokio::time::sleep(LOOK).await;
    }
}
