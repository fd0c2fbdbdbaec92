//! Which stations this node knows: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vippy_core::identity::Mac;
use vippy_core::neighbours::{MOST_STATIONS, Station};

use crate::kernel::neighbours::{Gateway, Neighbour};

/// A station that the kernel has forgotten is known for this long: what is shared
/// changes when somebody comes, not whenever somebody falls silent.
const KEPT: Duration = Duration::from_secs(600);

/// Stations that were seen.
#[derive(Debug, Default)]
pub(super) struct Memory {
    stations: BTreeMap<IpAddr, Seen>,
}

#[derive(Debug)]
struct Seen {
    station: Station,
    /// When the kernel last had it.
    listed: Instant,
    /// When it last answered.
    answered: Option<Instant>,
}

impl Memory {
    /// Takes note of what the kernel knows on the interfaces that matter, and who of
    /// them is a router of this host. Addresses that the cluster moves are nobody's.
    pub(super) fn note<'n>(
        &mut self,
        now: Instant,
        found: impl IntoIterator<Item = &'n Neighbour>,
        gateways: &[Gateway],
        managed: impl Fn(IpAddr) -> bool,
    ) {
        for neighbour in found.into_iter().filter(|neighbour| !managed(neighbour.ip)) {
            let Ok(mac) = <[u8; 6]>::try_from(&neighbour.mac[..]).map(Mac) else { continue };
            if !mac.is_station() {
                continue;
            }
            let router = neighbour.router || gateways.contains(&(neighbour.index, neighbour.ip));
            let station = Station { ip: neighbour.ip, mac, router };
            let answered = now.checked_sub(neighbour.confirmed);
            self.stations.insert(neighbour.ip, Seen { station, listed: now, answered });
        }
        self.stations.retain(|ip, seen| now.duration_since(seen.listed) < KEPT && !managed(*ip));
    }

    /// Those that are shared, by their addresses. What is too many has answered
    /// longest ago.
    pub(super) fn shared(&self) -> Vec<Station> {
        let mut seen: Vec<&Seen> = self.stations.values().collect();
        seen.sort_by_key(|seen| std::cmp::Reverse((seen.answered, seen.listed)));
        seen.truncate(MOST_STATIONS);
        let mut stations: Vec<Station> = seen.into_iter().map(|seen| seen.station).collect();
        stations.sort();
        stations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(ip: &str, mac: &[u8], seconds: u64) -> Neighbour {
        let confirmed = Duration::from_secs(seconds);
        Neighbour { index: 2, ip: ip.parse().unwrap(), mac: mac.to_vec(), confirmed, router: false }
    }

    fn shared(memory: &Memory) -> Vec<String> {
        let text = |station: Station| format!("{} {}", station.ip, station.mac.0[5]);
        memory.shared().into_iter().map(text).collect()
    }

    #[test]
    fn stations_are_known_for_a_while_after_the_kernel_forgot_them() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let table = [
            neighbour("10.0.0.9", &[2, 0, 0, 0, 0, 9], 1),
            neighbour("10.0.0.100", &[2, 0, 0, 0, 0, 1], 1),
            neighbour("10.0.0.8", &[1, 0, 0, 0, 0, 8], 1),
            neighbour("10.0.0.7", &[2, 0, 0, 7], 1),
        ];
        let managed = |ip: IpAddr| ip == IpAddr::from([10, 0, 0, 100]);
        memory.note(now, &table, &[(2, [10, 0, 0, 9].into())], managed);
        assert_eq!(shared(&memory), ["10.0.0.9 9"]);
        assert!(memory.shared()[0].router);
        let moved = [neighbour("10.0.0.9", &[2, 0, 0, 0, 0, 10], 1)];
        memory.note(now + KEPT / 2, &moved, &[], managed);
        assert_eq!(shared(&memory), ["10.0.0.9 10"]);
        memory.note(now + KEPT, &[], &[], managed);
        assert_eq!(shared(&memory), ["10.0.0.9 10"]);
        memory.note(now + KEPT + KEPT / 2, &[], &[], managed);
        assert!(memory.shared().is_empty());
    }

    #[test]
    fn of_too_many_those_are_shared_that_answered_last() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let table: Vec<Neighbour> = (0..5_000u16)
            .map(|n| {
                let [high, low] = n.to_be_bytes();
                // Who never answered is least of all.
                let age = if n == 0 { Duration::MAX } else { Duration::from_secs(n.into()) };
                let mac = [2, 0, 0, 0, high, low];
                let ip = format!("10.0.{high}.{low}");
                Neighbour { confirmed: age, ..neighbour(&ip, &mac, 0) }
            })
            .collect();
        memory.note(now, &table, &[], |_| false);
        let shared = memory.shared();
        assert_eq!(shared.len(), MOST_STATIONS);
        assert_eq!(shared[0].ip, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(shared.last().unwrap().ip, IpAddr::from([10, 0, 16, 0]));
    }
}
