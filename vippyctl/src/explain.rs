//! `vippyctl explain`: why a group is where it is.

use vippy_client::Client;

use crate::{Failure, print, render};

/// Say why a group is where it is, candidate by candidate.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The group's name, one of its addresses, or its number as `status` shows it, such as #3.
    #[arg(value_name = "GROUP|ADDRESS")]
    group: String,
    /// Print it as JSON instead (docs/API.md).
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: &Options, client: &Client) -> Result<(), Failure> {
    let explanation = client.explain(&options.group).await?;
    let text = if options.json {
        serde_json::to_string(&explanation)? + "\n"
    } else {
        render::explanation::render(&explanation, print::style(), print::width())
    };
    print::out(&text)
}
