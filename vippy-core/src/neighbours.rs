//! A node's neighbour cache: who it knows on the links where managed addresses
//! are, and the document in which it travels.
//!
//! A line for each station, by ascending address: its IP address, its MAC, and
//! `router` if it is one.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::Mac;

/// Stations in one cache; a node that knows more leaves out those that it has not
/// heard of for longest.
pub const MOST_STATIONS: usize = 4_096;

/// What a line ends with for a router.
const ROUTER: &str = "router";

/// Who is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Station {
    /// Its address.
    pub ip: IpAddr,
    /// Where it is.
    pub mac: Mac,
    /// Others are reached through it.
    pub router: bool,
}

/// The first line of a document that is none of a cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: found {found:?}, expected {expected}")]
pub struct BadLine {
    line: usize,
    found: String,
    expected: &'static str,
}

/// The document of a cache, whose stations come by ascending address, each
/// address once; empty for an empty one.
pub fn document<'a>(stations: impl IntoIterator<Item = &'a Station>) -> Arc<str> {
    let line = |station: &Station| {
        let router = if station.router { " router" } else { "" };
        format!("{} {}{router}\n", station.ip, station.mac)
    };
    stations.into_iter().map(line).collect::<String>().into()
}

/// What a document says.
///
/// # Errors
/// It is none of a neighbour cache.
pub fn parse(document: &str) -> Result<Vec<Station>, BadLine> {
    let mut stations: Vec<Station> = Vec::new();
    for (at, text) in document.lines().enumerate() {
        let bad = |expected| BadLine { line: at + 1, found: shortened(text), expected };
        let station = station(text).ok_or_else(|| bad("an IP address, a MAC, perhaps `router`"))?;
        if stations.last().is_some_and(|last| last.ip >= station.ip) {
            return Err(bad("an address above the one before"));
        }
        if stations.len() == MOST_STATIONS {
            return Err(bad("the end: a cache has at most 4096 stations"));
        }
        stations.push(station);
    }
    Ok(stations)
}

fn station(line: &str) -> Option<Station> {
    let mut words = line.split(' ');
    let (ip, mac) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let router = match words.next() {
        None => false,
        Some(ROUTER) => true,
        Some(_) => return None,
    };
    let ends = words.next().is_none();
    let station = Station { ip, mac, router };
    (ends && mac.is_station()).then_some(station)
}

fn shortened(line: &str) -> String {
    line.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(ip: &str, last: u8, router: bool) -> Station {
        Station { ip: ip.parse().unwrap(), mac: Mac([2, 0, 0, 0, 0, last]), router }
    }

    #[test]
    fn a_cache_is_a_line_for_each_station_by_address() {
        let cache = [station("10.0.0.254", 1, true), station("fd00::9", 9, false)];
        let text = document(&cache);
        assert_eq!(&*text, "10.0.0.254 02:00:00:00:00:01 router\nfd00::9 02:00:00:00:00:09\n");
        assert_eq!(parse(&text).unwrap(), cache);
        assert_eq!(&*document(&[]), "");
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_no_cache_is_refused_by_its_line() {
        let good = "10.0.0.1 02:00:00:00:00:01\n";
        for bad in [
            "10.0.0.2",
            "10.0.0.2 02:00:00:00:00",
            "10.0.0.2 02:00:00:00:00:1",
            "10.0.0.2 02:00:00:00:00:+1",
            "10.0.0.2 02:00:00:00:00:01:02",
            "10.0.0.2 03:00:00:00:00:01",
            "10.0.0.2 00:00:00:00:00:00",
            "10.0.0.2 02:00:00:00:00:01 switch",
            "10.0.0.2 02:00:00:00:00:01 router 5",
            "10.0.0.1 02:00:00:00:00:02",
            "10.0.0.0 02:00:00:00:00:02",
            "host 02:00:00:00:00:01",
            "",
        ] {
            let error = parse(&format!("{good}{bad}\n")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("line 2: found {bad:?}, expected ")), "{error}");
        }
    }

    #[test]
    fn a_cache_has_a_bounded_number_of_stations() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let ip = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n));
        let many = (0..5_000).map(|n| Station { ip: ip(n), mac, router: false });
        let many: Vec<Station> = many.collect();
        assert_eq!(parse(&document(&many[..MOST_STATIONS])).unwrap().len(), MOST_STATIONS);
        let error = parse(&document(&many[..=MOST_STATIONS])).unwrap_err().to_string();
        assert!(error.starts_with("line 4097: "), "{error}");
    }
}
