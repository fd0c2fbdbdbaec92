//! `vippyctl confirm`: keep what is on trial.

use vippy_client::Client;

use crate::{Failure, print, words};

/// Keep the configuration that was applied on trial, on all nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_options: &Options, client: &Client) -> Result<(), Failure> {
    let status = client.status().await?;
    let running = words::configuration(status.config.version, &status.config.digest);
    let Some(trial) = status.config.rollout.trial else {
        return Err(format!("configuration {running} is not on trial; nothing to confirm").into());
    };
    if trial.confirmed {
        return print::out(&format!("configuration {running} is confirmed already\n"));
    }
    client.confirm().await?;
    print::out(&format!("configuration {running} stays\n"))
}
