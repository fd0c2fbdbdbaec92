//! What a frame costs its receiver and its sender, beside the bare HMAC over the
//! same bytes: `cargo bench -p vippy-core --bench wire`.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/engines/lan.rs"]
#[allow(dead_code, reason = "a benchmark needs a part of it")]
mod lan;
mod sizes;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit, Mac};
use lan::Lan;
use sha2::Sha256;
use vippy_core::config::Secret;
use vippy_core::wire::auth::{Keyring, TAG};
use vippy_core::wire::frame::{self, Frame};

/// What a node tells of its moves for a while.
const REST: Duration = Duration::from_secs(10);

/// The largest frame that one of three nodes at rest announces with so many groups.
fn announced(groups: u32) -> Arc<[u8]> {
    let mut lan = Lan::settled(&sizes::plan(groups));
    lan.run(REST);
    lan.frames.clear();
    lan.run(lan::INTERVAL);
    let frames = lan.frames.into_iter().map(|(_, frame)| frame);
    frames.max_by_key(|frame| frame.len()).unwrap()
}

fn keys() -> Keyring {
    Keyring::new(&sizes::plan(0).secrets.into_iter().map(Secret::from).collect::<Vec<_>>(), "")
}

/// What verification costs where nothing is read: the tag, compared in constant
/// time, under a key that is ready.
fn bare(mac: &Hmac<Sha256>, signed: &[u8], tag: &[u8]) -> bool {
    let mut mac = mac.clone();
    mac.update(signed);
    mac.verify_slice(tag).is_ok()
}

fn wire(c: &mut Criterion) {
    let keys = keys();
    let any_key = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap();
    for groups in [6, 250, 10_000] {
        let bytes = announced(groups);
        let Frame { header, body, .. } = frame::open(&bytes, &keys).unwrap();
        let (signed, tag) = bytes[..bytes.len() - 1].split_at(bytes.len() - 1 - TAG);
        let mut group = c.benchmark_group("wire");
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let size = |what| BenchmarkId::new(what, format!("{groups} groups"));
        group.bench_function(size("bare HMAC"), |b| {
            b.iter(|| bare(&any_key, black_box(signed), tag));
        });
        group.bench_function(size("verify and decode"), |b| {
            b.iter(|| frame::open(black_box(&bytes), &keys));
        });
        group.bench_function(size("encode and sign"), |b| {
            b.iter(|| frame::seal(black_box(&header), &body, &keys));
        });
    }
}

criterion_group!(benches, wire);
criterion_main!(benches);
