//! What programs say, fit for a log.

/// Without what would end a line or change a terminal, and cut off after so many bytes.
pub(super) fn printable(text: &str, longest: usize) -> String {
    let cut = &text[..text.floor_char_boundary(longest)];
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
