//! What a program costs when nothing happens.

use std::time::Duration;

use vippy_lab::{Lan, Machine};

use super::Cost;
use super::experiments::Outcome;

/// A node's costs at rest: the mean of all nodes.
#[derive(Clone, Copy, Debug)]
pub struct AtRest {
    /// Processor milliseconds a second.
    pub processor: f64,
    /// Packets a second that it sends.
    pub packets: f64,
    /// Bytes a second that it sends.
    pub bytes: f64,
    /// Memory that is its own, in KiB.
    pub memory: f64,
}

/// What a node had used up at a moment.
struct Reading {
    costs: Vec<Cost>,
    packets: u64,
    bytes: u64,
}

/// Watches the nodes of a LAN on which nothing happens; `processes` are those of
/// the program on a node.
///
/// # Errors
/// A process has ended.
pub fn at_rest(
    lan: &Lan,
    watch: Duration,
    processes: impl Fn(usize) -> Outcome<Vec<u32>>,
) -> Outcome<AtRest> {
    let nodes: Vec<(usize, Vec<u32>)> =
        (1..=lan.nodes()).map(|node| Ok((node, processes(node)?))).collect::<Outcome<_>>()?;
    let read = || -> Outcome<Vec<Reading>> {
        nodes.iter().map(|(node, pids)| Reading::now(lan.machine(*node)?, pids)).collect()
    };
    let before = read()?;
    std::thread::sleep(watch);
    let after = read()?;
    let seconds = watch.as_secs_f64();
    let mean = |value: &dyn Fn(&Reading, &Reading) -> f64| {
        let pairs = before.iter().zip(&after);
        pairs.map(|(before, after)| value(before, after)).sum::<f64>() / nodes.len() as f64
    };
    let pids = nodes.iter().flat_map(|(_, pids)| pids);
    let memory = pids.map(|pid| Cost::memory(*pid)).sum::<std::io::Result<u64>>()?;
    Ok(AtRest {
        processor: mean(&|before, after| {
            let pairs = before.costs.iter().zip(&after.costs);
            pairs.map(|(before, after)| before.per_second(after)).sum()
        }),
        packets: mean(&|before, after| (after.packets - before.packets) as f64 / seconds),
        bytes: mean(&|before, after| (after.bytes - before.bytes) as f64 / seconds),
        memory: memory as f64 / nodes.len() as f64,
    })
}

impl Reading {
    fn now(machine: &Machine, pids: &[u32]) -> Outcome<Reading> {
        let read = || std::fs::read_to_string("/proc/thread-self/net/dev");
        let text = machine.run(read)??;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
        let numbers: Vec<u64> = line
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        // Eight fields of what was received, then bytes and packets sent.
        let field = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let costs = pids.iter().map(|pid| Cost::now(*pid)).collect::<std::io::Result<_>>()?;
        Ok(Reading { costs, packets: field(9), bytes: field(8) })
    }
}
