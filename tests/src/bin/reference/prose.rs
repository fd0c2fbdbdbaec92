//! The few marks of the source's texts. They are Markdown, so only what is no
//! Markdown has to understand them.

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block<'t> {
    Paragraph(&'t str),
    /// Lines to be shown as they are.
    Verbatim(String),
}

/// A piece of a paragraph.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    Plain(&'t str),
    Code(&'t str),
    Emphasis(&'t str),
}

/// The parts of a text, which an empty line separates.
pub(crate) fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    const INDENT: &str = "    ";
    let parts = text.split("\n\n").map(|part| part.trim_matches('\n'));
    parts.filter(|part| !part.is_empty()).map(|part| {
        let lines: Option<Vec<&str>> = part.lines().map(|line| line.strip_prefix(INDENT)).collect();
        match lines {
            Some(lines) => Block::Verbatim(lines.join("\n")),
            None => Block::Paragraph(part),
        }
    })
}

/// The pieces of a paragraph. Of a link only its text is left.
///
/// # Errors
/// A mark that is not closed.
pub(crate) fn pieces(paragraph: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = paragraph;
    while let Some(at) = rest.find(['`', '*', '[']) {
        let (plain, marked) = rest.split_at(at);
        if !plain.is_empty() {
            pieces.push(Piece::Plain(plain));
        }
        let (piece, after) =
            closed(marked).ok_or_else(|| format!("a mark that is not closed: {marked}"))?;
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Plain(rest));
    }
    Ok(pieces)
}

/// The piece that a text begins with, and what comes after it.
fn closed(text: &str) -> Option<(Piece<'_>, &str)> {
    if let Some(text) = text.strip_prefix('`') {
        let (code, after) = text.split_once('`')?;
        return Some((Piece::Code(code), after));
    }
    if let Some(text) = text.strip_prefix('*') {
        let (emphasis, after) = text.split_once('*')?;
        return Some((Piece::Emphasis(emphasis), after));
    }
    let (text, after) = text.strip_prefix('[')?.split_once("](")?;
    let (_address, after) = after.split_once(')')?;
    Some((Piece::Plain(text), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_paragraphs_and_lines_shown_as_they_are() {
        let found: Vec<_> = blocks("one\nline\n\n    a\n      b\n\ntwo\n").collect();
        let verbatim = Block::Verbatim("a\n  b".to_owned());
        assert_eq!(found, [Block::Paragraph("one\nline"), verbatim, Block::Paragraph("two")]);
    }

    #[test]
    fn marks_are_found_and_those_in_code_are_code() {
        let found = pieces("see `a[*]`, *here* or [there](x.md).").unwrap();
        let wanted = [
            Piece::Plain("see "),
            Piece::Code("a[*]"),
            Piece::Plain(", "),
            Piece::Emphasis("here"),
            Piece::Plain(" or "),
            Piece::Plain("there"),
            Piece::Plain("."),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_mark_that_is_not_closed_is_told() {
        for text in ["a `b", "a *b", "a [b", "a [b](c"] {
            assert!(pieces(text).is_err(), "{text}");
        }
    }
}
