//! From tokens to the tree, going on after an error.
//!
//! After a mistake the parser looks for the next place where an entry can
//! start: behind a comma, at a closing bracket, or on the next line. One
//! mistake should be one problem; what it swallowed is marked, so that the
//! readers do not complain about its absence.

use std::collections::BTreeMap;

use super::lexer::{Kind, Lexer, Token};
use super::tree::{Member, Node, Text, Tree, Value, may_be_secret};
use crate::config::report::Report;

/// Nobody needs more than six levels; the stack must not depend on the text.
const DEEPEST: usize = 32;

/// Reads a text as JSON5.
pub(in crate::config) fn read<'t>(text: &'t str, report: &mut Report) -> Tree<'t> {
    let mut lexer = Lexer::new(text);
    let token = lexer.next(report);
    let mut parser = Parser {
        lexer,
        token,
        behind: 0,
        report,
        open: Vec::new(),
        hush: 0,
        errors_before_secret: None,
        torn: Vec::new(),
        misplaced: None,
        unclosed: false,
    };
    let root = parser.document();
    let mut damage = parser.torn;
    damage.extend(parser.report.error_places());
    damage.sort_unstable();
    Tree { root, damage }
}

struct Parser<'t, 'r> {
    lexer: Lexer<'t>,
    /// The token that is looked at.
    token: Token<'t>,
    /// Offset behind the token before.
    behind: usize,
    report: &'r mut Report,
    /// Closing marks of everything open, outermost first.
    open: Vec<char>,
    /// Above zero inside a value that may be a secret: no content is repeated.
    hush: usize,
    /// How many errors there were at the last key of a secret on this line.
    errors_before_secret: Option<usize>,
    /// Where brackets open that are not properly closed.
    torn: Vec<usize>,
    /// The token whose misplacement is already reported: it ends brackets until
    /// it fits.
    misplaced: Option<usize>,
    /// Whether the end of the text inside a bracket is already reported.
    unclosed: bool,
}

