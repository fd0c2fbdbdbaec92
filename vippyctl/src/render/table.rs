//! Columns: as wide as their widest cell, the last one wrapping under itself.

use unicode_width::UnicodeWidthStr;

use super::{Style, Tone};

/// Columns between two cells.
const GAP: usize = 2;

/// The last column never gets narrower, even if lines grow too long.
const NARROWEST: usize = 20;

/// A piece of text and what it is.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(tone: Tone, text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone }
    }

    pub(super) fn plain(text: impl Into<String>) -> Cell {
        Cell::new(Tone::Plain, text)
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// A line of a table, and remarks that stand below its last cell.
#[derive(Clone, Debug)]
pub(super) struct Row<const COLUMNS: usize> {
    pub(super) cells: [Cell; COLUMNS],
    pub(super) notes: Vec<Cell>,
}

/// The rows below a heading.
pub(super) fn table<const COLUMNS: usize>(
    heading: [&str; COLUMNS],
    rows: &[Row<COLUMNS>],
    style: Style,
    width: usize,
) -> String {
    let cells = heading.map(|text| Cell::new(Tone::Heading, text));
    let heading = Row { cells, notes: Vec::new() };
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let all = std::iter::once(&heading).chain(rows);
        all.map(|row| row.cells[column].width()).max().unwrap_or(0)
    });
    let layout = Layout { widths, style, width };
    std::iter::once(&heading).chain(rows).map(|row| layout.row(row)).collect()
}

struct Layout<const COLUMNS: usize> {
    widths: [usize; COLUMNS],
    style: Style,
    width: usize,
}

impl<const COLUMNS: usize> Layout<COLUMNS> {
    fn row(&self, row: &Row<COLUMNS>) -> String {
        let Some((last, leading)) = row.cells.split_last() else { return String::new() };
        let mut line = String::new();
        let mut indent = 0;
        for (cell, width) in leading.iter().zip(self.widths) {
            line += &self.style.paint(cell.tone, &cell.text);
            line += &" ".repeat(width - cell.width() + GAP);
            indent += width + GAP;
        }
        let room = self.width.saturating_sub(indent).max(NARROWEST);
        let below = std::iter::once(last).chain(&row.notes);
        let lines = below.flat_map(|cell| {
            let wrapped = wrap(&cell.text, room);
            wrapped.into_iter().map(|text| self.style.paint(cell.tone, &text))
        });
        let text: Vec<String> = lines.collect();
        line += &text.join(&format!("\n{}", " ".repeat(indent)));
        format!("{}\n", line.trim_end())
    }
}

/// Breaks at spaces so that no line is wider than `width`, if no word is; at
/// least one line.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_ascii_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_only() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("longer than it", 3), ["longer", "than", "it"]);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn columns_align_by_what_is_seen_not_by_bytes_or_escapes() {
        let row = |first: &str, tone| Row {
            cells: [Cell::new(tone, first), Cell::plain("x")],
            notes: vec![Cell::plain("note")],
        };
        let rows = [row("\u{5bb6}", Tone::Bad), row("ab", Tone::Plain)];
        let plain = table(["", ""], &rows, Style::Plain, 80);
        assert_eq!(plain, "\n\u{5bb6}  x\n    note\nab  x\n    note\n");
        let coloured = table(["", ""], &rows, Style::Coloured, 80);
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string().trim(), plain.trim());
    }
}
