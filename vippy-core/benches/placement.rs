//! What placing all groups anew costs when the configuration changes:
//! `cargo bench -p vippy-core --bench placement`.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/engines/lan.rs"]
#[allow(dead_code, reason = "a benchmark needs a part of it")]
mod lan;
mod sizes;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lan::Plan;
use vippy_core::placement::Placement;

fn placement(c: &mut Criterion) {
    let mut group = c.benchmark_group("placement");
    group.sample_size(20);
    for (groups, nodes) in [(250, 3), (10_000, 100)] {
        let plan = Plan { nodes: (0..nodes).collect(), ..sizes::plan(groups) };
        let config = plan.config();
        group.bench_function(format!("{groups} groups on {nodes} nodes"), |b| {
            b.iter(|| Placement::new(black_box(&config.shared)));
        });
    }
}

criterion_group!(benches, placement);
criterion_main!(benches);
