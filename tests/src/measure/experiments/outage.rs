//! What a client notices when a node dies, and what moves when nothing happens;
//! beside keepalived on the same LAN.

use std::net::IpAddr;
use std::time::Duration;

use vippy_lab::options::vip4;
use vippy_lab::{Cluster, Port, ProbeOptions, ProbeReport};

use super::super::scene::Scene;
use super::super::{KEEPALIVED, Keepalived, Spread, ms};
use super::{Bench, Outcome, PATIENCE, changes, groups};

/// Interval and `stale` in seconds.
const SETTINGS: [(f64, f64); 3] = [(0.5, 5.0), (0.1, 0.3), (0.02, 0.06)];

/// Quiet before the deaths.
const QUIET: Duration = Duration::from_secs(20);

/// The node that dies: both programs prefer it.
const VICTIM: usize = 1;

/// Prints a line for each setting and program.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn outage(bench: &Bench) -> Outcome<()> {
    println!("outage: process killed and port cut at the same moment, {} runs", bench.runs);
    println!("  ms least / median / most, as a multiple of what is allowed (vippy: stale +");
    println!(
        "  interval; keepalived: interval), and needless moves in {} s before",
        QUIET.as_secs()
    );
    match Keepalived::version() {
        Some(version) => println!("  compared with {version}"),
        None => println!("  keepalived: not installed"),
    }
    for (interval, stale) in SETTINGS {
        let deaths = deaths(bench, (interval, stale), QUIET)?;
        let allowed = (stale + interval) * 1e3;
        line("vippy", (interval, stale), &deaths.vippy, allowed, deaths.moved);
        if let Some((lasted, moved)) = &deaths.keepalived {
            line("keepalived", (interval, f64::NAN), lasted, interval * 1e3, *moved);
        }
    }
    Ok(())
}

/// Outages in milliseconds, one a death, and what changed hands in the quiet before.
#[derive(Debug)]
pub(in crate::measure) struct Deaths {
    pub(in crate::measure) vippy: Vec<f64>,
    pub(in crate::measure) moved: u64,
    /// The same of keepalived, where it is installed.
    pub(in crate::measure) keepalived: Option<(Vec<f64>, u64)>,
}

/// Lets a node that both programs prefer die again and again.
pub(in crate::measure) fn deaths(
    bench: &Bench,
    (interval, stale): (f64, f64),
    quiet: Duration,
) -> Outcome<Deaths> {
    let options = bench.options(interval, stale, groups(6), 1);
    let scene = Scene::new(options, Some(Duration::from_secs_f64(interval)))?;
    let cluster = &scene.cluster;
    let before = changes(cluster)?;
    let quiet = probe(cluster, quiet)?;
    let moved = changes(cluster)? - before;
    let reigns = quiet.series.get(&KEEPALIVED).map(|series| series.reigns().len());
    let unasked = reigns.map(|reigns| reigns.saturating_sub(1)).unwrap_or_default();
    let mut lasted = (Vec::new(), Vec::new());
    for run in 0..bench.runs {
        let report = die(cluster, interval, run)?;
        let outage = |ip: &IpAddr| report.series.get(ip).map(|series| ms(series.outage()));
        lasted.0.extend(outage(&vip4(1)));
        lasted.1.extend(outage(&KEEPALIVED));
        cluster.start_node(VICTIM)?;
        scene.start_keepalived(VICTIM)?;
        scene.wait_for_master(VICTIM)?;
        cluster.wait_until("everything back home", PATIENCE, |cluster| {
            let status = cluster.status(VICTIM).map_err(|error| error.to_string())?;
            let owner = status.groups[0].owner.as_ref().map(ToString::to_string);
            if owner.as_deref() == Some("node1") {
                cluster.settled()
            } else {
                Err(format!("{owner:?}"))
            }
        })?;
    }
    let unasked = u64::try_from(unasked)?;
    let keepalived = scene.keepalived.is_some().then_some((lasted.1, unasked));
    Ok(Deaths { vippy: lasted.0, moved, keepalived })
}

fn line(program: &str, (interval, stale): (f64, f64), lasted: &[f64], allowed: f64, moved: u64) {
    let spread = Spread::new(lasted.iter().copied());
    let ratio = Spread::new(lasted.iter().map(|lasted| lasted / allowed));
    let stale = if stale.is_nan() { "-".to_owned() } else { stale.to_string() };
    println!(
        "  {program:<10} {interval:>5} / {stale:<5} {:>28}   x {:>20}   {moved} moved",
        format!("{spread:.0}"),
        format!("{ratio:.2}"),
    );
}

fn die(cluster: &Cluster, interval: f64, run: usize) -> Outcome<ProbeReport> {
    let targets = [vip4(1), KEEPALIVED];
    let probe = cluster.lan().probe(Port::Client(0), ProbeOptions::new(targets))?;
    // Another moment between two announcements each time.
    let phase = Duration::from_secs_f64(interval).mul_f64((run as f64 * 0.37).fract());
    std::thread::sleep(Duration::from_millis(300) + phase);
    cluster.crash_node(VICTIM)?;
    cluster.wait_settled(PATIENCE)?;
    std::thread::sleep(Duration::from_millis(300) + Duration::from_secs_f64(interval * 3.0));
    Ok(probe.finish())
}

fn probe(cluster: &Cluster, time: Duration) -> Outcome<ProbeReport> {
    let targets = [vip4(1), KEEPALIVED];
    let options = ProbeOptions::new(targets).lasting(time);
    Ok(cluster.lan().probe(Port::Client(0), options)?.wait())
}
