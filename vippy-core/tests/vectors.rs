//! The test vectors of `docs/PROTOCOL.md`: what the document prints is what the
//! program sends and understands.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use vippy_core::config::{Digest, Secret};
use vippy_core::identity::{BootId, Epoch, GroupIndex, Mac, NodeIndex, Seq};
use vippy_core::status::{NodeReason, NodeState, RejectReason};
use vippy_core::timeline::{Belief, MoveCause};
use vippy_core::wire::announcement::{Announcement, Heard, Paths, Section};
use vippy_core::wire::auth::Keyring;
use vippy_core::wire::belief::{Look, Sighting};
use vippy_core::wire::clean_up::CleanUp;
use vippy_core::wire::document::{DocumentChunk, DocumentKind, DocumentName, DocumentRequest};
use vippy_core::wire::frame::{self, Body, Header};
use vippy_core::wire::moves::MoveReport;

const DOCUMENT: &str = include_str!("../../docs/PROTOCOL.md");

/// The fenced `vector NAME` blocks of the document as bytes.
fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let mut blocks = BTreeMap::new();
    for block in DOCUMENT.split("```vector ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let text: String = rest.split("```").next().unwrap().split_whitespace().collect();
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        blocks.insert(name.trim(), (0..text.len()).step_by(2).map(byte).collect());
    }
    blocks
}

fn keys(secret: &str, cluster: &str) -> Keyring {
    Keyring::new(&[Secret::from(secret)], cluster)
}

fn header(seq: u64) -> Header {
    Header {
        name: "node1".into(),
        boot: BootId(0x0123_4567_89ab_cdef),
        seq: Seq(seq),
        epoch: Epoch(0x0000_0190_0000_0400),
        uptime: Duration::from_secs(60),
        interval: Duration::from_millis(500),
        stale: Duration::from_secs(5),
        fence: Some(Duration::from_millis(10_300)),
    }
}

fn digest() -> Digest {
    Digest([0xd1, 0x9e, 0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
}

fn announcement() -> Body {
    let multicast = Paths { multicast: true, ..Paths::default() };
    let both = Paths { unicast: true, relayed: true, ..Paths::default() };
    let heard = vec![
        Heard { boot: BootId(2), seq: Seq(41), paths: multicast, counts: true },
        Heard { boot: BootId(0xffff_0000_0000_0003), seq: Seq(7), paths: both, counts: false },
    ];
    Body::Announcement(Announcement {
        state: NodeState::Draining,
        reason: NodeReason::Operator,
        detail: "drained".into(),
        version: 5,
        digest: digest(),
        sections: vec![
            Section::Heard { first: BootId(0), last: BootId(u64::MAX), entries: heard },
            Section::Holding {
                first: 0,
                last: 39,
                held: [0, 39].into_iter().collect(),
                told: true,
            },
            Section::Refusing {
                first: 0,
                last: 39,
                cannot: (8..24).collect(),
                rather_not: [].into_iter().collect(),
            },
        ],
    })
}

fn moves() -> Body {
    let micros = Duration::from_micros;
    let death = MoveReport {
        id: 7,
        cause: MoveCause::Death,
        from: Some(NodeIndex(1)),
        groups: 4,
        first: Some(GroupIndex(8)),
        heard: Some(micros(5_002_000)),
        found: Some(micros(2_000)),
        decided: micros(1_900),
        plumbed: Some(micros(400)),
        announced: None,
        released: None,
        believed: None,
        belief: Belief::default(),
    };
    let start = MoveReport {
        id: 6,
        cause: MoveCause::Start,
        from: None,
        groups: 1,
        first: None,
        heard: None,
        found: None,
        decided: micros(70_000),
        plumbed: Some(micros(60_000)),
        announced: Some(micros(59_000)),
        released: None,
        believed: Some(micros(2_000)),
        belief: Belief { believed: 1, of: 2 },
    };
    Body::Announcement(Announcement {
        state: NodeState::Active,
        reason: NodeReason::None,
        detail: String::new(),
        version: 5,
        digest: digest(),
        sections: vec![Section::Moves(vec![start, death])],
    })
}

fn belief() -> Body {
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    let look = Look {
        number: 3,
        by: [Some(NodeIndex(2)), None],
        mac,
        first: 8,
        last: 23,
        groups: (8..24).collect(),
    };
    let sighting = |mac, group| Sighting {
        holder: NodeIndex(1),
        number: 9,
        mac,
        first: group,
        last: group,
        groups: [group].into_iter().collect(),
    };
    Body::Announcement(Announcement {
        state: NodeState::Active,
        reason: NodeReason::None,
        detail: String::new(),
        version: 5,
        digest: digest(),
        sections: vec![
            Section::Look(look),
            Section::Sighting(sighting(Some(mac), 4)),
            Section::Sighting(sighting(None, 5)),
        ],
    })
}

fn clean_ups() -> Body {
    let clean_up = |boot, counter: u64, done| {
        let epoch = Epoch(counter << Epoch::NODE_BITS | 2);
        CleanUp { boot: BootId(boot), epoch, done }
    };
    Body::Announcement(Announcement {
        state: NodeState::Active,
        reason: NodeReason::None,
        detail: String::new(),
        version: 5,
        digest: digest(),
        sections: vec![Section::CleanUps(vec![
            clean_up(0x77, 0x193, false),
            clean_up(0xfedc_ba98_7654_3210, 0x192, true),
        ])],
    })
}

fn name() -> DocumentName {
    DocumentName { kind: DocumentKind::CONFIGURATION, size: 700, digest: digest() }
}

fn all() -> Vec<(&'static str, Header, Body)> {
    let ranges = vec![(0, 100), (600, 100)];
    let request = DocumentRequest { digest: digest(), ranges };
    let chunk = DocumentChunk { document: name(), offset: 600, bytes: b"vippy".to_vec() };
    vec![
        ("announcement", header(42), announcement()),
        ("document-request", header(43), Body::DocumentRequest(request)),
        ("document-chunk", header(44), Body::DocumentChunk(chunk)),
        ("moves", header(45), moves()),
        ("belief", header(46), belief()),
        ("clean-ups", header(47), clean_ups()),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|row| row.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n")
        .collect()
}

#[test]
fn what_the_document_prints_is_what_is_sent() {
    let keys = keys("knsdfkjnsdfkjnweroib0u3", "");
    for (name, header, body) in all() {
        let frame = frame::seal(&header, &body, &keys);
        assert_eq!(vectors().get(name), Some(&frame), "{name} is\n{}", hex(&frame));
    }
}

#[test]
fn what_the_document_prints_is_understood() {
    let keys = keys("knsdfkjnsdfkjnweroib0u3", "");
    for (name, header, body) in all() {
        let frame = frame::open(&vectors()[name], &keys).unwrap();
        assert_eq!((frame.header, frame.body, frame.relayed), (header, body, false), "{name}");
    }
}

#[test]
fn the_relay_mark_is_the_only_byte_outside_the_tag() {
    let keys = keys("knsdfkjnsdfkjnweroib0u3", "");
    let frame = vectors()["announcement"].clone();
    assert!(frame::open(&frame::mark_relayed(&frame), &keys).unwrap().relayed);
    for position in 0..frame.len() - 1 {
        for bit in 0..8 {
            let mut forged = frame.clone();
            forged[position] ^= 1 << bit;
            assert!(frame::open(&forged, &keys).is_err(), "byte {position}, bit {bit}");
        }
    }
}

#[test]
fn the_reason_of_a_rejection_is_the_first_check_that_fails() {
    let good = vectors()["announcement"].clone();
    let with = |position: usize, value: u8| {
        let mut frame = good.clone();
        frame[position] = value;
        frame
    };
    let keys = keys("knsdfkjnsdfkjnweroib0u3", "");
    let reason = |bytes: &[u8]| frame::open(bytes, &keys).unwrap_err();
    assert_eq!(reason(b""), RejectReason::Foreign);
    assert_eq!(reason(&with(0, b'X')), RejectReason::Foreign);
    assert_eq!(reason(&good[..40]), RejectReason::Malformed);
    assert_eq!(reason(&with(4, 9)), RejectReason::Version);
    assert_eq!(reason(&with(6, !good[6])), RejectReason::UnknownKey);
    assert_eq!(reason(&with(20, !good[20])), RejectReason::Forged);
    assert_eq!(reason(&with(good.len() - 1, 7)), RejectReason::Malformed);
}

#[test]
fn another_secret_or_cluster_is_an_unknown_key() {
    let frame = vectors()["announcement"].clone();
    for keys in [keys("another", ""), keys("knsdfkjnsdfkjnweroib0u3", "east")] {
        assert_eq!(frame::open(&frame, &keys).unwrap_err(), RejectReason::UnknownKey);
    }
}
