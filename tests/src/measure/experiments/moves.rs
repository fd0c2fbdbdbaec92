//! Planned moves: nothing may be lost.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vippy_lab::options::{vip, vip4, vip6};
use vippy_lab::{Options, Port};

use super::super::keepalived::KEEPALIVED;
use super::super::scene::{PATIENCE, Scene, Seen};
use super::super::{Spread, ms};
use super::{Bench, Outcome, patiently, valid};

/// Asks all the time.
const CLIENT: Port = Port::Client(0);
/// Quiet before and after what happens: keepalived's neighbours learn late.
const QUIET: Duration = Duration::from_millis(400);

/// A planned move of the first two groups, all of them from node1 or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Move {
    Stop,
    Return,
    Drain,
    Resume,
    Prefer,
    PreferBack,
}

impl Move {
    const ALL: [Move; 6] =
        [Move::Stop, Move::Return, Move::Drain, Move::Resume, Move::Prefer, Move::PreferBack];

    fn name(self) -> &'static str {
        match self {
            Move::Stop => "SIGTERM",
            Move::Return => "return of the node",
            Move::Drain => "drain",
            Move::Resume => "resume",
            Move::Prefer => "other preference, reloaded in turn",
            Move::PreferBack => "preference back, reloaded in turn",
        }
    }

    /// To node1.
    fn homeward(self) -> bool {
        matches!(self, Move::Return | Move::Resume | Move::PreferBack)
    }

    /// keepalived goes through the same.
    fn shared(self) -> bool {
        matches!(self, Move::Stop | Move::Return)
    }
}

/// What a run came to.
#[derive(Debug)]
struct Run {
    lost: [usize; 2],
    asked: usize,
    rate: f64,
    took: Duration,
    twice: Duration,
    other: Option<(usize, Duration)>,
}

/// Prints a line for each kind of move, for each pace.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn moves(bench: &Bench) -> Outcome<()> {
    println!("moves: 3 nodes, {} runs of each; lost: datagrams to an IPv4 and an IPv6", bench.runs);
    println!("  address, least / median / most; took: from the order (a return: from the new");
    println!(
        "  holder's first address) until the old holder has none, ms; twice: both have it, ms"
    );
    for (interval, stale, rates) in [(0.1, 0.3, &[1_000, 10_000][..]), (1.0, 3.0, &[1_000])] {
        for rate in rates {
            pace(bench, (interval, stale), *rate)?;
        }
    }
    Ok(())
}

fn targets() -> [IpAddr; 2] {
    [vip4(1), vip6(1)]
}

/// Two groups that prefer a node, and four that anybody has.
pub(super) fn groups(preferred: &str) -> Value {
    let others = (3..=6).map(|number| json!([vip(vip4(number))]));
    let [one, two] = targets().map(|ip| json!([preferred, vip(ip)]));
    [one, two].into_iter().chain(others).collect()
}

fn pace(bench: &Bench, times: (f64, f64), rate: u32) -> Outcome<()> {
    let (interval, stale) = times;
    println!(
        "  interval {interval} s, stale {stale} s, adverts {interval} s, {rate} datagrams a second to each address"
    );
    let runs = repeated(bench, times, rate, &Move::ALL)?;
    runs.iter().for_each(|(kind, runs)| line(*kind, runs));
    Ok(())
}

/// Moves of these kinds, one after the other, again and again.
fn repeated(
    bench: &Bench,
    (interval, stale): (f64, f64),
    rate: u32,
    kinds: &[Move],
) -> Outcome<BTreeMap<Move, Vec<Run>>> {
    let options = bench.options(interval, stale, groups("node1"), 1);
    let scene = Scene::new(options, Some(Duration::from_secs_f64(interval)))?;
    let mut version = 1;
    let mut runs: BTreeMap<Move, Vec<Run>> = BTreeMap::new();
    let enough = |runs: &BTreeMap<Move, Vec<Run>>| {
        kinds.iter().all(|kind| runs.get(kind).is_some_and(|done| done.len() >= bench.runs))
    };
    while !enough(&runs) {
        for kind in kinds {
            let run = valid(one(bench, &scene, *kind, rate, &mut version))?;
            runs.entry(*kind).or_default().extend(run);
        }
    }
    Ok(runs)
}

/// Questions lost at each clean stop of a node, of `asked`, per address.
#[derive(Debug)]
pub(in crate::measure) struct Stops {
    pub(in crate::measure) asked: f64,
    pub(in crate::measure) vippy: Vec<f64>,
    /// Empty where keepalived is not installed.
    pub(in crate::measure) keepalived: Vec<f64>,
}

/// Stops a daemon in order, and starts it again, a thousand questions a second.
pub(in crate::measure) fn clean_stops(bench: &Bench, times: (f64, f64)) -> Outcome<Stops> {
    let mut runs = repeated(bench, times, 1_000, &[Move::Stop, Move::Return])?;
    let stops = runs.remove(&Move::Stop).unwrap_or_default();
    Ok(Stops {
        asked: Spread::of(&stops, |run| run.asked as f64).at(0.5),
        vippy: stops.iter().map(|run| run.lost[0] as f64).collect(),
        keepalived: stops.iter().filter_map(|run| Some(run.other?.0 as f64)).collect(),
    })
}

