//! Vippy beside others on LANs of the same shape: what `make bench` measures,
//! with what `docs/BENCHMARKS.md` is written. Figures are for reading as ratios;
//! nothing is passed or failed.

mod micro;
mod plot;
mod rest;
mod rows;
mod takeover;

use std::path::PathBuf;
use std::time::Duration;

use super::Keepalived;
use super::experiments::moves::clean_stops;
use super::experiments::outage::deaths;
use super::experiments::{Bench, Outcome};

pub use plot::{Curve, plot};
pub use rows::{Row, table};

/// Numbers of addresses that move at once.
const TAKEOVERS: [usize; 2] = [1_000, 5_000];
/// Interval and `stale` of the outages, in seconds.
const OUTAGES: [(f64, f64); 2] = [(0.1, 0.3), (1.0, 3.0)];
/// Interval and `stale` of the clean stops, in seconds.
const STOPS: (f64, f64) = (0.1, 0.3);
/// Numbers of groups at rest; keepalived can do 255.
const AT_REST: [usize; 3] = [1, 50, 250];

/// What can be compared by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// What criterion measured of the core.
    Core,
    /// Many addresses that move at once.
    Takeovers,
    /// What a client notices of a death.
    Outages,
    /// What a client notices of a clean stop.
    Stops,
    /// What it costs that nothing happens.
    Rest,
}

/// What is compared with what.
#[derive(Debug)]
pub struct Plan {
    /// How, and with which daemon.
    pub bench: Bench,
    /// The program that takes addresses over by bulk netlink.
    pub bulk: PathBuf,
    /// Where criterion left its results.
    pub criterion: PathBuf,
    /// What is measured.
    pub parts: Vec<Part>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What keepalived calls itself, where it is installed.
    pub keepalived: Option<String>,
    /// Everything in order.
    pub rows: Vec<Row>,
    /// Outages in multiples of the interval.
    pub curves: Vec<Curve>,
}

/// Measures what is planned; `tell` hears of each figure as it comes.
///
/// # Errors
/// Criterion has left nothing, a cluster does not start or does not do what it should.
pub fn compare(plan: &Plan, tell: &mut dyn FnMut(&str)) -> Outcome<Comparison> {
    let keepalived = Keepalived::version();
    if keepalived.is_none() {
        tell("keepalived is not installed: nothing is measured beside it");
    }
    let wanted = |part| plan.parts.contains(&part);
    let mut all = Comparison { keepalived, ..Comparison::default() };
    let mut add = |rows: Vec<Row>| {
        rows.iter().for_each(|row| tell(&row.to_string()));
        all.rows.extend(rows);
    };
    if wanted(Part::Core) {
        let rows = rows::core(&plan.criterion);
        if rows.is_empty() {
            return Err("criterion has left nothing: cargo bench -p vippy-core comes first".into());
        }
        add(rows);
    }
    for count in TAKEOVERS.into_iter().filter(|_| wanted(Part::Takeovers)) {
        add(rows::takeover(&takeover::takeovers(&plan.bench, &plan.bulk, count)?));
    }
    for times in OUTAGES.into_iter().filter(|_| wanted(Part::Outages)) {
        let deaths = deaths(&plan.bench, times, Duration::ZERO)?;
        add(rows::outage(times, &deaths));
        all.curves.extend(curves(times, deaths.vippy, deaths.keepalived));
    }
    if wanted(Part::Stops) {
        add(rows::stop(&clean_stops(&plan.bench, STOPS)?));
    }
    for count in AT_REST.into_iter().filter(|_| wanted(Part::Rest)) {
        add(rows::rest(&rest::rest(&plan.bench, count)?));
    }
    Ok(all)
}

/// The outages of both programs, in multiples of the interval.
fn curves(
    (interval, stale): (f64, f64),
    vippy: Vec<f64>,
    keepalived: Option<(Vec<f64>, u64)>,
) -> Vec<Curve> {
    let curve = |program: &str, lasted: Vec<f64>| Curve {
        name: program.to_owned(),
        values: lasted.into_iter().map(|ms| ms / (interval * 1e3)).collect(),
    };
    let vippy = curve(&format!("vippy, interval {interval} s, stale {stale} s"), vippy);
    let other = keepalived.map(|(lasted, _)| curve(&format!("keepalived, {interval} s"), lasted));
    [vippy].into_iter().chain(other).collect()
}
