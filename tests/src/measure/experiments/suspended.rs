//! A daemon stopped for three times `stale`, then continued: nothing leaves it
//! before it has dropped everything.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vippy_lab::options::{vip4, vip6};
use vippy_lab::{Frame, FrameKind, Port};

use super::super::scene::{PATIENCE, Scene, Seen, tells};
use super::super::{GROUP, KEEPALIVED, Spread, ms};
use super::moves::groups;
use super::{Bench, Outcome, patiently};

const VICTIM: usize = 1;
const CLIENT: Port = Port::Client(0);
/// How long the two programs are watched after they go on.
const AFTERWARDS: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Run {
    stopped_twice: Duration,
    awake_twice: Duration,
    dropped: Duration,
    early: usize,
    lost: usize,
    other: Option<(Duration, Duration)>,
}

/// Prints a line for each setting and program.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn suspended(bench: &Bench) -> Outcome<()> {
    println!("suspended: SIGSTOP for 3 x stale, then SIGCONT; 3 nodes, {} runs", bench.runs);
    println!("  two nodes have the address while it is stopped, and after SIGCONT; dropped: time");
    println!("  from SIGCONT until it has none; early: chat frames and announcements before that;");
    println!("  lost: a client's datagrams after SIGCONT, of 1000 a second");
    for (interval, stale, runs) in [(0.1, 0.3, bench.runs), (0.5, 5.0, bench.runs.div_ceil(4))] {
        setting(bench, interval, stale, runs)?;
    }
    Ok(())
}

fn targets() -> [IpAddr; 2] {
    [vip4(1), vip6(1)]
}

fn setting(bench: &Bench, interval: f64, stale: f64, count: usize) -> Outcome<()> {
    let options = bench.options(interval, stale, groups("node1"), 1);
    let scene = Scene::new(options, Some(Duration::from_secs_f64(interval)))?;
    let lifetime = scene.cluster.status(VICTIM)?.node.lifetime_s as f64;
    let allowed = 1e3 * (lifetime + 0.3 - stale + interval);
    let runs = Bench::repeat(count, |_| one(bench, &scene, stale))?;
    println!(
        "  vippy      {interval} / {stale}: twice while stopped {:.0} of {allowed:.0}; after SIGCONT {:.2}; dropped {:.2}; early {:.0}; lost {:.0}",
        Spread::of(&runs, |run| ms(run.stopped_twice)),
        Spread::of(&runs, |run| ms(run.awake_twice)),
        Spread::of(&runs, |run| ms(run.dropped)),
        Spread::of(&runs, |run| run.early as f64),
        Spread::of(&runs, |run| run.lost as f64),
    );
    let others: Vec<_> = runs.iter().filter_map(|run| run.other).collect();
    if !others.is_empty() {
        println!(
            "  keepalived {interval}: twice while stopped {:.0}; after SIGCONT {:.2}",
            Spread::new(others.iter().map(|(stopped, _)| ms(*stopped))),
            Spread::new(others.iter().map(|(_, awake)| ms(*awake))),
        );
    }
    Ok(())
}

fn one(bench: &Bench, scene: &Scene, stale: f64) -> Outcome<Run> {
    let cluster = &scene.cluster;
    let logs = scene.log_lengths();
    let look = scene.look(&[CLIENT], &scene.with_other(&targets()), 1000)?;
    let look = look.listening(scene, &[VICTIM])?;
    std::thread::sleep(Duration::from_millis(300));
    let stopped = Instant::now();
    cluster.pause(VICTIM)?;
    if let Some(keepalived) = &scene.keepalived {
        keepalived.signal(VICTIM, Signal::SIGSTOP)?;
    }
    std::thread::sleep(Duration::from_secs_f64(3.0 * stale));
    let moved = targets()
        .iter()
        .all(|ip| look.watch.so_far().holders(*ip).iter().any(|on| *on != Port::Node(VICTIM)));
    patiently(moved, || "nobody took over from the stopped one".into())?;
    let woken = Instant::now();
    cluster.resume(VICTIM)?;
    if let Some(keepalived) = &scene.keepalived {
        keepalived.signal(VICTIM, Signal::SIGCONT)?;
    }
    std::thread::sleep(AFTERWARDS);
    for ip in targets() {
        let home = look.watch.wait(PATIENCE, |seen| seen.holders(ip) == [Port::Node(VICTIM)]);
        patiently(home, || format!("{ip} does not return"))?;
    }
    cluster.wait_settled(PATIENCE)?;
    scene.wait_for_master(VICTIM)?;
    std::thread::sleep(Duration::from_millis(500));
    let seen = look.finish(scene)?;
    let run = assess(&seen, scene, stopped, woken)?;
    if bench.tell {
        for ip in targets() {
            print!("  --- {ip}\n{}", seen.story(CLIENT, ip, woken)?);
        }
        print!("{}", scene.logs_since(&logs));
    }
    Ok(run)
}

/// When the victim's first departure after a moment was, if it still had the
/// address then.
fn drop_after(seen: &Seen, ip: IpAddr, woken: Instant) -> Option<Instant> {
    let spans = seen.presence.spans(ip, VICTIM);
    let had = spans.iter().find(|span| span.from <= woken && span.to.is_none_or(|to| to > woken));
    had.and_then(|span| span.to)
}

fn assess(seen: &Seen, scene: &Scene, stopped: Instant, woken: Instant) -> Outcome<Run> {
    let twice = |ip: IpAddr| {
        let stretches = seen.presence.doubled(ip, stopped);
        let part = |from: Instant, to: Instant| {
            let parts = stretches.iter().map(|stretch| {
                stretch.to.min(to).saturating_duration_since(stretch.from.max(from))
            });
            parts.sum::<Duration>()
        };
        // What comes after the drop is the hand-over home.
        let dropped = drop_after(seen, ip, woken).unwrap_or(woken);
        (part(stopped, woken), part(woken, dropped))
    };
    let both = targets().map(twice);
    let dropped = targets().into_iter().filter_map(|ip| drop_after(seen, ip, woken)).max();
    let dropped = dropped.unwrap_or(woken);
    let frames = seen.frames.get(&Port::Node(VICTIM)).map(Vec::as_slice).unwrap_or_default();
    let speaks = |frame: &&Frame| {
        frame.kind == FrameKind::Udp(GROUP.port()) || targets().iter().any(|ip| tells(frame, *ip))
    };
    let early = frames.iter().filter(speaks).filter(|frame| (woken..dropped).contains(&frame.at));
    let lost = targets().into_iter().map(|ip| seen.lost_since(CLIENT, ip, woken));
    Ok(Run {
        stopped_twice: both[0].0.max(both[1].0),
        awake_twice: both[0].1.max(both[1].1),
        dropped: dropped.saturating_duration_since(woken),
        early: early.count(),
        lost: lost.sum::<Outcome<usize>>()?,
        other: scene.keepalived.as_ref().map(|_| {
            // It drops nothing: the overlap ends when the others hear it.
            (twice(KEEPALIVED).0, seen.presence.double_time(KEEPALIVED, woken))
        }),
    })
}
