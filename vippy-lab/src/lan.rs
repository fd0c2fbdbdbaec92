//! A LAN: nodes and clients, each a machine, on one switch; and what can go
//! wrong with it.
//!
//! Owns the wiring, the addresses and the faults. The processes on the machines
//! are the caller's, or [`crate::cluster`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Context, LabError};
use crate::machine::{INTERFACE, Machine};
use crate::netlink::{self, HardwareAddress};
use crate::nftables::{self, Cut};
use crate::presence::Watch;
use crate::probe::{Probe, ProbeOptions};
use crate::responder::Responders;
use crate::tap::Tap;

/// Prefix length of the LAN's IPv4 addresses, 10.77.0.0/24.
pub const PREFIX4: u8 = 24;
/// Prefix length of the LAN's IPv6 addresses, fd77::/64.
pub const PREFIX6: u8 = 64;

const BRIDGE: &str = "lan";
const MOST_NODES: usize = 100;
const MOST_CLIENTS: usize = 50;

/// A socket of the switch, named after who is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// A node, counted from 1: `node1` has 10.77.0.1 and fd77::1.
    Node(usize),
    /// A client, counted from 0: `client0` has 10.77.0.200 and fd77::200.
    Client(usize),
}

impl Port {
    fn last_part(self) -> usize {
        match self {
            Port::Node(number) => number,
            Port::Client(number) => 200 + number,
        }
    }

    /// The fixed IPv4 address of whoever is plugged in.
    pub fn ipv4(self) -> Ipv4Addr {
        let last = u8::try_from(self.last_part()).unwrap_or(u8::MAX);
        Ipv4Addr::new(10, 77, 0, last)
    }

    /// The fixed IPv6 address: its last group reads as the IPv4 one's.
    pub fn ipv6(self) -> Ipv6Addr {
        let digits = self.last_part().to_string();
        let last = u16::from_str_radix(&digits, 16).unwrap_or(u16::MAX);
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last)
    }

    /// The link-local address.
    pub fn link_local(self) -> Ipv6Addr {
        let [.., last] = self.ipv6().segments();
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
    }

    /// The Ethernet address.
    pub fn hardware_address(self) -> HardwareAddress {
        let [.., last] = self.ipv4().octets();
        [0x02, 0x77, 0, 0, 0, last]
    }
}

impl From<usize> for Port {
    fn from(node: usize) -> Port {
        Port::Node(node)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, number) = match self {
            Port::Node(number) => ("node", number),
            Port::Client(number) => ("client", number),
        };
        f.pad(&format!("{kind}{number}"))
    }
}

/// The size of a LAN.
#[derive(Clone, Copy, Debug)]
pub struct LanOptions {
    /// How many nodes, 1 to 100.
    pub nodes: usize,
    /// How many clients, 0 to 50.
    pub clients: usize,
}

impl Default for LanOptions {
    /// Three nodes and a client.
    fn default() -> LanOptions {
        LanOptions { nodes: 3, clients: 1 }
    }
}

/// A LAN of machines. All of it vanishes when dropped.
///
/// Faults are cuts between ports. A cut is one-way; the links of both machines
/// stay up, so neither kernel notices. Cuts add up until [`Lan::heal`].
#[derive(Debug)]
pub struct Lan {
    // Dropped first: its sockets would keep the namespaces of machines alive.
    responders: Mutex<Option<Responders>>,
    machines: BTreeMap<Port, Machine>,
    hub: Machine,
    links: BTreeMap<Port, u32>,
    cuts: Mutex<BTreeSet<(Port, Port)>>,
}

impl Lan {
    /// Builds the switch and the machines and plugs everything in.
    ///
    /// # Errors
    /// [`LabError::BadOption`], or the kernel refuses; nothing is left then.
    pub fn new(options: LanOptions) -> Result<Lan, LabError> {
        limit("nodes", options.nodes, 1, MOST_NODES)?;
        limit("clients", options.clients, 0, MOST_CLIENTS)?;
        let hub = Machine::new("hub")?;
        let bridge = hub.netlink(
            || "create the bridge".into(),
            async |handle| netlink::create_bridge(&handle, BRIDGE).await,
        )?;
        let nodes = (1..=options.nodes).map(Port::Node);
        let clients = (0..options.clients).map(Port::Client);
        let mut machines = BTreeMap::new();
        let mut links = BTreeMap::new();
        for port in nodes.chain(clients) {
            let machine = Machine::new(&port.to_string())?;
            links.insert(port, join(&hub, bridge, port, &machine)?);
            machines.insert(port, machine);
        }
        let (responders, cuts) = (Mutex::default(), Mutex::default());
        let lan = Lan { responders, machines, hub, links, cuts };
        lan.ports().try_for_each(|port| lan.wait_until_reachable(port))?;
        Ok(lan)
    }

