//! The measurements, each a function that prints a small table.

mod deleted;
mod flood;
pub(super) mod idle;
mod killed;
pub(super) mod moves;
mod one_way;
pub(super) mod outage;
mod partition;
mod renewal;
mod restart;
mod smallest;
mod stop;
mod strangers;
mod suspended;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
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
    pub(super) fn repeat<T>(
        count: usize,
        mut one: impl FnMut(usize) -> Outcome<T>,
    ) -> Outcome<Vec<T>> {
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
    pub(super) fn options(
        &self,
        interval: f64,
        stale: f64,
        groups: Value,
        clients: usize,
    ) -> Options {
        let seconds = Duration::from_secs_f64;
        let mature = (interval * 5.0).clamp(0.5, 2.0);
        // What is killed, cut or stopped again and again must come back each time.
        let more = json!({ "hold_down": "off" }).as_object().cloned().unwrap_or_default();
        Options { more, groups, clients, patience: PATIENCE, ..Options::new(&self.vippyd) }
            .with_times(seconds(interval), seconds(stale), seconds(mature))
    }
}

/// Length of the prefix of [`many`] addresses.
pub const MANY_PREFIX: u8 = 16;

/// An address of a network with room for many.
pub fn many(number: usize) -> Ipv4Addr {
    let part = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 79, part(number / 250), part(number % 250 + 1))
}

/// `count` groups of one address each; the first prefers node1.
pub(super) fn groups(count: usize) -> Value {
    let address = |number: usize| format!("{}/{MANY_PREFIX}", many(number));
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

pub(super) fn settled(options: Options) -> Outcome<Cluster> {
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
