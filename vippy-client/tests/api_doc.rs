//! `docs/API.md` names exactly the fields and values that a daemon sends.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vippy_client::explanation::{FailbackRule, Rule, Tier};
use vippy_client::health::Verdict;
use vippy_client::status::{HeardBy, Holding, NodeReason, NodeState, OutcomeKind, RejectReason};
use vippy_client::timeline::MoveCause;
use vippy_client::{Explanation, Plan, Status, Timeline};

const DOCUMENT: &str = include_str!("../../docs/API.md");

/// Objects whose keys are data.
const MAPS: [&str; 6] = [
    "neighbours",
    "stats.rejects",
    "config.rollout.proposal.answers",
    "state.ownership",
    "node.inquiry.answered",
    "peers[].hears",
];

/// A status in which every list has an item and nothing is null.
fn full() -> Value {
    json!({
        "identity": "node1",
        "stats": {
            "net": { "ignore": 0, "send-announce": 1, "recv-announce": 2 },
            "state-changes": 3, "rejects": { "forged": 4 }, "relayed": 5,
        },
        "invariants": {
            "counting": true,
            "two_holders": { "ms": 1.0, "group_ms": 1.0, "worst_group": "x", "worst_ms": 1.0 },
            "unheld": { "ms": 1.0, "group_ms": 1.0, "worst_group": "x", "worst_ms": 1.0 },
        },
        "config": { "version": 5, "vips": [["node1"]], "nodes": ["node1"], "digest": "00",
            "rollout": {
                "file": { "path": "/x", "version": 5, "digest": "00", "runs": true },
                "fetching": {
                    "version": 6, "digest": "00", "from": "node2", "bytes": 1, "size": 2,
                },
                "refused": [{ "version": 6, "digest": "00", "why": "x" }],
                "proposal": {
                    "version": 6, "digest": "00", "confirm_within_ms": 1,
                    "answers": { "node2": "accepts" }, "outcome": "adopted",
                },
                "trial": { "left_ms": 1, "confirmed": false, "former_version": 4 },
            },
        },
        "state": {
            "mature": true, "active": false, "inactive_reason": "x",
            "ownership": { "node1": [["node1"]] },
        },
        "node": {
            "state": "active", "reason": "none", "detail": "", "drained_ms": 1,
            "held_down_ms": 1, "uptime_ms": 1, "boot": "00",
            "key": "00", "keys": ["00"], "epoch": 1, "program": "0", "lifetime_s": 1, "interval_ms": 1.0,
            "stale_ms": 1.0, "warnings": ["x"], "quorum": { "present": 1, "needed": 1 },
            "inquiry": { "asked": 1, "answered": { "10.0.0.1": 1 } },
        },
        "groups": [{
            "id": "x", "name": "x", "prefer": "node1", "exclusive": false,
            "addresses": ["10.0.0.1/24"], "interfaces": ["eth0"], "owner": "node1", "holders": ["node1"],
            "succession": ["node1"], "here": "held", "cannot": "x",
            "rather_not": "x", "epoch": 1,
            "belief": {
                "believed": 1, "of": 2, "after_ms": 1, "doubted_by": "node2",
                "instead": "02:00:00:00:00:01", "repeated": 1,
            },
            "claimed": {
                "mac": "02:00:00:00:00:01", "times": 1, "last_ms": 1, "defended": 1,
            },
        }],
        "peers": [{
            "name": "node2", "configured": true, "counts": true, "alive": true,
            "state": "active", "reason": "none", "detail": "", "age_ms": 1, "boot": "00",
            "address": "x", "hears_by": ["multicast"], "hears": { "node1": ["multicast"] },
            "version": 1, "digest": "00", "key": "00", "holding": 1, "uptime_ms": 1,
        }],
        "neighbours": { "node1": 1 },
        "checks": [{
            "name": "x", "verdict": "good", "groups": ["x"], "since_ms": 1, "outcome": "good",
            "why": "x", "in_a_row": 1, "age_ms": 1, "took_ms": 1.0,
        }],
    })
}

