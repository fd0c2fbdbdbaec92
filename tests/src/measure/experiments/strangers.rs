//! Recorded announcements of earlier lives, played to nodes that run and to
//! nodes that start; clocks that differ; garbage.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vippy_lab::options::{vip4, vip6};
use vippy_lab::{Cluster, Port};

use super::super::scene::{PATIENCE, Scene};
use super::super::{Capture, EVERYBODY, Flood, ms};
use super::moves::groups;
use super::{Bench, Outcome, changes, valid};

const CLIENT: Port = Port::Client(0);
const ATTACKER: Port = Port::Client(1);
/// The node whose earlier lives are played.
const VICTIM: usize = 1;
const INTERVAL: f64 = 0.1;
const STALE: f64 = 0.3;
/// Datagrams a second of the attacker: far faster than the interval.
const RATE: u32 = 1_000;
/// How long each attack lasts.
const LASTING: Duration = Duration::from_secs(5);
/// How far the clocks of two neighbouring nodes are apart, seconds.
const APART: usize = 10;

/// Prints a line for each attack.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn strangers(bench: &Bench) -> Outcome<()> {
    println!(
        "strangers: {RATE} datagrams a second for {} s to 3 nodes; interval {INTERVAL}, stale {STALE}",
        LASTING.as_secs()
    );
    println!("  clocks: monotonic and boot-time clocks of neighbouring nodes {APART} s apart;");
    println!("  lost: of 1000 questions a second to an IPv4 and an IPv6 address of node1");
    for apart in [false, true] {
        clocks(bench, apart)?;
    }
    Ok(())
}

/// A command that shifts the clocks of what it starts.
fn shifted(node: usize) -> Vec<std::ffi::OsString> {
    let seconds = (node * APART).to_string();
    let words =
        ["unshare", "--time", "--boottime", seconds.as_str(), "--monotonic", seconds.as_str()];
    words.into_iter().chain(["--"]).map(Into::into).collect()
}

fn clocks(bench: &Bench, apart: bool) -> Outcome<()> {
    let mut options = bench.options(INTERVAL, STALE, groups("node1"), 2);
    if apart {
        options.wrappers = (1..=3).map(|node| (node, shifted(node))).collect();
    }
    let scene = Scene::new(options, None)?;
    let lives = (0..bench.runs.clamp(2, 5))
        .map(|_| a_life(&scene.cluster))
        .collect::<Outcome<Vec<_>>>()?
        .concat();
    println!(
        "  clocks {}: {} frames of earlier lives",
        if apart { "apart" } else { "together" },
        lives.len()
    );
    let garbage: Vec<Vec<u8>> = [60, 200, 1_232].map(super::super::garbage).to_vec();
    for (what, frames) in [("earlier lives", &lives), ("garbage", &garbage)] {
        for restarted in [None, Some(VICTIM), Some(2)] {
            attack(&scene, what, frames, restarted)?;
        }
    }
    Ok(())
}

/// Records what the victim says until it is killed, and starts it again.
fn a_life(cluster: &Cluster) -> Outcome<Vec<Vec<u8>>> {
    let machine = cluster.lan().machine(ATTACKER)?;
    let capture = Capture::start(machine, ATTACKER.ipv4(), Port::Node(VICTIM).ipv4())?;
    std::thread::sleep(Duration::from_secs_f64(INTERVAL * 20.0));
    cluster.kill(VICTIM)?;
    let frames = capture.finish().into_iter().map(|captured| captured.frame).collect();
    cluster.start_node(VICTIM)?;
    cluster.wait_settled(PATIENCE)?;
    Ok(frames)
}

fn targets() -> [IpAddr; 2] {
    [vip4(1), vip6(1)]
}

fn attack(scene: &Scene, what: &str, frames: &[Vec<u8>], restarted: Option<usize>) -> Outcome<()> {
    loop {
        if let Some(line) = valid(attempt(scene, frames, restarted))? {
            let whom =
                restarted.map_or("running nodes".into(), |node| format!("node{node} restarts"));
            println!("    {what}, {whom}: {line}");
            return Ok(());
        }
    }
}

fn attempt(scene: &Scene, frames: &[Vec<u8>], restarted: Option<usize>) -> Outcome<String> {
    let cluster = &scene.cluster;
    let look = scene.look(&[CLIENT], &targets(), 1000)?;
    let before = changes_of_others(cluster, restarted)?;
    let begin = Instant::now();
    let machine = cluster.lan().machine(ATTACKER)?;
    let flood = Flood::start(machine, ATTACKER.ipv4(), EVERYBODY, RATE, frames.to_vec())?;
    std::thread::sleep(LASTING / 2);
    if let Some(node) = restarted {
        cluster.kill(node)?;
        cluster.start_node(node)?;
    }
    std::thread::sleep(LASTING / 2);
    let sent = flood.finish();
    cluster.wait_settled(PATIENCE)?;
    let moved = changes_of_others(cluster, restarted)? - before;
    let seen = look.finish(scene)?;
    let twice = targets().into_iter().map(|ip| seen.presence.double_time(ip, begin)).max();
    let lost = targets().into_iter().map(|ip| seen.lost_since(CLIENT, ip, begin));
    Ok(format!(
        "{} sent; {moved} groups moved, {} lost, twice {:.1} ms",
        sent.count,
        lost.sum::<Outcome<usize>>()?,
        ms(twice.unwrap_or_default()),
    ))
}

/// How often the sets of groups of the nodes that went on changed.
fn changes_of_others(cluster: &Cluster, restarted: Option<usize>) -> Outcome<u64> {
    match restarted {
        None => changes(cluster),
        Some(restarted) => {
            let others = (1..=3).filter(|node| *node != restarted);
            others.map(|node| Ok(cluster.status(node)?.stats.state_changes)).sum()
        }
    }
}
