//! A LAN that falls apart and heals: how long two nodes have an address after
//! the heal, and what the clients of both sides lose then.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vippy_lab::Port;
use vippy_lab::options::{vip4, vip6};

use super::super::scene::{PATIENCE, Scene, Seen};
use super::super::{KEEPALIVED, Spread, ms};
use super::moves::groups;
use super::{Bench, Outcome, patiently};

/// With node1, and with everybody else.
const CLIENTS: [Port; 2] = [Port::Client(0), Port::Client(1)];
/// How long the clients ask after a heal: neighbours are told for some seconds.
const AFTERWARDS: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Run {
    twice: Duration,
    lost: [usize; 2],
    outage: Duration,
    other: Option<(Duration, [usize; 2], Duration)>,
}

/// Prints a line for each setting and program.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn partition(bench: &Bench) -> Outcome<()> {
    println!("partition: node1 and a client on one side, everybody else on the other, then healed");
    println!(
        "  two nodes have the address after the heal: ms, least / median / most, of interval +"
    );
    println!(
        "  20 ms; lost after the heal by the client of each side, of 1000 a second; {} runs",
        bench.runs
    );
    for (nodes, interval, stale, lasting) in
        [(2, 0.1, 0.3, 5), (3, 0.1, 0.3, 5), (2, 0.1, 0.3, 20), (2, 1.0, 3.0, 5), (2, 1.0, 3.0, 20)]
    {
        let runs = if lasting > 5 { bench.runs.div_ceil(2) } else { bench.runs };
        setting(bench, nodes, (interval, stale), Duration::from_secs(lasting), runs)?;
    }
    Ok(())
}

/// How long two nodes may have an address after a heal.
fn allowed(interval: Duration) -> Duration {
    interval + Duration::from_millis(20)
}

fn targets() -> [IpAddr; 2] {
    [vip4(1), vip6(1)]
}

fn setting(
    bench: &Bench,
    nodes: usize,
    (interval, stale): (f64, f64),
    lasting: Duration,
    count: usize,
) -> Outcome<()> {
    let options = bench.options(interval, stale, groups("node1"), 2);
    let options = vippy_lab::Options { nodes, ..options };
    let scene = Scene::new(options, Some(Duration::from_secs_f64(interval)))?;
    let runs = Bench::repeat(count, |number| {
        let phase = Duration::from_secs_f64(interval).mul_f64((number as f64 * 0.37).fract());
        one(bench, &scene, lasting + phase)
    })?;
    let allowed = ms(allowed(Duration::from_secs_f64(interval)));
    let clean = runs.iter().filter(|run| run.lost == [0, 0]).count();
    println!(
        "  vippy      {nodes} nodes, {interval} / {stale}, {} s: twice {:.1} of {allowed:.0}, x {:.2}; lost {:.0} and {:.0}, nothing in {clean} of {} runs; outage {:.0}",
        lasting.as_secs(),
        Spread::of(&runs, |run| ms(run.twice)),
        Spread::of(&runs, |run| ms(run.twice) / allowed),
        Spread::of(&runs, |run| run.lost[0] as f64),
        Spread::of(&runs, |run| run.lost[1] as f64),
        runs.len(),
        Spread::of(&runs, |run| ms(run.outage)),
    );
    let others: Vec<_> = runs.iter().filter_map(|run| run.other).collect();
    if !others.is_empty() {
        let clean = others.iter().filter(|other| other.1 == [0, 0]).count();
        println!(
            "  keepalived {nodes} nodes, {interval}, {} s: twice {:.1}; lost {:.0} and {:.0}, nothing in {clean} of {} runs; outage {:.0}",
            lasting.as_secs(),
            Spread::of(&others, |other| ms(other.0)),
            Spread::of(&others, |other| other.1[0] as f64),
            Spread::of(&others, |other| other.1[1] as f64),
            others.len(),
            Spread::of(&others, |other| ms(other.2)),
        );
    }
    Ok(())
}

fn one(bench: &Bench, scene: &Scene, lasting: Duration) -> Outcome<Run> {
    let lan = scene.cluster.lan();
    let logs = scene.log_lengths();
    let others: Vec<Port> = (2..=lan.nodes()).map(Port::Node).chain([CLIENTS[1]]).collect();
    lan.partition(&[Port::Node(1), CLIENTS[0]], &others)?;
    std::thread::sleep(lasting.saturating_sub(Duration::from_secs(1)));
    let look = scene.look(&CLIENTS, &scene.with_other(&targets()), 1000)?;
    let all: Vec<usize> = (1..=lan.nodes()).collect();
    let look = look.listening(scene, &all)?;
    std::thread::sleep(Duration::from_secs(1));
    let both = targets().iter().all(|ip| look.watch.so_far().holders(*ip).len() == 2);
    patiently(both, || "the other side did not take over".into())?;
    let healed = Instant::now();
    lan.heal()?;
    std::thread::sleep(AFTERWARDS);
    for ip in targets() {
        let home = look.watch.wait(PATIENCE, |seen| seen.holders(ip) == [Port::Node(1)]);
        patiently(home, || format!("{ip} does not return"))?;
    }
    scene.cluster.wait_settled(PATIENCE)?;
    scene.wait_for_master(1)?;
    let seen = look.finish(scene)?;
    let run = assess(&seen, scene, healed)?;
    let told = run.lost != [0, 0] || run.twice > allowed(scene.cluster.options().interval);
    if bench.tell && told {
        for ip in targets() {
            for client in CLIENTS {
                print!("  --- {client} {ip}\n{}", seen.story(client, ip, healed)?);
            }
        }
        print!("{}", scene.logs_since(&logs));
    }
    Ok(run)
}

fn assess(seen: &Seen, scene: &Scene, healed: Instant) -> Outcome<Run> {
    let twice = |ip: IpAddr| seen.presence.double_time(ip, healed);
    let lost = |client: Port, ips: &[IpAddr]| {
        ips.iter().map(|ip| seen.lost_since(client, *ip, healed)).sum::<Outcome<usize>>()
    };
    let outage = |ips: &[IpAddr]| -> Outcome<Duration> {
        let mut longest = Duration::ZERO;
        for client in CLIENTS {
            for ip in ips {
                let series = seen.series(client, *ip)?;
                let after = series.outages().into_iter().filter(|outage| {
                    outage.until.is_none_or(|until| series.started + until > healed)
                });
                longest = longest.max(after.map(|outage| outage.length).max().unwrap_or_default());
            }
        }
        Ok(longest)
    };
    let other = match &scene.keepalived {
        Some(_) => Some((
            twice(KEEPALIVED),
            [lost(CLIENTS[0], &[KEEPALIVED])?, lost(CLIENTS[1], &[KEEPALIVED])?],
            outage(&[KEEPALIVED])?,
        )),
        None => None,
    };
    Ok(Run {
        twice: targets().into_iter().map(twice).max().unwrap_or_default(),
        lost: [lost(CLIENTS[0], &targets())?, lost(CLIENTS[1], &targets())?],
        outage: outage(&targets())?,
        other,
    })
}
