//! Many addresses move at once: from the decision until the last of them was
//! first announced on the wire, as the switch gets it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vippy_core::timeline::MoveCause;
use vippy_core::wire::announcement::Section;
use vippy_lab::options::SECRET;
use vippy_lab::{Frame, FrameKind, Lan, LanOptions};

use super::super::experiments::{Bench, MANY_PREFIX, Outcome, many, settled};
use super::super::{GROUP, Instance, Keepalived, announcement, ms, told};

/// Has everything until it dies.
const VICTIM: usize = 1;
/// Takes everything over.
const HEIR: usize = 2;
/// Announcements and adverts, in seconds.
pub(super) const INTERVAL: f64 = 0.1;
const STALE: f64 = 0.3;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The neighbours have been told of the start for the last time.
const REPETITIONS: Duration = Duration::from_secs(7);

/// An Ethernet, an IPv4 and a UDP header.
const HEADERS: usize = 14 + 20 + 8;
/// The protocol of keepalived's adverts (RFC 9568).
const VRRP: u8 = 112;

/// How many addresses move, and how long that took, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    /// The addresses.
    pub(super) count: usize,
    /// A group for each address.
    pub(super) vippy: Vec<f64>,
    /// How much later than an interval after the one before the latest
    /// announcement came meanwhile.
    pub(super) late: Vec<f64>,
    /// One process, bulk netlink, raw frames.
    pub(super) bulk: Vec<f64>,
    /// One instance; empty where it is not installed.
    pub(super) keepalived: Vec<f64>,
}

/// Each program in turn, every time on a LAN of its own.
///
/// # Errors
/// A cluster does not start, or addresses do not move.
pub(super) fn takeovers(bench: &Bench, bulk: &Path, count: usize) -> Outcome<Takeovers> {
    let mut all = Takeovers { count, ..Takeovers::default() };
    for _ in 0..bench.runs {
        all.bulk.push(by_bulk(bulk, count)?);
        let (took, late) = by_vippy(bench, count)?;
        all.vippy.push(took);
        all.late.push(late);
        all.keepalived.extend(by_keepalived(count)?);
    }
    Ok(all)
}

/// Time for everything to be over.
fn aftermath(count: usize) -> Duration {
    Duration::from_secs_f64(STALE + 1.0)
        + Duration::from_micros(500) * u32::try_from(count).unwrap_or(u32::MAX)
}

fn by_vippy(bench: &Bench, count: usize) -> Outcome<(f64, f64)> {
    let address =
        |number| json!({ "interface": "eth0", "ip": format!("{}/{MANY_PREFIX}", many(number)) });
    let groups: Value = (0..count).map(|number| json!(["node1", address(number)])).collect();
    let mut options = bench.options(INTERVAL, STALE, groups, 0);
    options.nodes = 2;
    let cluster = settled(options)?;
    wait_for_all(cluster.lan(), count)?;
    sleep(REPETITIONS);
    let tap = cluster.lan().tap(HEIR)?;
    cluster.crash_node(VICTIM)?;
    sleep(aftermath(count));
    let frames = tap.finish();
    let decided = frames.iter().find_map(decision).ok_or("nobody told of a takeover")?;
    Ok((last_told(&frames, decided, count)?, latest(&frames, decided)))
}

/// How many milliseconds more than an interval went by between two frames of the
/// survivor, at most.
fn latest(frames: &[Frame], from: Instant) -> f64 {
    let spoken = frames.iter().filter(|frame| frame.kind == FrameKind::Udp(GROUP.port()));
    let spoken: Vec<Instant> = spoken.map(|frame| frame.at).filter(|at| *at >= from).collect();
    let gaps = spoken.windows(2).map(|pair| ms(pair[1].duration_since(pair[0])));
    gaps.fold(0.0, |worst, gap| f64::max(worst, gap - INTERVAL * 1e3))
}

