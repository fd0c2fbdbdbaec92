//! A daemon that is asked to stop.

use std::time::Duration;

use vippy_lab::{Port, ProbeOptions};

use super::super::{Spread, ms};
use super::{Bench, Outcome, PATIENCE, addresses, groups, settled};

/// Prints a line for six groups and one for a thousand.
///
/// # Errors
/// The cluster does not start or does not settle.
pub fn stop(bench: &Bench) -> Outcome<()> {
    println!("stop: SIGTERM to one of 3 nodes, interval 100 ms, stale 300 ms, {} runs", bench.runs);
    let cluster = settled(bench.options(0.1, 0.3, groups(6), 1))?;
    let (mut lost, mut asked, mut took) = (0, 0, Vec::new());
    for _ in 0..bench.runs {
        let options =
            ProbeOptions { patience: Duration::from_secs(2), ..ProbeOptions::new(addresses()) };
        let probe = cluster.lan().probe(Port::Client(0), options)?;
        std::thread::sleep(Duration::from_millis(200));
        took.push(ms(cluster.stop(1)?.took));
        cluster.wait_settled(PATIENCE)?;
        cluster.start_node(1)?;
        cluster.wait_settled(PATIENCE)?;
        std::thread::sleep(Duration::from_millis(500));
        let report = probe.finish();
        lost += report.lost();
        asked += report.series.values().map(|series| series.questions.len()).sum::<usize>();
    }
    println!(
        "     6 groups: {lost} of {asked} datagrams lost, return included; exit after {:.0} ms",
        Spread::new(took)
    );
    drop(cluster);
    let cluster = settled(bench.options(0.5, 5.0, groups(1000), 0))?;
    let mut took = Vec::new();
    for node in 1..=3 {
        let held = cluster.lan().machine(node)?.addresses()?.len() - 3;
        took.push(format!("{held} addresses {:.0} ms", ms(cluster.stop(node)?.took)));
        if node < 3 {
            cluster.wait_settled(PATIENCE)?;
        }
    }
    println!("  1000 groups (interval 500 ms), one node after the other: {}", took.join(", "));
    Ok(())
}
