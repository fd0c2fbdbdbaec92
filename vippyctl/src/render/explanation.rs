//! An [`Explanation`]: what the group is, who has it and by which rule, and one
//! line a candidate.

use vippy_client::Explanation;
use vippy_client::explanation::{CandidateStatus, FailbackRule, Rule, Tier};
use vippy_client::status::{Holding, NodeReason, NodeState};

use super::table::{Cell, Row, table};
use super::{Style, Tone, list, paragraph};
use crate::words::{self, printable};

pub(crate) fn render(of: &Explanation, style: Style, width: usize) -> String {
    let mut text = String::new();
    for (tone, line) in [title(of), verdict(of), holders(of)].into_iter().flatten() {
        text += &paragraph(tone, &line, style, width);
    }
    if let Some(outranked) = &of.outranked {
        let line = format!("but configurations differ: {}", printable(outranked));
        text += &paragraph(Tone::Careful, &line, style, width);
    }
    let rows: Vec<Row<4>> =
        (1..).zip(&of.candidates).map(|(place, candidate)| row(of, place, candidate)).collect();
    text + "\n" + &table(["", "", "NODE", "AS A CANDIDATE"], &rows, style, width)
}

fn title(of: &Explanation) -> Option<(Tone, String)> {
    let addresses: Vec<String> = of.addresses.iter().map(ToString::to_string).collect();
    let mut facts = vec![addresses.join(" ")];
    facts.extend(of.prefer.as_ref().map(|node| format!("prefers {}", printable(node.as_str()))));
    facts.extend(of.exclusive.then(|| "exclusive".to_owned()));
    facts.extend(match (of.failback, of.failback_ms) {
        (FailbackRule::Auto, _) => None,
        (FailbackRule::Never, _) => Some("failback never".to_owned()),
        (FailbackRule::After, delay) => {
            Some(format!("failback after {}", words::span(delay.unwrap_or_default())))
        }
    });
    let group = of.name.as_deref().map_or("a group without a name".to_owned(), printable);
    Some((Tone::Heading, format!("{group}: {}", facts.join(", "))))
}

/// Who should have it, and by which rule.
fn verdict(of: &Explanation) -> Option<(Tone, String)> {
    let (Some(owner), Some(rule)) = (&of.owner, of.rule) else {
        return Some((Tone::Bad, "owner: nobody, as no node can have it".to_owned()));
    };
    let candidate = of.candidates.iter().find(|candidate| candidate.node == *owner);
    let tier = candidate.and_then(|candidate| candidate.tier);
    let why = match (rule, tier) {
        (Rule::Keeps, _) => "it holds it, and nothing moves while configurations differ",
        (Rule::FailbackNever, _) => "it holds it, and with failback never it stays",
        (Rule::First, Some(Tier::Keeps | Tier::Active)) if of.prefer.as_ref() == Some(owner) => {
            "the node that it prefers"
        }
        (Rule::First, Some(Tier::Keeps | Tier::Active) | None) => {
            "the first of its succession that can have it"
        }
        (Rule::First, Some(Tier::StandbyAndHolds)) => {
            "no active node can have it, and this one stands by and holds it"
        }
        (Rule::First, Some(Tier::Standby)) => {
            "no active node can have it, and this is the first that stands by"
        }
        (Rule::First, Some(Tier::RatherNotButHolds)) => {
            "it holds it, and nobody better can have it"
        }
        (Rule::First, Some(Tier::RatherNot)) => "nobody better can have it",
    };
    Some((Tone::Good, format!("owner: {}, {why}", printable(owner.as_str()))))
}

/// Who has it, where that is not the owner alone.
fn holders(of: &Explanation) -> Option<(Tone, String)> {
    let names: Vec<String> = of.holders.iter().map(|node| printable(node.as_str())).collect();
    let here = match of.here {
        Holding::Taking => ", being taken by this node",
        Holding::LettingGo => ", being let go by this node",
        Holding::Held | Holding::No => "",
    };
    match (&of.holders[..], &of.owner) {
        ([], None) => None,
        ([], Some(_)) => Some((Tone::Bad, format!("held by nobody{here}"))),
        ([holder], Some(owner)) if holder == owner => None,
        ([_], _) => Some((Tone::Careful, format!("held by {}{here}", list(&names)))),
        (_, _) => Some((Tone::Bad, format!("held by {} at once{here}", list(&names)))),
    }
}

fn row(of: &Explanation, place: usize, candidate: &CandidateStatus) -> Row<4> {
    let owner = of.owner.as_ref() == Some(&candidate.node);
    let tone = match candidate.tier {
        _ if owner => Tone::Good,
        Some(Tier::Keeps | Tier::Active) => Tone::Plain,
        Some(_) => Tone::Careful,
        None => Tone::Bad,
    };
    let mark = if candidate.holds { Cell::new(Tone::Good, "*") } else { Cell::plain(" ") };
    let cells = [
        mark,
        Cell::plain(place.to_string()),
        Cell::plain(printable(candidate.node.as_str())),
        Cell::new(tone, standing(of, candidate)),
    ];
    Row { cells, notes: Vec::new() }
}

/// What a node is to the group, and why.
fn standing(of: &Explanation, candidate: &CandidateStatus) -> String {
    let ago = candidate.age_ms.map(|age| format!("{} ago", words::span(age)));
    if candidate.left {
        return format!("left {}", ago.unwrap_or_default());
    }
    if !candidate.alive {
        return ago
            .map_or("down: not heard yet".to_owned(), |ago| format!("down: last heard {ago}"));
    }
    if candidate.state.is_none() {
        return "heard, but has announced nothing yet".to_owned();
    }
    let reasons = reasons(candidate);
    match candidate.tier {
        None if reasons.is_empty() => "cannot have it".to_owned(),
        None => format!("cannot have it: {reasons}"),
        Some(Tier::Keeps) => "keeps what it holds while configurations differ".to_owned(),
        Some(Tier::Active) if candidate.state == Some(NodeState::Booting) => {
            format!("found it on itself: {reasons}")
        }
        Some(Tier::Active) if of.owner.as_ref() == Some(&candidate.node) => match &candidate.why {
            Some(why) => format!("is to have it: {}", printable(why)),
            None => "has it".to_owned(),
        },
        Some(Tier::Active) => "can have it".to_owned(),
        Some(Tier::StandbyAndHolds | Tier::Standby) => {
            format!("only when no active node can: {reasons}")
        }
        Some(Tier::RatherNotButHolds | Tier::RatherNot) => {
            format!("only when nobody better can: {reasons}")
        }
    }
}

/// Everything that speaks against a node.
fn reasons(of: &CandidateStatus) -> String {
    let left =
        of.left_ms.map_or(String::new(), |left| format!(", for another {}", words::span(left)));
    let why = |otherwise: &str| of.why.as_deref().map_or(otherwise.to_owned(), printable) + &left;
    let mut reasons = Vec::new();
    if of.cannot {
        reasons.push(why("its own status says why"));
    }
    if !of.readable {
        reasons.push("it has another configuration".to_owned());
    }
    let quiet = of.state == Some(NodeState::Active) && of.reason == Some(NodeReason::None);
    if let (Some(state), Some(reason), false) = (of.state, of.reason, quiet) {
        reasons.push(words::standing(state, reason, &of.detail));
    }
    if of.rather_not && !of.cannot {
        reasons.push(why("it leaves it to others for now, its own status says why"));
    }
    reasons.join("; ")
}
