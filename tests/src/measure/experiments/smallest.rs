//! The smallest timers: false alarms on a busy machine, and what a death costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use vippy_lab::Port;
use vippy_lab::make_prompt;
use vippy_lab::options::{vip4, vip6};

use super::super::scene::{PATIENCE, Scene};
use super::super::{KEEPALIVED, Spread, ms};
use super::moves::groups;
use super::{Bench, Outcome, changes};

const INTERVAL: f64 = 0.005;
const STALE: f64 = 0.015;
/// keepalived's floor.
const ADVERTS: Duration = Duration::from_millis(10);
/// Busy loops beside the daemons.
const LOOPS: usize = 4;
/// The node that dies.
const VICTIM: usize = 1;
const CLIENT: Port = Port::Client(0);

/// Threads that want a processor all the time; they end when dropped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn new(loops: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |stop: Arc<AtomicBool>| move || while !stop.load(Ordering::Relaxed) {};
        let threads = (0..loops).map(|_| std::thread::spawn(spin(Arc::clone(&stop)))).collect();
        Load { stop, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It cannot have panicked.
            let _ = thread.join();
        }
    }
}

/// How long a thread with a real-time priority was kept waiting by the machine
/// itself: what no daemon on it can do anything about.
struct Stalls {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Duration>>>,
}

/// How often the thread wants to run, and from when on it counts as kept waiting.
const LOOK: Duration = Duration::from_millis(1);
const STALL: Duration = Duration::from_millis(5);

impl Stalls {
    fn watch() -> Stalls {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                make_prompt();
                let mut stalls = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let before = Instant::now();
                    std::thread::sleep(LOOK);
                    let late = before.elapsed().saturating_sub(LOOK);
                    stalls.extend((late >= STALL).then_some(late));
                }
                stalls
            }
        });
        Stalls { stop, thread: Some(thread) }
    }

    fn finish(mut self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// Prints a line for each way to run the daemons.
///
/// # Errors
/// A cluster does not start or does not settle.
pub fn smallest(bench: &Bench) -> Outcome<()> {
    println!(
        "smallest: interval {INTERVAL}, stale {STALE}; {LOOPS} busy loops for {} s, then {} deaths \
         without them",
        bench.watch.as_secs(),
        bench.runs
    );
    println!("  moved: changes of hands while nothing happened; outage of a client when a node");
    println!("  dies, ms, least / median / most; {} processors", processors());
    for realtime in [false, true] {
        way(bench, realtime)?;
    }
    Ok(())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn way(bench: &Bench, realtime: bool) -> Outcome<()> {
    let mut options = bench.options(INTERVAL, STALE, groups("node1"), 1);
    if realtime {
        options.more.insert("realtime".into(), json!(50));
    }
    let scene = Scene::new(options, Some(ADVERTS))?;
    let before = changes(&scene.cluster)?;
    let load = Load::new(LOOPS);
    let stalls = Stalls::watch();
    let watch = scene.cluster.lan().watch()?;
    std::thread::sleep(bench.watch);
    let seen = watch.finish();
    let stalls = stalls.finish();
    drop(load);
    let arrivals = |ip| -> usize {
        let ports = seen.ever(ip).into_iter();
        let spans = ports.flat_map(|port| seen.spans(ip, port).iter());
        spans.filter(|span| span.from > seen.began).count()
    };
    let moved = changes(&scene.cluster)? - before;
    scene.cluster.wait_settled(PATIENCE)?;
    scene.wait_for_master(VICTIM)?;
    let outages = Bench::repeat(bench.runs, |number| die(&scene, number))?;
    println!(
        "  vippy{}: {moved} group changes ({} of one group's address) under load; outage {:.1}",
        if realtime { " with realtime" } else { "" },
        arrivals(vip4(1)),
        Spread::of(&outages, |(own, _)| ms(*own)),
    );
    println!(
        "    meanwhile the machine kept a real-time thread waiting for {} ms or more {} times, for \
         {:.1} ms at most",
        STALL.as_millis(),
        stalls.len(),
        ms(stalls.into_iter().max().unwrap_or_default()),
    );
    if scene.keepalived.is_some() {
        println!(
            "  keepalived, adverts {} ms: {} changes under load; outage {:.1}",
            ADVERTS.as_millis(),
            arrivals(KEEPALIVED),
            Spread::of(&outages, |(_, other)| ms(*other)),
        );
    }
    Ok(())
}

/// What a client lost of both when the node died.
fn die(scene: &Scene, number: usize) -> Outcome<(Duration, Duration)> {
    let look = scene.look(&[CLIENT], &scene.with_other(&[vip4(1), vip6(1)]), 1000)?;
    let phase = Duration::from_secs_f64(INTERVAL).mul_f64((number as f64 * 0.37).fract());
    std::thread::sleep(Duration::from_millis(300) + phase);
    scene.cluster.crash_node(VICTIM)?;
    scene.cluster.wait_settled(PATIENCE)?;
    std::thread::sleep(Duration::from_millis(300));
    let seen = look.finish(scene);
    scene.cluster.start_node(VICTIM)?;
    scene.start_keepalived(VICTIM)?;
    for ip in [vip4(1), vip6(1)] {
        scene.wait_for_holder(ip, VICTIM)?;
    }
    scene.wait_for_master(VICTIM)?;
    scene.cluster.wait_settled(PATIENCE)?;
    let seen = seen?;
    let outage = |ip| seen.series(CLIENT, ip).map(vippy_lab::Series::outage);
    let other = if scene.keepalived.is_some() { outage(KEEPALIVED)? } else { Duration::ZERO };
    Ok((outage(vip4(1))?.max(outage(vip6(1))?), other))
}
