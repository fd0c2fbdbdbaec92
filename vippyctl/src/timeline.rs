//! `vippyctl timeline`: the last failovers, each as one story over all nodes.

use vippy_client::Client;

use crate::{Failure, print, render};

/// Show the last failovers and planned moves, each as one story over all nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print it as JSON instead (docs/API.md).
    #[arg(long)]
    json: bool,
    /// How many, the newest last.
    #[arg(long, value_name = "N", default_value_t = 10)]
    last: usize,
}

pub(crate) async fn run(options: &Options, client: &Client) -> Result<(), Failure> {
    let mut timeline = client.timeline().await?;
    let surplus = timeline.failovers.len().saturating_sub(options.last);
    timeline.failovers.drain(..surplus);
    let text = if options.json {
        serde_json::to_string(&timeline)? + "\n"
    } else {
        render::timeline::render(&timeline, print::style(), print::width())
    };
    print::out(&text)
}
