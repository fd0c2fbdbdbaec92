//! A [`Status`] as one screen of text. Pure: what is shown depends on the
//! arguments only.

mod checks;
pub(crate) mod explanation;
mod groups;
mod judge;
mod peers;
pub(crate) mod plan;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod timeline;

use anstyle::AnsiColor;
use unicode_width::UnicodeWidthStr;
use vippy_client::Status;
use vippy_client::status::{Invariants, NodeState};

use crate::words;

/// How text is marked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Not at all.
    Plain,
    /// With the terminal's eight colours.
    Coloured,
}

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Heading,
    /// Known not to be reliable.
    Dim,
    Good,
    Careful,
    Bad,
}

impl Style {
    fn paint(self, tone: Tone, text: &str) -> String {
        if self == Style::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Heading => anstyle::Style::new().bold(),
            Tone::Dim => anstyle::Style::new().dimmed(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Careful => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// The whole screen, ending in a line feed; lines are at most `width` columns
/// wide where the words allow it.
pub(crate) fn render(status: &Status, style: Style, width: usize) -> String {
    let mut screen = header(status, style, width);
    for warning in &status.node.warnings {
        let text = format!("warning: {}", words::printable(warning));
        screen += &paragraph(Tone::Careful, &text, style, width);
    }
    screen += &checks::section(status, style, width);
    if let Some(text) = invariants(&status.invariants) {
        screen += &paragraph(Tone::Plain, &text, style, width);
    }
    screen += "\n";
    screen += &groups::section(status, style, width);
    screen += "\n";
    screen += &peers::section(status, style, width);
    screen
}

/// How long the invariants did not hold, if they ever did not.
fn invariants(seen: &Invariants) -> Option<String> {
    let told = [("with two holders", &seen.two_holders), ("unheld", &seen.unheld)];
    let told = told.iter().filter_map(|(what, breach)| {
        let group = breach.worst_group.as_ref()?;
        let group = words::printable(group.as_str());
        Some(format!("{what} {:.1} ms (longest: {group}, {:.1} ms)", breach.ms, breach.worst_ms))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("groups since the start: {}", told.join(", ")))
}

/// Some lines: the first stands out, the others hang below it.
fn paragraph(tone: Tone, text: &str, style: Style, width: usize) -> String {
    let lines = table::wrap(text, width.saturating_sub(2));
    let lines: Vec<String> = lines.iter().map(|line| style.paint(tone, line)).collect();
    lines.join("\n  ") + "\n"
}

fn header(status: &Status, style: Style, width: usize) -> String {
    let node = &status.node;
    // Who outranks this node is told where it matters, at the groups.
    let told_below = judge::of(status).is_some();
    let detail = if told_below { "" } else { node.detail.as_str() };
    let left = node.drained_ms.or(node.held_down_ms);
    let left = left.map_or(String::new(), |left| format!(", for another {}", words::span(left)));
    let title = words::standing(node.state, node.reason, detail) + &left;
    let lifetime = match node.lifetime_s {
        0 => "no address lifetime".to_owned(),
        seconds => format!("address lifetime {seconds} s"),
    };
    let mut facts = vec![
        format!("up {}", words::span(node.uptime_ms)),
        format!(
            "configuration {}",
            words::configuration(status.config.version, &status.config.digest)
        ),
        format!("interval {}", words::setting(node.interval_ms)),
        format!("stale {}", words::setting(node.stale_ms)),
        lifetime,
    ];
    facts.extend(keys(&node.keys));
    facts.push(format!("vippy {}", words::printable(&node.program)));
    let name = words::printable(status.identity.as_str());
    let room = width.saturating_sub(name.width() + " is ".len());
    let tone = state_tone(node.state);
    let title: Vec<String> =
        table::wrap(&title, room).iter().map(|line| style.paint(tone, line)).collect();
    let mut text = format!("{} is {}\n", style.paint(Tone::Heading, &name), title.join("\n  "));
    // Facts are kept whole: their inner spaces are no place to break a line.
    let glued: Vec<String> = facts.iter().map(|fact| fact.replace(' ', "\u{a0}")).collect();
    for line in table::wrap(&glued.join(", "), width) {
        text += &line.replace('\u{a0}', " ");
        text += "\n";
    }
    text
}

/// Which keys there are, while there is more than one: a rotation is to be ended.
fn keys(ids: &[String]) -> Option<String> {
    let (signs, others) = ids.split_first().filter(|(_, others)| !others.is_empty())?;
    Some(format!("signs with key {signs}, accepts {}", list(others)))
}

fn state_tone(state: NodeState) -> Tone {
    match state {
        NodeState::Active => Tone::Good,
        NodeState::Booting | NodeState::Standby | NodeState::Draining => Tone::Careful,
        NodeState::Leaving => Tone::Bad,
    }
}

/// "1 group", "2 groups".
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// "a", "a and b", "a, b and c".
fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
