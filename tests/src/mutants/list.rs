//! The broken variants, one file each in `tests/mutants`.
//!
//! ```text
//! rule: O8
//! breaks: the old owner lets go before anybody has it
//! --- text of vippy-core/src/group.rs
//! situation.theirs && situation.relieved
//! --- becomes
//! situation.theirs
//! ```
//!
//! A file may hold several pairs of text and replacement. The text is an
//! expression or whole statements and occurs exactly once in the file it names.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A rule broken on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its name: that of its file, without extension.
    pub name: String,
    /// The rule of the design that it breaks.
    pub rule: String,
    /// What is wrong, in a few words.
    pub breaks: String,
    /// What stands where, and what takes its place.
    pub edits: Vec<Edit>,
}

/// One place that a mutant changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The source file, from the top of the repository.
    pub file: PathBuf,
    /// The text of today.
    pub text: String,
    /// The broken text.
    pub becomes: String,
}

/// Why a list of mutants is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The mutant's file or name.
    pub mutant: String,
    /// What is wrong, and what was expected.
    pub what: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mutant {}: {}", self.mutant, self.what)
    }
}

impl std::error::Error for Unusable {}

fn unusable(mutant: impl fmt::Display, what: impl fmt::Display) -> Unusable {
    Unusable { mutant: mutant.to_string(), what: what.to_string() }
}

/// The top of the repository.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// All mutants, by name.
///
/// # Errors
/// A file that cannot be read or says too little.
pub fn read() -> Result<Vec<Mutant>, Unusable> {
    let folder = repository().join("tests/mutants");
    let entries = fs::read_dir(&folder).map_err(|error| unusable(folder.display(), error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "mutant"))
        .collect();
    files.sort();
    files.iter().map(|file| read_one(file)).collect()
}

fn read_one(file: &Path) -> Result<Mutant, Unusable> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = fs::read_to_string(file).map_err(|error| unusable(&name, error))?;
    parse(&name, &text)
}

/// Reads one mutant's file.
///
/// # Errors
/// A missing part.
pub fn parse(name: &str, text: &str) -> Result<Mutant, Unusable> {
    let mut blocks = text.split("\n--- ");
    let head = blocks.next().unwrap_or_default();
    let value = |key: &str| {
        let found = head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        found.map(str::to_owned).ok_or_else(|| unusable(name, format!("no line `{key}: …`")))
    };
    let blocks: Vec<(&str, &str)> =
        blocks.map(|block| block.split_once('\n').unwrap_or((block, ""))).collect();
    let edits = blocks.chunks(2).map(|pair| match pair {
        [(place, text), ("becomes", becomes)] if place.starts_with("text of ") => Ok(Edit {
            file: place.trim_start_matches("text of ").trim().into(),
            text: text.trim().to_owned(),
            becomes: becomes.trim().to_owned(),
        }),
        _ => Err(unusable(name, "blocks are `--- text of FILE` and `--- becomes`, in turns")),
    });
    let edits: Vec<Edit> = edits.collect::<Result<_, _>>()?;
    if edits.is_empty() {
        return Err(unusable(name, "no block `--- text`: it changes nothing"));
    }
    Ok(Mutant { name: name.to_owned(), rule: value("rule")?, breaks: value("breaks")?, edits })
}

/// `source` with one edit of the mutant `name` behind its switch.
///
/// # Errors
/// A text that does not occur exactly once: the mutant no longer applies.
pub fn apply(source: &str, name: &str, edit: &Edit) -> Result<String, Unusable> {
    let Edit { file, text, becomes } = edit;
    match source.matches(text.as_str()).count() {
        1 => Ok(source.replace(text.as_str(), &switched(name, text, becomes))),
        found => {
            let place = file.display();
            let what = format!(
                "no longer applies: its text occurs {found} times in {place}, expected once:\n{text}"
            );
            Err(unusable(name, what))
        }
    }
}

fn switched(name: &str, text: &str, becomes: &str) -> String {
    let choice = format!("if crate::mutant::on(\"{name}\") {{\n{becomes}\n}} else {{\n{text}\n}}");
    // An expression may stand among operators; statements may not be in brackets.
    if text.ends_with([';', '}']) { choice } else { format!("({choice})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "rule: O8\nbreaks: lets go at once\n\
                        --- text of vippy-core/src/group.rs\na && b\n--- becomes\na\n";

    #[test]
    fn a_file_names_rule_place_and_edits() {
        let mutant = parse("eager", FILE).unwrap();
        assert_eq!((mutant.rule.as_str(), mutant.breaks.as_str()), ("O8", "lets go at once"));
        let file = "vippy-core/src/group.rs".into();
        assert_eq!(mutant.edits, [Edit { file, text: "a && b".into(), becomes: "a".into() }]);
        assert!(parse("eager", "rule: O8\n").unwrap_err().what.contains("changes nothing"));
    }

    #[test]
    fn a_text_that_is_gone_or_no_longer_unique_is_an_error() {
        let mutant = parse("eager", FILE).unwrap();
        let broken = apply("x(a && b)", "eager", &mutant.edits[0]).unwrap();
        assert!(broken.starts_with("x((if crate::mutant::on(\"eager\") {\na\n}"), "{broken}");
        for source in ["x(c)", "x(a && b); y(a && b)"] {
            let error = apply(source, "eager", &mutant.edits[0]).unwrap_err().to_string();
            assert!(error.contains("no longer applies"), "{error}");
        }
    }

    #[test]
    fn every_mutant_of_the_list_still_applies_to_the_sources() {
        let mutants = read().unwrap();
        assert!(mutants.len() >= 16, "a dozen or more: {}", mutants.len());
        let broken = super::super::workshop::mutated_sources(&mutants);
        broken.unwrap_or_else(|error| panic!("{error}"));
    }
}
