//! Broken configurations, each refused with all its problems at the right
//! places. The cases are in `broken_configs/*.txt`; `README.md` there tells how
//! they are written.

use std::collections::BTreeSet;
use std::fmt::Write;

use vippy_core::config::parse;

/// Stands in a case where a problem is expected.
const MARKER: char = '▸';

/// Never repeated in any message, wherever a case puts it.
const SECRET: &str = "hunter2";

/// Keys that a case gets when it does not have them itself.
const BASE: [(&str, &str); 4] = [
    ("chat", "chat: \"239.77.0.1:5007\","),
    ("secret", "secret: \"hunter2-hunter2-hunter2\","),
    ("nodes", "nodes: [\"node1\", \"node2\"],"),
    ("vips", "vips: [[{ interface: \"eth0\", ip: \"192.0.2.10/24\" }]],"),
];

const FILES: [(&str, &str); 8] = [
    ("syntax", include_str!("broken_configs/syntax.txt")),
    ("keys", include_str!("broken_configs/keys.txt")),
    ("shared", include_str!("broken_configs/shared.txt")),
    ("groups", include_str!("broken_configs/groups.txt")),
    ("policy", include_str!("broken_configs/policy.txt")),
    ("chat", include_str!("broken_configs/chat.txt")),
    ("local", include_str!("broken_configs/local.txt")),
    ("checks", include_str!("broken_configs/checks.txt")),
];

struct Case {
    name: String,
    text: String,
    problems: Vec<Expected>,
}

#[derive(Debug)]
struct Expected {
    line: usize,
    column: usize,
    path: String,
    words: Vec<String>,
}

#[test]
fn every_broken_configuration_is_refused_at_the_right_places() {
    let cases: Vec<Case> = FILES.iter().flat_map(|(file, text)| cases(file, text)).collect();
    assert!(cases.len() >= 200, "only {} cases", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    let failures: String = cases.iter().filter_map(complaint).collect();
    assert!(failures.is_empty(), "{failures}");
}

/// What went wrong with a case, if anything.
fn complaint(case: &Case) -> Option<String> {
    let problems = match parse(&case.text, "f") {
        Ok(_) => return Some(format!("\n== {}: accepted\n{}\n", case.name, case.text)),
        Err(problems) => problems,
    };
    let fits = problems.len() == case.problems.len()
        && problems.iter().zip(&case.problems).all(|(problem, expected)| {
            let message = problem.to_string();
            (problem.line, problem.column) == (expected.line, expected.column)
                && problem.path == expected.path
                && message.starts_with(&format!("f:{}:{}: ", expected.line, expected.column))
                && expected.words.iter().all(|word| message.contains(word))
                && !message.contains(SECRET)
        });
    if fits {
        return None;
    }
    let mut complaint = format!("\n== {}\n{}\nexpected:\n", case.name, case.text);
    for expected in &case.problems {
        let _ = writeln!(complaint, "  {expected:?}");
    }
    complaint.push_str("got:\n");
    for problem in problems {
        let _ = writeln!(complaint, "  {problem}");
    }
    Some(complaint)
}

/// The cases of one file.
fn cases(file: &str, text: &str) -> Vec<Case> {
    text.split("\n== ").skip(1).map(|case| read_case(file, case)).collect()
}

fn read_case(file: &str, case: &str) -> Case {
    let (name, rest) = case.split_once('\n').expect("a name and a body");
    let mut body = Vec::new();
    let mut expectations = Vec::new();
    let mut without = Vec::new();
    for line in rest.lines() {
        match line.split_at_checked(2) {
            Some(("| ", text)) => body.push(text),
            Some(("> ", text)) => expectations.push(text),
            Some(("- ", key)) => without.push(key),
            _ if line == "|" => body.push(""),
            _ => assert!(line.is_empty() || line.starts_with('#'), "{name}: {line}"),
        }
    }
    let start = body.first().map_or("", |line| line.trim_start_matches(MARKER));
    let whole = start.starts_with(['{', '[']) || name.starts_with("whole:");
    let marked = if whole { body.join("\n") } else { with_base(&body, &without) };
    let places = places(&marked);
    assert_eq!(places.len(), expectations.len(), "{name}: markers and expectations");
    let problems = places.into_iter().zip(expectations).map(|(place, text)| {
        let mut parts = text.split(" | ").map(str::to_owned);
        let path = parts.next().filter(|path| path != "-").unwrap_or_default();
        Expected { line: place.0, column: place.1, path, words: parts.collect() }
    });
    Case {
        name: format!("{file}: {name}"),
        problems: problems.collect(),
        text: unescaped(&marked).replace(MARKER, ""),
    }
}

/// Completes a fragment to a configuration that has no other problem.
fn with_base(body: &[&str], without: &[&str]) -> String {
    let mut lines = vec!["{"];
    lines.extend(body);
    for (key, line) in BASE {
        let present = body.iter().any(|line| {
            let line = line.trim_start_matches(MARKER);
            line.starts_with(&format!("{key}:")) || line.starts_with(&format!("\"{key}\":"))
        });
        if !present && !without.contains(&key) {
            lines.push(line);
        }
    }
    lines.push("}");
    lines.join("\n")
}

/// Lines and columns of the markers, as if they were not there.
fn places(marked: &str) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    for (line, text) in marked.split('\n').enumerate() {
        let mut column = 1;
        for c in unescaped(text).chars() {
            if c == MARKER {
                places.push((line + 1, column));
            } else {
                column += 1;
            }
        }
    }
    places
}

/// Characters that would not survive an editor are written by name.
fn unescaped(text: &str) -> String {
    text.replace("<TAB>", "\t")
        .replace("<NUL>", "\0")
        .replace("<ESC>", "\u{1b}")
        .replace("<NBSP>", "\u{a0}")
}
