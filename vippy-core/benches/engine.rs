//! What a step of the engine costs, its recorder included:
//! `cargo bench -p vippy-core --bench engine`.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(clippy::disallowed_types, reason = "real time is what is measured here")]

#[path = "../tests/engines/lan.rs"]
#[allow(dead_code, reason = "a benchmark needs a part of it")]
mod lan;
mod sizes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lan::{INTERVAL, Lan};
use vippy_core::input::{Datagram, Input, ResourceReport};
use vippy_core::recorder::CAPACITY;

/// The node that is measured, and the peer that it hears.
const ME: usize = 0;
const PEER: usize = 1;

/// A cluster at rest in which what `PEER` says reaches `ME` by hand.
struct Stage {
    lan: Lan,
    /// A group that the peer owns, and whether it can hold it.
    group: String,
    possible: bool,
}

impl Stage {
    fn new(groups: u32) -> Stage {
        let mut lan = Lan::new();
        lan.tape = CAPACITY;
        let plan = sizes::plan(groups);
        plan.nodes.iter().for_each(|node| lan.start(*node, &plan, &[]));
        lan.run(lan::MATURE + lan::STALE);
        lan.cut.insert((PEER, ME));
        let held = lan.machines[&PEER].kernel.keys().next().unwrap();
        let group = held.to_string();
        Stage { lan, group, possible: true }
    }

    /// Time for one input and all that is ordered because of it.
    fn step(&mut self, input: Input) -> Duration {
        let start = Instant::now();
        self.lan.tell(ME, input);
        start.elapsed()
    }

    /// An interval goes by, and `ME` hears what its peer announced in it. What
    /// hearing it costs.
    fn hear(&mut self) -> Duration {
        self.lan.frames.clear();
        self.lan.machines.values_mut().for_each(|machine| machine.orders.clear());
        self.lan.run(INTERVAL);
        let announced = self.lan.frames.iter().filter(|(from, _)| *from == PEER);
        let announced: Vec<Arc<[u8]>> = announced.map(|(_, frame)| frame.clone()).collect();
        let datagrams = announced.iter().map(|frame| Datagram {
            source: ([10, 9, 0, 1], 4077).into(),
            multicast: true,
            bytes: frame.to_vec(),
        });
        let inputs: Vec<Input> = datagrams.map(Input::Datagram).collect();
        inputs.into_iter().map(|input| self.step(input)).sum()
    }

    /// The same when the peer has just lost, or got back, one of its groups.
    fn hear_a_change(&mut self) -> Duration {
        self.possible = !self.possible;
        let report = match self.possible {
            true => ResourceReport::Available,
            false => ResourceReport::Unavailable("its interface is down".into()),
        };
        self.lan.report(PEER, &self.group.clone(), report);
        let heard = self.hear();
        // Whatever follows from it comes to rest, unmeasured.
        let _settled: Duration = (0..3).map(|_| self.hear()).sum();
        heard
    }
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    // Between two measured steps a whole cluster lives through an interval.
    group.sample_size(20).warm_up_time(Duration::from_millis(20));
    group.measurement_time(Duration::from_millis(50));
    for groups in [250, 10_000] {
        let size = |what| BenchmarkId::new(what, format!("{groups} groups"));
        let mut stage = Stage::new(groups);
        group.bench_function(size("tick"), |b| {
            b.iter_custom(|times| (0..times).map(|_| stage.step(Input::Tick)).sum());
        });
        group.bench_function(size("announcement that changes nothing"), |b| {
            b.iter_custom(|times| (0..times).map(|_| stage.hear()).sum());
        });
        group.bench_function(size("announcement that changes a group"), |b| {
            b.iter_custom(|times| (0..times).map(|_| stage.hear_a_change()).sum());
        });
    }
}

criterion_group!(benches, engine);
criterion_main!(benches);
