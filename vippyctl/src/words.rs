//! The protocol's terms as an operator reads them, and times as one writes them.

use std::time::Duration;

use vippy_client::Answer;
use vippy_client::status::{HeardBy, NodeReason, NodeState};

/// Digits of a digest that tell two configurations apart at a glance.
const DIGEST_DIGITS: usize = 8;

pub(crate) fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Booting => "booting",
        NodeState::Active => "active",
        NodeState::Standby => "standby",
        NodeState::Draining => "draining",
        NodeState::Leaving => "leaving",
    }
}

/// `None` where there is nothing to say.
pub(crate) fn reason(reason: NodeReason) -> Option<&'static str> {
    match reason {
        NodeReason::None => None,
        NodeReason::Operator => Some("by operator"),
        NodeReason::Isolated => Some("isolated"),
        NodeReason::Mute => Some("not heard by anybody"),
        NodeReason::Twin => Some("name used twice"),
        NodeReason::Idle => Some("not in the configuration"),
        NodeReason::Outranked => Some("configuration outranked"),
        NodeReason::Suspended => Some("was suspended"),
        NodeReason::Goodbye => Some("said goodbye"),
        NodeReason::NoQuorum => Some("no quorum"),
        NodeReason::HeldDown => Some("held down"),
        NodeReason::Retired => Some("retired"),
    }
}

/// State and why: `draining: drained by the operator`, or `draining (by operator)`
/// where there is no detail. A detail is a sentence that contains the reason.
pub(crate) fn standing(of: NodeState, why: NodeReason, detail: &str) -> String {
    match reason(why) {
        _ if !detail.is_empty() => format!("{}: {}", state(of), printable(detail)),
        Some(why) => format!("{} ({why})", state(of)),
        None => state(of).to_owned(),
    }
}

pub(crate) fn heard_by(path: HeardBy) -> &'static str {
    match path {
        HeardBy::Multicast => "multicast",
        HeardBy::Unicast => "unicast",
        HeardBy::Relayed => "relayed",
    }
}

/// Version and the beginning of the digest.
pub(crate) fn configuration(version: u64, digest: &str) -> String {
    let start: String = printable(digest).chars().take(DIGEST_DIGITS).collect();
    format!("{version} ({start})")
}

/// What a command led to, as one line.
pub(crate) fn command_line(answer: &Answer) -> String {
    format!("this node is {}\n", standing(answer.state, answer.reason, &answer.detail))
}

/// A span in the one or two units that matter.
pub(crate) fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if millis < 1000 {
        format!("{millis} ms")
    } else if minutes == 0 {
        format!("{}.{} s", seconds, millis % 1000 / 100)
    } else if hours == 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else if days == 0 {
        format!("{hours} h {} min", minutes % 60)
    } else {
        format!("{days} d {} h", hours % 24)
    }
}

/// A time as people write it; a bare number lacks its unit.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; expected such as 90s, 30m or \"1h 30m\""))?;
    if time < Duration::from_secs(1) {
        return Err("expected a second or more".into());
    }
    Ok(time)
}

/// A setting in milliseconds, without digits that say nothing.
pub(crate) fn setting(millis: f64) -> String {
    if millis >= 1000.0 { format!("{} s", millis / 1000.0) } else { format!("{millis} ms") }
}

/// Names and sentences come from other machines: nothing in them may move the
/// terminal's cursor. Line feeds stay, for lists of problems.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_what_matters() {
        let shown = [0, 999, 1_250, 59_999, 61_000, 3_661_000, 90_000_000].map(span);
        let expected = ["0 ms", "999 ms", "1.2 s", "59.9 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"];
        assert_eq!(shown, expected);
        assert_eq!(
            [500.0, 5000.0, 1500.0, 62.5].map(setting),
            ["500 ms", "5 s", "1.5 s", "62.5 ms"]
        );
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}c"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
