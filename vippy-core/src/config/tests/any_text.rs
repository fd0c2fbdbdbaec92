//! No text makes the reader panic, slow, talkative or indiscreet.

use proptest::prelude::*;

use super::PLAIN;
use crate::config::{Problem, parse};

const SAMPLE: &str = include_str!("../../../../config/sample.conf");
const OBJECT_FORM: &str = include_str!("../../../../config/exclusive.conf");
const PEERS: &str = include_str!("../../../../config/two-nodes-unicast.conf");

/// Pieces from which mutations and random texts are made.
const PIECES: [&str; 36] = [
    "{", "}", "[", "]", ",", ":", "\"", "'", "\\", "\\u", "\\ud800", "\n", "\r\n", "//", "/*",
    "*/", "0x", "-", ".", "1e", "1e999", "NaN", "null", "true", "é", "😀", "\u{feff}", "\u{2028}",
    "\0", "_", "/0", "::1", "vips", "\"ip\":", "%", "ff02::1",
];

/// Whatever comes out must be well-formed.
fn check(text: &str) -> Result<(), TestCaseError> {
    let Err(problems) = parse(text, "f") else { return Ok(()) };
    prop_assert!(!problems.is_empty(), "refused without a reason: {text:?}");
    prop_assert!(problems.len() <= 1_001);
    let lines = text.split(['\n', '\r']).count();
    for problem in &problems {
        let Problem { line, column, found, expected, .. } = problem;
        prop_assert!((1..=lines).contains(line), "{problem} in {text:?}");
        prop_assert!((1..=text.chars().count() + 1).contains(column), "{problem} in {text:?}");
        prop_assert!(!found.is_empty() && !expected.is_empty());
        prop_assert!(!problem.to_string().chars().any(char::is_control), "{problem:?}");
    }
    let ordered = problems.is_sorted_by_key(|problem| (problem.line, problem.column));
    prop_assert!(ordered, "{problems:?}");
    Ok(())
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

/// A piece that does not end the line or the entry: behind those, a word with
/// a colon is a key like any other.
fn same_entry() -> impl Strategy<Value = String> {
    piece().prop_filter("one entry", |piece| !piece.contains(['\n', '\r', ',']))
}

/// Deletes, doubles and inserts at any place, as an editor's hand would.
fn mutated(base: &'static str) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..12_usize, any::<bool>(), piece());
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut text: Vec<char> = base.chars().collect();
        for (at, length, double, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            let cut: Vec<char> = text.drain(at..end).collect();
            let insert = if double { [cut.clone(), cut].concat() } else { piece.chars().collect() };
            text.splice(at..at, insert);
        }
        text.into_iter().collect()
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn arbitrary_text_is_refused_in_good_order(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn arbitrary_pieces_are_refused_in_good_order(pieces in prop::collection::vec(piece(), 0..40)) {
        check(&pieces.concat())?;
        check(&format!("{{{}", pieces.concat()))?;
    }

    #[test]
    fn a_damaged_sample_never_panics(text in mutated(SAMPLE)) {
        check(&text)?;
    }

    #[test]
    fn a_damaged_object_form_never_panics(text in mutated(OBJECT_FORM)) {
        check(&text)?;
    }

    #[test]
    fn damaged_peers_never_panic(text in mutated(PEERS)) {
        check(&text)?;
    }

    #[test]
    fn no_damage_near_the_secret_makes_a_message_repeat_it(
        before in prop::collection::vec(same_entry(), 0..3),
        after in prop::collection::vec(same_entry(), 0..3),
        quoted in any::<bool>(),
    ) {
        let quote = if quoted { "\"" } else { "" };
        let (before, after) = (before.concat(), after.concat());
        let secret = format!("secret: {before}{quote}hunter2hunter2{quote}{after}");
        let text = PLAIN.replace("secret: \"0123456789abcdef\"", &secret);
        for problem in parse(&text, "f").err().unwrap_or_default() {
            prop_assert!(!problem.to_string().contains("hunter2"), "{problem} in {secret:?}");
        }
    }
}

/// A word with a colon is a key like any other, on a line of its own even there.
#[test]
fn no_damage_to_a_list_of_secrets_makes_a_message_repeat_one() {
    let lists = [
        "secret: [\"hunter2-a\" \"hunter2-b\"]",
        "secret: [\"hunter2-a\", hunter2-b]",
        "secret: [\"hunter2-a\", \"hunter2-b\"",
        "secret: [hunter2-a\n hunter2-b]",
        "secret: { \"hunter2-a\", \"hunter2-b\" }",
        "secret: [{ hunter2: \"hunter2-b\", hunter2: hunter2 }]",
        "secret: (\"hunter2-a\", \"hunter2-b\")",
        "secret_file: [\"hunter2-a\", hunter2]",
        "secret: [\"hunter2-a, \"hunter2-b\"]",
        "secret: [\"hunter2-a\"], [\"hunter2-b\"]",
        "secret: \"hunter2-a\", \"hunter2-b\"",
        "secret: \"hunter2-a\",\n \"hunter2-b\"]",
    ];
    for list in lists {
        let text = PLAIN.replace("secret: \"0123456789abcdef\"", list);
        for problem in parse(&text, "f").unwrap_err() {
            assert!(!problem.to_string().contains("hunter2"), "{problem} in {list:?}");
        }
    }
}

#[test]
fn every_prefix_of_the_sample_is_refused_in_good_order() {
    for (end, _) in SAMPLE.trim_end().char_indices() {
        assert!(parse(&SAMPLE[..end], "f").is_err(), "{end}");
        check(&SAMPLE[..end]).unwrap();
    }
}

/// A configuration of this many groups, all on one line when `flat`.
fn groups(count: usize, flat: bool) -> String {
    let separator = if flat { "," } else { ",\n" };
    let group = |n: usize| {
        let ip = format!("10.{}.{}.{}/8", n / 40_000, n / 200 % 200, n % 200 + 1);
        format!("[{{interface: 'eth0', ip: '{ip}'}}]")
    };
    let groups: Vec<_> = (0..count).map(group).collect();
    PLAIN.replace(
        "[[{ interface: \"eth0\", ip: \"192.0.2.10/24\" }]]",
        &format!("[{}]", groups.join(separator)),
    )
}

#[expect(clippy::disallowed_types, reason = "the test measures, the core does not")]
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = std::time::Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

#[test]
fn ten_thousand_groups_are_read_well_below_a_second() {
    let text = groups(10_000, true);
    let (seconds, parsed) = timed(|| parse(&text, "f").unwrap());
    assert_eq!(parsed.config.shared.groups.len(), 10_000);
    println!("10,000 groups: {seconds:.3} s");
    assert!(seconds < 1.0, "{seconds} s");
}

#[test]
fn enormous_garbage_is_refused_in_bounded_time_and_space() {
    let mistakes = groups(10_000, true).replace("'eth0'", "''");
    let texts = [
        "[".repeat(1_000_000),
        "{a:".repeat(500_000),
        "}".repeat(1_000_000),
        "{".to_owned() + &":".repeat(1_000_000),
        "{".to_owned() + &"a ".repeat(500_000),
        "{".to_owned() + &"a:1,".repeat(300_000),
        "{'".to_owned() + &"\\9".repeat(500_000) + "'",
        "{".to_owned() + &"/**/".repeat(300_000),
        "{a:\"".to_owned() + &"x".repeat(2_000_000),
        "{a:".to_owned() + &"1".repeat(2_000_000) + "}",
        "{".to_owned() + &"'\n".repeat(500_000),
        "{".to_owned() + &(0..50_000).map(|n| format!("k{n}:0,")).collect::<String>() + "}",
        groups(20_000, false),
        mistakes,
    ];
    for text in &texts {
        let start: String = text.chars().take(12).collect();
        let (seconds, result) = timed(|| parse(text, "f"));
        let problems = result.unwrap_err();
        println!("{start:?}: {seconds:.3} s, {} problems", problems.len());
        assert!(problems.len() <= 1_001 && seconds < 3.0, "{start:?}: {seconds} s");
        assert!(problems.iter().all(|problem| problem.to_string().len() < 2_000), "{start:?}");
    }
    let last = parse(&texts[13], "f").unwrap_err().pop().unwrap();
    assert_eq!(last.found, "9000 further problems");
}
