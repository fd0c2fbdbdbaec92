//! Secrets: what makes one, and what a file of them says.
//!
//! Which keys of the configuration hold secrets or name such files is
//! `secret_keys`' business; reading the files is the daemon's.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Problem;

/// A rotation has two at a time; a long list is a mistyped path.
pub(super) const MOST_SECRETS: usize = 8;

/// Longer ones are mistyped paths as well.
const LONGEST_SECRET: usize = 1024;

/// Shorter secrets can be guessed from one recorded packet.
const GOOD_SECRET: usize = 16;

/// Printed in the original's documentation, so known to everybody.
const SAMPLE_SECRET: &str = "knsdfkjnsdfkjnweroib0u3";

/// How to get a good one.
const GOOD_ONE: &str = "openssl rand -base64 24";

/// A shared secret; wiped from memory when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

/// A file that holds secrets, one a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretFile {
    /// The file at this absolute path.
    Path(PathBuf),
    /// The systemd credential of this name: a file in the directory that the
    /// service manager tells.
    Credential(String),
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretFile::Path(path) => write!(f, "{}", path.display()),
            SecretFile::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

impl SecretFile {
    /// What the configuration says, if it is one.
    pub(super) fn read(text: &str) -> Option<SecretFile> {
        match text.strip_prefix("credential:") {
            Some(name) => is_credential(name).then(|| SecretFile::Credential(name.to_owned())),
            None => {
                let absolute = text.starts_with('/') && !text.contains('\0');
                absolute.then(|| SecretFile::Path(text.into()))
            }
        }
    }
}

/// systemd's rule for names of credentials: printable, and a file's name.
fn is_credential(name: &str) -> bool {
    let allowed = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '/' && c != ':';
    (1..=255).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(allowed)
}

/// What is wrong or risky, in the words of a problem: found and expected. Holds
/// nothing of the secret.
pub(super) type Remark = (String, String);

/// Why a text cannot be a secret, if so.
pub(super) fn flaw(text: &str) -> Option<Remark> {
    (text.len() > LONGEST_SECRET)
        .then(|| (format!("a secret of {} bytes", text.len()), format!("at most {LONGEST_SECRET}")))
}

/// Why a secret is a bad one.
pub(super) fn risks(text: &str) -> Vec<Remark> {
    let mut risks = Vec::new();
    if text.len() < GOOD_SECRET {
        let expected = format!("{GOOD_SECRET} or more: shorter ones can be guessed");
        risks.push((format!("a secret of {} bytes", text.len()), expected));
    }
    if text.starts_with("REPLACE-ME") || text == SAMPLE_SECRET {
        let expected = format!("a secret of your own: {GOOD_ONE}");
        risks.push(("the secret of a published example".into(), expected));
    }
    if text.trim() != text {
        let expected = "none: it counts, and is easily lost in copying";
        risks.push(("a secret with white space at its start or end".into(), expected.into()));
    }
    risks
}

/// The secrets of one or more files, in their order: the first signs.
#[derive(Debug, Default)]
pub struct SecretTexts {
    secrets: Vec<(Secret, Place)>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// A file and a line in it.
#[derive(Clone, Debug)]
struct Place {
    file: String,
    line: usize,
}

impl Place {
    fn problem(&self, (found, expected): Remark) -> Problem {
        Problem {
            file: self.file.clone(),
            line: self.line,
            column: 1,
            path: String::new(),
            found,
            expected,
            hint: None,
        }
    }
}

impl SecretTexts {
    /// Takes a file's bytes: a secret a line. The line feed behind the last one
    /// may be left out; carriage returns at the ends of lines do not count.
    /// `file` is only repeated in problems.
    pub fn add(&mut self, file: &str, bytes: &[u8]) {
        // Some editors begin a file with a byte order mark.
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let at = |line| Place { file: file.to_owned(), line };
        if bytes.is_empty() {
            let expected = format!("a secret: {GOOD_ONE}");
            self.problems.push(at(1).problem(("an empty file".into(), expected)));
            return;
        }
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n');
        for (line, number) in lines.zip(1..) {
            if self.secrets.len() == MOST_SECRETS {
                let found = format!("more than {MOST_SECRETS} secrets");
                let expected = "two during a rotation, else one".to_owned();
                self.problems.push(at(number).problem((found, expected)));
                return;
            }
            self.line(line.strip_suffix(b"\r").unwrap_or(line), at(number));
        }
    }

    fn line(&mut self, line: &[u8], place: Place) {
        let text =
            std::str::from_utf8(line).ok().filter(|text| !text.chars().any(char::is_control));
        let flaw = match text {
            None => Some(("a line that is not text".into(), format!("a secret: {GOOD_ONE}"))),
            Some("") => Some(("an empty line".into(), "a secret, one a line".into())),
            Some(text) => flaw(text).or_else(|| self.repeated(text)),
        };
        match (flaw, text) {
            (None, Some(text)) => {
                self.warnings.extend(risks(text).into_iter().map(|risk| place.problem(risk)));
                self.secrets.push((Secret::from(text), place));
            }
            (flaw, _) => self.problems.extend(flaw.map(|flaw| place.problem(flaw))),
        }
    }

