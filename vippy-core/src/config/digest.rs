//! The digest: what two nodes compare to know that they agree (O5).

use std::fmt::Write;

use sha2::{Digest as _, Sha256};

use super::model::{Digest, Group, SharedPart};
use crate::time::micros;

/// The canonical text of the shared part, whose SHA-256 is the digest.
///
/// ASCII text; every line ends with one line feed (byte 10), the last one too;
/// the parts of a line are separated by one space (byte 32); nothing else is
/// in it. Numbers are decimal without sign, leading zeros or separators. The
/// lines, in this order:
///
/// ```text
/// vippy-shared 1
/// version VERSION
/// interval MICROSECONDS
/// mature MICROSECONDS
/// stale MICROSECONDS
/// node NAME                      one line per node, in configuration order
/// group NAME PREFER MOVE         one line per group, in configuration order,
/// address ADDRESS/PREFIX         each followed by one line per address of
///                                that group, in configuration order
/// ```
///
/// - `1` in the first line is the version of this text's format.
/// - Spans are whole microseconds, rounded to nearest when read.
/// - A group's `NAME` is its name, or `-` when it has none; `PREFER` is the
///   name of the node it prefers, or `-`. No name is `-`: names start with a
///   letter, a digit or `_`.
/// - `MOVE` is `exclusive` or `overlap`.
/// - An IPv4 `ADDRESS` is four decimal numbers with dots; an IPv6 one is
///   written as RFC 5952 says (lower case, the longest run of zeros as `::`).
///   `PREFIX` is always written, for single addresses too (32 or 128).
///
/// Interface names, all keys of the local part, comments, layout and the way
/// something is written (array or object form, `0.5` or `.5`, quotes) are not
/// in it.
///
/// For example:
///
/// ```text
/// vippy-shared 1
/// version 5
/// interval 500000
/// mature 5000000
/// stale 5000000
/// node node1
/// node node2
/// group - - overlap
/// address 10.8.3.195/24
/// group - node2 overlap
/// address 10.8.99.147/24
/// group web node1 exclusive
/// address 10.8.99.149/24
/// address fd00::1:149/64
/// ```
pub fn canonical_text(shared: &SharedPart) -> String {
    let mut text = String::from("vippy-shared 1\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "version {}", shared.version);
    let _ = writeln!(text, "interval {}", micros(shared.interval));
    let _ = writeln!(text, "mature {}", micros(shared.mature));
    let _ = writeln!(text, "stale {}", micros(shared.stale));
    for node in &shared.nodes {
        let _ = writeln!(text, "node {}", node.name);
    }
    for group in &shared.groups {
        push_group(&mut text, shared, group);
    }
    text
}

/// First 16 bytes of the SHA-256 of [`canonical_text`]. The field
/// [`SharedPart::digest`] itself has no part in it.
pub fn digest(shared: &SharedPart) -> Digest {
    let hash = Sha256::digest(canonical_text(shared).as_bytes());
    let mut digest = Digest::default();
    digest.0.copy_from_slice(&hash[..16]);
    digest
}

fn push_group(text: &mut String, shared: &SharedPart, group: &Group) {
    let name = group.name.as_deref().unwrap_or("-");
    let prefer = group.prefer.map_or("-", |index| shared.nodes[index.get()].name.as_str());
    let how = if group.exclusive { "exclusive" } else { "overlap" };
    let _ = writeln!(text, "group {name} {prefer} {how}");
    for address in &group.addresses {
        let _ = writeln!(text, "address {}/{}", address.ip(), address.net.prefix_len());
    }
}
