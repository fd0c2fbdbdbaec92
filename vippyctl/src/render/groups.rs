//! Who owns what, and why it is not so here.

use vippy_client::Status;
use vippy_client::status::{GroupStatus, Holding, NodeState};

use super::table::{Cell, Row, table};
use super::{Style, Tone, count, list};
use crate::words::printable;

/// Shown instead of an owner, as the original program did.
const UNOWNED: &str = "(unowned)";

pub(super) fn section(status: &Status, style: Style, width: usize) -> String {
    if status.groups.is_empty() {
        return "no groups are configured\n".to_owned();
    }
    // A node that boots has not made up its mind.
    let booting = status.node.state == NodeState::Booting;
    let alarm = if booting { Tone::Careful } else { Tone::Bad };
    let rows: Vec<_> =
        status.groups.iter().enumerate().map(|(index, group)| row(index, group, alarm)).collect();
    let heading = ["", "GROUP", "OWNER", "PREFERS", "ADDRESSES"];
    summary(&status.groups, alarm, style) + &table(heading, &rows, style, width)
}

fn summary(groups: &[GroupStatus], alarm: Tone, style: Style) -> String {
    let here = groups.iter().filter(|group| group.here == Holding::Held).count();
    let nobody = groups.iter().filter(|group| group.holders.is_empty()).count();
    let several = groups.iter().filter(|group| group.holders.len() > 1).count();
    let mut text = format!("{}, {here} held here", count(groups.len(), "group", "groups"));
    if nobody > 0 {
        text += ", ";
        text += &style.paint(alarm, &format!("{nobody} held by nobody"));
    }
    if several > 0 {
        text += ", ";
        text += &style.paint(Tone::Bad, &format!("{several} held twice"));
    }
    text + "\n"
}

fn row(index: usize, group: &GroupStatus, alarm: Tone) -> Row<5> {
    let mark = match group.here {
        Holding::Held => Cell::new(Tone::Good, "*"),
        Holding::Taking => Cell::new(Tone::Careful, "+"),
        Holding::LettingGo => Cell::new(Tone::Careful, "-"),
        Holding::No => Cell::plain(" "),
    };
    let name = group.name.as_deref().map_or_else(|| format!("#{}", index + 1), printable);
    let owner = match &group.owner {
        Some(owner) if group.here == Holding::Held => {
            Cell::new(Tone::Good, printable(owner.as_str()))
        }
        Some(owner) => Cell::plain(printable(owner.as_str())),
        None => Cell::new(alarm, UNOWNED),
    };
    let prefers = group.prefer.as_ref().map_or("-".to_owned(), |node| printable(node.as_str()));
    let addresses: Vec<String> = group.addresses.iter().map(ToString::to_string).collect();
    let cells =
        [mark, Cell::plain(name), owner, Cell::plain(prefers), Cell::plain(addresses.join(" "))];
    Row { cells, notes: notes(group, alarm) }
}

fn notes(group: &GroupStatus, alarm: Tone) -> Vec<Cell> {
    let mut notes: Vec<Cell> = holders(group, alarm).into_iter().collect();
    match group.here {
        Holding::Taking => notes.push(Cell::new(Tone::Careful, "being taken by this node")),
        Holding::LettingGo => notes.push(Cell::new(Tone::Careful, "being let go by this node")),
        Holding::Held | Holding::No => {}
    }
    if let Some(why) = &group.cannot {
        let text = format!("cannot be held here: {}", printable(why));
        notes.push(Cell::new(Tone::Careful, text));
    }
    notes
}

/// Who holds it, if that is not what the owner column says.
fn holders(group: &GroupStatus, alarm: Tone) -> Option<Cell> {
    let names: Vec<String> = group.holders.iter().map(|node| printable(node.as_str())).collect();
    match (group.holders.as_slice(), &group.owner) {
        ([], None) => None,
        ([], Some(_)) => Some(Cell::new(alarm, "held by nobody")),
        ([holder], Some(owner)) if holder == owner => None,
        ([_], _) => Some(Cell::new(Tone::Careful, format!("held by {}", list(&names)))),
        (_, _) => Some(Cell::new(Tone::Bad, format!("held by {} at once", list(&names)))),
    }
}
