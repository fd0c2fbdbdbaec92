//! `vippyctl plan`: what would move if.

use std::path::PathBuf;

use vippy_client::{Client, Plan, WhatIf};

use crate::{Failure, file, print, render};

/// Say what would move if nodes died or came back, or the configuration changed; nothing does.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Options {
    /// Nodes that are not there any more.
    #[arg(long, value_name = "NODE", num_args = 1.., value_delimiter = ',')]
    down: Vec<String>,
    /// Nodes that are there, and well.
    #[arg(long, value_name = "NODE", num_args = 1.., value_delimiter = ',')]
    up: Vec<String>,
    /// A configuration that every node takes over.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The options, and how the answer is printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(flatten)]
    options: Options,
    /// Print it as JSON instead, every move included (docs/API.md).
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command, client: &Client) -> Result<(), Failure> {
    let plan = ask(command.options, client).await?;
    let text = if command.json {
        serde_json::to_string(&plan)? + "\n"
    } else {
        render::plan::render(&plan, print::style(), print::width())
    };
    print::out(&text)
}

async fn ask(options: Options, client: &Client) -> Result<Plan, Failure> {
    let Options { down, up, config } = options;
    let what_if = WhatIf { down, up };
    let Some(path) = config else { return Ok(client.plan(&what_if).await?) };
    Ok(client.plan_config(&what_if, file::read(&path)?, false).await?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        command: Command,
    }

    fn options(line: &str) -> Result<Options, String> {
        let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        Ok(line.command.options)
    }

    #[test]
    fn nodes_are_listed_with_spaces_or_commas() {
        for line in
            ["plan --down a b --up c", "plan --down a,b --up c", "plan --up c --down a --down b"]
        {
            let options = options(line).unwrap();
            assert_eq!(
                (options.down, options.up),
                (vec!["a".into(), "b".into()], vec!["c".into()])
            );
        }
    }

    #[test]
    fn a_plan_without_anything_that_happens_is_refused() {
        for line in ["plan", "plan --json", "plan --down"] {
            assert!(options(line).is_err(), "{line}");
        }
        assert!(options("plan --json --config f").is_ok());
    }
}
