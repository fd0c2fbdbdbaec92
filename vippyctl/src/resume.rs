//! `vippyctl resume`: take part again after a drain.

use vippy_client::Client;

use crate::{Failure, print, words};

/// Take part again, at once: after a drain, a hold-down, failback delays.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_options: &Options, client: &Client) -> Result<(), Failure> {
    print::out(&words::command_line(&client.resume().await?))
}
