//! Whether announcements stay on time under 50,000 bad datagrams a second.

use std::time::Duration;

use vippy_lab::{Cluster, Port};

use super::super::{Capture, Captured, Cost, EVERYBODY, Flood, Spread, garbage, ms, wrong_key};
use super::{Bench, Outcome, changes, groups, settled};

const RATE: u32 = 50_000;
/// Whose announcements are timed.
const NODE: usize = 2;
const ATTACKER: Port = Port::Client(0);
const BYSTANDER: Port = Port::Client(1);

/// Prints a line for each kind of datagram.
///
/// # Errors
/// The cluster does not start or does not settle.
pub fn flood(bench: &Bench) -> Outcome<()> {
    let options = bench.options(0.1, 0.3, groups(6), 2);
    let text: serde_json::Value = serde_json::from_str(&options.config_text())?;
    let secret = text["secret"].as_str().unwrap_or_default().to_owned();
    let cluster = settled(options)?;
    let recorded = record(&cluster, Duration::from_secs(2))?;
    let frames: Vec<Vec<u8>> = recorded.into_iter().map(|captured| captured.frame).collect();
    let first = frames.first().ok_or("node2 said nothing")?.clone();
    let kinds: [(&str, u32, Vec<Vec<u8>>); 5] = [
        ("nothing", 0, Vec::new()),
        ("garbage", RATE, vec![garbage(200)]),
        ("unknown key", RATE, vec![wrong_key(&first, &secret, false)]),
        ("wrong tag", RATE, vec![wrong_key(&first, &secret, true)]),
        ("replayed", RATE, frames),
    ];
    println!("flood: gaps between announcements of one of 3 nodes, interval 100 ms, stale 300 ms,");
    println!(
        "  {} s each; the whole machine, attacker included, has two processors",
        bench.watch.as_secs()
    );
    println!(
        "  {:<12} {:>8}   {:>22} {:>6}   {:>8}",
        "datagrams", "sent/s", "least / median / most", "p99", "CPU ms/s"
    );
    for (name, rate, datagrams) in kinds {
        one(bench, &cluster, name, rate, datagrams)?;
    }
    Ok(())
}

fn one(
    bench: &Bench,
    cluster: &Cluster,
    name: &str,
    rate: u32,
    datagrams: Vec<Vec<u8>>,
) -> Outcome<()> {
    let before = changes(cluster)?;
    let attacker = cluster.lan().machine(ATTACKER)?;
    let flood = match rate {
        0 => None,
        rate => Some(Flood::start(attacker, ATTACKER.ipv4(), EVERYBODY, rate, datagrams)?),
    };
    let pid = cluster.process(NODE)?.pid();
    let cost = Cost::now(pid)?;
    let frames = record(cluster, bench.watch)?;
    let cost = cost.per_second(&Cost::now(pid)?);
    let sent = flood.map(Flood::finish).unwrap_or_default();
    let gaps = frames.windows(2).map(|pair| ms(pair[1].at.saturating_sub(pair[0].at)));
    let gaps = Spread::new(gaps);
    println!(
        "  {name:<12} {:>8.0}   {:>22} {:>6.1}   {cost:>8.1}   {} moved",
        sent.rate(),
        format!("{gaps:.1}"),
        gaps.at(0.99),
        changes(cluster)? - before,
    );
    Ok(())
}

fn record(cluster: &Cluster, time: Duration) -> Outcome<Vec<Captured>> {
    let machine = cluster.lan().machine(BYSTANDER)?;
    let capture = Capture::start(machine, BYSTANDER.ipv4(), Port::Node(NODE).ipv4())?;
    std::thread::sleep(time);
    Ok(capture.finish())
}
