//! `vippyctl drain`: give everything away and stay a member.

use std::time::{Duration, Instant};

use vippy_client::Client;
use vippy_client::status::{GroupStatus, Holding, NodeState, Status};

use crate::{Failure, print, words};

/// Time between two looks at what is left.
const LOOK: Duration = Duration::from_millis(50);

/// How many groups that stay are named.
const NAMED: usize = 3;

/// Give every group away that another node can take; stay a member.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// End the drain after this time, such as 90s, 30m or "1h 30m".
    #[arg(long = "for", value_name = "TIME", value_parser = words::time)]
    lasting: Option<Duration>,
    /// Return when the node holds nothing; fail when it still does after TIME.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true,
        default_missing_value = "1m", value_parser = words::time)]
    wait: Option<Duration>,
}

pub(crate) async fn run(options: &Options, client: &Client) -> Result<(), Failure> {
    let answer = match options.lasting {
        Some(lasting) => client.drain_for(lasting).await?,
        None => client.drain().await?,
    };
    print::out(&words::command_line(&answer))?;
    match options.wait {
        Some(patience) => await_empty(client, patience).await,
        None => Ok(()),
    }
}

/// Waits until the node holds nothing.
async fn await_empty(client: &Client, patience: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let status = client.status().await?;
        let left: Vec<&GroupStatus> = here(&status);
        if left.is_empty() {
            return print::out("this node holds nothing\n");
        }
        if matches!(status.node.state, NodeState::Active | NodeState::Standby) {
            let now = words::state(status.node.state);
            return Err(format!("the drain has ended: this node is {now}").into());
        }
        if begun.elapsed() >= patience {
            return Err(remaining(&status, &left, patience).into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn here(status: &Status) -> Vec<&GroupStatus> {
    status.groups.iter().filter(|group| group.here != Holding::No).collect()
}

/// What is still here, and why.
fn remaining(status: &Status, left: &[&GroupStatus], patience: Duration) -> String {
    let why = |group: &&GroupStatus| {
        let name = words::printable(group.id.as_str());
        match &group.owner {
            Some(owner) if *owner != status.identity => {
                format!("{name} ({} has not taken it)", words::printable(owner.as_str()))
            }
            Some(_) | None => format!("{name} (no other node can have it)"),
        }
    };
    let mut text: Vec<String> = left.iter().take(NAMED).map(why).collect();
    if left.len() > NAMED {
        text.push(format!("{} more", left.len() - NAMED));
    }
    let patience = humantime::format_duration(patience);
    format!("after {patience} this node still holds {}; it stays drained", text.join(", "))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(words: &[&str]) -> Result<Options, String> {
        let line = std::iter::once("drain").chain(words.iter().copied());
        Line::try_parse_from(line).map(|line| line.options).map_err(|error| error.to_string())
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("1h 30m", 5_400), ("2days", 172_800)]
        {
            let lasting = options(&["--for", text]).unwrap().lasting;
            assert_eq!(lasting, Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(options(&[]).unwrap().lasting, None);
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in ["30", "soon", "", "-5m", "10ms", "0s"] {
            let error = options(&[&format!("--for={text}")]).unwrap_err();
            assert!(error.contains("30m") || error.contains("a second or more"), "{text}: {error}");
        }
    }

    #[test]
    fn waiting_takes_a_minute_at_most_unless_told_otherwise() {
        assert_eq!(options(&["--wait"]).unwrap().wait, Some(Duration::from_secs(60)));
        assert_eq!(options(&["--wait=5s"]).unwrap().wait, Some(Duration::from_secs(5)));
        assert_eq!(options(&[]).unwrap().wait, None);
    }
}
