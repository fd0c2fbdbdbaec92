//! Quoted strings and their escape sequences.

use zeroize::Zeroizing;

use super::lexer::ends_line;
use super::tree::Text;

/// A string that was read, well or badly.
pub(super) struct Read<'t> {
    /// Offset behind it.
    pub(super) end: usize,
    pub(super) ended: Ended<'t>,
}

pub(super) enum Ended<'t> {
    Well(Text<'t>),
    /// The line or the text ended first; so did the string.
    NotAtAll {
        quote: char,
    },
    /// Offsets of the backslashes, with what was expected there.
    WithBadEscapes(Vec<(usize, &'static str)>),
}

/// Reads the string whose opening quote stands at `start`.
pub(super) fn read(text: &str, start: usize) -> Read<'_> {
    let quote = if text[start..].starts_with('\'') { '\'' } else { '"' };
    let Some(close) = closing_quote(text, start + 1, quote) else {
        let rest = &text[start..];
        let end = start + rest.find(['\n', '\r']).unwrap_or(rest.len());
        return Read { end, ended: Ended::NotAtAll { quote } };
    };
    let raw = &text[start + 1..close];
    let ended =
        if raw.contains('\\') { decode(raw, start + 1) } else { Ended::Well(Text::Plain(raw)) };
    Read { end: close + 1, ended }
}

/// Offset of the quote that ends a string. A line that ends without a
/// backslash before its end ends the search.
fn closing_quote(text: &str, from: usize, quote: char) -> Option<usize> {
    let mut chars = text[from..].char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next()?;
                if escaped.1 == '\r' {
                    chars.next_if(|next| next.1 == '\n');
                }
            }
            '\n' | '\r' => return None,
            _ if c == quote => return Some(from + offset),
            _ => {}
        }
    }
    None
}

/// Decodes escape sequences. `base` is the offset of `raw` in the whole text.
fn decode<'t>(raw: &str, base: usize) -> Ended<'t> {
    // A decoded string is never longer than its source, so the buffer never
    // moves and leaves no copy behind that would not be wiped.
    let mut text = Zeroizing::new(String::with_capacity(raw.len()));
    let mut mistakes = Vec::new();
    let mut rest = raw;
    while let Some(slash) = rest.find('\\') {
        text.push_str(&rest[..slash]);
        let at = base + (raw.len() - rest.len()) + slash;
        rest = &rest[slash + 1..];
        match escape(&mut rest) {
            Ok(c) => text.extend(c),
            Err(expected) => mistakes.push((at, expected)),
        }
    }
    text.push_str(rest);
    if mistakes.is_empty() {
        Ended::Well(Text::Decoded(text))
    } else {
        Ended::WithBadEscapes(mistakes)
    }
}

/// Takes what follows a backslash; `None` for a continued line.
fn escape(rest: &mut &str) -> Result<Option<char>, &'static str> {
    let mut chars = rest.chars();
    let c = chars.next();
    *rest = chars.as_str();
    let decoded = match c.unwrap_or('\\') {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '0' if !rest.starts_with(|c: char| c.is_ascii_digit()) => '\0',
        '0'..='9' => return Err("no digit behind the backslash (write \\u00HH)"),
        'x' => char::from_u32(hexadecimal(rest, 2).ok_or("two hexadecimal digits behind \\x")?)
            .unwrap_or_default(),
        'u' => unicode(rest)?,
        '\r' => {
            *rest = rest.strip_prefix('\n').unwrap_or(rest);
            return Ok(None);
        }
        c if ends_line(c) => return Ok(None),
        c => c,
    };
    Ok(Some(decoded))
}

/// Takes the digits of `\uHHHH`, and the second half of a surrogate pair.
fn unicode(rest: &mut &str) -> Result<char, &'static str> {
    let digits = "four hexadecimal digits behind \\u";
    let pair = "both halves of a surrogate pair";
    let first = hexadecimal(rest, 4).ok_or(digits)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).ok_or(pair);
    }
    let mut after = rest.strip_prefix("\\u").ok_or(pair)?;
    let second = hexadecimal(&mut after, 4).filter(|half| (0xdc00..0xe000).contains(half));
    let second = second.ok_or(pair)?;
    *rest = after;
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(pair)
}

fn hexadecimal(rest: &mut &str, count: usize) -> Option<u32> {
    let digits = rest.get(..count)?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    *rest = &rest[count..];
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(source: &str) -> Option<String> {
        match read(source, 0).ended {
            Ended::Well(text) => Some(text.as_str().to_owned()),
            Ended::NotAtAll { .. } | Ended::WithBadEscapes(_) => None,
        }
    }

    #[test]
    fn every_escape_sequence_is_decoded() {
        let source = r#"'\'\"\\\/\b\f\n\r\t\v\0\x41\u00e4\ud83d\ude00\q'"#;
        let wanted = "'\"\\/\u{8}\u{c}\n\r\t\u{b}\0Aä😀q";
        assert_eq!(decoded(source).as_deref(), Some(wanted));
        assert_eq!(decoded("\"a\\\r\nb\\\nc\"").as_deref(), Some("abc"));
    }

    #[test]
    fn half_a_surrogate_pair_and_short_digits_are_mistakes() {
        for source in
            [r#""\ud83d""#, r#""\ud83d\u0041""#, r#""\u12""#, r#""\x4""#, r#""\1""#, r#""\01""#]
        {
            assert_eq!(decoded(source), None, "{source}");
        }
    }

    #[test]
    fn a_string_ends_with_its_line_at_the_latest() {
        let read = read("'abc\n'", 0);
        assert_eq!(read.end, 4);
        assert!(matches!(read.ended, Ended::NotAtAll { quote: '\'' }));
    }
}
