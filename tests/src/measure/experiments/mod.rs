//! The measurements, each a function that prints a small table.

mod deleted;
mod flood;
mod idle;
mod killed;
mod moves;
mod one_way;
mod outage;
mod partition;
mod renewal;
mod restart;
mod smallest;
mod stop;
mod strangers;
mod suspended;

use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use vippy_lab::options::{vip, vip4};
use vippy_lab::{Cluster, Options};

use super::scene::{Invalid, PATIENCE};

pub use deleted::deleted;
pub use flood::flood;
pub use idle::idle;
pub use killed::killed;
pub use moves::moves;
pub use one_way::one_way;
pub use outage::outage;
pub use partition::partition;
pub use renewal::renewal;
pub use restart::restart;
pub use smallest::smallest;
pub use stop::stop;
pub use strangers::strangers;
pub use suspended::suspended;

/// What goes wrong ends the measurement with its words.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// What all measurements need.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The daemon.
    pub vippyd: PathBuf,
    /// How often what happens once is repeated.
    pub runs: usize,
    /// How long what goes on is watched.
    pub watch: Duration,
    /// Tell the story of every run in which something was lost that should not.
    pub tell: bool,
}

impl Bench {
    /// Does something `count` times; what was done while the onlookers lost
    /// something is done again.
    fn repeat<T>(count: usize, mut one: impl FnMut(usize) -> Outcome<T>) -> Outcome<Vec<T>> {
        let mut runs = Vec::new();
        for number in 0..2 * count {
            match valid(one(number))? {
                Some(run) if runs.len() + 1 == count => {
                    runs.push(run);
                    return Ok(runs);
                }
                run => runs.extend(run),
            }
        }
        Err("this machine is too busy to look on".into())
    }

    /// Three nodes and as many clients, other times, groups of one address.
    fn options(&self, interval: f64, stale: f64, groups: Value, clients: usize) -> Options {
        let seconds = Duration::from_secs_f64;
        let mature = (interval * 5.0).clamp(0.5, 2.0);
        // What is killed, cut or stopped again and again must come back each time.
        let more = json!({ "hold_down": "off" }).as_object().cloned().unwrap_or_default();
        Options { more, groups, clients, patience: PATIENCE, ..Options::new(&self.vippyd) }
            .with_times(seconds(interval), seconds(stale), seconds(mature))
    }
}

/// `count` groups of one address each; the first prefers node1.
fn groups(count: usize) -> Value {
    let address = |number: usize| format!("10.79.{}.{}/16", number / 250, number % 250 + 1);
    let group = |number: usize| match number {
        0 => json!(["node1", vip(vip4(1))]),
        1..6 => json!([vip(vip4(u8::try_from(number + 1).unwrap_or(u8::MAX)))]),
        _ => json!([{ "interface": "eth0", "ip": address(number) }]),
    };
    (0..count).map(group).collect()
}

/// The first six groups' addresses.
fn addresses() -> Vec<IpAddr> {
    (1..=6).map(vip4).collect()
}

fn settled(options: Options) -> Outcome<Cluster> {
    let cluster = Cluster::start(options)?;
    cluster.wait_settled(PATIENCE)?;
    Ok(cluster)
}

/// What a run came to; `None`, and a line about it, if it tells nothing.
fn valid<T>(run: Outcome<T>) -> Outcome<Option<T>> {
    match run {
        Err(error) if error.is::<Invalid>() => {
            println!("  ({error}; it is repeated)");
            Ok(None)
        }
        run => run.map(Some),
    }
}

/// What must be true by now.
fn patiently(happened: bool, complaint: impl FnOnce() -> String) -> Outcome<()> {
    if happened { Ok(()) } else { Err(complaint().into()) }
}

/// How often each node's set of groups has changed, all together.
fn changes(cluster: &Cluster) -> Outcome<u64> {
    let mut changes = 0;
    for node in cluster.running()? {
        changes += cluster.status(node)?.stats.state_changes;
    }
    Ok(changes)
}
