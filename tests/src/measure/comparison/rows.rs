//! The table of ratios.

use std::fmt;
use std::path::Path;

use super::super::experiments::moves::Stops;
use super::super::experiments::outage::Deaths;
use super::super::{AtRest, Spread};
use super::micro::nanoseconds;
use super::rest::Rests;
use super::takeover::{INTERVAL, Takeovers};

/// One thing measured of Vippy and of another.
#[derive(Clone, Debug)]
pub struct Row {
    /// What, with its unit.
    pub what: String,
    /// Vippy's figure.
    pub ours: f64,
    /// What it is beside.
    pub beside: String,
    /// That one's figure.
    pub theirs: f64,
}

impl Row {
    fn new(what: impl Into<String>, ours: f64, beside: &str, theirs: f64) -> Row {
        Row { what: what.into(), ours, beside: beside.to_owned(), theirs }
    }
}

/// The core's benchmarks, as far as they have run.
pub(super) fn core(criterion: &Path) -> Vec<Row> {
    let wire = |what: &str, size: &str| nanoseconds(criterion, &["wire", what, size]);
    let sizes = ["6 groups", "250 groups", "10000 groups"];
    let rows = sizes.into_iter().flat_map(|size| {
        ["verify and decode", "encode and sign"].map(|what| {
            let text = format!("{what} a frame of 3 nodes and {size}, ns");
            Some(Row::new(text, wire(what, size)?, "bare HMAC", wire("bare HMAC", size)?))
        })
    });
    rows.flatten().chain(steps(criterion)).collect()
}

/// What has nothing to be compared with.
fn steps(criterion: &Path) -> Vec<Row> {
    let alone = |what: String, ours: f64| Row::new(what, ours, "-", f64::NAN);
    let place = nanoseconds(criterion, &["placement", "10000 groups on 100 nodes"]);
    let place =
        place.map(|ns| alone("placement of 10,000 groups on 100 nodes, ms".into(), ns / 1e6));
    let kinds = ["tick", "announcement that changes nothing", "announcement that changes a group"];
    let steps = ["250 groups", "10000 groups"].into_iter().flat_map(|size| {
        kinds.map(|kind| {
            let ns = nanoseconds(criterion, &["engine", kind, size])?;
            Some(alone(format!("step of the engine, {size}: {kind}, µs"), ns / 1e3))
        })
    });
    place.into_iter().chain(steps.flatten()).collect()
}

pub(super) fn takeover(all: &Takeovers) -> Vec<Row> {
    let what = format!("takeover of {} addresses, ms", all.count);
    let middle = |values: &[f64]| Spread::new(values.iter().copied()).at(0.5);
    let ours = middle(&all.vippy);
    let bulk = Row::new(what.as_str(), ours, "bulk netlink, raw frames", middle(&all.bulk));
    let other = Row::new(what.as_str(), ours, "keepalived", middle(&all.keepalived));
    let late =
        format!("meanwhile the latest announcement was late by, of {} addresses, ms", all.count);
    let latest = all.late.iter().copied().fold(0.0, f64::max);
    let late = Row::new(late, latest, "half an interval", INTERVAL * 1e3 / 2.0);
    [bulk].into_iter().chain((!all.keepalived.is_empty()).then_some(other)).chain([late]).collect()
}

pub(super) fn outage((interval, stale): (f64, f64), deaths: &Deaths) -> Vec<Row> {
    let Some((theirs, _)) = &deaths.keepalived else { return Vec::new() };
    let row = |what: &str, share: f64| {
        let what = format!("outage at a death, interval {interval} s, stale {stale} s, {what}, ms");
        let at = |values: &[f64]| Spread::new(values.iter().copied()).at(share);
        Row::new(what, at(&deaths.vippy), "keepalived", at(theirs))
    };
    vec![row("median", 0.5), row("worst", 1.0)]
}

pub(super) fn stop(stops: &Stops) -> Vec<Row> {
    if stops.keepalived.is_empty() {
        return Vec::new();
    }
    let most = |values: &[f64]| Spread::new(values.iter().copied()).most();
    let what = format!("lost at a clean stop, worst, of {:.0} questions", stops.asked);
    vec![Row::new(what, most(&stops.vippy), "keepalived", most(&stops.keepalived))]
}

pub(super) fn rest(rests: &Rests) -> Vec<Row> {
    let Some(theirs) = &rests.keepalived else { return Vec::new() };
    let groups =
        if rests.count == 1 { "1 group".into() } else { format!("{} groups", rests.count) };
    let row = |what: &str, figure: fn(&AtRest) -> f64| {
        let what = format!("at rest with {groups}: {what}");
        Row::new(what, figure(&rests.vippy), "keepalived", figure(theirs))
    };
    vec![
        row("processor, ms/s", |rest| rest.processor),
        row("packets / s", |rest| rest.packets),
        row("bytes / s", |rest| rest.bytes),
        row("memory (PSS), KiB", |rest| rest.memory),
    ]
}

/// All rows as a table in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| what | vippy | beside | its | ratio |\n");
    text.push_str("| --- | ---: | --- | ---: | ---: |\n");
    rows.iter().for_each(|row| text += &format!("{row}\n"));
    text
}

impl fmt::Display for Row {
    /// A line of the table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { what, ours, beside, theirs } = self;
        let ratio = match ours / theirs {
            ratio if ratio.is_finite() => format!("{ratio:.2}"),
            _ => "-".to_owned(),
        };
        let (ours, theirs) = (figure(*ours), figure(*theirs));
        write!(f, "| {what} | {ours} | {beside} | {theirs} | {ratio} |")
    }
}

/// Three digits that tell.
fn figure(value: f64) -> String {
    match value {
        value if value.is_nan() => "-".to_owned(),
        value if value >= 100.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_without_a_divisor_is_left_out() {
        let rows = [Row::new("a", 3.0, "b", 12.0), Row::new("c", 1.0, "b", 0.0)];
        let table = table(&rows);
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(lines, ["| a | 3.00 | b | 12.0 | 0.25 |", "| c | 1.00 | b | 0 | - |"]);
    }
}