fn line(kind: Move, runs: &[Run]) {
    let clean = runs.iter().filter(|run| run.lost == [0, 0]).count();
    println!(
        "    {:<36} nothing lost in {clean} of {} runs; IPv4 {:.0}, IPv6 {:.0} of {:.0} at {:.0}/s; took {:.1}; twice {:.1}",
        kind.name(),
        runs.len(),
        Spread::of(runs, |run| run.lost[0] as f64),
        Spread::of(runs, |run| run.lost[1] as f64),
        Spread::of(runs, |run| run.asked as f64).at(0.5),
        Spread::of(runs, |run| run.rate).at(0.0),
        Spread::of(runs, |run| ms(run.took)),
        Spread::of(runs, |run| ms(run.twice)),
    );
    let others: Vec<_> = runs.iter().filter_map(|run| run.other).collect();
    if !others.is_empty() {
        let clean = others.iter().filter(|(lost, _)| *lost == 0).count();
        println!(
            "    {:<36} nothing lost in {clean} of {} runs; IPv4 {:.0}; outage {:.0} ms",
            format!("  keepalived: {}", kind.name()),
            others.len(),
            Spread::new(others.iter().map(|(lost, _)| *lost as f64)),
            Spread::new(others.iter().map(|(_, outage)| ms(*outage))),
        );
    }
}

fn one(bench: &Bench, scene: &Scene, kind: Move, rate: u32, version: &mut u64) -> Outcome<Run> {
    let [four, six] = targets();
    let logs = scene.log_lengths();
    let asked = if kind.shared() { scene.with_other(&targets()) } else { targets().to_vec() };
    let look = scene.look(&[CLIENT], &asked, rate)?.listening(scene, &[1, 2, 3])?;
    std::thread::sleep(QUIET);
    let begin = Instant::now();
    act(scene, kind, version)?;
    for ip in [four, six] {
        let away = |seen: &vippy_lab::Presence| {
            let on = seen.holders(ip);
            on.len() == 1 && (on == [Port::Node(1)]) == kind.homeward()
        };
        patiently(look.watch.wait(PATIENCE, away), || format!("{ip} does not move"))?;
    }
    scene.cluster.wait_settled(PATIENCE)?;
    if kind == Move::Return {
        scene.wait_for_master(1)?;
    }
    // What is told again after more than a second may still move neighbours.
    std::thread::sleep(QUIET + Duration::from_millis(if kind.shared() { 1200 } else { 200 }));
    let seen = look.finish(scene)?;
    let run = assess(&seen, kind, begin)?;
    if run.lost != [0, 0] && bench.tell {
        println!("  --- {} lost {:?}", kind.name(), run.lost);
        for (ip, lost) in targets().into_iter().zip(run.lost) {
            if lost > 0 {
                print!("  {ip}\n{}", seen.story(CLIENT, ip, begin)?);
            }
        }
        print!("{}", scene.logs_since(&logs));
    }
    Ok(run)
}

fn act(scene: &Scene, kind: Move, version: &mut u64) -> Outcome<()> {
    let cluster = &scene.cluster;
    match kind {
        Move::Stop => {
            if let Some(keepalived) = &scene.keepalived {
                keepalived.terminate(1)?;
            }
            cluster.stop(1)?;
            if let Some(keepalived) = &scene.keepalived {
                keepalived.wait(1)?;
            }
        }
        Move::Return => {
            scene.start_keepalived(1)?;
            cluster.start_node(1)?;
        }
        Move::Drain => cluster.drain(1)?,
        Move::Resume => cluster.end_drain(1)?,
        Move::Prefer | Move::PreferBack => {
            *version += 1;
            let preferred = if kind == Move::Prefer { "node2" } else { "node1" };
            let mut options = Options { groups: groups(preferred), ..cluster.options().clone() };
            options.more.insert("version".into(), json!(*version));
            cluster.rewrite_config(&options.config_text())?;
            for node in 1..=3 {
                cluster.hup(node)?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    Ok(())
}

fn assess(seen: &Seen, kind: Move, begin: Instant) -> Outcome<Run> {
    let lost = |ip| seen.series(CLIENT, ip).map(vippy_lab::Series::lost);
    let [four, six] = targets();
    let series = seen.series(CLIENT, four)?;
    let asked = series.questions.len();
    let lasted = series.questions.last().map(|last| last.sent).unwrap_or_default();
    let presence = &seen.presence;
    let took = [four, six].into_iter().filter_map(|ip| {
        let from = if kind == Move::Return { presence.next_arrival(ip, 1, begin)? } else { begin };
        let left = (1..=3).filter_map(|node| presence.departure(ip, node, begin)).max()?;
        Some(left.saturating_duration_since(from))
    });
    let took = took.max().unwrap_or_default();
    let twice = [four, six].into_iter().map(|ip| presence.double_time(ip, begin)).max();
    let other = seen.series(CLIENT, KEEPALIVED).ok().map(|series| (series.lost(), series.outage()));
    Ok(Run {
        lost: [lost(four)?, lost(six)?],
        asked,
        rate: asked as f64 / lasted.as_secs_f64().max(1e-9),
        took,
        twice: twice.unwrap_or_default(),
        other,
    })
}
