//! Keys and tags: HMAC-SHA256 (RFC 2104) over everything before the tag.
//!
//! Key material is derived from the secret and the cluster's name, so that two
//! clusters with one secret do not hear each other.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::config::Secret;

/// Length of a tag in bytes.
pub const TAG: usize = 32;

/// Tells keys apart on the wire; reveals nothing else about them.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One key, ready to sign.
#[derive(Clone)]
struct Key {
    id: KeyId,
    mac: Hmac<Sha256>,
}

/// All keys of a node: the first signs, every one verifies. The default has none:
/// it verifies nothing and cannot sign.
#[derive(Clone, Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| key.id)).finish()
    }
}

impl Keyring {
    /// Derives the keys of a cluster. `secrets` must not be empty.
    pub fn new(secrets: &[Secret], cluster: &str) -> Keyring {
        assert!(!secrets.is_empty(), "a validated configuration has a secret");
        let keys = secrets.iter().map(|secret| Key::derive(&secret.0, cluster)).collect();
        Keyring { keys }
    }

    /// Id of the key that signs.
    pub fn signing(&self) -> KeyId {
        self.keys[0].id
    }

    /// Ids of all keys, in their order.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(|key| key.id).collect()
    }

    /// The tag of `bytes` under the key that signs.
    pub fn sign(&self, bytes: &[u8]) -> [u8; TAG] {
        let mut mac = self.keys[0].mac.clone();
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }

    /// Whether a key of this id is known.
    pub fn knows(&self, id: KeyId) -> bool {
        self.keys.iter().any(|key| key.id == id)
    }

    /// Checks a tag in constant time. False for an unknown key as well.
    pub fn verify(&self, id: KeyId, bytes: &[u8], tag: &[u8; TAG]) -> bool {
        self.keys.iter().filter(|key| key.id == id).any(|key| {
            let mut mac = key.mac.clone();
            mac.update(bytes);
            mac.verify_slice(tag).is_ok()
        })
    }
}

impl Key {
    fn derive(secret: &[u8], cluster: &str) -> Key {
        let material = Zeroizing::new(expand(secret, b"vippy 1 frame key\0", cluster));
        let id = expand(secret, b"vippy 1 key id\0", cluster);
        Key { id: KeyId([id[0], id[1], id[2], id[3]]), mac: keyed(&*material) }
    }
}

/// HMAC(secret, label ‖ cluster).
fn expand(secret: &[u8], label: &[u8], cluster: &str) -> [u8; 32] {
    let mut mac = keyed(secret);
    mac.update(label);
    mac.update(cluster.as_bytes());
    mac.finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(secrets: &[&str], cluster: &str) -> Keyring {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::from(*secret)).collect();
        Keyring::new(&secrets, cluster)
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let old = ring(&["old"], "");
        let both = ring(&["new", "old"], "");
        let tag = old.sign(b"frame");
        assert!(both.verify(old.signing(), b"frame", &tag));
        assert!(!both.verify(both.signing(), b"frame", &tag));
        assert!(!old.verify(both.signing(), b"frame", &both.sign(b"frame")));
    }

    #[test]
    fn another_cluster_has_other_keys() {
        let (a, b) = (ring(&["s"], "a"), ring(&["s"], "b"));
        assert_ne!(a.signing(), b.signing());
        assert!(!b.verify(a.signing(), b"x", &a.sign(b"x")));
    }
}
