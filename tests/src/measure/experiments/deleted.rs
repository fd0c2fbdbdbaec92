//! An address that somebody deletes by hand.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vippy_lab::Port;
use vippy_lab::options::{vip4, vip6};

use super::super::scene::Scene;
use super::super::{KEEPALIVED, Spread, ms};
use super::moves::groups;
use super::{Bench, Outcome};

/// Time between two deletions: more often is held back, by a rule.
const PAUSE: Duration = Duration::from_secs(2);

/// Prints a line for each address.
///
/// # Errors
/// The cluster does not start or does not settle.
pub fn deleted(bench: &Bench) -> Outcome<()> {
    println!(
        "deleted: an address deleted by hand on the node that holds it, {} runs; time",
        bench.runs
    );
    println!("  until some node has it again, ms, least / median / most, of 100");
    let options = bench.options(0.1, 0.3, groups("node1"), 1);
    let scene = Scene::new(options, Some(Duration::from_millis(100)))?;
    for (name, ip, prefix) in
        [("vippy IPv4", vip4(1), 24), ("vippy IPv6", vip6(1), 64), ("keepalived", KEEPALIVED, 24)]
    {
        if ip == KEEPALIVED && scene.keepalived.is_none() {
            continue;
        }
        let times =
            (0..bench.runs).map(|_| one(&scene, ip, prefix)).collect::<Outcome<Vec<_>>>()?;
        let never = times.iter().filter(|time| time.is_none()).count();
        let back = times.iter().flatten().map(|time| ms(*time));
        println!(
            "  {name:<10} {:.1}; x {:.3}; not within {} s: {never} of {}",
            Spread::new(back.clone()),
            Spread::new(back.map(|time| time / 100.0)),
            PAUSE.as_secs(),
            times.len(),
        );
    }
    Ok(())
}

fn one(scene: &Scene, ip: IpAddr, prefix: u8) -> Outcome<Option<Duration>> {
    let watch = scene.cluster.lan().watch()?;
    let [Port::Node(node)] = watch.so_far().holders(ip)[..] else {
        // An earlier run has left it nowhere: then it is back never again.
        return Ok(None);
    };
    let begin = Instant::now();
    scene.cluster.lan().machine(node)?.remove_address(ip, prefix)?;
    std::thread::sleep(PAUSE);
    let seen = watch.finish();
    let back = (1..=3).filter_map(|node| seen.next_arrival(ip, node, begin)).min();
    Ok(back.map(|back| back.saturating_duration_since(begin)))
}
