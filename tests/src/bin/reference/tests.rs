//! The source says what the reader does, and the documents what the source says.

use std::collections::BTreeSet;

use vippy_core::config::{LOCAL_KEYS, Parsed, Problem, SHARED_KEYS, parse};

use super::source::{Key, Source};
use super::*;

/// A key that nobody knows, and that is near to none.
const UNKNOWN: &str = "qqqqqqqqqqqq: 0";

fn source() -> Source {
    read_source().unwrap()
}

/// A small configuration, in which `members` stand instead of the keys named.
fn read(instead_of: &[&str], members: &str) -> Result<Parsed, Vec<Problem>> {
    let needed = [
        ("chat", "chat: '239.77.0.1:5007'"),
        ("secret", "secret: 'a secret of some length'"),
        ("nodes", "nodes: ['node1', 'node2']"),
        ("vips", "vips: [[{ ip: '10.1.2.99/24' }]]"),
    ];
    let kept = needed.iter().filter(|(name, _)| !instead_of.contains(name));
    let text: String = kept.map(|(_, member)| format!("{member}, ")).collect();
    parse(&format!("{{ {text}{members} }}"), "test")
}

/// The key's own place in [`read`], and that of what goes with it only.
fn replaced(key: &Key) -> Vec<&str> {
    match key.name.as_str() {
        "secret_file" => vec!["secret"],
        name => vec![name],
    }
}

#[test]
fn the_documents_are_what_the_source_says() {
    for (path, wanted) in documents(&source()).unwrap() {
        let found = fs::read_to_string(&path).unwrap();
        assert!(found == wanted, "{} is not what keys.toml says: make docs", path.display());
    }
}

#[test]
fn the_source_has_the_keys_that_the_reader_knows_and_no_others() {
    let source = source();
    for (shared, known) in [(true, &SHARED_KEYS[..]), (false, &LOCAL_KEYS[..])] {
        let keys = source.keys().filter(|(_, each)| *each == shared);
        let told: Vec<&str> = keys.map(|(key, _)| key.name.as_str()).collect();
        let once: BTreeSet<&str> = told.iter().copied().collect();
        assert_eq!(once, BTreeSet::from_iter(known.iter().copied()), "shared: {shared}");
        assert_eq!(once.len(), told.len(), "a key stands twice: {told:?}");
    }
}

#[test]
fn the_source_has_the_inner_keys_that_the_reader_knows() {
    let source = source();
    let objects = [
        ("nodes", "nodes: ['node1', {@}]", "A node, instead of its name"),
        ("vips", "vips: [{@}]", "A group as an object"),
        ("vips", "vips: [[{@}]]", "An address"),
        ("logging", "logging: {@}", "In `logging`"),
        ("notify", "notify: [{@}]", "A network"),
        ("checks", "checks: [{@}]", "A check"),
        ("hooks", "hooks: [{@}]", "A hook"),
        ("plugins", "plugins: [{@}]", "A plugin, instead of its path"),
    ];
    let told = source.keys().map(|(key, _)| key.objects.len()).sum::<usize>();
    assert_eq!(told, objects.len(), "every object is looked at");
    for (name, text, title) in objects {
        let (key, _) = source.keys().find(|(key, _)| key.name == name).unwrap();
        let object = key.objects.iter().find(|object| object.title == title).unwrap();
        let told: BTreeSet<&str> = object.keys.iter().map(|key| key.name.as_str()).collect();
        let problems = read(&[name], &text.replace('@', UNKNOWN)).unwrap_err();
        let problem = problems.iter().find(|problem| problem.found.starts_with("the unknown key"));
        let known = problem.and_then(|problem| problem.expected.strip_prefix("one of "));
        let known = BTreeSet::from_iter(known.unwrap().split(", "));
        assert!(told == known, "{title}: {known:?} are known, {told:?} are told");
    }
}

#[test]
fn every_key_has_a_reason_to_choose_and_a_valid_example() {
    for (key, _) in source().keys() {
        assert!(!key.choose.is_empty() && !key.example.is_empty(), "{}", key.name);
        let read = read(&replaced(key), &key.example);
        assert!(read.is_ok(), "{}: {:?}", key.name, read.err());
    }
}

#[test]
fn a_default_that_is_written_down_changes_nothing() {
    let plain = read(&[], "").unwrap().config;
    let mut looked_at = 0;
    for (key, _) in source().keys() {
        let name = &key.name;
        let Some(default) = &key.default else { continue };
        let written = read(&[], &format!("'{name}': {default}")).unwrap().config;
        assert_eq!(format!("{written:?}"), format!("{plain:?}"), "{name}");
        looked_at += 1;
    }
    assert!(looked_at > 0);
}

#[test]
fn a_number_out_of_range_is_refused_with_the_range() {
    let mut looked_at = 0;
    for (key, _) in source().keys() {
        let name = &key.name;
        let Some(range) = &key.range else { continue };
        let problems = read(&[], &format!("'{name}': -1")).unwrap_err();
        let told = problems.iter().any(|problem| problem.expected.contains(range.as_str()));
        assert!(told, "{name}: {range} is not in {problems:?}");
        looked_at += 1;
    }
    assert!(looked_at > 0);
}

#[test]
fn what_is_required_is_missed() {
    let required = |key: &Key| key.default.is_none() && key.without.is_none();
    let source = source();
    let names: Vec<&str> =
        source.keys().filter(|(key, _)| required(key)).map(|(key, _)| key.name.as_str()).collect();
    assert_eq!(names, ["nodes", "vips"]);
    for name in names {
        assert!(read(&[name], "").is_err(), "{name}");
    }
}
