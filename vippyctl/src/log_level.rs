//! `vippyctl log-level`: what the daemon writes to its log, while it runs.

use vippy_client::{Client, Level, LogLevel};

use crate::{Failure, print};

/// Show what the daemon writes to its log, or set it until the configuration is read
/// again.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Write this level and graver ones: emerg, alert, crit, err, warning, notice,
    /// info or debug.
    level: Option<Level>,
}

pub(crate) async fn run(options: &Options, client: &Client) -> Result<(), Failure> {
    let answer = match options.level {
        Some(level) => client.set_log_level(level).await?,
        None => client.log_level().await?,
    };
    print::out(&line(&answer))
}

/// `notice and graver`, or the levels where some of those are left out.
fn line(answer: &LogLevel) -> String {
    let Some(level) = answer.level else { return "nothing is written\n".to_owned() };
    let all = Level::ALL.into_iter().take_while(|other| *other <= level);
    if all.eq(answer.levels.iter().copied()) {
        return format!("{level} and graver\n");
    }
    let names: Vec<&str> = answer.levels.iter().map(|level| level.name()).collect();
    format!("{}\n", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_told_by_the_last_one_unless_some_are_left_out() {
        let told = |levels: &[Level]| {
            line(&LogLevel { level: levels.last().copied(), levels: levels.to_vec() })
        };
        assert_eq!(told(&Level::ALL[..6]), "notice and graver\n");
        assert_eq!(told(&[Level::Err, Level::Info]), "err, info\n");
        assert_eq!(told(&[]), "nothing is written\n");
    }
}
