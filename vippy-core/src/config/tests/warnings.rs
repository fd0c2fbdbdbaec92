//! What works but is probably not wanted.

use super::{PLAIN, plain_with};
use crate::config::{Parsed, parse};

/// The warnings as `path: message`.
fn warnings(parsed: &Parsed) -> Vec<String> {
    parsed
        .warnings
        .iter()
        .map(|w| format!("{}: found {}, expected {}", w.path, w.found, w.expected))
        .collect()
}

#[test]
fn risky_settings_are_warned_of_and_accepted() {
    let cases = [
        (
            "interval: 1, stale: 2.5,",
            "stale: found stale 2.5 s with interval 1 s, expected stale of at least 3",
        ),
        ("interval: 1.4,", "interval: found stale 3 s with interval 1.4 s"),
        ("mature: 1.5,", "mature: found mature 1.5 s with interval 1 s"),
        (
            "interval: 0.01, stale: 0.1, mature: 0.1,",
            "interval: found interval 0.01 s, expected `realtime`",
        ),
        ("quorum: 2,", "quorum: found a quorum of 2 out of 2 nodes, expected a `witness` instead"),
        ("quorum: 'majority',", "quorum: found a quorum of 2 out of 2 nodes"),
        (
            "witness: '192.0.2.1', isolation: 5,",
            "isolation: found isolation 5 s, expected no `isolation` with a `witness`",
        ),
        ("chat_interface: '127.0.0.1',", "chat_interface: found 127.0.0.1"),
        (
            "logging: { mask: { emerg: false, alert: false, crit: false, err: false, warning: false, notice: false } },",
            "logging.mask: found a mask that lets nothing through",
        ),
    ];
    for (piece, wanted) in cases {
        let found = warnings(&plain_with(piece));
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{piece}: {found:?}");
    }
}

#[test]
fn a_preference_for_a_retired_node_is_warned_of() {
    let text = PLAIN.replacen("nodes: [", "nodes: [{ name: 'old', weight: 0 }, ", 1);
    let text = text.replacen("[[{ interface", "[['old', { interface", 1);
    let found = warnings(&parse(&text, "f").unwrap());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("vips[0][0]: found \"old\", a node of weight 0"), "{found:?}");
}

#[test]
fn risky_values_of_required_keys_are_warned_of() {
    let cases = [
        ("239.77.0.1:5007", "224.0.0.18:5007", "chat: found 224.0.0.18:5007"),
        ("239.77.0.1:5007", "232.0.0.1:5007", "chat: found 232.0.0.1:5007"),
        ("239.77.0.1:5007", "[ff01::7]:5007", "chat: found [ff01::7]:5007"),
        ("239.77.0.1:5007", "239.77.0.1:694", "chat: found port 694"),
        ("0123456789abcdef", "0123456789abcde", "secret: found a secret of 15 bytes"),
        ("0123456789abcdef", " 0123456789abcdef", "secret: found a secret with white space"),
        (
            "\"0123456789abcdef\"",
            "[\"0123456789abcdef\", \"short\"]",
            "secret[1]: found a secret of 5 bytes",
        ),
        ("[[{ interface: \"eth0\", ip: \"192.0.2.10/24\" }]]", "[]", "vips: found an empty list"),
        (
            "[{ interface: \"eth0\", ip: \"192.0.2.10/24\" }]]",
            "{ exclusive: true, vips: [{ interface: \"eth0\", ip: \"192.0.2.10/24\" }] }], lifetime: \"off\"",
            "lifetime: found lifetime \"off\" with exclusive groups",
        ),
    ];
    for (from, to, wanted) in cases {
        assert!(PLAIN.contains(from));
        let parsed = parse(&PLAIN.replacen(from, to, 1), "f").unwrap();
        let found = warnings(&parsed);
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{to}: {found:?}");
    }
}

#[test]
fn a_quorum_of_all_nodes_is_warned_of_and_a_majority_of_three_is_not() {
    let three = |quorum: &str| {
        let nodes = format!("nodes: ['a', 'b', 'c'], quorum: {quorum}");
        let text = PLAIN.replacen("nodes: [\"node1\", \"node2\"]", &nodes, 1);
        warnings(&parse(&text, "f").unwrap())
    };
    let found = three("3");
    assert!(found.len() == 1 && found[0].contains("3 out of 3 nodes"), "{found:?}");
    assert!(three("'majority'").is_empty());
}

#[test]
fn the_shortest_timers_with_realtime_are_not_warned_of() {
    let parsed = plain_with("interval: 0.001, stale: 0.003, mature: 0.01, realtime: 50,");
    assert!(warnings(&parsed).is_empty());
}

#[test]
fn chat_interface_without_chat_has_no_effect_and_says_so() {
    let text = PLAIN.replace(
        "chat: \"239.77.0.1:5007\"",
        "chat_interface: \"eth0\", peers: { node1: \"10.0.0.1:1\", node2: \"10.0.0.2:1\" }",
    );
    let found = warnings(&parse(&text, "f").unwrap());
    assert!(found.len() == 1 && found[0].starts_with("chat_interface: "), "{found:?}");
}
