//! `docs/EVENTS.md` names exactly the events and fields that a daemon tells.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod event_samples;

use std::collections::{BTreeMap, BTreeSet};

use event_samples::samples;
use serde_json::Value;
use vippy_client::Event;
use vippy_client::events::{EventId, MISSED, Missed, Record, WhyMissed};
use vippy_client::identity::BootId;

const DOCUMENT: &str = include_str!("../../docs/EVENTS.md");

/// The heading under which the fields of all events stand.
const EVERY: &str = "Every event";

/// Names and types of fields.
type Fields = BTreeMap<String, String>;

/// The tables of fields, by their headings.
fn documented() -> BTreeMap<String, Fields> {
    let sections = DOCUMENT.split("\n### ").skip(1);
    let section = |section: &str| {
        let heading = section.lines().next().unwrap().trim_matches('`').to_owned();
        let rows = section.lines().skip_while(|line| !line.starts_with("| field |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|'));
        let fields = rows.map(|row| {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let name = cells.next().unwrap().trim_matches('`').to_owned();
            let kind = cells.next().unwrap().to_owned();
            let (_unit, meaning) = (cells.next().unwrap(), cells.next().unwrap());
            assert!(!meaning.is_empty(), "{heading}: {name} means nothing");
            (name, kind)
        });
        (heading.clone(), fields.collect())
    };
    sections.map(section).collect()
}

fn record(event: Event) -> Record {
    let id = EventId { process: BootId(1), number: 2 };
    Record { id, unix_ms: 3, monotonic_ms: 4, identity: "node1".into(), event }
}

fn missed() -> Missed {
    let id = EventId { process: BootId(1), number: 2 };
    let (unix_ms, monotonic_ms, why) = (3, 4, WhyMissed::Overwritten);
    Missed { id, unix_ms, monotonic_ms, identity: "node1".into(), number: Some(5), why }
}

/// Everything that is told, by name, without what every event has.
fn told() -> BTreeMap<String, Value> {
    let records = samples().into_iter().map(|event| serde_json::to_value(record(event)));
    let all = records.chain([serde_json::to_value(missed())]);
    let every: BTreeSet<String> = documented()[EVERY].keys().cloned().collect();
    let told = all.map(|value| {
        let mut value = value.unwrap();
        let name = value["event"].as_str().unwrap().to_owned();
        let fields = value.as_object_mut().unwrap();
        for field in &every {
            assert!(fields.remove(field).is_some(), "{name} has no {field}");
        }
        (name, value)
    });
    told.collect()
}

#[test]
fn every_event_is_documented_and_every_documented_event_is_told() {
    let mut documented: BTreeSet<String> = documented().into_keys().collect();
    assert!(documented.remove(EVERY));
    assert_eq!(documented, told().into_keys().collect());
}

#[test]
fn fields_are_documented_with_their_types() {
    let documented = documented();
    for (name, value) in told() {
        let fields = value.as_object().unwrap();
        let names: BTreeSet<&String> = documented[&name].keys().collect();
        assert_eq!(names, fields.keys().collect(), "{name}");
        for (field, kind) in &documented[&name] {
            let found = match &fields[field] {
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Null | Value::Object(_) => panic!("{name}: {field} needs a value"),
            };
            assert!(kind.starts_with(found), "{name}: {field} is told as {found}, not {kind}");
        }
    }
}

#[test]
fn what_may_be_null_is_documented_so() {
    let every = serde_json::to_value(record(Event::Warning { text: String::new() })).unwrap();
    for (name, fields) in documented() {
        if name == EVERY {
            assert!(fields.values().all(|kind| !kind.ends_with("or null")));
            continue;
        }
        for (field, kind) in fields {
            let mut value = told().remove(&name).unwrap();
            let object = value.as_object_mut().unwrap();
            object.extend(every.as_object().unwrap().clone());
            object.remove("text");
            object.insert("event".into(), name.clone().into());
            object.insert(field.clone(), Value::Null);
            let accepted = if name == MISSED {
                serde_json::from_value::<Missed>(value).is_ok()
            } else {
                serde_json::from_value::<Record>(value).is_ok()
            };
            assert_eq!(accepted, kind.ends_with("or null"), "{name}: {field}: {kind}");
        }
    }
}

#[test]
fn each_event_comes_back_as_it_was_told() {
    for event in samples() {
        let record = record(event);
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
    let text = serde_json::to_string(&missed()).unwrap();
    assert_eq!(serde_json::from_str::<Missed>(&text).unwrap(), missed());
}

#[test]
fn no_field_of_an_event_hides_one_that_every_event_has() {
    for event in samples() {
        let fields = serde_json::to_value(event).unwrap();
        let own = fields.as_object().unwrap().keys().filter(|name| *name != "event");
        let hidden: Vec<&String> =
            own.filter(|name| documented()[EVERY].contains_key(*name)).collect();
        assert!(hidden.is_empty(), "{hidden:?}");
    }
}

#[test]
fn reasons_for_missing_events_are_documented() {
    for why in [WhyMissed::Overwritten, WhyMissed::Restarted] {
        match why {
            WhyMissed::Overwritten | WhyMissed::Restarted => {}
        }
        let name = serde_json::to_value(why).unwrap();
        assert!(DOCUMENT.contains(&format!("`{}`", name.as_str().unwrap())));
    }
}
