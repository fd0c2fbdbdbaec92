//! Configuration files that an operator hands over.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use vippy_client::{ConfigFile, MOST_BYTES};
use zeroize::Zeroizing;

use crate::Failure;

/// A file, or standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<ConfigFile, Failure> {
    let name = path.display().to_string();
    let read = if name == "-" { read_all(io::stdin(), 0) } else { read_file(path) };
    match read {
        Ok(text) => Ok(ConfigFile { name, text }),
        Err(error) => Err(format!("cannot read {name}: {error}").into()),
    }
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
