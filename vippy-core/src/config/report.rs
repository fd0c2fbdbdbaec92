//! Collects problems while a configuration is read, and places them.
//!
//! A problem is noted with a byte offset only; line, column and path follow
//! from the text and the tree when everything is read.

use super::Problem;
use super::text::{Lines, Tree, push_key};

/// More than anybody reads; bounds memory and log for a file of garbage.
const MOST_PROBLEMS: usize = 1_000;

/// Problems and warnings noted so far.
#[derive(Default)]
pub(super) struct Report {
    errors: Notes,
    warnings: Notes,
}

#[derive(Default)]
struct Notes {
    notes: Vec<Note>,
    /// Notes beyond [`MOST_PROBLEMS`], only counted.
    further: usize,
    /// Takes the details of notes that are only counted.
    spare: Note,
}

/// A problem without its place.
#[derive(Default)]
pub(super) struct Note {
    at: usize,
    key: Option<&'static str>,
    found: String,
    first_at: Option<usize>,
    expected: String,
    hint: Option<String>,
}

impl Note {
    /// Says what was probably meant.
    pub(super) fn hint(&mut self, hint: impl Into<String>) -> &mut Note {
        self.hint = Some(hint.into());
        self
    }

    /// As [`Note::hint`], when there is one.
    pub(super) fn maybe_hint(&mut self, hint: Option<impl Into<String>>) -> &mut Note {
        self.hint = hint.map(Into::into);
        self
    }

    /// Names the place where the same thing stood first.
    pub(super) fn first_at(&mut self, offset: usize) -> &mut Note {
        self.first_at = Some(offset);
        self
    }

    /// Appends a key that is not in the text to the path.
    pub(super) fn key(&mut self, key: &'static str) -> &mut Note {
        self.key = Some(key);
        self
    }
}

impl Notes {
    fn add(&mut self, at: usize, found: String, expected: String) -> &mut Note {
        let note = Note { at, found, expected, ..Note::default() };
        if self.notes.len() < MOST_PROBLEMS {
            self.notes.push(note);
        } else {
            self.further += 1;
            self.spare = note;
        }
        self.notes.last_mut().filter(|_| self.further == 0).unwrap_or(&mut self.spare)
    }

    fn place(mut self, place: &Place<'_, '_>) -> Vec<Problem> {
        self.notes.sort_by_key(|note| note.at);
        let mut problems: Vec<_> = self.notes.into_iter().map(|note| place.problem(note)).collect();
        if self.further > 0 {
            problems.push(place.problem(Note {
                at: usize::MAX,
                found: format!("{} further problems", self.further),
                expected: "none".into(),
                ..Note::default()
            }));
        }
        problems
    }
}

impl Report {
    /// Notes something that makes the configuration unusable.
    pub(super) fn error(
        &mut self,
        at: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> &mut Note {
        self.errors.add(at, found.into(), expected.into())
    }

    /// Notes something that works but is probably not wanted.
    pub(super) fn warn(
        &mut self,
        at: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> &mut Note {
        self.warnings.add(at, found.into(), expected.into())
    }

    /// Whether further errors are only counted, so that their details are not
    /// worth the work.
    pub(super) fn is_full(&self) -> bool {
        self.errors.notes.len() >= MOST_PROBLEMS
    }

    /// How many errors are noted.
    pub(super) fn errors(&self) -> usize {
        self.errors.notes.len() + self.errors.further
    }

    /// Where errors are, in the order in which they were noted.
    pub(super) fn error_places(&self) -> impl Iterator<Item = usize> {
        self.errors.notes.iter().map(|note| note.at)
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.notes.is_empty()
    }

    /// Errors and warnings in the order of the text.
    pub(super) fn place(
        self,
        file: &str,
        text: &str,
        tree: &Tree<'_>,
    ) -> (Vec<Problem>, Vec<Problem>) {
        let place = Place { file, lines: Lines::new(text), tree };
        (self.errors.place(&place), self.warnings.place(&place))
    }
}

struct Place<'t, 's> {
    file: &'t str,
    lines: Lines<'t>,
    tree: &'t Tree<'s>,
}

impl Place<'_, '_> {
    fn problem(&self, note: Note) -> Problem {
        let (line, column) = self.lines.position(note.at);
        let mut path = self.tree.path_at(note.at);
        if let Some(key) = note.key {
            push_key(&mut path, key);
        }
        let mut found = note.found;
        if let Some(first) = note.first_at {
            let (line, column) = self.lines.position(first);
            found = format!("{found} a second time (the first is at {line}:{column})");
        }
        Problem {
            file: self.file.into(),
            line,
            column,
            path,
            found,
            expected: note.expected,
            hint: note.hint,
        }
    }
}
