//! Prints the tables of `docs/PROTOCOL.md` section 7: evenness and moves of
//! succession lists beside plain rendezvous hashing, and shares of nodes that
//! have weights.
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
        nodes: names.iter().map(|n| Node::new(format!("node{n}").as_str())).collect(),
        groups: (0..groups).map(group).collect(),
        interval: Duration::from_secs(1),
        mature: Duration::from_secs(5),
        stale: Duration::from_secs(3),
        quorum: None,
        witness: Vec::new(),
        isolation: Duration::from_secs(30),
        hold_down: None,
        checks: Vec::new(),
        hooks: Vec::new(),
        plugins: Vec::new(),
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

/// A row of the table of weights.
fn weighted(weights: &[u8]) {
    let names: Vec<usize> = (1..=weights.len()).collect();
    let mut shared = shared(&names, GROUPS);
    shared.nodes.iter_mut().zip(weights).for_each(|(node, weight)| node.weight = *weight);
    let loads = |down: Option<usize>| -> Vec<usize> {
        let owners = first_up(&shared, down);
        (0..weights.len()).map(|n| owners.iter().filter(|owner| **owner == n).count()).collect()
    };
    // How far the worst node is from what its weight is worth.
    let off = |down: Option<usize>| {
        let all: usize =
            (0..weights.len()).filter(|n| Some(*n) != down).map(|n| usize::from(weights[n])).sum();
        let loads = loads(down);
        let off = |n: usize| {
            (loads[n] as f64 - (GROUPS * usize::from(weights[n])) as f64 / all as f64).abs()
        };
        (0..weights.len()).filter(|n| Some(*n) != down).map(off).fold(0.0, f64::max)
    };
    let retired = |n: usize| {
        let mut after = shared.clone();
        after.nodes[n].weight = 0;
        let pairs = first_up(&shared, None).into_iter().zip(first_up(&after, None));
        pairs.filter(|(before, after)| before != after && *before != n).count()
    };
    let one_down = (0..weights.len()).map(|n| off(Some(n))).fold(0.0, f64::max);
    let list = |numbers: Vec<String>| numbers.join(", ");
    println!(
        "| {} | {} | {:.1} | {one_down:.1} | {} |",
        list(weights.iter().map(ToString::to_string).collect()),
        list(loads(None).iter().map(ToString::to_string).collect()),
        off(None),
        list((0..weights.len()).map(|n| retired(n).to_string()).collect()),
    );
}

/// Owner of every group, one node being down.
fn first_up(shared: &SharedPart, down: Option<usize>) -> Vec<usize> {
    let placement = Placement::new(shared);
    let owner = |g| {
        let list = placement.succession(g).into_iter().map(NodeIndex::get);
        list.into_iter().find(|n| Some(*n) != down).unwrap_or(usize::MAX)
    };
    shared.group_indexes().map(owner).collect()
}

fn time(shared: &SharedPart, what: &str) {
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(Placement::new(std::hint::black_box(shared)));
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("\n{what}: {:.1} ms (median of 9)", times[4].as_secs_f64() * 1000.0);
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
    println!(
        "\n| weights | groups | off, all up | off, worst one down | others moved when this node is retired |"
    );
    println!("| --- | --- | ---: | ---: | --- |");
    let table: [&[u8]; 5] =
        [&[1, 2, 4], &[1, 1, 2], &[1, 1, 2, 2], &[2, 3, 3, 4, 5], &[1, 1, 1, 1, 10, 10, 10, 10]];
    table.into_iter().for_each(weighted);
    let names: Vec<usize> = (1..=100).collect();
    let mut shared = shared(&names, 10_000);
    time(&shared, "10,000 groups on 100 nodes");
    (0u8..).zip(&mut shared.nodes).for_each(|(n, node)| node.weight = n % 8 + 1);
    time(&shared, "the same on nodes of weights 1 to 8");
    (0u8..).zip(&mut shared.nodes).for_each(|(n, node)| node.weight = n % 8);
    time(&shared, "the same, every eighth retired");
}
