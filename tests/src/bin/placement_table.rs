//! Prints the table of `docs/PROTOCOL.md` section 7: evenness and moves of
//! succession lists beside plain rendezvous hashing.
//!
//! `cargo run --release -p vippy-tests --bin placement_table`

use std::sync::Arc;
use std::time::{Duration, Instant};

use vippy_core::config::{Digest, Group, Node, SharedPart};
use vippy_core::identity::{GroupId, NodeIndex};
use vippy_core::placement::Placement;

const GROUPS: usize = 1000;

fn shared(names: &[usize], groups: usize) -> SharedPart {
    let group = |g: usize| {
        let id = format!("10.{}.{}.{}/16", g / 62_500, g / 250 % 250, g % 250 + 1);
        Arc::new(Group {
            id: GroupId::from(id.as_str()),
            name: None,
            prefer: None,
            exclusive: false,
            failback: vippy_core::config::Failback::Auto,
            addresses: Vec::new(),
        })
    };
    SharedPart {
        version: 1,
        digest: Digest::default(),
        nodes: names
            .iter()
            .map(|n| Node { name: format!("node{n}").as_str().into(), standby: false })
            .collect(),
        groups: (0..groups).map(group).collect(),
        interval: Duration::from_secs(1),
        mature: Duration::from_secs(5),
        stale: Duration::from_secs(3),
        quorum: None,
        witness: Vec::new(),
        isolation: Duration::from_secs(30),
        hold_down: None,
    }
}

/// Every group's nodes in order, as node numbers.
type Lists = Vec<Vec<usize>>;

fn ours(names: &[usize], groups: usize) -> Lists {
    let shared = shared(names, groups);
    let placement = Placement::new(&shared);
    let number = |node: NodeIndex| names[node.get()];
    shared
        .group_indexes()
        .map(|g| placement.succession(g).into_iter().map(number).collect())
        .collect()
}

fn rendezvous(names: &[usize], groups: usize) -> Lists {
    let weight = |node: usize, group: usize| {
        let mut x = (node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (group as u64) << 20;
        for _ in 0..3 {
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^= x >> 31;
        }
        x
    };
    let list = |g| {
        let mut nodes = names.to_vec();
        nodes.sort_by_key(|n| std::cmp::Reverse(weight(*n, g)));
        nodes
    };
    (0..groups).map(list).collect()
}

fn owners(lists: &Lists, down: usize) -> Vec<usize> {
    let up = |list: &Vec<usize>| list.iter().copied().find(|n| *n != down).unwrap_or(down);
    lists.iter().map(up).collect()
}

fn spread(owners: &[usize], names: &[usize], down: usize) -> usize {
    let up = names.iter().filter(|n| **n != down);
    let loads: Vec<usize> = up.map(|n| owners.iter().filter(|o| *o == n).count()).collect();
    let ends = (loads.iter().max(), loads.iter().min());
    ends.0.zip(ends.1).map_or(0, |(max, min)| max - min)
}

fn moved(before: &Lists, after: &Lists) -> usize {
    let pairs = owners(before, usize::MAX).into_iter().zip(owners(after, usize::MAX));
    pairs.filter(|(b, a)| b != a).count()
}

fn row(name: &str, nodes: usize, place: fn(&[usize], usize) -> Lists) {
    let names: Vec<usize> = (1..=nodes).collect();
    let base = place(&names, GROUPS);
    let worst = names.iter().map(|d| spread(&owners(&base, *d), &names, *d)).max().unwrap_or(0);
    let death = names.iter().map(|d| {
        let (all, without) = (owners(&base, usize::MAX), owners(&base, *d));
        all.iter().zip(&without).filter(|(b, a)| b != a && *b != d).count()
    });
    let appended: Vec<usize> = (1..=nodes + 1).collect();
    let middle: Vec<usize> = names.iter().copied().filter(|n| *n != nodes / 2 + 1).collect();
    println!(
        "| {nodes} | {name} | {} | {worst} | {} | {} | {} | {} | {} |",
        spread(&owners(&base, usize::MAX), &names, usize::MAX),
        death.max().unwrap_or(0),
        moved(&base, &place(&appended, GROUPS)),
        moved(&base, &place(&names[..nodes - 1], GROUPS)),
        moved(&base, &place(&middle, GROUPS)),
        moved(&base, &place(&names, GROUPS + 1)),
    );
}

fn main() {
    println!(
        "| nodes | lists | spread, all up | spread, worst one down | others moved by a death | moved: node appended | last node removed | middle node removed | group added |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for nodes in [3, 4, 5, 8, 12, 16, 24, 32] {
        row("Vippy", nodes, ours);
        row("rendezvous", nodes, rendezvous);
    }
    let names: Vec<usize> = (1..=100).collect();
    let shared = shared(&names, 10_000);
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(Placement::new(std::hint::black_box(&shared)));
            start.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "\n10,000 groups on 100 nodes: {:.1} ms (median of 9)",
        times[4].as_secs_f64() * 1000.0
    );
}
