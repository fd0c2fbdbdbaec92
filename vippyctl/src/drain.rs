//! `vippyctl drain`: give everything away and stay a member.

use vippy_client::Client;

use crate::{Failure, print, words};

/// Give every group away that another node can take; stay a member.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_options: &Options, client: &Client) -> Result<(), Failure> {
    print::out(&words::command_line(&client.drain().await?))
}
