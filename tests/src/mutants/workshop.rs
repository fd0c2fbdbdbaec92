//! The copy of the core in which every mutant waits behind its switch.
//!
//! Lies in `target/mutants`: a workspace of two crates with the lock file and
//! the profiles of the real one, so that a second build is short.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::list::{Mutant, apply, repository};

/// The environment variable that names the mutant to let loose.
pub const SWITCH: &str = "VIPPY_MUTANT";

/// Read once: which mutant is on cannot change while a process runs.
const SWITCHBOARD: &str = r#"//! Which mutant is let loose.
use std::sync::OnceLock;

static LOOSE: OnceLock<String> = OnceLock::new();

pub(crate) fn on(name: &str) -> bool {
    LOOSE.get_or_init(|| std::env::var("VIPPY_MUTANT").unwrap_or_default()) == name
}
"#;

/// What of the test crate the copy needs.
const COPIED: [&str; 3] = ["tests/src/sim", "tests/src/replay.rs", "tests/src/bin/trial.rs"];

const TRIAL_CRATE: &str = r#"[package]
name = "vippy-tests"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true

[dependencies]
vippy-core.workspace = true
ipnet.workspace = true
serde_json.workspace = true
zeroize.workspace = true
"#;

/// The sources that mutants change, changed.
///
/// # Errors
/// A mutant that no longer applies, or a source that cannot be read.
pub fn mutated_sources(mutants: &[Mutant]) -> io::Result<BTreeMap<PathBuf, String>> {
    let mut sources = BTreeMap::new();
    let edits =
        mutants.iter().flat_map(|mutant| mutant.edits.iter().map(move |edit| (mutant, edit)));
    for (mutant, edit) in edits {
        let source = match sources.remove(&edit.file) {
            Some(source) => source,
            None => fs::read_to_string(repository().join(&edit.file))?,
        };
        let broken = apply(&source, &mutant.name, edit).map_err(io::Error::other)?;
        sources.insert(edit.file.clone(), broken);
    }
    Ok(sources)
}

/// Builds the copy and names its `trial` program.
///
/// # Errors
/// A mutant that no longer applies or does not compile.
pub fn build(mutants: &[Mutant]) -> io::Result<PathBuf> {
    let shop = repository().join("target/mutants");
    lay_out(&shop, mutants)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let outcome = Command::new(cargo)
        .args(["build", "--release", "--offline", "--quiet", "--bin", "trial"])
        .current_dir(&shop)
        .env("CARGO_TARGET_DIR", shop.join("target"))
        .env("RUSTFLAGS", "-Awarnings")
        .status()?;
    if !outcome.success() {
        return Err(io::Error::other(format!("the mutated core does not compile: {outcome}")));
    }
    Ok(shop.join("target/release/trial"))
}

fn lay_out(shop: &Path, mutants: &[Mutant]) -> io::Result<()> {
    let top = repository();
    let mut files = BTreeMap::new();
    for folder in ["vippy-core/src", "vippy-core/benches"].into_iter().chain(COPIED) {
        collect(&top, Path::new(folder), &mut files)?;
    }
    for file in ["vippy-core/Cargo.toml", "Cargo.lock"] {
        files.insert(file.into(), fs::read_to_string(top.join(file))?);
    }
    files.extend(mutated_sources(mutants)?);
    let core = files.entry("vippy-core/src/lib.rs".into()).or_default();
    core.push_str("\nmod mutant;\n");
    files.insert("vippy-core/src/mutant.rs".into(), SWITCHBOARD.to_owned());
    let workspace = fs::read_to_string(top.join("Cargo.toml"))?;
    files.insert("Cargo.toml".into(), smaller(&workspace));
    files.insert("tests/Cargo.toml".into(), TRIAL_CRATE.to_owned());
    files.insert("tests/src/lib.rs".into(), "pub mod replay;\npub mod sim;\n".to_owned());
    remove_others(shop, &files)?;
    for (file, text) in &files {
        write_if_new(&shop.join(file), text)?;
    }
    Ok(())
}

/// The workspace's manifest with the two crates that are copied.
fn smaller(workspace: &str) -> String {
    let line = |line: &str| match line.starts_with("members = ") {
        true => "members = [\"vippy-core\", \"tests\"]\n".to_owned(),
        false => format!("{line}\n"),
    };
    workspace.lines().map(line).collect()
}

fn collect(top: &Path, path: &Path, files: &mut BTreeMap<PathBuf, String>) -> io::Result<()> {
    let whole = top.join(path);
    if whole.is_file() {
        files.insert(path.to_owned(), fs::read_to_string(whole)?);
        return Ok(());
    }
    for entry in fs::read_dir(whole)? {
        collect(top, &path.join(entry?.file_name()), files)?;
    }
    Ok(())
}

/// A file that is already what it should be stays: cargo then builds less.
fn write_if_new(file: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(file).is_ok_and(|present| present == text) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text)
}

/// Removes sources of an earlier copy that have gone since.
fn remove_others(shop: &Path, files: &BTreeMap<PathBuf, String>) -> io::Result<()> {
    let mut present = BTreeMap::new();
    for folder in ["vippy-core/src", "vippy-core/benches", "tests/src"] {
        if shop.join(folder).is_dir() {
            collect(shop, Path::new(folder), &mut present)?;
        }
    }
    for file in present.keys().filter(|file| !files.contains_key(*file)) {
        fs::remove_file(shop.join(file))?;
    }
    Ok(())
}
