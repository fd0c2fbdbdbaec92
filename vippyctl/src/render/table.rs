//! Columns: as wide as their widest cell, the last one wrapping under itself, or
//! on lines of its own where the terminal is too narrow for that.

use unicode_width::UnicodeWidthStr;

use super::{Style, Tone};

/// Columns between two cells.
const GAP: usize = 2;

/// Where less is left for the last column it moves to lines of its own.
const NARROWEST: usize = 12;

/// How far those lines are indented.
const FOLDED: usize = 5;

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

    fn longest_word(&self) -> usize {
        self.text.split_ascii_whitespace().map(UnicodeWidthStr::width).max().unwrap_or(0)
    }
}

/// A line of a table, and remarks that stand below its last cell.
#[derive(Clone, Debug)]
pub(super) struct Row<const COLUMNS: usize> {
    pub(super) cells: [Cell; COLUMNS],
    pub(super) notes: Vec<Cell>,
}

impl<const COLUMNS: usize> Row<COLUMNS> {
    /// The last cell and the remarks.
    fn tail(&self) -> impl Iterator<Item = &Cell> {
        self.cells.last().into_iter().chain(&self.notes)
    }
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
    let leading = widths.split_last().map_or(0, |(_, leading)| leading.iter().sum());
    let leading = leading + GAP * COLUMNS.saturating_sub(1);
    let room = width.saturating_sub(leading);
    let longest = rows.iter().flat_map(Row::tail).map(Cell::longest_word).max().unwrap_or(0);
    let folded = room < longest.max(NARROWEST);
    let indent = if folded { FOLDED } else { leading };
    let room = width.saturating_sub(indent);
    let layout = Layout { widths, style, folded, indent, room };
    std::iter::once(&heading).chain(rows).map(|row| layout.row(row)).collect()
}

struct Layout<const COLUMNS: usize> {
    widths: [usize; COLUMNS],
    style: Style,
    /// The last column stands on lines of its own.
    folded: bool,
    /// Where the last column begins.
    indent: usize,
    /// How wide it may be.
    room: usize,
}

impl<const COLUMNS: usize> Layout<COLUMNS> {
    fn row(&self, row: &Row<COLUMNS>) -> String {
        let Some((_, leading)) = row.cells.split_last() else { return String::new() };
        let mut line = String::new();
        for (cell, width) in leading.iter().zip(self.widths) {
            line += &self.style.paint(cell.tone, &cell.text);
            line += &" ".repeat(width - cell.width() + GAP);
        }
        let lines = row.tail().flat_map(|cell| {
            let wrapped = wrap(&cell.text, self.room);
            wrapped.into_iter().map(|text| self.style.paint(cell.tone, &text))
        });
        let text: Vec<String> = lines.collect();
        let below = format!("\n{}", " ".repeat(self.indent));
        if self.folded {
            line.truncate(line.trim_end().len());
            line += &below;
        }
        line += &text.join(&below);
        format!("{}\n", line.trim_end())
    }
}

/// Pieces with commas between them, broken between pieces only.
pub(super) fn listed(pieces: &[Cell], style: Style, width: usize) -> String {
    let (mut text, mut column) = (String::new(), 0);
    for (index, piece) in pieces.iter().enumerate() {
        let comma = usize::from(index + 1 < pieces.len());
        if index > 0 && column + 1 + piece.width() + comma > width {
            text += "\n";
            column = 0;
        } else if index > 0 {
            text += " ";
            column += 1;
        }
        text += &style.paint(piece.tone, &piece.text);
        text += &",".repeat(comma);
        column += piece.width() + comma;
    }
    text
}

/// Breaks at spaces so that no line is wider than `width`, if no word is; at
/// least one line. Words are never cut.
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
