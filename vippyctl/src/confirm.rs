//! `vippyctl confirm`: keep what is on trial.

use vippy_client::Client;

use crate::{Failure, print, words};

/// Keep the configuration that was applied on trial, on all nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_options: &Options, client: &Client) -> Result<(), Failure> {
    let status = client.status().await?;
    let running = words::configuration(status.config.version, &status.config.digest);
    if status.config.rollout.trial.is_none() {
        return Err(format!("configuration {running} is not on trial; nothing to confirm").into());
    }
    client.confirm().await?;
    print::out(&format!("configuration {running} stays\n"))
}
