//! A [`Timeline`]: one block a failover, one line a node.

use std::time::{Duration, UNIX_EPOCH};

use vippy_client::timeline::{Belief, Failover, MoveCause, NodeMove};
use vippy_client::{Stamp, Timeline};

use super::table::{Cell, Row, table};
use super::{Style, Tone, count};
use crate::words;

/// All blocks, the oldest first.
pub(crate) fn render(timeline: &Timeline, style: Style, width: usize) -> String {
    if timeline.failovers.is_empty() {
        return format!("{} knows of no moves\n", words::printable(timeline.identity.as_str()));
    }
    let blocks = timeline.failovers.iter().map(|failover| {
        let when = style.paint(Tone::Dim, &when(timeline.unix_ms, failover.age_ms));
        let tone = if failover.cause == MoveCause::Death { Tone::Bad } else { Tone::Heading };
        let title = style.paint(tone, &title(failover));
        format!("{when}  {title}\n{}", parts(failover, style, width))
    });
    blocks.collect::<Vec<_>>().join("\n")
}

/// `2026-11-21T08:00:00.123Z`, as the log has it; an age where no clock is known.
fn when(unix_ms: Option<u64>, age_ms: f64) -> String {
    let age = Duration::from_secs_f64(age_ms.max(0.0) / 1000.0);
    let clock =
        unix_ms.and_then(|now| Some(UNIX_EPOCH + Duration::from_millis(now).checked_sub(age)?));
    let Some(at) = clock else {
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        return format!("{} ago", words::span(millis));
    };
    Stamp(at).to_string()
}

fn title(failover: &Failover) -> String {
    let from = failover.from.as_ref().map_or("a node", |from| from.as_str());
    let from = words::printable(from);
    match failover.cause {
        MoveCause::Death => format!("{from} died: ms since it was last heard"),
        MoveCause::Goodbye => format!("{from} had said goodbye: ms since the first decision"),
        MoveCause::Planned => format!("moved away from {from}: ms since the first decision"),
        MoveCause::Unavailable => {
            format!("{from} cannot hold them any more: ms since the first decision")
        }
        MoveCause::Start => "held by nobody: ms since the first decision".to_owned(),
        MoveCause::Rival => format!("kept against {from}: ms since they met"),
    }
}

fn parts(failover: &Failover, style: Style, width: usize) -> String {
    if failover.cause == MoveCause::Death {
        let heading =
            ["", "NODE", "HEARD", "DEAD", "DECIDED", "PLUMBED", "ANNOUNCED", "BELIEVED", "GROUPS"];
        let row = |part: &NodeMove| {
            let times = [
                time(part.heard_ms),
                time(part.found_ms),
                time(Some(part.decided_ms)),
                time(part.plumbed_ms),
                time(part.announced_ms),
            ];
            let [heard, found, decided, plumbed, announced] = times;
            let (node, groups) = (node(part), groups(part));
            let believed = believed(part);
            let cells =
                [indent(), node, heard, found, decided, plumbed, announced, believed, groups];
            Row { cells, notes: Vec::new() }
        };
        let rows: Vec<Row<9>> = failover.moves.iter().map(row).collect();
        return table(heading, &rows, style, width);
    }
    let heading =
        ["", "NODE", "DECIDED", "PLUMBED", "ANNOUNCED", "OLD HOLDER OUT", "BELIEVED", "GROUPS"];
    let row = |part: &NodeMove| {
        let times = [
            time(Some(part.decided_ms)),
            time(part.plumbed_ms),
            time(part.announced_ms),
            time(part.released_ms),
        ];
        let [decided, plumbed, announced, released] = times;
        let (node, groups) = (node(part), groups(part));
        let believed = believed(part);
        let cells = [indent(), node, decided, plumbed, announced, released, believed, groups];
        Row { cells, notes: Vec::new() }
    };
    let rows: Vec<Row<8>> = failover.moves.iter().map(row).collect();
    table(heading, &rows, style, width)
}

fn indent() -> Cell {
    Cell::plain(" ")
}

fn node(part: &NodeMove) -> Cell {
    Cell::plain(words::printable(part.node.as_str()))
}

fn time(at: Option<f64>) -> Cell {
    Cell::plain(at.map_or("-".to_owned(), |ms| format!("+{ms:.1}")))
}

/// When it came out whether the neighbours believe it, and how many do.
fn believed(part: &NodeMove) -> Cell {
    let Belief { believed, of } = part.belief;
    let Some(ms) = part.believed_ms else { return Cell::plain("-") };
    let text = format!("+{ms:.1} {believed} of {of}");
    if believed < of { Cell::new(Tone::Careful, text) } else { Cell::plain(text) }
}

fn groups(part: &NodeMove) -> Cell {
    let number = usize::try_from(part.groups).unwrap_or(usize::MAX);
    let first = part.first.as_ref().map(|first| words::printable(first.as_str()));
    Cell::plain(match (number, first) {
        (1, Some(first)) => first,
        (_, Some(first)) => format!("{}: {first}, …", count(number, "group", "groups")),
        (_, None) => count(number, "group", "groups"),
    })
}
