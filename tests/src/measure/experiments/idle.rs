//! What a daemon costs when nothing happens.

use std::time::Duration;

use super::super::{AtRest, at_rest};
use super::{Bench, Outcome, groups, settled};

/// Quiet before the watch: the last repetitions of what was told to the
/// neighbours at the start.
const QUIET: Duration = Duration::from_secs(5);

/// Prints a line for six groups and one for 250.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn idle(bench: &Bench) -> Outcome<()> {
    println!("idle: 3 nodes, interval 1 s, stale 3 s, each node over {} s", bench.watch.as_secs());
    println!("  groups   CPU ms/s   packets/s   bytes/s   PSS KiB");
    for count in [6, 250] {
        let AtRest { processor, packets, bytes, memory } = rest(bench, count)?;
        println!("  {count:>6}   {processor:>8.2}   {packets:>9.2}   {bytes:>7.0}   {memory:>7.0}");
    }
    Ok(())
}

/// What a daemon of three costs with so many groups.
pub(in crate::measure) fn rest(bench: &Bench, count: usize) -> Outcome<AtRest> {
    let cluster = settled(bench.options(1.0, 3.0, groups(count), 0))?;
    std::thread::sleep(QUIET);
    at_rest(cluster.lan(), bench.watch, |node| Ok(vec![cluster.process(node)?.pid()]))
}
