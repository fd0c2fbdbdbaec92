//! From text to a tree with positions.
//!
//! Reads JSON5 (which contains JSON): comments, trailing commas, single
//! quotes, bare keys, hexadecimal numbers, `+1`, `.5` and so on. Two small
//! differences: a bare key may contain `-` (so `arp-cache: 15` needs no
//! quotes), and it may not contain `\u` escapes.
//!
//! The reader is our own because it must go on after an error, place every
//! error exactly, and never repeat what may be a secret. A string ends at the
//! end of its line, so a forgotten quote is reported where it was forgotten.
//! Nesting is bounded, every step is linear in the size of the text.

mod lexer;
mod lines;
mod strings;
mod syntax;
#[cfg(test)]
mod tests;
mod tree;

pub(super) use lexer::is_number;
pub(super) use lines::Lines;
pub(super) use syntax::read;
pub(super) use tree::{Member, Node, Tree, Value, push_key};
