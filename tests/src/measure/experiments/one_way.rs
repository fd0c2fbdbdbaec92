//! A holder that hears nobody, and one that nobody hears.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vippy_lab::options::{vip4, vip6};
use vippy_lab::{Options, Port};

use super::super::scene::{PATIENCE, Scene};
use super::super::{KEEPALIVED, Spread, ms};
use super::moves::groups;
use super::{Bench, Outcome, patiently};

const VICTIM: usize = 1;
const CLIENT: Port = Port::Client(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Nothing that anybody sends reaches it.
    Deaf,
    /// Nothing that it sends reaches anybody.
    Mute,
}

/// Prints a line for each kind of cut, size and program.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn one_way(bench: &Bench) -> Outcome<()> {
    println!("one-way: the holder of an address hears nobody, or is heard by nobody, client");
    println!(
        "  included; {} runs; time until the client is served again, ms, least / median /",
        bench.runs
    );
    println!(
        "  most, of stale + interval (keepalived: of its interval); still two holders after that"
    );
    for (interval, stale) in [(0.1, 0.3), (1.0, 3.0)] {
        for nodes in [2, 3] {
            for cut in [Cut::Deaf, Cut::Mute] {
                setting(bench, nodes, (interval, stale), cut)?;
            }
        }
    }
    Ok(())
}

fn targets() -> [IpAddr; 2] {
    [vip4(1), vip6(1)]
}

/// Until served again (`None`: not within the time), for Vippy and keepalived.
type Run = (Option<Duration>, Option<Duration>, bool);

fn setting(bench: &Bench, nodes: usize, (interval, stale): (f64, f64), cut: Cut) -> Outcome<()> {
    let options = bench.options(interval, stale, groups("node1"), 1);
    let options = Options { nodes, ..options };
    let scene = Scene::new(options, Some(Duration::from_secs_f64(interval)))?;
    let wait = Duration::from_secs_f64(stale * 4.0 + 2.0);
    let runs: Vec<Run> = Bench::repeat(bench.runs, |number| {
        let phase = Duration::from_secs_f64(interval).mul_f64((number as f64 * 0.37).fract());
        one(bench, &scene, cut, wait, phase)
    })?;
    let line = |program: &str, allowed: f64, served: Vec<Option<Duration>>, rest: &str| {
        let never = served.iter().filter(|served| served.is_none()).count();
        let times: Vec<f64> = served.iter().flatten().copied().map(ms).collect();
        let spread = Spread::new(times.iter().copied());
        let ratio = Spread::new(times.iter().map(|time| time / allowed));
        println!(
            "  {program:<10} {nodes} nodes, {interval} / {stale}, {cut:?}: {spread:.0} of {allowed:.0}, x {ratio:.2}; never within {:.0} s: {never} of {}{rest}",
            wait.as_secs_f64(),
            served.len(),
        );
    };
    let keeps = runs.iter().filter(|run| run.2).count();
    let allowed = (stale + interval) * 1e3;
    let rest = format!("; the cut node still has it: {keeps}");
    line("vippy", allowed, runs.iter().map(|run| run.0).collect(), &rest);
    if scene.keepalived.is_some() {
        line("keepalived", interval * 1e3, runs.iter().map(|run| run.1).collect(), "");
    }
    Ok(())
}

fn one(bench: &Bench, scene: &Scene, cut: Cut, wait: Duration, phase: Duration) -> Outcome<Run> {
    let lan = scene.cluster.lan();
    let logs = scene.log_lengths();
    let all: Vec<usize> = (1..=lan.nodes()).collect();
    let look = scene.look(&[CLIENT], &scene.with_other(&targets()), 1000)?;
    let look = look.listening(scene, &all)?;
    std::thread::sleep(Duration::from_millis(300) + phase);
    let begin = Instant::now();
    let others: Vec<Port> = lan.ports().filter(|port| *port != Port::Node(VICTIM)).collect();
    let victim = Port::Node(VICTIM);
    let pairs: Vec<(Port, Port)> = match cut {
        Cut::Deaf => others.iter().map(|other| (*other, victim)).collect(),
        Cut::Mute => others.iter().map(|other| (victim, *other)).collect(),
    };
    lan.cut_all(&pairs)?;
    std::thread::sleep(wait);
    let keeps = look.watch.so_far().holders(vip4(1)).contains(&victim);
    let seen = look.finish(scene);
    lan.heal()?;
    for ip in targets() {
        scene.wait_for_holder(ip, VICTIM)?;
    }
    scene.wait_for_master(VICTIM)?;
    scene.cluster.wait_settled(PATIENCE)?;
    let seen = seen?;
    // The first answer behind which every question is answered.
    let served = |ip: IpAddr| -> Outcome<Option<Duration>> {
        let series = seen.series(CLIENT, ip)?;
        let Some(last) = series.outages().pop() else { return Ok(Some(Duration::ZERO)) };
        let until = last.until.map(|until| series.started + until);
        Ok(until.map(|until| until.saturating_duration_since(begin)))
    };
    let times = targets().into_iter().map(served).collect::<Outcome<Vec<_>>>()?;
    let vippy = times.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
    let other = match &scene.keepalived {
        Some(_) => served(KEEPALIVED)?,
        None => None,
    };
    if bench.tell {
        for ip in targets() {
            print!("  --- {cut:?} {ip}\n{}", seen.story(CLIENT, ip, begin)?);
        }
        print!("{}", scene.logs_since(&logs));
    }
    patiently(!seen.presence.ever(vip4(1)).is_empty(), || "nobody ever had the address".into())?;
    Ok((vippy, other, keeps))
}