    fn repeated(&self, text: &str) -> Option<Remark> {
        let same = |(secret, _): &&(Secret, Place)| secret.0.as_slice() == text.as_bytes();
        let (_, Place { file, line }) = self.secrets.iter().find(same)?;
        Some((format!("the secret of {file}:{line} a second time"), "every secret once".into()))
    }

    /// The secrets and what is risky about them.
    ///
    /// # Errors
    /// Every line that is wrong.
    pub fn finish(self) -> Result<(Vec<Secret>, Vec<Problem>), Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        Ok((self.secrets.into_iter().map(|(secret, _)| secret).collect(), self.warnings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "hunter2-hunter2-hunter2";

    fn read(files: &[&[u8]]) -> Result<(Vec<Secret>, Vec<String>), Vec<String>> {
        let mut texts = SecretTexts::default();
        for (bytes, name) in files.iter().zip(["/a", "/b"]) {
            texts.add(name, bytes);
        }
        let shown = |problems: Vec<Problem>| -> Vec<String> {
            problems.iter().map(Problem::to_string).collect()
        };
        match texts.finish() {
            Ok((secrets, warnings)) => Ok((secrets, shown(warnings))),
            Err(problems) => Err(shown(problems)),
        }
    }

    #[test]
    fn every_line_is_a_secret_and_the_ends_of_lines_are_not_part_of_it() {
        let other = "correct horse battery staple";
        let one = vec![Secret::from(GOOD)];
        let two = vec![Secret::from(GOOD), Secret::from(other)];
        let line_feed = format!("{GOOD}\n");
        let both = format!("{GOOD}\r\n{other}\r\n");
        let marked = format!("\u{feff}{GOOD}");
        for text in [GOOD, &line_feed, &marked] {
            assert_eq!(read(&[text.as_bytes()]), Ok((one.clone(), vec![])), "{text:?}");
        }
        assert_eq!(read(&[both.as_bytes()]), Ok((two.clone(), vec![])));
        assert_eq!(read(&[GOOD.as_bytes(), other.as_bytes()]), Ok((two, vec![])));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_the_secret() {
        let long = format!("{GOOD}\n{}", "hunter2".repeat(147));
        let twice = format!("{GOOD}\nhunter2 and so on, as long\n{GOOD}\n");
        let many = (0..9).map(|n| format!("{n} {GOOD}\n")).collect::<String>();
        let cases: [(&[u8], &str); 8] = [
            (b"", "/a:1:1: found an empty file, expected a secret: openssl"),
            (b"\n", "/a:1:1: found an empty line, expected a secret, one a line"),
            (b"hunter2-hunter2-hunter2\n\n", "/a:2:1: found an empty line"),
            (b"hunter2\xff", "/a:1:1: found a line that is not text"),
            (b"hunter2\0hunter2", "/a:1:1: found a line that is not text"),
            (long.as_bytes(), "/a:2:1: found a secret of 1029 bytes, expected at most 1024"),
            (twice.as_bytes(), "/a:3:1: found the secret of /a:1 a second time, expected every"),
            (many.as_bytes(), "/a:9:1: found more than 8 secrets, expected two during"),
        ];
        for (bytes, wanted) in cases {
            let problems = read(&[bytes]).unwrap_err();
            assert!(problems.len() == 1 && problems[0].starts_with(wanted), "{problems:?}");
            assert!(!problems[0].contains("hunter2"));
        }
        let over_files = read(&[GOOD.as_bytes(), GOOD.as_bytes()]).unwrap_err();
        assert!(over_files[0].starts_with("/b:1:1: found the secret of /a:1 a second time"));
    }

    #[test]
    fn weak_secrets_are_warned_of_as_in_the_configuration() {
        let (_, warnings) =
            read(&[b"hunter2\nknsdfkjnsdfkjnweroib0u3\n hunter2 hunter2 "]).unwrap();
        let wanted = [
            "/a:1:1: found a secret of 7 bytes, expected 16 or more",
            "/a:2:1: found the secret of a published example",
            "/a:3:1: found a secret with white space at its start or end",
        ];
        assert_eq!(warnings.len(), wanted.len());
        for (warning, wanted) in warnings.iter().zip(wanted) {
            assert!(warning.starts_with(wanted) && !warning.contains("hunter2"), "{warning}");
        }
    }

    #[test]
    fn no_credential_leads_out_of_the_directory_of_credentials() {
        let credential = SecretFile::read("credential:vippy.secret");
        assert_eq!(credential, Some(SecretFile::Credential("vippy.secret".into())));
        for outside in ["credential:", "credential:..", "credential:../x", "credential:a/b", "x"] {
            assert_eq!(SecretFile::read(outside), None, "{outside}");
        }
    }
}
