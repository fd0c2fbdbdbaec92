//! `vippyctl status`: the cluster as one node sees it.

use vippy_client::Client;

use crate::{Failure, print, render};

/// Show the cluster as this node sees it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print the daemon's own JSON instead (docs/API.md).
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: &Options, client: &Client) -> Result<(), Failure> {
    let text = if options.json {
        client.status_text().await? + "\n"
    } else {
        render::render(&client.status().await?, print::style(), print::width())
    };
    print::out(&text)
}
