//! `vippyctl recording`: what the daemon went through lately, for a field report.

use std::time::Duration;

use vippy_client::Client;

use crate::{Failure, print};

/// Writing down some megabytes takes a busy host a while.
const PATIENCE: Duration = Duration::from_secs(20);

/// Print the flight recorder's contents (docs/OPERATIONS.md).
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_options: &Options, client: &Client) -> Result<(), Failure> {
    print::out(&client.clone().with_timeout(PATIENCE).recording().await?)
}
