//! `vippyctl config`: what runs, and how it differs from this node's file.

use similar::{ChangeTag, TextDiff};
use vippy_client::{Client, Configurations, SharedText};

use crate::{Failure, print, words};

/// Lines around a difference.
const CONTEXT: usize = 2;

/// Show what runs, and how it differs from this node's file.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Which configuration runs, and where it comes from.
    Show,
    /// What the running configuration says otherwise than this node's file.
    Diff,
    /// The running configuration's shared part, for a file.
    Export,
    /// Run what this node's file says instead of a higher version that came from
    /// elsewhere, such as one that was typed too high. To be done on every node.
    Forget,
}

pub(crate) async fn run(options: &Options, client: &Client) -> Result<(), Failure> {
    match options.command {
        Command::Show => show(client).await,
        Command::Diff => {
            let both = client.configurations().await?;
            print::out(&diff(&both))
        }
        Command::Export => {
            let both = client.configurations().await?;
            print::out(&words::printable(&both.running.text))
        }
        Command::Forget => forget(client).await,
    }
}

async fn show(client: &Client) -> Result<(), Failure> {
    let both = client.configurations().await?;
    let rollout = client.status().await?.config.rollout;
    let path = words::printable(&both.path.display().to_string());
    let mut text = format!("running  {}\n", name(&both.running));
    text += &if both.running.digest == both.file.digest {
        format!("file     the same: {path}\n")
    } else {
        format!("file     {}: {path}\n", name(&both.file))
    };
    if let Some(trial) = rollout.trial.filter(|trial| !trial.confirmed) {
        let left = words::span(trial.left_ms);
        text += &format!("trial    goes in {left} unless `vippyctl confirm` comes\n");
    }
    for refused in &rollout.refused {
        let configuration = words::configuration(refused.version, &refused.digest);
        text += &format!("refused  {configuration}: {}\n", words::printable(&refused.why));
    }
    print::out(&text)
}

fn name(text: &SharedText) -> String {
    words::configuration(text.version, &text.digest)
}

/// The file's lines with `-`, those that run with `+`.
fn diff(both: &Configurations) -> String {
    if both.file.digest == both.running.digest {
        return format!("no difference: the file says what runs, {}\n", name(&both.running));
    }
    let path = both.path.display();
    let mut text =
        format!("--- {path}: {}\n+++ running: {}\n", name(&both.file), name(&both.running));
    let difference = TextDiff::from_lines(both.file.text.as_str(), both.running.text.as_str());
    for (place, group) in difference.grouped_ops(CONTEXT).iter().enumerate() {
        text += if place > 0 { "  …\n" } else { "" };
        for change in group.iter().flat_map(|operation| difference.iter_changes(operation)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            text += &format!("{sign}{}\n", change.value().trim_end_matches('\n'));
        }
    }
    words::printable(&text)
}

async fn forget(client: &Client) -> Result<(), Failure> {
    let before = client.configurations().await?;
    if before.running.digest == before.file.digest {
        let running = name(&before.running);
        return Err(format!("what runs is what the file says, {running}: nothing to forget").into());
    }
    let now = client.forget().await?;
    let (gone, now) = (name(&before.running), words::configuration(now.version, &now.digest));
    print::out(&format!(
        "{gone} is forgotten here; configuration {now} of the file is in force\n\
         do the same on every node that runs {gone}: until then this one gives its groups away\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(version: u64, digest: &str, text: &str) -> SharedText {
        SharedText { version, digest: digest.into(), text: text.into() }
    }

    #[test]
    fn a_difference_names_both_sides_and_shows_the_lines_around_it() {
        let lines = |third: &str| format!("{{\n  1\n  2\n  {third}\n  4\n  5\n  6\n  7\n}}\n");
        let both = Configurations {
            running: text(6, "aaaaaaaa", &lines("new")),
            file: text(5, "bbbbbbbb", &lines("old")),
            path: "/etc/vippy.conf".into(),
        };
        let wanted = "--- /etc/vippy.conf: 5 (bbbbbbbb)\n+++ running: 6 (aaaaaaaa)\n   1\n   2\n\
                      -  old\n+  new\n   4\n   5\n";
        assert_eq!(diff(&both), wanted);
        let same = Configurations { file: both.running.clone(), ..both };
        assert!(diff(&same).starts_with("no difference"));
    }
}
