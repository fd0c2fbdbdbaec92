//! From text to tokens.
//!
//! Whatever is not a token of JSON5 is reported here and handed on as
//! [`Kind::Bad`], so the parser never reports it a second time.

use super::strings::{self, Ended};
use super::tree::Text;
use crate::config::report::Report;

/// A token and the bytes it was read from.
#[derive(Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether a line ended between the token before and this one.
    pub(super) new_line: bool,
}

#[derive(Debug)]
pub(super) enum Kind<'t> {
    /// One of `{ } [ ] , :`.
    Mark(char),
    String(Text<'t>),
    /// Satisfies [`is_number`].
    Number(&'t str),
    /// A bare word: a key, `true`, or a value somebody forgot to quote.
    Word(&'t str),
    /// Starts like a number and is none.
    NotANumber(&'t str),
    /// Reported already.
    Bad,
    End,
}

/// Reads tokens one by one.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Lexer { text, at: 0 }
    }

    /// The next token; [`Kind::End`] again and again at the end.
    pub(super) fn next(&mut self, report: &mut Report) -> Token<'t> {
        let new_line = self.skip_blanks(report);
        let start = self.at;
        let kind = match self.peek() {
            None => Kind::End,
            Some(mark @ ('{' | '}' | '[' | ']' | ',' | ':')) => {
                self.at += 1;
                Kind::Mark(mark)
            }
            Some('"' | '\'') => self.string(report),
            Some('0'..='9' | '+' | '-' | '.') => self.number(),
            Some(c) if is_word(c) => Kind::Word(self.take_while(is_word)),
            Some(c) => self.stranger(c, report),
        };
        Token { kind, start, end: self.at, new_line }
    }

    /// Whether a colon stands behind the token read last.
    pub(super) fn colon_follows(&self) -> bool {
        self.rest().trim_start_matches([' ', '\t']).starts_with(':')
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Skips white space and comments; tells whether a line ended in them.
    fn skip_blanks(&mut self, report: &mut Report) -> bool {
        let from = self.at;
        loop {
            self.take_while(|c| c.is_whitespace() || c == '\u{feff}');
            if self.rest().starts_with("//") {
                self.take_while(|c| !ends_line(c));
            } else if self.rest().starts_with("/*") {
                match self.rest()[2..].find("*/") {
                    Some(length) => self.at += length + 4,
                    None => {
                        report.error(self.at, "a comment that never ends", "`*/`");
                        self.at = self.text.len();
                    }
                }
            } else {
                return self.text[from..self.at].contains(['\n', '\r']);
            }
        }
    }

    fn string(&mut self, report: &mut Report) -> Kind<'t> {
        let read = strings::read(self.text, self.at);
        let start = std::mem::replace(&mut self.at, read.end);
        match read.ended {
            Ended::Well(text) => Kind::String(text),
            Ended::NotAtAll { quote } => {
                let expected = format!("the closing {quote} on the same line");
                report.error(start, "a string that never ends", expected);
                Kind::Bad
            }
            Ended::WithBadEscapes(mistakes) => {
                for (at, expected) in mistakes {
                    report.error(at, "an escape sequence that does not exist", expected);
                }
                Kind::Bad
            }
        }
    }

    /// Takes everything that clings to a number, so that `500ms` and
    /// `10.0.0.1` are one mistake and not three.
    fn number(&mut self) -> Kind<'t> {
        let rest = self.rest();
        let hexadecimal = {
            let unsigned = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            unsigned.starts_with("0x") || unsigned.starts_with("0X")
        };
        let mut length = 0;
        let mut before = ' ';
        for (index, c) in rest.char_indices() {
            let exponent = matches!(before, 'e' | 'E') && !hexadecimal;
            let clings = match c {
                '+' | '-' => index == 0 || exponent,
                '/' => !rest[index + 1..].starts_with(['/', '*']),
                '.' | '_' | '$' | '%' => true,
                c => c.is_alphanumeric(),
            };
            if !clings {
                break;
            }
            length = index + c.len_utf8();
            before = c;
        }
        self.at += length;
        let literal = &rest[..length];
        if is_number(literal) { Kind::Number(literal) } else { Kind::NotANumber(literal) }
    }

    /// Reports a character that starts no token. What cannot be understood is
    /// skipped to the end of the line, so one stray quote is one problem.
    fn stranger(&mut self, c: char, report: &mut Report) -> Kind<'t> {
        let found = format!("the character {c:?}");
        match c {
            '#' => {
                report.error(self.at, found, "an entry or a comment").hint("// for a comment");
            }
            '“' | '”' | '„' | '‘' | '’' | '«' | '»' | '`' => {
                report.error(self.at, found, "a plain quote").hint("\"");
            }
            '=' => {
                report.error(self.at, found, "`:` between key and value").hint(":");
                self.at += 1;
                return Kind::Bad;
            }
            ';' => {
                report.error(self.at, found, "`,` between entries").hint(",");
                self.at += 1;
                return Kind::Bad;
            }
            _ => {
                report.error(self.at, found, "JSON text (a key, a value or one of { } [ ] , :)");
            }
        }
        self.take_while(|c| !ends_line(c));
        Kind::Bad
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '\u{200c}' | '\u{200d}')
}

/// The line terminators of JSON5. Editors, and so our positions and recovery,
/// know only the first two.
pub(super) fn ends_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

/// Whether a text is a JSON5 number: an optional sign and a decimal number, a
/// hexadecimal integer, `Infinity` or `NaN`.
pub(in crate::config) fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, "Infinity" | "NaN") {
        return true;
    }
    if let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    let some = !whole.is_empty() || !fraction.is_empty();
    some && !leading_zero && digits(whole) && digits(fraction) && exponent_fits
}
