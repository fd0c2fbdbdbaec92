//! Health checks that deserve a look.

use vippy_client::Status;
use vippy_client::health::Verdict;
use vippy_client::status::{CheckStatus, OutcomeKind};

use super::{Style, Tone, count, list, paragraph};
use crate::words::{printable, span};

/// More are only counted.
const SHOWN: usize = 8;

/// A line for each check that is bad or unknown; nothing where all are good.
pub(super) fn section(status: &Status, style: Style, width: usize) -> String {
    let odd: Vec<&CheckStatus> =
        status.checks.iter().filter(|check| check.verdict != Verdict::Good).collect();
    let lines = odd.iter().take(SHOWN).map(|check| {
        let tone = if check.verdict == Verdict::Bad { Tone::Bad } else { Tone::Careful };
        paragraph(tone, &sentence(check), style, width)
    });
    let mut text: String = lines.collect();
    if let Some(more) = odd.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let checks = count(more, "check is", "checks are");
        text += &paragraph(Tone::Careful, &format!("{checks} not good either"), style, width);
    }
    text
}

fn sentence(check: &CheckStatus) -> String {
    let groups: Vec<String> = check.groups.iter().map(|id| printable(id.as_str())).collect();
    let about = if groups.is_empty() { String::new() } else { format!(" of {}", list(&groups)) };
    let verdict = format!("{} for {}", check.verdict, span(check.since_ms));
    let why = match (check.outcome, &check.why) {
        (None, _) => ": it has not been asked yet".to_owned(),
        (Some(OutcomeKind::Good), _) => ": the last run was good".to_owned(),
        (Some(OutcomeKind::TimedOut), _) => ": no answer in time".to_owned(),
        (Some(OutcomeKind::Bad | OutcomeKind::NotStarted), Some(why)) => {
            format!(": {}", printable(why))
        }
        (Some(OutcomeKind::Bad | OutcomeKind::NotStarted), None) => String::new(),
    };
    format!("check {}{about} is {verdict}{why}", printable(check.name.as_str()))
}
