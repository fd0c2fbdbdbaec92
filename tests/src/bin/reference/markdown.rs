//! The key reference inside `docs/CONFIG.md`.

use std::fmt::Write;

use super::source::{Key, Object, Section, Source};

const BEGIN: &str = "<!-- `make docs` writes what follows from keys.toml -->\n";
const END: &str = "<!-- `make docs` writes what precedes from keys.toml -->\n";

/// The document with the reference between its marks; the rest stays.
///
/// # Errors
/// When it lacks a mark.
pub(crate) fn renewed(document: &str, source: &Source) -> Result<String, String> {
    let lacking = |mark: &str| format!("no line {}", mark.trim_end());
    let (before, rest) = document.split_once(BEGIN).ok_or_else(|| lacking(BEGIN))?;
    let (_former, after) = rest.split_once(END).ok_or_else(|| lacking(END))?;
    Ok(format!("{before}{BEGIN}\n{}{END}{after}", reference(source)))
}

fn reference(source: &Source) -> String {
    let sections = source.sections.iter().map(section);
    std::iter::once(overview(source)).chain(sections).collect()
}

fn overview(source: &Source) -> String {
    let mut text = String::from(
        "## All keys\n\n| key | form | without it | travels |\n| --- | --- | --- | --- |\n",
    );
    for (key, shared) in source.keys() {
        let (name, form, absent) = (&key.name, key.form(), key.absent());
        let shared = if shared { "yes" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| [`{name}`](#{name}) | {form} | {absent} | {shared} |");
    }
    text + "\n"
}

fn section(section: &Section) -> String {
    let mut text = format!("## {}\n\n{}", section.title, paragraphs(&section.text));
    for each in &section.keys {
        text += &key(each, section.shared);
    }
    text
}

fn key(key: &Key, shared: bool) -> String {
    let mut text = format!("### `{}`\n\n{} {}\n\n", key.name, key.facts(), key.scope(shared));
    text += &paragraphs(&key.meaning);
    if !key.values.is_empty() {
        text += "| value | meaning |\n| --- | --- |\n";
        for (value, meaning) in &key.values {
            let _ = writeln!(text, "| {value} | {} |", one_line(meaning));
        }
        text.push('\n');
    }
    text += &paragraphs(&format!("*How to choose:*\n{}", key.choose.trim_start()));
    text.extend(key.objects.iter().map(object));
    for line in key.example.trim_matches('\n').lines() {
        let _ = writeln!(text, "    {line}");
    }
    text + "\n"
}

fn object(object: &Object) -> String {
    let mut text = format!(
        "*{}:*\n\n| key | form | without it | meaning |\n| --- | --- | --- | --- |\n",
        object.title
    );
    for key in &object.keys {
        let (name, form, absent) = (&key.name, key.form(), key.absent());
        let meaning = one_line(&key.meaning);
        let _ = writeln!(text, "| `{name}` | {form} | {absent} | {meaning} |");
    }
    text + "\n" + &paragraphs(&object.text)
}

/// A text with one empty line behind it; nothing where it is empty.
fn paragraphs(text: &str) -> String {
    match text.trim_matches('\n') {
        "" => String::new(),
        text => format!("{text}\n\n"),
    }
}

/// A text inside a table.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
