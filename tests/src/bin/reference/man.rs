//! The man page `vippy.conf(5)`.

use roff::{Inline, Roff, bold, italic, roman};

use super::prose::{Block, Piece, blocks, pieces};
use super::source::{Key, Object, Section, Source};

/// The page, in ASCII.
///
/// # Errors
/// When a text of the source has a mark that is not closed.
pub(crate) fn page(source: &Source) -> Result<String, String> {
    let mut page = Page::default();
    page.head(&source.description)?;
    for section in &source.sections {
        page.section(section)?;
    }
    page.foot();
    Ok(ascii(&page.0.render()))
}

/// A page while it is written.
#[derive(Default)]
struct Page(Roff);

impl Page {
    fn head(&mut self, description: &str) -> Result<(), String> {
        // No word is hyphenated: whoever copies a command gets the command.
        self.control("nr", &["HY", "0"]);
        self.control("TH", &["VIPPY.CONF", "5", "\"\"", "Vippy", "File Formats"]);
        self.heading("Name");
        self.text([roman("vippy.conf - configuration of a cluster of vippyd")]);
        self.heading("Synopsis");
        self.text([bold("/etc/vippy.conf")]);
        self.heading("Description");
        self.prose("PP", description)
    }

    fn foot(&mut self) {
        self.heading("Files");
        let files = [
            ("/etc/vippy.conf", "The configuration; mode 0640 if it holds the secret."),
            ("/usr/share/doc/vippy/examples", "Examples, all valid."),
        ];
        for (path, what) in files {
            self.control("TP", &[]);
            self.text([bold(path)]);
            self.text([roman(what)]);
        }
        self.heading("See also");
        let commands = ["vippyd --help", "vippyctl --help", "vippyctl config --help"];
        for (place, command) in commands.into_iter().enumerate() {
            let end = if place + 1 < commands.len() { "," } else { "" };
            self.text([bold(command), roman(end)]);
        }
    }

    fn section(&mut self, section: &Section) -> Result<(), String> {
        self.heading(&section.title);
        self.prose("PP", &section.text)?;
        section.keys.iter().try_for_each(|key| self.key(key, section.shared))
    }

    fn key(&mut self, key: &Key, shared: bool) -> Result<(), String> {
        self.tagged(&format!("`{}`", key.name), &format!("{} {}", key.facts(), key.scope(shared)))?;
        self.prose("IP", &key.meaning)?;
        if !key.values.is_empty() {
            self.indented(|page| {
                key.values.iter().try_for_each(|(value, meaning)| page.tagged(value, meaning))
            })?;
        }
        self.prose("IP", &format!("*How to choose:*\n{}", key.choose.trim_start()))?;
        key.objects.iter().try_for_each(|object| self.object(object))?;
        self.verbatim("IP", key.example.trim_matches('\n'));
        Ok(())
    }

    fn object(&mut self, object: &Object) -> Result<(), String> {
        self.prose("IP", &format!("{}:", object.title))?;
        self.indented(|page| object.keys.iter().try_for_each(|key| page.inner_key(key)))?;
        self.prose("IP", &object.text)
    }

    fn inner_key(&mut self, key: &Key) -> Result<(), String> {
        self.tagged(&format!("`{}`", key.name), &key.facts())?;
        self.prose("IP", &key.meaning)
    }

    /// A paragraph with a tag at its left.
    fn tagged(&mut self, tag: &str, text: &str) -> Result<(), String> {
        self.control("TP", &[]);
        self.marked(tag)?;
        self.marked(text)
    }

    fn indented(
        &mut self,
        write: impl FnOnce(&mut Page) -> Result<(), String>,
    ) -> Result<(), String> {
        self.control("RS", &[]);
        write(self)?;
        self.control("RE", &[]);
        Ok(())
    }

    /// A text of the source; `begin` is the request that begins a paragraph.
    fn prose(&mut self, begin: &str, text: &str) -> Result<(), String> {
        for block in blocks(text) {
            match block {
                Block::Paragraph(paragraph) => {
                    self.control(begin, &[]);
                    self.marked(paragraph)?;
                }
                Block::Verbatim(lines) => self.verbatim(begin, &lines),
            }
        }
        Ok(())
    }

    fn verbatim(&mut self, begin: &str, lines: &str) {
        self.control(begin, &[]);
        self.control("EX", &[]);
        self.text([roman(lines)]);
        self.control("EE", &[]);
    }

    fn marked(&mut self, text: &str) -> Result<(), String> {
        let inlines: Vec<Inline> = pieces(text)?
            .into_iter()
            .map(|piece| match piece {
                Piece::Plain(text) => roman(text),
                Piece::Code(text) => bold(text),
                Piece::Emphasis(text) => italic(text),
            })
            .collect();
        self.text(inlines);
        Ok(())
    }

    fn heading(&mut self, title: &str) {
        self.control("SH", &[&title.to_uppercase()]);
    }

    fn control(&mut self, request: &str, arguments: &[&str]) {
        self.0.control(request, arguments.iter().copied());
    }

    fn text(&mut self, inlines: impl Into<Vec<Inline>>) {
        self.0.text(inlines);
    }
}

/// Every other character by its number, which no program that shows pages can
/// take for another one.
fn ascii(page: &str) -> String {
    page.chars()
        .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_fonts_and_other_characters_numbers() {
        let mut page = Page::default();
        page.prose("PP", "3 × `stale`,\n.5 or *more*").unwrap();
        let text = ascii(&page.0.to_roff());
        assert_eq!(text, ".PP\n3 \\[u00D7] \\fBstale\\fR,\n\\&.5 or \\fImore\\fR\n");
    }
}
