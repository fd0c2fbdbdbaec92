//! "Did you mean": the near miss among the words that are known.

/// Words people use for others that no edit distance would find.
const SYNONYMS: [(&str, &str); 14] = [
    ("arp_cache_interval", "arp-cache"),
    ("error", "err"),
    ("warn", "warning"),
    ("panic", "emerg"),
    ("critical", "crit"),
    ("emergency", "emerg"),
    ("information", "info"),
    ("stdout", "console"),
    ("stderr", "console"),
    ("address", "ip"),
    ("dev", "interface"),
    ("device", "interface"),
    ("password", "secret"),
    ("statedir", "state"),
];

/// The known word that was most likely meant by `word`, if any is near.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    /// Longer words are no typing mistakes, and the distance is quadratic.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let plain = plain(word);
    let synonym = SYNONYMS.iter().find(|(from, _)| *from == plain).map(|(_, to)| *to);
    let allowed = 1 + plain.chars().count() / 4;
    known
        .into_iter()
        .filter(|known| known.len() <= LONGEST)
        .map(|known| {
            let distance = match synonym == Some(known) {
                true => 0,
                false => strsim::osa_distance(&plain, &self::plain(known)),
            };
            (distance, known)
        })
        .filter(|(distance, known)| {
            *distance <= allowed && *distance < known.len() && *known != word
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Case, dashes and underscores are the commonest differences.
fn plain(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_dashes_case_and_synonyms_are_found() {
        let keys = ["arp-cache", "chat_interface", "interval", "ip", "interface"];
        let near = |word| nearest(word, keys);
        assert_eq!(near("arp_cache"), Some("arp-cache"));
        assert_eq!(near("chat-interface"), Some("chat_interface"));
        assert_eq!(near("intervall"), Some("interval"));
        assert_eq!(near("Interval"), Some("interval"));
        assert_eq!(near("address"), Some("ip"));
        assert_eq!(near("quorum"), None);
        assert_eq!(near("x"), None);
        assert_eq!(near("ip"), None, "an exact match is no near miss");
    }
}
