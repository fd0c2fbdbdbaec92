//! Secrets that are not in the configuration itself: files, and credentials of
//! the service manager.
//!
//! Blocks. Which files it takes is said by the configuration, and what their
//! lines mean by `vippy_core::config`; here they are found, read and wiped.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use thiserror::Error;
use vippy_core::config::{Problem, Secret, SecretFile, SecretTexts};
use vippy_core::status::PeerStatus;
use vippy_core::wire::auth::KeyId;
use zeroize::Zeroizing;

/// No file of secrets has more bytes.
const LIMIT: usize = 16 << 10;

/// Who may not even look at a file with a secret.
const OTHERS: u32 = 0o007;

/// Why a file of secrets cannot be read.
#[derive(Debug, Error)]
enum SecretError {
    #[error(
        "no credential {0}: $CREDENTIALS_DIRECTORY is not set; expected LoadCredential= or \
         SetCredentialEncrypted= in the unit that starts vippyd"
    )]
    NoCredentials(String),
    #[error("cannot read {}: {source}; expected a file of secrets, one a line", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
}

/// Secrets in their order, and what is risky about them.
#[derive(Debug, Default)]
pub struct Found {
    /// The secrets.
    pub secrets: Vec<Secret>,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Reads all of the files; credentials are in the directory given, if any.
///
/// # Errors
/// Everything that is wrong with any of them, one line each.
pub fn read(files: &[SecretFile], credentials: Option<&Path>) -> Result<Found, Vec<String>> {
    let mut texts = SecretTexts::default();
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for file in files {
        match read_one(file, credentials) {
            Ok((path, metadata, bytes)) => {
                warnings.extend(exposure(&path, &metadata));
                texts.add(&path.display().to_string(), &bytes);
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    match texts.finish() {
        Ok((secrets, risks)) if errors.is_empty() => {
            warnings.extend(risks.iter().map(Problem::to_string));
            Ok(Found { secrets, warnings })
        }
        Ok(_) => Err(errors),
        Err(problems) => {
            errors.extend(problems.iter().map(Problem::to_string));
            Err(errors)
        }
    }
}

type Contents = (PathBuf, Metadata, Zeroizing<Vec<u8>>);

fn read_one(file: &SecretFile, credentials: Option<&Path>) -> Result<Contents, SecretError> {
    let path = match (file, credentials) {
        (SecretFile::Path(path), _) => path.clone(),
        (SecretFile::Credential(name), Some(directory)) => directory.join(name),
        (SecretFile::Credential(name), None) => {
            return Err(SecretError::NoCredentials(name.clone()));
        }
    };
    match contents(&path) {
        Ok((metadata, bytes)) => Ok((path, metadata, bytes)),
        Err(source) => Err(SecretError::Unreadable { path, source }),
    }
}

/// Never waits for whoever writes into a pipe.
fn contents(path: &Path) -> io::Result<(Metadata, Zeroizing<Vec<u8>>)> {
    let file: File =
        OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    // In one piece, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT + 1));
    if file.take(LIMIT as u64 + 1).read_to_end(&mut bytes)? > LIMIT {
        return Err(io::Error::other(format!("it has more than {LIMIT} bytes")));
    }
    Ok((metadata, bytes))
}

/// What to say of a file with a secret that others than its owner and group may
/// read or write.
pub fn exposure(path: &Path, metadata: &Metadata) -> Option<String> {
    let mode = metadata.mode() & 0o7777;
    (mode & OTHERS != 0).then(|| {
        format!(
            "{}: found mode {mode:04o}, expected 0640 or less: it holds a secret, and every user \
             of this host may use it",
            path.display()
        )
    })
}

/// Warnings about peers that sign with a key that is not among these: from now
/// on they are not heard.
pub fn unheard(peers: &[PeerStatus], keys: &[KeyId]) -> Vec<String> {
    let known: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let unheard = peers.iter().filter(|peer| peer.alive).filter_map(|peer| {
        let key = peer.key.as_ref().filter(|key| !known.contains(key))?;
        Some(format!(
            "{} signs with key {key}, which this node does not know any more: it is not heard; \
             expected every node on the new key before the old one goes",
            peer.name
        ))
    });
    unheard.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GOOD: &str = "hunter2-hunter2-hunter2";

    fn file(dir: &Path, name: &str, text: &str, mode: u32) -> SecretFile {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        SecretFile::Path(path)
    }

    /// What is wrong, with the directory's name left out and no secret in it.
    fn problems(dir: &Path, files: &[SecretFile]) -> Vec<String> {
        let prefix = format!("{}/", dir.display());
        let told = read(files, None).unwrap_err();
        let told: Vec<_> = told.iter().map(|problem| problem.replace(&prefix, "")).collect();
        assert!(told.iter().all(|problem| !problem.contains("hunter2")), "{told:?}");
        told
    }

    #[test]
    fn files_and_credentials_are_read_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "file", &format!("{GOOD} 2\n{GOOD} 3\n"), 0o640);
        file(dir.path(), "vippy.secret", GOOD, 0o400);
        let files = [SecretFile::Credential("vippy.secret".into()), path];
        let Found { secrets, warnings } = read(&files, Some(dir.path())).unwrap();
        let wanted = [GOOD.to_owned(), format!("{GOOD} 2"), format!("{GOOD} 3")];
        assert_eq!(secrets, wanted.map(|text| Secret::from(text.as_str())));
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn every_problem_of_every_file_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("{GOOD}\n").repeat(1_000);
        let files = [
            SecretFile::Path(dir.path().join("absent")),
            SecretFile::Path(dir.path().to_owned()),
            SecretFile::Credential("vippy.secret".into()),
            file(dir.path(), "long", &long, 0o600),
            file(dir.path(), "empty", "", 0o600),
            file(dir.path(), "gap", &format!("{GOOD}\n\n{GOOD}\n"), 0o600),
        ];
        let told = problems(dir.path(), &files);
        let wanted = [
            "cannot read absent: No such file or directory (os error 2); expected a file",
            "it is not a regular file",
            "no credential vippy.secret: $CREDENTIALS_DIRECTORY is not set; expected LoadCredential",
            "cannot read long: it has more than 16384 bytes",
            "empty:1:1: found an empty file",
            "gap:2:1: found an empty line, expected a secret, one a line",
            "gap:3:1: found the secret of gap:1 a second time",
        ];
        assert_eq!(told.len(), wanted.len(), "{told:#?}");
        for (problem, wanted) in told.iter().zip(wanted) {
            assert!(problem.contains(wanted), "{problem}");
        }
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let told = problems(dir.path(), &[SecretFile::Path(pipe)]);
        assert!(told[0].starts_with("cannot read pipe: it is not a regular file"), "{told:?}");
    }

    #[test]
    fn a_file_that_others_may_use_is_warned_of_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, warned) in [(0o644, true), (0o642, true), (0o640, false), (0o400, false)] {
            let file = file(dir.path(), "file", GOOD, mode);
            let Found { warnings, .. } = read(&[file], None).unwrap();
            assert_eq!(warnings.len(), usize::from(warned), "{mode:o}: {warnings:?}");
            let told = |warning: &String| {
                warning.contains(&format!("found mode {mode:04o}, expected 0640 or less"))
            };
            assert!(warnings.iter().all(told), "{warnings:?}");
        }
    }

    #[test]
    fn weak_secrets_in_files_are_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let Found { warnings, .. } =
            read(&[file(dir.path(), "file", "hunter2\n", 0o600)], None).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("file:1:1: found a secret of 7 bytes"));
    }
}
