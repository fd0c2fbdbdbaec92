//! Says what is to be said, interface by interface.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::errno::Errno;
use vippy_core::identity::Mac;

use super::announcer::Counters;
use super::licence::Licence;
use super::message::Message;
use crate::ethernet;
use crate::ethernet::port::{BATCH, Interfaces, Networks, Port};

/// Interfaces are recreated, and MACs change: what is known of them counts for
/// this long. Asking lists all addresses, which costs milliseconds where there are
/// thousands, and keeps those from being put on that are still to come.
const FRESH: Duration = Duration::from_millis(500);

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
    networks: Option<Networks>,
    /// When both were asked for.
    looked: Option<Instant>,
}

impl Mouth {
    pub(super) fn new(counters: Arc<Counters>, licence: Licence) -> Mouth {
        Mouth {
            ports: BTreeMap::new(),
            counters,
            licence,
            given_up: BTreeSet::new(),
            interfaces: Interfaces::default(),
            networks: None,
            looked: None,
        }
    }

    /// Begins a round: every interface is tried again.
    pub(super) fn begin(&mut self) {
        self.given_up.clear();
    }

    /// Says on an interface where addresses are.
    pub(super) fn say<'m>(
        &mut self,
        interface: &str,
        messages: impl IntoIterator<Item = &'m Message> + Clone,
    ) -> Result<(), Lapsed> {
        if self.given_up.contains(interface) {
            return Ok(());
        }
        self.look();
        let mut said = self.say_on(interface, messages.clone());
        if let Err(Unsaid::Refused) = said {
            // What was known of the interface may be old.
            self.forget(interface);
            self.look();
            said = self.say_on(interface, messages);
        }
        match said {
            Ok(()) => Ok(()),
            Err(Unsaid::Lapsed) => Err(Lapsed),
            Err(Unsaid::Refused) => {
                self.forget(interface);
                self.given_up.insert(interface.to_owned());
                self.fail();
                Ok(())
            }
        }
    }

    fn forget(&mut self, interface: &str) {
        self.ports.remove(interface);
        self.looked = None;
    }

    /// The network to which an address belongs on an interface: of an address
    /// without one, that of the host's own addresses there.
    pub(super) fn network(&mut self, interface: &str, net: IpNet) -> IpNet {
        if net.prefix_len() < net.max_prefix_len() {
            return net.trunc();
        }
        self.look();
        let networks = self.networks.get_or_insert_with(|| Networks::now().unwrap_or_default());
        networks.around(interface, net.addr()).unwrap_or(net)
    }

    /// Takes note that everything was forgotten.
    pub(super) fn note_forgotten(&self) {
        self.counters.forgotten.fetch_add(1, Ordering::Relaxed);
    }

    fn look(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        self.looked = Some(Instant::now());
        self.networks = None;
        self.interfaces = Interfaces::now().unwrap_or_else(|_| {
            self.fail();
            Interfaces::default()
        });
    }

    /// Where frames say that the addresses of an interface are; `None` where nobody
    /// keeps such a thing, or it took no frame in this round.
    pub(super) fn mac(&self, interface: &str) -> Option<Mac> {
        let spoke = !self.given_up.contains(interface);
        self.interfaces.mac(interface).filter(|_| spoke).map(ethernet::mac)
    }

    fn fail(&self) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Stops at the first frame that cannot leave: the link went down.
    fn say_on<'m>(
        &mut self,
        interface: &str,
        messages: impl IntoIterator<Item = &'m Message>,
    ) -> Result<(), Unsaid> {
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
        let mut frames = messages.into_iter().filter_map(|message| message.frame(identity));
        loop {
            let batch: Vec<Vec<u8>> = frames.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            // The process may have been stopped since the last one.
            if !self.licence.holds() {
                return Err(Unsaid::Lapsed);
            }
            port.send_all(&batch)?;
            self.counters.frames.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
    }
}