    /// Both ends of the cable pass frames, and neighbours that ask are heard.
    fn wait_until_reachable(&self, port: Port) -> Result<(), LabError> {
        self.hub.wait_until_works(&port.to_string())?;
        let machine = self.machine(port)?;
        machine.wait_until_works(INTERFACE)?;
        machine.wait_until_heard(port.ipv6().into())
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.links.keys().filter(|port| matches!(port, Port::Node(_))).count()
    }

    /// Every port in order, nodes first.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        self.links.keys().copied()
    }

    /// The machine at a port.
    ///
    /// # Errors
    /// [`LabError::NoSuchMachine`].
    pub fn machine(&self, port: impl Into<Port>) -> Result<&Machine, LabError> {
        let port = port.into();
        self.machines.get(&port).ok_or_else(|| self.no_such(port))
    }

    /// From now on nothing that `from` sends reaches `to`. The other direction
    /// is not touched.
    ///
    /// # Errors
    /// [`LabError::NoSuchMachine`], or the kernel refuses; then nothing changed.
    pub fn cut(&self, from: impl Into<Port>, to: impl Into<Port>) -> Result<(), LabError> {
        let pair = (from.into(), to.into());
        self.change_cuts(&[pair.0, pair.1], |cuts| cuts.extend([pair]))
    }

    /// Cuts each of these directions, all at one instant.
    ///
    /// # Errors
    /// As [`Lan::cut`].
    pub fn cut_all(&self, pairs: &[(Port, Port)]) -> Result<(), LabError> {
        let concerned: Vec<Port> = pairs.iter().flat_map(|(from, to)| [*from, *to]).collect();
        self.change_cuts(&concerned, |cuts| cuts.extend(pairs.iter().copied()))
    }

    /// Undoes [`Lan::cut`].
    ///
    /// # Errors
    /// As [`Lan::cut`].
    pub fn mend(&self, from: impl Into<Port>, to: impl Into<Port>) -> Result<(), LabError> {
        let pair = (from.into(), to.into());
        self.change_cuts(&[pair.0, pair.1], |cuts| {
            cuts.remove(&pair);
        })
    }

    /// Cuts every pair between the two sides in both directions, all at one
    /// instant. Who is on neither side goes on hearing both.
    ///
    /// # Errors
    /// As [`Lan::cut`].
    pub fn partition<P: Into<Port> + Copy>(&self, one: &[P], other: &[P]) -> Result<(), LabError> {
        let ports = |side: &[P]| side.iter().map(|port| (*port).into()).collect::<Vec<Port>>();
        let (one, other) = (ports(one), ports(other));
        self.change_cuts(&[one.clone(), other.clone()].concat(), |cuts| {
            for left in &one {
                cuts.extend(other.iter().flat_map(|right| [(*left, *right), (*right, *left)]));
            }
        })
    }

    /// Cuts one port off from every other, both directions, at one instant.
    ///
    /// # Errors
    /// As [`Lan::cut`].
    pub fn isolate(&self, port: impl Into<Port>) -> Result<(), LabError> {
        let port = port.into();
        let others: Vec<Port> = self.ports().filter(|other| *other != port).collect();
        self.partition(&[port], &others)
    }

    /// Removes every cut from and to one port.
    ///
    /// # Errors
    /// As [`Lan::cut`].
    pub fn rejoin(&self, port: impl Into<Port>) -> Result<(), LabError> {
        let port = port.into();
        self.change_cuts(&[port], |cuts| cuts.retain(|(from, to)| *from != port && *to != port))
    }

    /// Removes every cut at one instant. What is unplugged stays unplugged.
    ///
    /// # Errors
    /// The kernel refuses; then nothing changed.
    pub fn heal(&self) -> Result<(), LabError> {
        self.change_cuts(&[], BTreeSet::clear)
    }

    /// The cuts in force, as (from, to).
    pub fn cuts(&self) -> BTreeSet<(Port, Port)> {
        self.locked_cuts().clone()
    }

    /// Turns off the switch's side of a cable: the machine sees its carrier go.
    ///
    /// # Errors
    /// [`LabError::NoSuchMachine`], or the kernel refuses.
    pub fn unplug(&self, port: impl Into<Port>) -> Result<(), LabError> {
        self.switch_port(port.into(), false)
    }

    /// Undoes [`Lan::unplug`], and waits until frames pass again.
    ///
    /// # Errors
    /// As [`Lan::unplug`].
    pub fn plug(&self, port: impl Into<Port>) -> Result<(), LabError> {
        let port = port.into();
        self.switch_port(port, true)?;
        self.wait_until_reachable(port)
    }

    /// Starts to probe addresses from a client, or from any other machine.
    ///
    /// # Errors
    /// [`LabError::NoSuchMachine`], or sockets cannot be opened.
    pub fn probe(&self, from: impl Into<Port>, options: ProbeOptions) -> Result<Probe, LabError> {
        let machine = self.machine(from)?;
        let mut responders = self.responders.lock().unwrap_or_else(PoisonError::into_inner);
        if responders.is_none() {
            *responders = Some(Responders::start(&self.machines)?);
        }
        Probe::start(machine, options)
    }

    /// Watches which node's kernel has which address from now on.
    ///
    /// # Errors
    /// A kernel refuses to tell.
    pub fn watch(&self) -> Result<Watch, LabError> {
        let nodes = self.machines.iter().filter(|(port, _)| matches!(port, Port::Node(_)));
        Watch::start(nodes.map(|(port, machine)| (*port, machine)))
    }

    /// Captures what a machine sends from now on, as it enters the switch: cuts
    /// come behind that.
    ///
    /// # Errors
    /// [`LabError::NoSuchMachine`], or the kernel refuses.
    pub fn tap(&self, port: impl Into<Port>) -> Result<Tap, LabError> {
        Tap::start(&self.hub, self.link(port.into())?)
    }

    fn switch_port(&self, port: Port, up: bool) -> Result<(), LabError> {
        let link = self.link(port)?;
        self.hub.netlink(
            || format!("turn the port of {port} {}", if up { "on" } else { "off" }),
            async move |handle| netlink::set_up(&handle, link, up).await,
        )
    }

    fn change_cuts(
        &self,
        concerned: &[Port],
        change: impl FnOnce(&mut BTreeSet<(Port, Port)>),
    ) -> Result<(), LabError> {
        concerned.iter().try_for_each(|port| self.link(*port).map(drop))?;
        let mut cuts = self.locked_cuts();
        let mut wanted = cuts.clone();
        change(&mut wanted);
        let rules: Vec<Cut> = wanted
            .iter()
            .map(|(from, to)| Cut { from: self.links[from], to: self.links[to] })
            .collect();
        self.hub
            .run(move || nftables::apply(&rules))?
            .context(|| "set the bridge's packet filter (CONFIG_NF_TABLES_BRIDGE)".into())?;
        *cuts = wanted;
        Ok(())
    }

    fn link(&self, port: Port) -> Result<u32, LabError> {
        self.links.get(&port).copied().ok_or_else(|| self.no_such(port))
    }

    fn locked_cuts(&self) -> MutexGuard<'_, BTreeSet<(Port, Port)>> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_such(&self, port: Port) -> LabError {
        let names: Vec<String> = self.ports().map(|port| port.to_string()).collect();
        LabError::NoSuchMachine { found: port.to_string(), expected: names.join(", ") }
    }
}

