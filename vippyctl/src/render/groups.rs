//! Who owns what, and why it is not so here.

use vippy_client::Status;
use vippy_client::identity::NodeName;
use vippy_client::status::{BeliefStatus, ClaimStatus, GroupStatus, Holding, NodeState};

use super::table::{Cell, Row, listed, table, wrap};
use super::{Style, Tone, count, judge, list};
use crate::words::{printable, span};

/// Shown instead of an owner, as the original program did.
const UNOWNED: &str = "(unowned)";

/// A claim is shown for this long, in milliseconds.
const LATELY_MS: u64 = 3_600_000;

/// Shown where another configuration decides.
const UNKNOWN: &str = "?";

pub(super) fn section(status: &Status, style: Style, width: usize) -> String {
    if status.groups.is_empty() {
        return "no groups are configured\n".to_owned();
    }
    // A node that boots has not made up its mind.
    let booting = status.node.state == NodeState::Booting;
    let judge = judge::of(status);
    let view = View {
        own: &status.identity,
        judges: judge.is_none(),
        alarm: if booting { Tone::Careful } else { Tone::Bad },
    };
    let rows: Vec<_> =
        status.groups.iter().enumerate().map(|(index, group)| row(index, group, &view)).collect();
    let heading = ["", "GROUP", "OWNER", "PREFERS", "ADDRESSES"];
    let mut text = summary(&status.groups, &view, style, width);
    if let Some(judge) = judge {
        for line in wrap(&judge.sentence(status), width) {
            text += &style.paint(Tone::Careful, &line);
            text += "\n";
        }
    }
    text + &table(heading, &rows, style, width)
}

/// How this node's word on a group is to be read.
struct View<'a> {
    own: &'a NodeName,
    /// Its configuration is the cluster's, so it knows owners and holders.
    judges: bool,
    /// How bad it is that nobody has a group.
    alarm: Tone,
}

fn summary(groups: &[GroupStatus], view: &View<'_>, style: Style, width: usize) -> String {
    let here = groups.iter().filter(|group| group.here == Holding::Held).count();
    let nobody = groups.iter().filter(|group| group.holders.is_empty()).count();
    let several = groups.iter().filter(|group| group.holders.len() > 1).count();
    let mut parts = vec![
        Cell::plain(count(groups.len(), "group", "groups")),
        Cell::plain(format!("{here} held here")),
    ];
    if nobody > 0 && view.judges {
        parts.push(Cell::new(view.alarm, format!("{nobody} held by nobody")));
    }
    if several > 0 {
        parts.push(Cell::new(Tone::Bad, format!("{several} held twice")));
    }
    listed(&parts, style, width) + "\n"
}

fn row(index: usize, group: &GroupStatus, view: &View<'_>) -> Row<5> {
    let mark = match group.here {
        Holding::Held => Cell::new(Tone::Good, "*"),
        Holding::Taking => Cell::new(Tone::Careful, "+"),
        Holding::LettingGo => Cell::new(Tone::Careful, "-"),
        Holding::No => Cell::plain(" "),
    };
    let name = group.name.as_deref().map_or_else(|| format!("#{}", index + 1), printable);
    let owner = match &group.owner {
        _ if !view.judges && group.here == Holding::Held => {
            Cell::new(Tone::Good, printable(view.own.as_str()))
        }
        _ if !view.judges => Cell::new(Tone::Dim, UNKNOWN),
        Some(owner) if group.here == Holding::Held => {
            Cell::new(Tone::Good, printable(owner.as_str()))
        }
        Some(owner) => Cell::plain(printable(owner.as_str())),
        None => Cell::new(view.alarm, UNOWNED),
    };
    let prefers = group.prefer.as_ref().map_or("-".to_owned(), |node| printable(node.as_str()));
    let addresses: Vec<String> = group.addresses.iter().map(ToString::to_string).collect();
    let cells =
        [mark, Cell::plain(name), owner, Cell::plain(prefers), Cell::plain(addresses.join(" "))];
    Row { cells, notes: notes(group, view) }
}

fn notes(group: &GroupStatus, view: &View<'_>) -> Vec<Cell> {
    let mut notes: Vec<Cell> = holders(group, view).into_iter().collect();
    match group.here {
        Holding::Taking => notes.push(Cell::new(Tone::Careful, "being taken by this node")),
        Holding::LettingGo => notes.push(Cell::new(Tone::Careful, "being let go by this node")),
        Holding::Held | Holding::No => {}
    }
    notes.extend(group.belief.as_ref().and_then(doubt));
    notes.extend(group.claimed.as_ref().filter(|claim| claim.last_ms < LATELY_MS).map(claim));
    if let Some(why) = &group.cannot {
        let text = format!("cannot be held here: {}", printable(why));
        notes.push(Cell::new(Tone::Careful, text));
    }
    if let Some(why) = &group.rather_not {
        let text = format!("left to others for now: {}", printable(why));
        notes.push(Cell::new(Tone::Careful, text));
    }
    notes
}

/// The neighbours do not believe that it is here.
fn doubt(belief: &BeliefStatus) -> Option<Cell> {
    let by = printable(belief.doubted_by.as_ref()?.as_str());
    let who = belief.instead.map_or("nobody".to_owned(), |mac| mac.to_string());
    let (believed, of) = (belief.believed, belief.of);
    let text = format!("believed by {believed} of {of}: asked by {by}, {who} answered");
    Some(Cell::new(Tone::Careful, text))
}

/// Another station says that it has its addresses.
fn claim(claim: &ClaimStatus) -> Cell {
    let ClaimStatus { mac, times, last_ms, .. } = claim;
    let times = count(usize::try_from(*times).unwrap_or(usize::MAX), "time", "times");
    let last = span(*last_ms);
    Cell::new(Tone::Bad, format!("claimed by {mac} as well: {times}, last {last} ago"))
}

/// Who holds it, if that is not what the owner column says.
fn holders(group: &GroupStatus, view: &View<'_>) -> Option<Cell> {
    let names: Vec<String> = group.holders.iter().map(|node| printable(node.as_str())).collect();
    match (group.holders.as_slice(), &group.owner) {
        ([], _) if !view.judges => None,
        ([holder], _) if !view.judges && holder == view.own => None,
        ([], None) => None,
        ([], Some(_)) => Some(Cell::new(view.alarm, "held by nobody")),
        ([holder], Some(owner)) if holder == owner => None,
        ([_], _) => Some(Cell::new(Tone::Careful, format!("held by {}", list(&names)))),
        (_, _) => Some(Cell::new(Tone::Bad, format!("held by {} at once", list(&names)))),
    }
}