impl<'t> Parser<'t, '_> {
    fn document(&mut self) -> Node<'t> {
        if matches!(self.token.kind, Kind::End) {
            self.report.error(self.token.start, "an empty file", "a configuration: `{ … }`");
            return self.broken();
        }
        if let Kind::Word(_) = self.token.kind {
            let found = self.found();
            self.report.error(self.token.start, found, "`{` at the start of the configuration");
            return self.broken();
        }
        let root = self.value();
        if !matches!(self.token.kind, Kind::End | Kind::Bad) {
            let found = self.token.kind.name();
            // The bracket that ended it may have been one too many.
            self.torn.push(root.start);
            self.report.error(
                self.token.start,
                format!("{found} behind the end of the configuration"),
                "nothing more",
            );
        }
        root
    }

    fn advance(&mut self) -> Token<'t> {
        let next = self.lexer.next(self.report);
        self.behind = self.token.end;
        std::mem::replace(&mut self.token, next)
    }

    fn at_mark(&self, mark: char) -> bool {
        matches!(self.token.kind, Kind::Mark(found) if found == mark)
    }

    fn broken(&self) -> Node<'t> {
        Node { start: self.token.start, end: self.token.start, value: Value::Broken }
    }

    /// Reads a value. Takes no token when none can be part of a value.
    fn value(&mut self) -> Node<'t> {
        let start = self.token.start;
        let value = match &self.token.kind {
            Kind::Mark('{') => return self.object(),
            Kind::Mark('[') => return self.array(),
            Kind::Word("true") => Value::Bool(true),
            Kind::Word("false") => Value::Bool(false),
            Kind::Word("null") => Value::Null,
            Kind::Word(word @ ("Infinity" | "NaN")) | Kind::Number(word) => Value::Number(word),
            Kind::Word(word) => {
                self.bare_word(word);
                Value::Broken
            }
            Kind::NotANumber(_) => {
                let found = self.found();
                self.report.error(start, found, "a number, or quotes around a text");
                Value::Broken
            }
            Kind::Bad => Value::Broken,
            Kind::String(_) => return self.string(),
            Kind::Mark(_) | Kind::End => {
                let found = self.found();
                self.report.error(start, found, "a value");
                return self.broken();
            }
        };
        let end = self.advance().end;
        Node { start, end, value }
    }

    fn string(&mut self) -> Node<'t> {
        let token = self.advance();
        let value = match token.kind {
            Kind::String(text) => Value::String(text),
            Kind::Mark(_)
            | Kind::Number(_)
            | Kind::Word(_)
            | Kind::NotANumber(_)
            | Kind::Bad
            | Kind::End => Value::Broken,
        };
        Node { start: token.start, end: token.end, value }
    }

    fn bare_word(&mut self, word: &str) {
        let found = self.found();
        let note = self.report.error(self.token.start, found, "a value: a text needs quotes");
        if self.hush == 0 {
            note.hint(match word.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => "true".to_owned(),
                "false" | "no" | "off" => "false".to_owned(),
                "null" | "none" | "nil" | "undefined" => "null".to_owned(),
                "infinity" => "Infinity".to_owned(),
                "nan" => "NaN".to_owned(),
                _ => format!("\"{}\"", word.chars().take(40).collect::<String>()),
            });
        }
    }

    fn object(&mut self) -> Node<'t> {
        let Some(start) = self.enter('}') else { return self.skip_nested() };
        let mut members: Vec<Member<'t>> = Vec::new();
        let mut keys = BTreeMap::new();
        while self.inside('}', start) {
            if self.may_be_in_secret() {
                self.resynchronize();
                continue;
            }
            let Some((at, key)) = self.key() else { continue };
            let secret = may_be_secret(key.as_str());
            if secret {
                self.errors_before_secret = Some(self.report.errors());
            }
            self.hush += usize::from(secret);
            let value = self.member_value();
            self.hush -= usize::from(secret);
            let Some(value) = value else { continue };
            match keys.get(key.as_str()) {
                Some(&first) => {
                    let found = match self.hush {
                        0 => format!("the key {}", shown(key.as_str())),
                        _ => "a key".to_owned(),
                    };
                    self.report.error(at, found, "every key once").first_at(first);
                }
                None => {
                    keys.insert(key.as_str().to_owned(), at);
                }
            }
            let broken = matches!(value.value, Value::Broken);
            members.push(Member { at, key, value });
            self.separator('}', broken);
        }
        self.leave(start, Value::Object(members))
    }

    fn array(&mut self) -> Node<'t> {
        let Some(start) = self.enter(']') else { return self.skip_nested() };
        let mut items = Vec::new();
        while self.inside(']', start) {
            let item = self.value();
            let broken = matches!(item.value, Value::Broken);
            if broken && matches!(self.token.kind, Kind::Mark(':')) {
                self.advance();
            }
            items.push(item);
            self.separator(']', broken);
        }
        self.leave(start, Value::Array(items))
    }

    /// Takes an opening mark, unless the nesting is too deep.
    fn enter(&mut self, close: char) -> Option<usize> {
        if self.open.len() == DEEPEST {
            let found = self.found();
            let expected = format!("at most {DEEPEST} levels of nesting");
            self.report.error(self.token.start, found, expected);
            return None;
        }
        self.open.push(close);
        Some(self.advance().start)
    }

    /// Whether another entry follows; reports what makes that unclear.
    fn inside(&mut self, close: char, start: usize) -> bool {
        loop {
            match self.token.kind {
                Kind::Mark(mark) if mark == close => return false,
                Kind::Mark(mark @ ('}' | ']')) => {
                    self.misplace(format!("`{mark}`"), close);
                    if self.open.contains(&mark) {
                        return false;
                    }
                    self.advance();
                }
                Kind::Mark(',') => {
                    let expected = format!("an entry or `{close}`");
                    self.report.error(self.token.start, "a second `,`", expected);
                    self.advance();
                }
                Kind::End => {
                    if !std::mem::replace(&mut self.unclosed, true) {
                        let open = if close == '}' { '{' } else { '[' };
                        let found = format!("a `{open}` that is never closed");
                        self.report.error(start, found, format!("`{close}` before the end"));
                    }
                    return false;
                }
                Kind::Word(_) | Kind::String(_) if close == ']' && self.at_members_key() => {
                    self.misplace("a key in a list".into(), close);
                    return false;
                }
                Kind::Mark(_)
                | Kind::String(_)
                | Kind::Number(_)
                | Kind::Word(_)
                | Kind::NotANumber(_)
                | Kind::Bad => return true,
            }
        }
    }

    /// Whether the token starts a line as a key of an object around: then the
    /// list before it was not closed.
    fn at_members_key(&self) -> bool {
        self.token.new_line && self.open.contains(&'}') && self.lexer.colon_follows()
    }

    /// Reports the token, once, as one before which `close` is lacking.
    fn misplace(&mut self, found: String, close: char) {
        if self.misplaced.replace(self.token.start) != Some(self.token.start) {
            self.report.error(self.token.start, found, format!("`{close}` before it"));
        }
    }

    /// Takes the closing mark, if it is there.
    fn leave(&mut self, start: usize, value: Value<'t>) -> Node<'t> {
        let close = self.open.pop().unwrap_or_default();
        if self.at_mark(close) {
            self.advance();
        } else {
            self.torn.push(start);
        }
        Node { start, end: self.behind, value }
    }

    /// Takes a key. After a mistake, skips to where the next entry may start.
    fn key(&mut self) -> Option<(usize, Text<'t>)> {
        match &self.token.kind {
            Kind::String(_) => {
                let token = self.advance();
                match token.kind {
                    Kind::String(key) => Some((token.start, key)),
                    Kind::Mark(_)
                    | Kind::Number(_)
                    | Kind::Word(_)
                    | Kind::NotANumber(_)
                    | Kind::Bad
                    | Kind::End => None,
                }
            }
            Kind::Word(word) => {
                let key = Text::Plain(word);
                Some((self.advance().start, key))
            }
            Kind::Bad => {
                self.resynchronize();
                None
            }
            Kind::Mark(_) | Kind::Number(_) | Kind::NotANumber(_) | Kind::End => {
                let found = self.token.kind.name();
                self.report.error(self.token.start, found, "a key");
                self.resynchronize();
                None
            }
        }
    }

    /// Takes the colon and the value behind a key.
    fn member_value(&mut self) -> Option<Node<'t>> {
        match self.token.kind {
            Kind::Mark(':') => {
                self.advance();
                Some(self.value())
            }
            // `=` and the like: already reported.
            Kind::Bad => {
                self.advance();
                if self.token.new_line || self.at_mark(',') || self.at_mark('}') {
                    self.resynchronize();
                    return None;
                }
                Some(self.value())
            }
            Kind::Mark(_)
            | Kind::String(_)
            | Kind::Number(_)
            | Kind::Word(_)
            | Kind::NotANumber(_)
            | Kind::End => {
                self.report.error(self.behind, "no `:` behind the key", "`:` and a value");
                self.resynchronize();
                None
            }
        }
    }

    /// Takes the comma behind an entry, or finds the closing mark.
    fn separator(&mut self, close: char, broken: bool) {
        match self.token.kind {
            Kind::Mark(',') => {
                self.advance();
                return;
            }
            Kind::Mark('}' | ']') | Kind::End => return,
            Kind::Mark(_)
            | Kind::String(_)
            | Kind::Number(_)
            | Kind::Word(_)
            | Kind::NotANumber(_)
            | Kind::Bad => {}
        }
        if self.misplaced == Some(self.token.start) || (close == ']' && self.at_members_key()) {
            return;
        }
        if broken {
            if !self.token.new_line {
                self.resynchronize();
            }
            return;
        }
        if !matches!(self.token.kind, Kind::Bad) {
            let expected = format!("`,` or `{close}`");
            self.report.error(self.behind, "no `,` behind the entry", expected);
        }
        if matches!(self.token.kind, Kind::Bad | Kind::Mark(_)) {
            self.resynchronize();
        }
    }

    /// Skips to where the next entry may start, in constant stack. A comma is
    /// taken, a closing mark is not.
    fn resynchronize(&mut self) {
        let mut first = true;
        loop {
            match self.token.kind {
                Kind::End | Kind::Mark('}' | ']') => return,
                Kind::Mark(',') => {
                    self.advance();
                    return;
                }
                Kind::Mark('{' | '[') => {
                    self.skip_nested();
                }
                Kind::Mark(_)
                | Kind::String(_)
                | Kind::Number(_)
                | Kind::Word(_)
                | Kind::NotANumber(_)
                | Kind::Bad => {
                    if self.token.new_line && !first {
                        return;
                    }
                    self.advance();
                }
            }
            first = false;
        }
    }

    /// Whether what follows may be the rest of a secret: something was wrong
    /// since the secret's key, on the same line. A word there is not taken for
    /// a key, lest it be repeated.
    fn may_be_in_secret(&mut self) -> bool {
        if self.token.new_line {
            self.errors_before_secret = None;
        }
        self.errors_before_secret.is_some_and(|before| self.report.errors() > before)
    }

    /// Skips a bracket with everything in it, in constant stack.
    fn skip_nested(&mut self) -> Node<'t> {
        let start = self.token.start;
        let mut depth = 0_usize;
        loop {
            match self.token.kind {
                Kind::Mark('{' | '[') => depth += 1,
                Kind::Mark('}' | ']') => depth -= 1,
                Kind::End => break,
                Kind::Mark(_)
                | Kind::String(_)
                | Kind::Number(_)
                | Kind::Word(_)
                | Kind::NotANumber(_)
                | Kind::Bad => {}
            }
            self.advance();
            if depth == 0 {
                break;
            }
        }
        Node { start, end: self.behind, value: Value::Broken }
    }

    /// The token in words, with its text unless that may be a secret.
    fn found(&self) -> String {
        match &self.token.kind {
            Kind::Number(text) | Kind::NotANumber(text) if self.hush == 0 => shown(text),
            Kind::Word(word) if self.hush == 0 => format!("the bare word {}", shown(word)),
            kind @ (Kind::Mark(_)
            | Kind::String(_)
            | Kind::Number(_)
            | Kind::Word(_)
            | Kind::NotANumber(_)
            | Kind::Bad
            | Kind::End) => kind.name(),
        }
    }
}

impl Kind<'_> {
    /// What kind of token it is; its content may be a piece of a secret.
    fn name(&self) -> String {
        match self {
            Kind::Mark(mark) => format!("`{mark}`"),
            Kind::String(_) => "a text".into(),
            Kind::Number(_) => "a number".into(),
            Kind::Word(_) | Kind::NotANumber(_) => "a text without quotes".into(),
            Kind::Bad => "something unreadable".into(),
            Kind::End => "the end of the file".into(),
        }
    }
}

/// A piece of the text, safe to print.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    format!("`{short}`")
}
