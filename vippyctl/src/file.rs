//! Configuration files that an operator hands over.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use vippy_client::MOST_BYTES;
use zeroize::Zeroizing;

use crate::Failure;

/// The text of a file, or of standard input for `-`; wiped when dropped, as a
/// secret may be in it.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let read = if path.as_os_str() == "-" { read_all(io::stdin(), 0) } else { read_file(path) };
    read.map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

fn read_file(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    read_all(file, length)
}

/// In one piece where its length is known, so that growing leaves no copy behind.
fn read_all(from: impl Read, length: u64) -> io::Result<Zeroizing<String>> {
    let room = usize::try_from(length).unwrap_or(MOST_BYTES).min(MOST_BYTES) + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    if from.take(MOST_BYTES as u64 + 1).read_to_string(&mut text)? > MOST_BYTES {
        return Err(io::Error::other(format!("it has more than {MOST_BYTES} bytes")));
    }
    Ok(text)
}