/// When the sender of a frame decided to take what a dead node had.
fn decision(frame: &Frame) -> Option<Instant> {
    if frame.kind != FrameKind::Udp(GROUP.port()) {
        return None;
    }
    let announced = announcement(frame.bytes.get(HEADERS..)?, SECRET)?;
    let moves = announced.sections.into_iter().filter_map(|section| match section {
        Section::Moves(reports) => Some(reports),
        Section::Heard { .. }
        | Section::Holding { .. }
        | Section::Refusing { .. }
        | Section::Documents(_)
        | Section::Verdicts(_)
        | Section::Trial(_)
        | Section::Look(_)
        | Section::Sighting(_)
        | Section::CleanUps(_) => None,
    });
    let deaths = moves.flatten().filter(|report| report.cause == MoveCause::Death);
    deaths.filter_map(|report| frame.at.checked_sub(report.decided)).min()
}

fn by_keepalived(count: usize) -> Outcome<Option<f64>> {
    let addresses = (0..count).map(|number| (many(number).into(), MANY_PREFIX)).collect();
    let instance = Instance { addresses, home: VICTIM };
    let interval = Duration::from_secs_f64(INTERVAL);
    let Some(keepalived) = Keepalived::with(interval, vec![instance])? else { return Ok(None) };
    let lan = Lan::new(LanOptions { nodes: 2, clients: 0 })?;
    keepalived.start(&lan, VICTIM)?;
    keepalived.start(&lan, HEIR)?;
    wait_for_all(&lan, count)?;
    sleep(REPETITIONS);
    let tap = lan.tap(HEIR)?;
    lan.isolate(VICTIM)?;
    lan.machine(VICTIM)?.power_off()?;
    sleep(aftermath(count));
    let frames = tap.finish();
    // It says that it is master before it does anything about it.
    let decided = frames.iter().find(|frame| frame.bytes.get(23) == Some(&VRRP));
    let decided = decided.ok_or("keepalived did not take over")?.at;
    last_told(&frames, decided, count).map(Some)
}

fn by_bulk(program: &Path, count: usize) -> Outcome<f64> {
    let lan = Lan::new(LanOptions { nodes: 2, clients: 0 })?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("begun");
    let mut command = Command::new(program);
    command.arg(count.to_string()).stdout(File::create(&path)?);
    let tap = lan.tap(HEIR)?;
    let process = lan.machine(HEIR)?.spawn(command)?;
    let ended = process.wait(PATIENCE)?;
    if !ended.is_some_and(|status| status.success()) {
        return Err(format!("{} failed", program.display()).into());
    }
    let frames = tap.finish();
    let begun = Duration::from_nanos(fs::read_to_string(&path)?.trim().parse()?);
    let ago = SystemTime::now().duration_since(UNIX_EPOCH + begun)?;
    let begun = Instant::now().checked_sub(ago).ok_or("it began before time")?;
    last_told(&frames, begun, count)
}

/// Waits until the first node has all addresses, and the second none.
fn wait_for_all(lan: &Lan, count: usize) -> Outcome<()> {
    let has = |node: usize| -> Outcome<usize> {
        let addresses = lan.machine(node)?.addresses()?;
        Ok(addresses.iter().filter(|(_, prefix)| *prefix == MANY_PREFIX).count())
    };
    let begin = Instant::now();
    while (has(VICTIM)?, has(HEIR)?) != (count, 0) {
        if begin.elapsed() > PATIENCE {
            return Err("the addresses are not where they belong".into());
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Milliseconds until the last of the addresses was first told of.
fn last_told(frames: &[Frame], from: Instant, count: usize) -> Outcome<f64> {
    let mut first: BTreeMap<IpAddr, Instant> = BTreeMap::new();
    let wanted = |ip: &IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[..2] == [10, 79]);
    for frame in frames.iter().filter(|frame| frame.at >= from) {
        if let Some(ip) = told(frame).filter(wanted) {
            first.entry(ip).or_insert(frame.at);
        }
    }
    if first.len() != count {
        return Err(format!("{} of {count} addresses were told of", first.len()).into());
    }
    let last = first.into_values().max().ok_or("no addresses")?;
    Ok(ms(last.duration_since(from)))
}