/// A timeline in which every list has an item and nothing is null.
fn full_timeline() -> Value {
    json!({
        "identity": "node1", "unix_ms": 1,
        "failovers": [{
            "cause": "death", "from": "node2", "age_ms": 1.0,
            "moves": [{
                "node": "node1", "groups": 1, "first": "x", "heard_ms": 1.0, "found_ms": 1.0,
                "decided_ms": 1.0, "plumbed_ms": 1.0, "announced_ms": 1.0, "released_ms": 1.0,
                "believed_ms": 1.0, "belief": { "believed": 2, "of": 2 },
            }],
        }],
    })
}

/// An explanation in which every list has an item and nothing is null.
fn full_explanation() -> Value {
    json!({
        "identity": "node1", "group": "x", "name": "x", "addresses": ["10.0.0.1/24"],
        "prefer": "node1", "exclusive": false, "failback": "after", "failback_ms": 1,
        "owner": "node1", "rule": "first", "holders": ["node1"], "here": "held",
        "outranked": "x",
        "candidates": [{
            "node": "node1", "tier": "active", "holds": true, "alive": true, "left": false,
            "age_ms": 1, "state": "active", "reason": "none", "detail": "", "readable": true,
            "standby": false, "weight": 1, "cannot": false, "rather_not": false, "why": "x",
            "left_ms": 1,
        }],
    })
}

/// A plan in which every list has an item and nothing is null.
fn full_plan() -> Value {
    json!({
        "identity": "node1", "down": ["node2"], "up": ["node3"], "assumptions": ["x"],
        "warnings": ["x"],
        "config": {
            "from_version": 1, "version": 2, "digest": "00", "keys": ["nodes"],
            "nodes_added": ["node3"], "nodes_removed": ["node4"], "added": ["x"],
            "removed": ["y"], "changed": [{ "group": "z", "keys": ["prefer"] }],
        },
        "quorum_lost": { "present": 1, "needed": 2 }, "groups": 1,
        "pairs": [{ "from": "node2", "to": "node1", "groups": 1 }],
        "moves": [{ "group": "x", "from": "node2", "to": "node1", "delay_ms": 1 }],
        "unheld": ["y"],
    })
}

/// Each documented answer: its table's place in the document, a full example,
/// and what its type makes of a value.
type Answer = (usize, fn() -> Value, fn(Value) -> serde_json::Result<Value>);

const ANSWERS: [Answer; 4] = [
    (1, full, |value| serde_json::to_value(serde_json::from_value::<Status>(value)?)),
    (2, full_timeline, |value| serde_json::to_value(serde_json::from_value::<Timeline>(value)?)),
    (3, full_explanation, |value| {
        serde_json::to_value(serde_json::from_value::<Explanation>(value)?)
    }),
    (4, full_plan, |value| serde_json::to_value(serde_json::from_value::<Plan>(value)?)),
];

/// Where the leaves are, in the document's notation.
fn leaves(at: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = if MAPS.contains(&at) { "*" } else { name };
                let dot = if at.is_empty() { "" } else { "." };
                leaves(&format!("{at}{dot}{name}"), field, into);
            }
        }
        Value::Array(items) => {
            assert!(!items.is_empty(), "{at} needs an item to show its type");
            items.iter().for_each(|item| leaves(&format!("{at}[]"), item, into));
        }
        Value::Null => panic!("{at} must not be null here"),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            into.insert(at.to_owned());
        }
    }
}

