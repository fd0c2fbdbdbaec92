//! `vippyctl metrics`: what the daemon counts and measures.

use vippy_client::Client;

use crate::{Failure, print};

/// Print what the daemon counts and measures, as OpenMetrics text (docs/METRICS.md).
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_options: &Options, client: &Client) -> Result<(), Failure> {
    print::out(&client.metrics().await?)
}
