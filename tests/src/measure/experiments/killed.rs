//! A daemon killed with SIGKILL on a host that lives on, and nobody starts it
//! again: how long two nodes have its addresses, and whom new clients ask.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vippy_lab::options::vip4;
use vippy_lab::{Port, ProbeOptions};

use super::super::scene::{PATIENCE, Scene, Seen};
use super::super::{KEEPALIVED, Spread, ms};
use super::{Bench, Outcome, groups, patiently};

const VICTIM: usize = 1;
/// Asks all the time; its kernel remembers whom.
const CLIENT: Port = Port::Client(0);
/// Remembers nothing.
const STRANGER: Port = Port::Client(1);
/// How long keepalived's dead address is watched.
const LONG: Duration = Duration::from_secs(15);

/// What a run came to.
#[derive(Debug)]
struct Run {
    twice: Duration,
    gone: Duration,
    outage: Duration,
    other_twice: Option<Duration>,
    misled: (usize, usize),
    other_misled: (usize, usize),
}

/// Prints a line for each setting and program.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn killed(bench: &Bench) -> Outcome<()> {
    println!("killed: kill -9 of the daemon, host alive, no restart; 3 nodes, {} runs", bench.runs);
    println!("  two nodes have the address: ms, least / median / most, of what is allowed:");
    println!(
        "  valid_lft + 0.3 s - stale + interval; misled: new clients whom the dead node answered"
    );
    for (interval, stale) in [(0.1, 0.3), (0.5, 5.0)] {
        setting(bench, interval, stale)?;
    }
    Ok(())
}

fn setting(bench: &Bench, interval: f64, stale: f64) -> Outcome<()> {
    let options = bench.options(interval, stale, groups(6), 2);
    let scene = Scene::new(options, Some(Duration::from_secs_f64(interval)))?;
    let lifetime = scene.cluster.status(VICTIM)?.node.lifetime_s;
    let allowed = 1e3 * (lifetime as f64 + 0.3 - stale + interval);
    let runs = Bench::repeat(bench.runs, |number| {
        // Another moment between two renewals each time.
        std::thread::sleep(Duration::from_secs_f64(stale).mul_f64((number as f64 * 0.37).fract()));
        let run = one(bench, &scene);
        scene.cluster.start_node(VICTIM)?;
        scene.start_keepalived(VICTIM)?;
        scene.wait_for_holder(vip4(1), VICTIM)?;
        scene.wait_for_master(VICTIM)?;
        scene.cluster.wait_settled(PATIENCE)?;
        run
    })?;
    let misled = |pick: &dyn Fn(&Run) -> (usize, usize)| {
        let sum = runs.iter().map(pick).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        format!("misled {} of {}", sum.0, sum.1)
    };
    println!(
        "  vippy      {interval} / {stale}, valid_lft {lifetime} s: twice {:.0} of {allowed:.0}, x {:.2}; gone after {:.0}; outage {:.0}; {}",
        Spread::of(&runs, |run| ms(run.twice)),
        Spread::of(&runs, |run| ms(run.twice) / allowed),
        Spread::of(&runs, |run| ms(run.gone)),
        Spread::of(&runs, |run| ms(run.outage)),
        misled(&|run| run.misled),
    );
    let other = runs.iter().filter_map(|run| run.other_twice.map(ms));
    if scene.keepalived.is_some() {
        println!(
            "  keepalived {interval}: twice {:.0}, still so after {} s; {}",
            Spread::new(other),
            LONG.as_secs(),
            misled(&|run| run.other_misled),
        );
    }
    Ok(())
}

fn one(bench: &Bench, scene: &Scene) -> Outcome<Run> {
    let vip = vip4(1);
    let logs = scene.log_lengths();
    let look = scene.look(&[CLIENT], &scene.with_other(&[vip]), 1000)?;
    std::thread::sleep(Duration::from_millis(300));
    let killed = Instant::now();
    scene.cluster.kill(VICTIM)?;
    if let Some(keepalived) = &scene.keepalived {
        keepalived.signal(VICTIM, Signal::SIGKILL)?;
        keepalived.wait(VICTIM)?;
    }
    let twice = look.watch.wait(PATIENCE, |seen| seen.holders(vip).len() == 2);
    patiently(twice, || "nobody took the address over".into())?;
    let mut misled = (0, 0);
    let mut other_misled = (0, 0);
    while look.watch.so_far().holders(vip).contains(&Port::Node(VICTIM)) {
        patiently(killed.elapsed() < PATIENCE * 2, || "the dead node keeps its address".into())?;
        add(&mut misled, stranger(scene, vip)?);
        if scene.keepalived.is_some() {
            add(&mut other_misled, stranger(scene, KEEPALIVED)?);
        }
    }
    if scene.keepalived.is_some() {
        std::thread::sleep((killed + LONG).saturating_duration_since(Instant::now()));
    }
    let seen = look.finish(scene)?;
    let run = assess(&seen, scene, killed, (misled, other_misled))?;
    if bench.tell {
        print!("  ---\n{}{}", seen.story(CLIENT, vip, killed)?, scene.logs_since(&logs));
    }
    Ok(run)
}

fn add(sum: &mut (usize, usize), one: (usize, usize)) {
    *sum = (sum.0 + one.0, sum.1 + one.1);
}

/// A client that knows nothing asks: whether the dead node answered.
fn stranger(scene: &Scene, ip: IpAddr) -> Outcome<(usize, usize)> {
    let lan = scene.cluster.lan();
    lan.machine(STRANGER)?.flush_neighbours()?;
    let options = ProbeOptions { patience: Duration::from_millis(50), ..ProbeOptions::new([ip]) };
    let report = lan.probe(STRANGER, options.lasting(Duration::from_millis(3)))?.wait();
    let reigns = report.series.get(&ip).map(|series| series.reigns()).unwrap_or_default();
    let Some(first) = reigns.first() else { return Ok((0, 0)) };
    Ok((usize::from(first.by == Port::Node(VICTIM)), 1))
}

fn assess(
    seen: &Seen,
    scene: &Scene,
    killed: Instant,
    (misled, other_misled): ((usize, usize), (usize, usize)),
) -> Outcome<Run> {
    let presence = &seen.presence;
    let gone = presence.departure(vip4(1), VICTIM, killed).ok_or("the address never went")?;
    Ok(Run {
        twice: presence.double_time(vip4(1), killed),
        gone: gone.saturating_duration_since(killed),
        outage: seen.series(CLIENT, vip4(1))?.outage(),
        other_twice: scene.keepalived.as_ref().map(|_| presence.double_time(KEEPALIVED, killed)),
        misled,
        other_misled,
    })
}
