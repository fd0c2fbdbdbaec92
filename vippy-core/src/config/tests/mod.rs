//! Tests of the whole reader: what is read, with which defaults and warnings,
//! that nothing makes it panic and that it is fast.

mod any_text;
mod examples;
mod warnings;

use super::{Parsed, parse};

/// A configuration without anything to complain about; pieces are inserted
/// before its closing brace.
const PLAIN: &str = r#"{
    chat: "239.77.0.1:5007",
    secret: "0123456789abcdef",
    nodes: ["node1", "node2"],
    vips: [[{ interface: "eth0", ip: "192.0.2.10/24" }]],
}"#;

fn plain_with(piece: &str) -> Parsed {
    let text = PLAIN.replacen('}', "\0", 1);
    let text = match text.rfind('}') {
        Some(end) => format!("{}{piece}}}", &text[..end]).replacen('\0', "}", 1),
        None => text,
    };
    parse(&text, "f").unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}
