//! How a configuration gets from one node to all others (O5, W4).
//!
//! `graduation` decides which document is worth having and what becomes of it,
//! `proposal` asks all others before anything changes, `verdicts` answers them,
//! `trial` takes back what nobody confirms. Documents themselves are the
//! business of [`documents`](crate::documents), configurations that of
//! [`config`](crate::config).

pub(crate) mod graduation;
pub(crate) mod proposal;
pub(crate) mod trial;
pub(crate) mod verdicts;

use crate::config::Digest;

/// What decides between configurations: the higher one judges.
pub(crate) type Rank = (u64, Digest);

/// A configuration, as people read it.
pub(crate) fn describe((version, digest): Rank) -> String {
    let digest = digest.to_string();
    format!("version {version} ({})", &digest[..8])
}
