//! A [`Plan`]: what happens and what it costs in one line, what that is true for,
//! and one line for each pair of nodes.

use vippy_client::Plan;
use vippy_client::identity::{GroupId, NodeName};
use vippy_client::plan::{ConfigChange, Move, Pair};

use super::table::{Cell, Row, table};
use super::{Style, Tone, count, paragraph};
use crate::words::{self, printable};

/// How many groups are named in one place.
const NAMED: usize = 8;

pub(crate) fn render(plan: &Plan, style: Style, width: usize) -> String {
    let mut text = String::new();
    let mut say = |tone, line: String| text += &paragraph(tone, &line, style, width);
    say(Tone::Heading, format!("if {}: {}", occasion(plan), outcome(plan)));
    for warning in &plan.warnings {
        say(Tone::Careful, format!("warning: {}", printable(warning)));
    }
    if let Some(quorum) = &plan.quorum_lost {
        let needed = quorum.needed.unwrap_or_default();
        let present = quorum.present;
        say(Tone::Bad, format!("no quorum: {present} of the {needed} nodes that it needs"));
    }
    if !plan.unheld.is_empty() {
        say(Tone::Bad, format!("held by nobody: {}", named(plan.unheld.iter())));
    }
    for line in plan.config.iter().flat_map(changes) {
        say(Tone::Plain, line);
    }
    for assumption in &plan.assumptions {
        say(Tone::Dim, format!("assumed: {}", printable(assumption)));
    }
    if !plan.pairs.is_empty() {
        let rows: Vec<Row<5>> = plan.pairs.iter().map(|pair| row(plan, pair)).collect();
        text += "\n";
        text += &table(["", "FROM", "TO", "GROUPS", "WHICH"], &rows, style, width);
    }
    text
}

/// What is supposed to happen.
fn occasion(plan: &Plan) -> String {
    let names = |names: &[NodeName]| {
        let names: Vec<String> = names.iter().map(|name| printable(name.as_str())).collect();
        super::list(&names)
    };
    let verb = |nodes: &[NodeName]| if nodes.len() == 1 { "is" } else { "are" };
    let mut parts = Vec::new();
    if let Some(config) = &plan.config {
        parts.push(format!(
            "configuration {} is in force",
            words::configuration(config.version, &config.digest)
        ));
    }
    if !plan.down.is_empty() {
        parts.push(format!("{} {} down", names(&plan.down), verb(&plan.down)));
    }
    if !plan.up.is_empty() {
        parts.push(format!("{} {} up", names(&plan.up), verb(&plan.up)));
    }
    super::list(&parts)
}

fn outcome(plan: &Plan) -> String {
    let all = count(plan.groups, "group", "groups");
    let moves = match plan.moves.len() {
        0 => format!("none of {all} moves"),
        1 => format!("1 of {all} moves"),
        moves => format!("{moves} of {all} move"),
    };
    match plan.unheld.len() {
        0 => moves,
        unheld => format!("{moves}, {unheld} held by nobody"),
    }
}

/// What another configuration changes, a line each.
fn changes(config: &ConfigChange) -> Vec<String> {
    let nodes = |nodes: &[NodeName]| {
        let names: Vec<String> = nodes.iter().map(|node| printable(node.as_str())).collect();
        names.join(", ")
    };
    let changed = config
        .changed
        .iter()
        .map(|change| format!("{} ({})", printable(change.group.as_str()), change.keys.join(", ")));
    let lines = [
        ("changed keys", config.keys.join(", ")),
        ("nodes added", nodes(&config.nodes_added)),
        ("nodes removed", nodes(&config.nodes_removed)),
        ("groups added", named(config.added.iter())),
        ("groups removed", named(config.removed.iter())),
        ("groups changed", shortened(changed.collect())),
    ];
    let said = lines.into_iter().filter(|(_, what)| !what.is_empty());
    said.map(|(title, what)| format!("{title}: {what}")).collect()
}

fn row(plan: &Plan, pair: &Pair) -> Row<5> {
    let moves: Vec<&Move> =
        plan.moves.iter().filter(|step| (&step.from, &step.to) == (&pair.from, &pair.to)).collect();
    let from = pair.from.as_ref().map_or("(nobody)".to_owned(), |from| printable(from.as_str()));
    let cells = [
        Cell::plain(" "),
        Cell::plain(from),
        Cell::plain(printable(pair.to.as_str())),
        Cell::plain(pair.groups.to_string()),
        Cell::plain(named(moves.iter().map(|step| &step.group))),
    ];
    let delays = moves.iter().filter_map(|step| step.delay_ms);
    let note = delays.clone().max().map(|longest| {
        let longest = words::span(longest);
        let text = format!("{} of them by failback, after {longest} at most", delays.count());
        Cell::new(Tone::Careful, text)
    });
    Row { cells, notes: note.into_iter().collect() }
}

/// Some groups, and how many there are more.
fn named<'a>(groups: impl Iterator<Item = &'a GroupId>) -> String {
    shortened(groups.map(|group| printable(group.as_str())).collect())
}

fn shortened(mut names: Vec<String>) -> String {
    let rest = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    if rest > 0 {
        names.push(format!("{rest} more"));
    }
    names.join(", ")
}
