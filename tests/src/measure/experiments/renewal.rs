//! What the kernel lifetime of many addresses costs (F1).

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use vippy_lab::{Cluster, Port};

use super::super::{Capture, Cost, Spread, ms};
use super::{Bench, Outcome, PATIENCE, groups};

/// Prints a line for each number of addresses, with a lifetime and without.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn renewal(bench: &Bench) -> Outcome<()> {
    println!(
        "renewal: one node with all the addresses, interval 0.5 s, stale 5 s, {} s each",
        bench.watch.as_secs()
    );
    println!("  gap: between two announcements, ms, least / median / most; 500 are due");
    for count in [1_000, 10_000] {
        for lifetime in [true, false] {
            one(bench, count, lifetime)?;
        }
    }
    Ok(())
}

fn one(bench: &Bench, count: usize, lifetime: bool) -> Outcome<()> {
    let mut options = bench.options(0.5, 5.0, groups(count), 1);
    options.nodes = 1;
    options.patience = PATIENCE * 4;
    if !lifetime {
        options.more.insert("lifetime".into(), json!("off"));
    }
    let cluster = Cluster::start(options)?;
    cluster.wait_settled(PATIENCE * 4)?;
    // The burst of the start is over, its announcements to the neighbours too.
    std::thread::sleep(Duration::from_secs(5));
    let client = Port::Client(0);
    let own: Ipv4Addr = client.ipv4();
    let machine = cluster.lan().machine(client)?;
    let capture = Capture::start(machine, own, Port::Node(1).ipv4())?;
    let pid = cluster.process(1)?.pid();
    let before = Cost::now(pid)?;
    std::thread::sleep(bench.watch);
    let after = Cost::now(pid)?;
    let frames = capture.finish();
    // A big announcement goes out as several frames at once.
    let gaps = frames.windows(2).map(|pair| ms(pair[1].at.saturating_sub(pair[0].at)));
    let gaps = Spread::new(gaps.filter(|gap| *gap > 100.0));
    let valid = cluster.status(1)?.node.lifetime_s;
    println!(
        "  {count:>6} addresses, valid_lft {}: {:.1} ms/s of a processor; gap {gaps:.1}; {} KiB",
        if lifetime { format!("{valid} s") } else { "off".into() },
        before.per_second(&after),
        Cost::memory(pid)?,
    );
    Ok(())
}
