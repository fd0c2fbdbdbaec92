//! From byte offsets to lines and columns.

/// Bytes between two remembered positions: a lookup walks at most this far, so
/// many problems on one enormous line do not take quadratic time.
const STRIDE: usize = 256;

/// The positions in one text.
pub(in crate::config) struct Lines<'t> {
    text: &'t str,
    /// Ascending by offset; the first is the start of the text.
    marks: Vec<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    offset: usize,
    line: usize,
    column: usize,
}

impl Mark {
    /// The position after `c`, which stands here before `next`.
    fn after(self, c: char, next: Option<u8>) -> Mark {
        let offset = self.offset + c.len_utf8();
        let ends_line = c == '\n' || (c == '\r' && next != Some(b'\n'));
        if ends_line {
            Mark { offset, line: self.line + 1, column: 1 }
        } else {
            Mark { offset, column: self.column + 1, ..self }
        }
    }
}

impl<'t> Lines<'t> {
    pub(in crate::config) fn new(text: &'t str) -> Self {
        let mut here = Mark { offset: 0, line: 1, column: 1 };
        let mut marks = vec![here];
        for c in text.chars() {
            let next = text.as_bytes().get(here.offset + c.len_utf8()).copied();
            here = here.after(c, next);
            if marks.last().is_none_or(|last| here.offset - last.offset >= STRIDE) {
                marks.push(here);
            }
        }
        Lines { text, marks }
    }

    /// Line and column of a byte offset, both from 1. An offset behind the end
    /// counts as the end.
    pub(in crate::config) fn position(&self, offset: usize) -> (usize, usize) {
        let after = self.marks.partition_point(|mark| mark.offset <= offset);
        let mut here = self.marks[after.saturating_sub(1)];
        for c in self.text[here.offset..].chars() {
            if here.offset >= offset {
                break;
            }
            let next = self.text.as_bytes().get(here.offset + c.len_utf8()).copied();
            here = here.after(c, next);
        }
        (here.line, here.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_every_line_ending_counts_once() {
        let text = "aä\"b\r\nc\rd\n\ne";
        let lines = Lines::new(text);
        let at = |needle: char| lines.position(text.find(needle).unwrap());
        assert_eq!(at('a'), (1, 1));
        assert_eq!(at('b'), (1, 4));
        assert_eq!(at('c'), (2, 1));
        assert_eq!(at('d'), (3, 1));
        assert_eq!(at('e'), (5, 1));
        assert_eq!(lines.position(999), (5, 2));
    }

    #[test]
    fn positions_far_into_one_long_line_are_exact() {
        let text = "ä".repeat(10_000);
        assert_eq!(Lines::new(&text).position(2 * 7_777), (1, 7_778));
    }
}
