//! `vippyctl reload`: read the configuration file again.

use vippy_client::Client;

use crate::{Failure, print, rollout, words};

/// Read the configuration file again, as SIGHUP does; a bad one changes nothing.
///
/// Then wait until all live nodes follow.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) async fn run(_options: &Options, client: &Client) -> Result<(), Failure> {
    let reloaded = client.reload().await?;
    for warning in &reloaded.warnings {
        eprintln!("warning: {}", words::printable(warning));
    }
    let configuration = words::configuration(reloaded.version, &reloaded.digest);
    print::out(&format!("configuration {configuration} is in force\n"))?;
    rollout::follow(client, reloaded.version, &reloaded.digest).await
}
