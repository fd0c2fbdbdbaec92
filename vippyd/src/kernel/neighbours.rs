//! The kernel's neighbour table and default routers, read when asked for.
//!
//! Owns the layout of these messages. Which neighbours matter is
//! [`crate::witness`]'s business.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink is open-ended: kinds and attributes not used here are skipped"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};
use tokio::task::JoinHandle;

/// The kernel counts in ticks of this length (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A table that takes longer is read another time.
const PATIENCE: Duration = Duration::from_millis(300);

/// Places where nobody is: the way there is the default route (RFC 5737, RFC
/// 3849).
const NOWHERE_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const NOWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// One entry of the neighbour table that names a station.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// Number of the interface.
    pub(crate) index: u32,
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Where it is.
    pub(crate) mac: Vec<u8>,
    /// How long ago it was known to answer.
    pub(crate) confirmed: Duration,
    /// It says of itself that it is a router (IPv6).
    pub(crate) router: bool,
}

/// A default router: its interface and address.
pub(crate) type Gateway = (u32, IpAddr);

/// A connection to the kernel. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Neighbours {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Neighbours {
    /// Connects. Must be called inside a runtime.
    pub(crate) fn open() -> std::io::Result<Neighbours> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Neighbours { handle, task: tokio::spawn(connection) })
    }

    /// Every station in the table; what came in time.
    pub(crate) async fn list(&self) -> Vec<Neighbour> {
        let entries = self.handle.neighbours().get().execute();
        in_time(entries).await.iter().filter_map(station).collect()
    }

    /// The default routers, at most one a family.
    pub(crate) async fn gateways(&self) -> Vec<Gateway> {
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(NOWHERE_V4, 32).build();
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(NOWHERE_V6, 128).build();
        let mut gateways = Vec::new();
        for question in [v4, v6] {
            let routes = in_time(self.handle.route().get(question).execute()).await;
            gateways.extend(routes.iter().find_map(gateway));
        }
        gateways
    }
}

/// What comes without an error before time is over.
async fn in_time<T>(messages: impl Stream<Item = Result<T, rtnetlink::Error>>) -> Vec<T> {
    let mut came = Vec::new();
    let read = async {
        let mut messages = std::pin::pin!(messages);
        while let Some(Ok(message)) = messages.next().await {
            came.push(message);
        }
    };
    // What is missing is missing.
    let _ = tokio::time::timeout(PATIENCE, read).await;
    came
}

fn station(message: &NeighbourMessage) -> Option<Neighbour> {
    match message.header.state {
        NeighbourState::Reachable
        | NeighbourState::Stale
        | NeighbourState::Delay
        | NeighbourState::Probe
        | NeighbourState::Permanent => {}
        _ => return None,
    }
    let (mut ip, mut mac, mut ticks) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some((*v4).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some((*v6).into()),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Some(bytes.clone()),
            NeighbourAttribute::CacheInfo(times) => ticks = Some(times.confirmed),
            _ => {}
        }
    }
    let confirmed = match message.header.state {
        NeighbourState::Reachable => Duration::ZERO,
        // An operator wrote it down; it never answered.
        NeighbourState::Permanent => Duration::MAX,
        _ => TICK.checked_mul(ticks?)?,
    };
    Some(Neighbour {
        index: message.header.ifindex,
        ip: ip?,
        mac: mac?,
        confirmed,
        router: message.header.flags.contains(NeighbourFlags::Router),
    })
}

fn gateway(route: &RouteMessage) -> Option<Gateway> {
    let (mut index, mut ip) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => ip = Some((*v4).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => ip = Some((*v6).into()),
            _ => {}
        }
    }
    Some((index?, ip?))
}