/// The first column of a table of fields, with the second.
fn documented(table: usize) -> Vec<(String, String)> {
    let table = DOCUMENT.split("| field | type |").nth(table).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let name = cells.next().unwrap().trim_matches('`').to_owned();
        (name, cells.next().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn every_field_is_documented_and_every_documented_field_is_sent() {
    for (table, full, through_its_type) in ANSWERS {
        // What the type does not know is lost, what is missing fails.
        let mut sent = BTreeSet::new();
        leaves("", &through_its_type(full()).unwrap(), &mut sent);
        let names: BTreeSet<String> = documented(table).into_iter().map(|(name, _)| name).collect();
        assert_eq!(sent, names);
    }
}

#[test]
fn types_are_documented_as_they_are_sent() {
    for (table, full, through_its_type) in ANSWERS {
        let full = through_its_type(full()).unwrap();
        for (name, kind) in documented(table) {
            let found = match leaf(&full, &name) {
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Null | Value::Array(_) | Value::Object(_) => panic!("{name} is no leaf"),
            };
            assert!(kind.starts_with(found), "{name}: documented as {kind}, sent as {found}");
        }
    }
}

#[test]
fn what_may_be_null_is_documented_so() {
    for (table, full, through_its_type) in ANSWERS {
        for (name, kind) in documented(table) {
            let mut answer = full();
            *leaf_mut(&mut answer, &name) = Value::Null;
            let accepted = through_its_type(answer).is_ok();
            assert_eq!(accepted, kind.ends_with("or null"), "{name}: {kind}");
        }
    }
}

fn steps(name: &str) -> Vec<String> {
    name.replace("[]", ".[]").split('.').map(str::to_owned).collect()
}

fn leaf<'a>(from: &'a Value, name: &str) -> &'a Value {
    steps(name).iter().fold(from, |value, step| match step.as_str() {
        "[]" => &value[0],
        "*" => value.as_object().unwrap().values().next().unwrap(),
        field => &value[field],
    })
}

fn leaf_mut<'a>(from: &'a mut Value, name: &str) -> &'a mut Value {
    steps(name).iter().fold(from, |value, step| match step.as_str() {
        "[]" => &mut value[0],
        "*" => value.as_object_mut().unwrap().values_mut().next().unwrap(),
        field => &mut value[field],
    })
}

/// The words in backticks of the paragraph that begins with `title`.
fn values(title: &str) -> Vec<String> {
    let rest = DOCUMENT.split(&format!("\n{title}:\n")).nth(1).unwrap();
    let paragraph = rest.split("\n\n").next().unwrap();
    let quoted = paragraph.split('`').skip(1).step_by(2);
    quoted.filter(|word| *word != "stale").map(str::to_owned).collect()
}

/// In the order of their declaration. The match of each list keeps it whole: a
/// new variant does not compile until it is here, and then in the document.
macro_rules! all {
    ($type:ident: $($variant:ident),+) => {{
        let whole = |value: &$type| match value { $($type::$variant => ()),+ };
        let all = [$($type::$variant),+];
        all.iter().for_each(whole);
        all.map(|value| serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()).to_vec()
    }};
}

#[test]
fn every_value_is_documented_and_every_documented_value_is_sent() {
    let states = all!(NodeState: Booting, Active, Standby, Draining, Leaving);
    assert_eq!(values("State of a node"), states);
    let reasons = all!(NodeReason: None, Operator, Isolated, Mute, Twin, Idle, Outranked,
        Suspended, Goodbye, NoQuorum, HeldDown, Retired);
    assert_eq!(values("Reason of a state"), reasons);
    let holdings = all!(Holding: No, Taking, Held, LettingGo);
    assert_eq!(values("What a node does with a group"), holdings);
    assert_eq!(values("How a frame came"), all!(HeardBy: Multicast, Unicast, Relayed));
    let rejects = all!(RejectReason: Malformed, Foreign, Version, UnknownKey, Forged, Replayed,
        Duplicate, NotFresh, Burnt, Own, Unsupported);
    assert_eq!(values("Why a datagram had no effect"), rejects);
    assert_eq!(values("Verdict of a check"), all!(Verdict: Unknown, Good, Bad));
    let outcomes = all!(OutcomeKind: Good, Bad, TimedOut, NotStarted);
    assert_eq!(values("Outcome of a run"), outcomes);
    let causes = all!(MoveCause: Death, Goodbye, Planned, Unavailable, Start, Rival);
    assert_eq!(values("Cause of a move"), causes);
    assert_eq!(values("When a group goes back"), all!(FailbackRule: Auto, Never, After));
    let rules = all!(Rule: First, FailbackNever, Keeps);
    assert_eq!(values("What made a node the owner"), rules);
    let tiers = all!(Tier: Keeps, Active, StandbyAndHolds, Standby, RatherNotButHolds, RatherNot);
    assert_eq!(values("How good a candidate is, best first"), tiers);
}