/// Lays the cable between the switch and a machine and gives the machine its
/// addresses.
fn join(hub: &Machine, bridge: u32, port: Port, machine: &Machine) -> Result<u32, LabError> {
    let far = machine.netns().context(|| format!("open the namespace of {port}"))?;
    let name = port.to_string();
    let link = hub.netlink(
        || format!("lay a cable to {port}"),
        async move |handle| {
            let address = port.hardware_address();
            netlink::create_cable(&handle, &name, bridge, far.as_fd(), INTERFACE, address).await
        },
    )?;
    machine.netlink(
        || "set its interface up".into(),
        async move |handle| {
            let near = netlink::link(&handle, INTERFACE).await?.index;
            netlink::without_link_local(&handle, near).await?;
            netlink::set_up(&handle, near, true).await?;
            netlink::add_address(&handle, near, port.ipv4().into(), PREFIX4).await?;
            netlink::add_address(&handle, near, port.ipv6().into(), PREFIX6).await?;
            netlink::add_address(&handle, near, port.link_local().into(), PREFIX6).await
        },
    )?;
    hub.netlink(
        || format!("turn the port of {port} on"),
        async move |handle| netlink::set_up(&handle, link, true).await,
    )?;
    Ok(link)
}

fn limit(option: &'static str, found: usize, least: usize, most: usize) -> Result<(), LabError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let expected = format!("{least} to {most}");
    Err(LabError::BadOption { option, found: found.to_string(), expected })
}
