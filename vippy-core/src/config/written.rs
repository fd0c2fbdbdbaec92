//! Free texts as the digest and the document have them.

use std::fmt::Write;

/// As a string of JSON.
pub(super) fn json(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a String cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// As one word of ASCII, by the rule of RFC 3986.
pub(super) fn percent(text: &str) -> String {
    let mut word = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                word.push(char::from(byte));
            }
            _ => {
                let _ = write!(word, "%{byte:02X}");
            }
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_quotes_are_escaped() {
        assert_eq!(json("a\"b\\c\nd\u{85}é"), r#""a\"b\\c\u000ad\u0085é""#);
        assert_eq!(percent("a b%é/~"), "a%20b%25%C3%A9/~");
    }
}
