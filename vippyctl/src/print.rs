//! Standard output: is it a terminal, how wide, and is anybody still reading?

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};

use crate::Failure;
use crate::render::Style;

/// Colours on a terminal only, and not against `NO_COLOR`.
pub(crate) fn style() -> Style {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => Style::Plain,
        ColorChoice::Auto | ColorChoice::AlwaysAnsi | ColorChoice::Always => Style::Coloured,
    }
}

/// Columns of the terminal; whatever is not one takes lines of any length.
pub(crate) fn width() -> usize {
    terminal_size::terminal_size_of(io::stdout())
        .map_or(usize::MAX, |(width, _)| usize::from(width.0))
}

/// Prints; a reader that has seen enough (`| head`) is no failure.
pub(crate) fn out(text: &str) -> Result<(), Failure> {
    more(text).map(drop)
}

/// Prints; false when nobody reads any more.
pub(crate) fn more(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
