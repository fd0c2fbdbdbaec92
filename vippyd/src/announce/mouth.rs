//! Says what is to be said, interface by interface.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use vippy_core::identity::Mac;

use super::announcer::Counters;
use super::licence::Licence;
use crate::ethernet;
use crate::ethernet::frames::{Form, gratuitous_arp, unsolicited_advertisement};
use crate::ethernet::port::{Identity, Interfaces, Port};

/// Addresses by interface.
pub(super) type Places = BTreeMap<String, Vec<IpAddr>>;

/// The loop no longer vouches for what it ordered (F2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lapsed;

/// Why a frame did not leave.
enum Unsaid {
    Lapsed,
    /// The interface did not take it.
    Refused,
}

impl From<Errno> for Unsaid {
    fn from(_: Errno) -> Unsaid {
        Unsaid::Refused
    }
}

/// The sockets, one an interface.
pub(super) struct Mouth {
    ports: BTreeMap<String, Port>,
    counters: Arc<Counters>,
    licence: Licence,
    /// What took no frame in this round: it is not waited for again in it.
    given_up: BTreeSet<String>,
    interfaces: Interfaces,
}

impl Mouth {
    pub(super) fn new(counters: Arc<Counters>, licence: Licence) -> Mouth {
        Mouth {
            ports: BTreeMap::new(),
            counters,
            licence,
            given_up: BTreeSet::new(),
            interfaces: Interfaces::default(),
        }
    }

    /// Begins a round. Interfaces are asked for anew each time: they are
    /// recreated, and MACs change.
    pub(super) fn begin(&mut self) {
        self.given_up.clear();
        self.interfaces = Interfaces::now().unwrap_or_else(|_| {
            self.fail();
            Interfaces::default()
        });
    }

    /// Says in one form where addresses are.
    pub(super) fn say(&mut self, places: &Places, form: Form) -> Result<(), Lapsed> {
        for (interface, ips) in places {
            if self.given_up.contains(interface) {
                continue;
            }
            match self.say_on(interface, ips, form) {
                Ok(()) => {}
                Err(Unsaid::Lapsed) => return Err(Lapsed),
                Err(Unsaid::Refused) => {
                    self.ports.remove(interface);
                    self.given_up.insert(interface.clone());
                    self.fail();
                }
            }
        }
        Ok(())
    }

    /// Where this round's frames say that the addresses of an interface are; `None`
    /// where nobody keeps such a thing, or it took no frame.
    pub(super) fn mac(&self, interface: &str) -> Option<Mac> {
        let spoke = !self.given_up.contains(interface);
        self.interfaces.mac(interface).filter(|_| spoke).map(ethernet::mac)
    }

    fn fail(&self) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops at the first frame that cannot leave: the link went down.
    fn say_on(&mut self, interface: &str, ips: &[IpAddr], form: Form) -> Result<(), Unsaid> {
        let interfaces = &self.interfaces;
        let Some(identity) = interfaces.identity(interface)? else { return Ok(()) };
        let port = match self.ports.entry(interface.to_owned()) {
            Entry::Occupied(entry) if entry.get().is(interface, interfaces) => entry.into_mut(),
            Entry::Occupied(mut entry) => {
                entry.insert(Port::open(interface, interfaces)?);
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert(Port::open(interface, interfaces)?),
        };
        for ip in ips {
            if let Some(frame) = frame(identity, *ip, form) {
                if !self.licence.holds() {
                    return Err(Unsaid::Lapsed);
                }
                port.send(&frame)?;
                self.counters.frames.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// IPv6 knows one form only; it goes with the first.
fn frame(identity: Identity, ip: IpAddr, form: Form) -> Option<Vec<u8>> {
    match (ip, form) {
        (IpAddr::V4(ip), form) => Some(gratuitous_arp(identity.mac, ip, form)),
        (IpAddr::V6(ip), Form::Request) => {
            Some(unsolicited_advertisement(identity.mac, ip, identity.router))
        }
        (IpAddr::V6(_), Form::Reply) => None,
    }
}
