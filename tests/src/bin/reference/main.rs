//! Writes what `docs/keys.toml` says of each key into the reference in
//! `docs/CONFIG.md` and the man page `docs/vippy.conf.5`: `make docs`.

mod man;
mod markdown;
mod prose;
mod source;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

fn main() -> Result<(), Box<dyn Error>> {
    for (path, text) in documents(&read_source()?)? {
        fs::write(path, text)?;
    }
    Ok(())
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn read_source() -> Result<Source, Box<dyn Error>> {
    let path = docs().join("keys.toml");
    let text = fs::read_to_string(&path)?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The files and what belongs in them.
fn documents(source: &Source) -> Result<[(PathBuf, String); 2], Box<dyn Error>> {
    let config = docs().join("CONFIG.md");
    let text = markdown::renewed(&fs::read_to_string(&config)?, source)
        .map_err(|error| format!("{}: {error}", config.display()))?;
    Ok([(config, text), (docs().join("vippy.conf.5"), man::page(source)?)])
}
