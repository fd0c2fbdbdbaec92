//! Nothing that arrives can panic, and everything sent survives the trip.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use vippy_core::config::{Digest, Secret};
use vippy_core::identity::{BootId, Epoch, Seq};
use vippy_core::status::{NodeReason, NodeState};
use vippy_core::wire::announcement::{Announcement, Heard, Paths, Section};
use vippy_core::wire::auth::Keyring;
use vippy_core::wire::frame::{self, Body, Header};

fn keys() -> Keyring {
    Keyring::new(&[Secret::from("secret")], "")
}

fn heard() -> impl Strategy<Value = Section> {
    btree_map(any::<u64>(), (any::<u64>(), any::<[bool; 4]>()), 0..20).prop_map(|entries| {
        let entry = |(boot, (seq, flags)): (u64, (u64, [bool; 4]))| {
            let [multicast, unicast, relayed, counts] = flags;
            let paths = Paths { multicast, unicast, relayed };
            Heard { boot: BootId(boot), seq: Seq(seq), paths, counts }
        };
        let entries = entries.into_iter().map(entry).collect();
        Section::Heard { first: BootId(0), last: BootId(u64::MAX), entries }
    })
}

fn groups() -> impl Strategy<Value = [Section; 2]> {
    let set = || btree_set(0u32..500, 0..200);
    (0u32..60_000, set(), set(), set()).prop_map(|(first, a, b, c)| {
        let last = first + 499;
        let shift = |set: std::collections::BTreeSet<u32>| set.into_iter().map(|g| g + first);
        [
            Section::Holding { first, last, held: shift(a).collect(), told: first % 2 == 0 },
            Section::Refusing {
                first,
                last,
                cannot: shift(b).collect(),
                rather_not: shift(c).collect(),
            },
        ]
    })
}

fn header() -> impl Strategy<Value = Header> {
    ("[a-z0-9.-]{1,63}", any::<[u64; 3]>(), 1u64..u64::MAX, 1u32..1_000_000, 0u32..u32::MAX)
        .prop_map(|(name, [boot, epoch, uptime], seq, interval, fence)| Header {
            name: name.as_str().into(),
            boot: BootId(boot),
            seq: Seq(seq),
            epoch: Epoch(epoch),
            uptime: Duration::from_micros(uptime),
            interval: Duration::from_micros(interval.into()),
            stale: Duration::from_micros(u64::from(interval) * 3),
            fence: (fence % 5 != 0).then(|| Duration::from_micros(fence.into())),
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_announcement_survives_the_trip(
        header in header(), heard in heard(), groups in groups(), detail in ".{0,30}",
    ) {
        let body = Body::Announcement(Announcement {
            state: NodeState::Booting,
            reason: NodeReason::Mute,
            detail,
            version: 7,
            digest: Digest([3; 16]),
            sections: std::iter::once(heard).chain(groups).collect(),
        });
        let keys = keys();
        let frame = frame::open(&frame::seal(&header, &body, &keys), &keys).unwrap();
        prop_assert_eq!((frame.header, frame.body), (header, body));
    }

    #[test]
    fn garbage_is_refused(bytes in vec(any::<u8>(), 0..1500)) {
        prop_assert!(frame::open(&bytes, &keys()).is_err());
    }

    /// Signed garbage: what a broken, but trusted, program could send.
    #[test]
    fn signed_garbage_does_not_panic(
        kind in 0u8..5, fixed in vec(any::<u8>(), 45..46), name in 0u8..80,
        body in vec(any::<u8>(), 0..1000),
    ) {
        let keys = keys();
        let mut bytes = b"VPPY\x01".to_vec();
        bytes.push(kind);
        bytes.extend(keys.signing().0);
        bytes.extend(&fixed[..44]);
        bytes.push(name);
        bytes.extend(body);
        let tag = keys.sign(&bytes);
        bytes.extend(tag);
        bytes.push(0);
        let _ = frame::open(&bytes, &keys);
    }

    #[test]
    fn truncation_is_refused(header in header(), cut in 1usize..200) {
        let request = vippy_core::wire::document::DocumentRequest {
            digest: Digest([1; 16]), ranges: vec![(1, 2)],
        };
        let frame = frame::seal(&header, &Body::DocumentRequest(request), &keys());
        let end = frame.len().saturating_sub(cut);
        prop_assert!(frame::open(&frame[..end], &keys()).is_err());
    }
}
