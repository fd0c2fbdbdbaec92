//! `vippyctl apply`: one file for all nodes, or nothing changes anywhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vippy_client::status::{AnswerStatus, OutcomeStatus, ProposalStatus};
use vippy_client::{Applying, Client, Status, WhatIf};

use crate::{Failure, file, print, render, rollout, words};

/// Time between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(100);

/// How long to wait for answers: longer than the daemon does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Give a configuration to all live nodes, if every one of them can take it.
///
/// Every live node fetches it, checks it against its own interfaces and answers.
/// If all accept, all adopt it, under a version above the running one; else
/// nothing changes anywhere, and the reasons are printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A configuration file; only what all nodes share counts. `-` reads standard input.
    file: PathBuf,
    /// Take it back by itself unless `vippyctl confirm` comes within this time,
    /// such as 60s or 5m, or at once if a group is left without a node.
    #[arg(long, value_name = "TIME", value_parser = words::time)]
    confirm_within: Option<Duration>,
    /// Only say what would move; nobody is asked and nothing changes.
    #[arg(long, conflicts_with = "confirm_within")]
    plan: bool,
}

pub(crate) async fn run(options: &Options, client: &Client) -> Result<(), Failure> {
    let file = file::read(&options.file)?;
    if options.plan {
        let plan = client.plan_config(&WhatIf::default(), file, true).await?;
        return print::out(&render::plan::render(&plan, print::style(), print::width()));
    }
    let patient = client.clone().with_timeout(Duration::from_secs(10));
    let applying = patient.apply(file, options.confirm_within).await?;
    let configuration = words::configuration(applying.version, &applying.digest);
    print::out(&format!("configuration {configuration}: asking all live nodes\n"))?;
    let proposal = await_answers(client, &applying).await?;
    match proposal.outcome {
        Some(OutcomeStatus::Refused(why)) => {
            let why = words::printable(&why);
            return Err(format!("nothing changed: {why}").into());
        }
        Some(OutcomeStatus::Adopted) | None => {}
    }
    rollout::follow(client, applying.version, &applying.digest).await?;
    match options.confirm_within {
        None => Ok(()),
        Some(within) => print::out(&format!(
            "on trial: it goes in {} unless `vippyctl confirm` comes\n",
            humantime::format_duration(within)
        )),
    }
}

/// Prints each node's answer as it comes.
async fn await_answers(client: &Client, applying: &Applying) -> Result<ProposalStatus, Failure> {
    let begun = Instant::now();
    let mut told = BTreeMap::new();
    loop {
        let proposal = proposal(client.status().await?, applying)?;
        for (node, answer) in &proposal.answers {
            if *answer != AnswerStatus::Waiting && told.insert(node.clone(), ()).is_none() {
                let answer = match answer {
                    AnswerStatus::Objects(why) => format!("refuses: {}", words::printable(why)),
                    AnswerStatus::Accepts | AnswerStatus::Waiting => "accepts".to_owned(),
                };
                print::out(&format!("  {}: {answer}\n", words::printable(node.as_str())))?;
            }
        }
        if proposal.outcome.is_some() {
            return Ok(proposal);
        }
        if begun.elapsed() >= PATIENCE {
            return Err("no outcome yet; see `vippyctl status`".into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn proposal(status: Status, applying: &Applying) -> Result<ProposalStatus, Failure> {
    let proposal = status.config.rollout.proposal;
    let same = |proposal: &ProposalStatus| proposal.digest == applying.digest;
    proposal.filter(same).ok_or_else(|| "another configuration was proposed meanwhile".into())
}
