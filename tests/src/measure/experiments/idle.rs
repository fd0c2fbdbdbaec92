//! What a daemon costs when nothing happens.

use vippy_lab::Cluster;

use super::super::{Cost, Spread};
use super::{Bench, Outcome, groups, settled};

/// Prints a line for six groups and one for 250.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn idle(bench: &Bench) -> Outcome<()> {
    println!("idle: 3 nodes, interval 1 s, stale 3 s, each node over {} s", bench.watch.as_secs());
    println!("  groups   CPU ms/s   packets/s   bytes/s   PSS KiB");
    for count in [6, 250] {
        let cluster = settled(bench.options(1.0, 3.0, groups(count), 0))?;
        // The last repetitions of what was told to the neighbours at the start.
        std::thread::sleep(std::time::Duration::from_secs(5));
        let sent = |cluster: &Cluster| {
            (1..=3).map(|node| sent(cluster, node)).collect::<Outcome<Vec<_>>>()
        };
        let costs = |cluster: &Cluster| -> Outcome<Vec<Cost>> {
            (1..=3).map(|node| Ok(Cost::now(cluster.process(node)?.pid())?)).collect()
        };
        let before = (sent(&cluster)?, costs(&cluster)?);
        std::thread::sleep(bench.watch);
        let after = (sent(&cluster)?, costs(&cluster)?);
        let seconds = bench.watch.as_secs_f64();
        let rate = |pick: fn(&(u64, u64)) -> u64| {
            let pairs = before.0.iter().zip(&after.0);
            Spread::new(pairs.map(|(old, new)| (pick(new) - pick(old)) as f64 / seconds))
        };
        let (packets, bytes) = (rate(|sent| sent.0), rate(|sent| sent.1));
        let cost = Spread::new(before.1.iter().zip(&after.1).map(|(old, new)| old.per_second(new)));
        let memory = (1..=3).map(|node| Ok(Cost::memory(cluster.process(node)?.pid())? as f64));
        let memory = Spread::new(memory.collect::<Outcome<Vec<f64>>>()?);
        println!(
            "  {count:>6}   {:>8.2}   {:>9.2}   {:>7.0}   {:>7.0}",
            cost.at(0.5),
            packets.at(0.5),
            bytes.at(0.5),
            memory.at(0.5),
        );
    }
    Ok(())
}

/// Packets and bytes that a node has sent on the LAN.
fn sent(cluster: &Cluster, node: usize) -> Outcome<(u64, u64)> {
    let read = || std::fs::read_to_string("/proc/thread-self/net/dev");
    let text = cluster.lan().machine(node)?.run(read)??;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    let numbers: Vec<u64> = line
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    // Eight fields of what was received, then bytes and packets sent.
    let field = |index: usize| numbers.get(index).copied().unwrap_or_default();
    Ok((field(9), field(8)))
}
