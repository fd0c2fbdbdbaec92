//! The reader against another implementation of JSON5, and against JSON.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::{Node, Value, read};
use crate::config::report::Report;

/// What our reader makes of a text; nothing when it finds an error.
fn ours(text: &str) -> Option<Json> {
    let mut report = Report::default();
    let tree = read(text, &mut report);
    (!report.has_errors()).then(|| plain(&tree.root))
}

fn plain(node: &Node<'_>) -> Json {
    match &node.value {
        Value::Null | Value::Broken => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(literal) => number(literal),
        Value::String(text) => Json::String(text.as_str().to_owned()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => Json::Object(
            members.iter().map(|m| (m.key.as_str().to_owned(), plain(&m.value))).collect(),
        ),
    }
}

/// Every number as a float, so that `1`, `1.0` and `0x1` are equal.
fn number(literal: &str) -> Json {
    let unsigned = literal.trim_start_matches(['+', '-']);
    let sign = if literal.starts_with('-') { -1.0 } else { 1.0 };
    let value = match unsigned.to_ascii_lowercase().strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).unwrap() as f64,
        None => unsigned.parse().unwrap(),
    };
    Json::from(sign * value)
}

/// What the `json5` crate makes of it.
fn theirs(text: &str) -> Option<Json> {
    json5::from_str::<Json>(text).ok().map(floats)
}

fn floats(value: Json) -> Json {
    match value {
        Json::Number(number) => Json::from(number.as_f64().unwrap()),
        Json::Array(items) => items.into_iter().map(floats).collect(),
        Json::Object(members) => {
            Json::Object(members.into_iter().map(|(key, value)| (key, floats(value))).collect())
        }
        other @ (Json::Null | Json::Bool(_) | Json::String(_)) => other,
    }
}

/// Any JSON value below our depth limit.
fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        (-1e15..1e15_f64).prop_map(Json::from),
        any::<u32>().prop_map(|n| Json::from(f64::from(n))),
        any::<String>().prop_map(Json::String),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
            prop::collection::btree_map("[a-z]{0,4}|.{0,3}", inner, 0..6)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

/// Texts of which many are JSON5. Left out is where we differ on purpose: `-`
/// in bare keys, `\` in bare keys, keys that stand twice, words of JSON5 that
/// are no numbers for `serde_json`.
fn nearly_json5() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ",",
        ":",
        "{a:",
        "{'b c':",
        "{\"d\":",
        "1",
        "0",
        "12",
        ".5",
        "5.",
        "1e3",
        "1E-2",
        "+1",
        "-.5",
        "0x1F",
        "01",
        "1.2.3",
        "'q'",
        "\"q\"",
        "'\\''",
        "'\\\n'",
        "'\\x41'",
        "'\\u0041'",
        "'\\q'",
        "'\\0'",
        "'\\01'",
        "'\\1'",
        "null",
        "true",
        "false",
        " ",
        "\n",
        "\t",
        "\u{a0}",
        "//c\n",
        "/*c*/",
        "/*",
        "'",
        "\"",
        "_x",
        "$y",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8)
        .prop_map(|pieces| pieces.concat())
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn every_json_text_is_read_as_what_it_says(value in json()) {
        let value = Json::Array(vec![value]);
        let compact = value.to_string();
        prop_assert_eq!(ours(&compact), Some(floats(value.clone())), "{}", compact);
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(ours(&pretty), Some(floats(value)), "{}", pretty);
    }

    #[test]
    fn another_json5_reader_agrees(text in nearly_json5()) {
        // A bare word as the whole document is refused on purpose.
        let text = format!("[{text}]");
        prop_assert_eq!(ours(&text), theirs(&text), "{:?}", text);
    }
}

#[test]
fn the_two_documented_differences_to_json5() {
    assert_eq!(ours("{arp-cache: 15}"), Some(serde_json::json!({ "arp-cache": 15.0 })));
    assert_eq!(ours("{\\u0061: 1}"), None);
}

#[test]
fn nesting_is_bounded_and_refused_without_recursion() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(ours(&nested(32)).is_some());
    assert!(ours(&nested(33)).is_none());
    assert!(ours(&nested(100_000)).is_none());
}
