//! A few engines on a wire without faults, driven through their public API
//! alone: for rules that are shown by one precise sequence. Chance, loss and
//! judges live in the simulator of the package `vippy-tests`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use vippy_core::config::checks::Check;
use vippy_core::config::{
    Address, ChatInterface, Config, Digest, Group, Lifetime, LocalPart, Logging, LoggingDriver,
    Node, NotifyTarget, Secret, SharedPart, document, parse_document,
};
use vippy_core::engine::{Engine, Start};
use vippy_core::event::Event;
use vippy_core::health::{Outcome, Run};
use vippy_core::identity::{BootId, CheckName, Epoch, GroupId, Mac, NodeName};
use vippy_core::input::{Command, Datagram, Input, ResourceReport};
use vippy_core::memory::Memory;
use vippy_core::output::{Adoption, Destination, Output};
use vippy_core::recorder::Recorded;
use vippy_core::status::Status;
use vippy_core::time::Instant;

pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
pub(crate) const STALE: Duration = Duration::from_millis(500);
pub(crate) const MATURE: Duration = Duration::from_millis(1000);
/// Bytes of each machine's recorder: little enough to begin anew now and then.
const TAPE: usize = 32 << 10;
/// Time that it takes to ask the LAN for an address.
const LOOKING: Duration = Duration::from_millis(50);
/// Time on the wire, and time that a kernel takes.
const DELAY: Duration = Duration::from_micros(500);

/// What a configuration says, as far as these tests vary it.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) version: u64,
    pub(crate) nodes: Vec<usize>,
    pub(crate) groups: Vec<Group>,
    pub(crate) lifetime: Lifetime,
    /// Which of the nodes stand by.
    pub(crate) standby: Vec<usize>,
    /// Weights that are not 1.
    pub(crate) weights: BTreeMap<usize, u8>,
    pub(crate) hold_down: Option<Duration>,
    /// The first signs, all verify.
    pub(crate) secrets: Vec<&'static str>,
    pub(crate) quorum: Option<u16>,
    /// No multicast: every node sends to the addresses of all others.
    pub(crate) unicast: bool,
    /// Whether neighbours are told one by one.
    pub(crate) notify: bool,
    /// Whether nodes have the configuration as a document for others.
    pub(crate) travels: bool,
    pub(crate) checks: Vec<Check>,
}

impl Plan {
    /// `nodes` nodes, and groups `g0`, `g1`… on one address each.
    pub(crate) fn new(nodes: usize, groups: u8) -> Plan {
        let groups = (0..groups).map(|n| group(&format!("g{n}"), n + 1)).collect();
        Plan {
            version: 1,
            nodes: (0..nodes).collect(),
            groups,
            lifetime: Lifetime::Auto,
            standby: Vec::new(),
            weights: BTreeMap::new(),
            hold_down: None,
            secrets: vec!["a few engines"],
            quorum: None,
            unicast: false,
            notify: true,
            travels: false,
            checks: Vec::new(),
        }
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&self.version.to_be_bytes());
        let node = |n: &usize| {
            let weight = self.weights.get(n).copied().unwrap_or(1);
            Node { standby: self.standby.contains(n), weight, ..Node::new(name(*n)) }
        };
        let shared = SharedPart {
            version: self.version,
            digest: Digest(digest),
            nodes: self.nodes.iter().map(node).collect(),
            groups: self.groups.iter().cloned().map(Arc::new).collect(),
            interval: INTERVAL,
            mature: MATURE,
            stale: STALE,
            quorum: self.quorum,
            witness: Vec::new(),
            isolation: Duration::from_secs(30),
            hold_down: self.hold_down,
            hooks: Vec::new(),
            plugins: Vec::new(),
            checks: self.checks.iter().cloned().map(Arc::new).collect(),
        };
        let mut local = local(self.lifetime);
        local.secrets = self.secrets.iter().map(|secret| Secret::from(*secret)).collect();
        if self.notify {
            local.notify.push(NotifyTarget::ArpCache);
        }
        if self.unicast {
            local.chat = None;
            local.peers = self.nodes.iter().map(|node| (name(*node), address(*node))).collect();
        }
        if !self.travels {
            return Arc::new(Config { shared, local, document: "".into() });
        }
        let shared = shared.with_version(self.version);
        let document = document(&shared);
        Arc::new(Config { shared, local, document })
    }
}

pub(crate) fn name(node: usize) -> NodeName {
    NodeName::from(format!("node{node}").as_str())
}

pub(crate) fn id(group: &str) -> GroupId {
    GroupId::from(group)
}

/// The station of a node.
pub(crate) fn mac(node: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(node).unwrap()])
}

/// A named group on 10.0.0.`host`.
pub(crate) fn group(name: &str, host: u8) -> Group {
    let net = format!("10.0.0.{host}/24").parse().unwrap();
    Group {
        id: id(name),
        name: Some(name.into()),
        prefer: None,
        exclusive: false,
        failback: vippy_core::config::Failback::Auto,
        addresses: vec![Address::on("eth0", net)],
    }
}

fn local(lifetime: Lifetime) -> LocalPart {
    LocalPart {
        chat: Some(([239, 77, 0, 1], 4077).into()),
        chat_interface: ChatInterface::All,
        peers: BTreeMap::new(),
        secrets: Vec::new(),
        secret_files: Vec::new(),
        cluster: String::new(),
        arp_cache: Duration::from_secs(20),
        notify: Vec::new(),
        notify_rate: 25_000,
        management: "/run/vippy.sock".into(),
        state: "/var/lib/vippy".into(),
        logging: Logging {
            driver: LoggingDriver::Console,
            facility: "local7".into(),
            mask: [true; 8],
        },
        plugins: Vec::new(),
        stop_timeout: Duration::from_secs(5),
        lifetime,
        realtime: None,
        metrics: None,
    }
}

fn address(node: usize) -> SocketAddr {
    ([10, 9, 0, u8::try_from(node).unwrap()], 4077).into()
}

/// One machine.
pub(crate) struct Machine {
    pub(crate) engine: Recorded,
    /// Everything ordered but frames, in order.
    pub(crate) orders: Vec<Output>,
    /// Groups whose addresses are on, and their lifetimes.
    pub(crate) kernel: BTreeMap<GroupId, Option<Duration>>,
    /// The kernel answers orders; otherwise they wait in `orders` only.
    pub(crate) answering: bool,
    /// Frames leave.
    pub(crate) uplink: bool,
    /// What a check comes to there that is not good.
    pub(crate) ailments: BTreeMap<CheckName, Outcome>,
}

impl Machine {
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.orders
            .iter()
            .filter_map(|order| if let Output::Event(event) = order { Some(event) } else { None })
    }

    /// What the next process of this node would recall, if it came at once.
    pub(crate) fn memory(&self) -> Memory {
        let remembered = self.orders.iter().rev().find_map(|order| {
            if let Output::Remember(memory) = order { Some(memory.clone()) } else { None }
        });
        remembered.unwrap_or_default()
    }

    pub(crate) fn holds(&self, group: &str) -> bool {
        self.kernel.contains_key(&id(group))
    }
}

/// All machines and the wire between them.
pub(crate) struct Lan {
    pub(crate) now: Instant,
    pub(crate) machines: BTreeMap<usize, Machine>,
    /// (from, to) where nothing arrives.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Every frame sent, by whom.
    pub(crate) frames: Vec<(usize, Arc<[u8]>)>,
    /// Machines that take no proposal.
    pub(crate) objecting: BTreeSet<usize>,
    /// Machines that cannot read any document.
    pub(crate) illiterate: BTreeSet<usize>,
    /// Bytes of each recorder.
    pub(crate) tape: usize,
    /// What answers for a group in place of the nodes that have it; `None`: nothing.
    pub(crate) answering_for: BTreeMap<GroupId, Option<Mac>>,
    queue: BTreeMap<(Instant, u64), (usize, Input)>,
    serial: u64,
}

impl Lan {
    pub(crate) fn new() -> Lan {
        Lan {
            now: Instant::from_micros(1_000_000),
            machines: BTreeMap::new(),
            cut: BTreeSet::new(),
            frames: Vec::new(),
            objecting: BTreeSet::new(),
            illiterate: BTreeSet::new(),
            tape: TAPE,
            answering_for: BTreeMap::new(),
            queue: BTreeMap::new(),
            serial: 0,
        }
    }

    /// All nodes of a plan, running for a while.
    pub(crate) fn settled(plan: &Plan) -> Lan {
        let mut lan = Lan::new();
        for node in plan.nodes.clone() {
            lan.start(node, plan, &[]);
        }
        lan.run(MATURE + STALE);
        lan
    }

    pub(crate) fn start(&mut self, node: usize, plan: &Plan, present: &[&str]) {
        self.start_recalling(node, plan, present, Memory::default());
    }

    pub(crate) fn start_recalling(
        &mut self,
        node: usize,
        plan: &Plan,
        present: &[&str],
        memory: Memory,
    ) {
        self.serial += 1;
        let machine = Machine {
            engine: Recorded::with_capacity(
                Engine::new(self.now, Start { memory, ..self.start_of(node, plan, present) }),
                self.tape,
            ),
            orders: Vec::new(),
            kernel: BTreeMap::new(),
            answering: true,
            uplink: true,
            ailments: BTreeMap::new(),
        };
        self.machines.insert(node, machine);
        self.drain(node);
    }

    /// What a node's process starts from.
    pub(crate) fn start_of(&self, node: usize, plan: &Plan, present: &[&str]) -> Start {
        Start {
            config: plan.config(),
            node: name(node),
            boot: BootId(self.serial * 1000 + node as u64),
            epoch_floor: Epoch::from_wall_clock(1_700_000_000_000),
            present: present.iter().map(|group| id(group)).collect(),
            memory: Memory::default(),
            trial: None,
        }
    }

    pub(crate) fn cut_between(&mut self, one: usize, other: usize) {
        self.cut.extend([(one, other), (other, one)]);
    }

    pub(crate) fn configure(&mut self, node: usize, plan: &Plan) {
        self.tell(node, Input::Configured(plan.config()));
    }

    pub(crate) fn command(&mut self, node: usize, command: Command) {
        self.tell(node, Input::Operator(command));
    }

    pub(crate) fn report(&mut self, node: usize, group: &str, report: ResourceReport) {
        self.tell(node, Input::Resource { group: id(group), report });
    }

    /// A run of a check begins now and comes to what it comes to there.
    pub(crate) fn check(&mut self, node: usize, check: &CheckName) {
        let Some(machine) = self.machines.get(&node) else { return };
        let outcome = machine.ailments.get(check).cloned().unwrap_or(Outcome::Good);
        let run = Run { began: self.now, took: DELAY, outcome };
        self.later(node, Input::Checked { check: check.clone(), run });
    }

    /// One input now and all that is ordered because of it.
    pub(crate) fn tell(&mut self, node: usize, input: Input) {
        if let Some(machine) = self.machines.get_mut(&node) {
            machine.engine.handle(self.now, input);
            self.drain(node);
        }
    }

    fn later(&mut self, node: usize, input: Input) {
        self.after(DELAY, node, input);
    }

    fn after(&mut self, span: Duration, node: usize, input: Input) {
        self.serial += 1;
        self.queue.insert((self.now + span, self.serial), (node, input));
    }

    /// What a node that asks for a group's address hears.
    fn sighted(&self, group: &GroupId, expected: Mac) -> Option<Mac> {
        if let Some(instead) = self.answering_for.get(group) {
            return *instead;
        }
        let holders: Vec<Mac> = self.holders(group.as_str()).into_iter().map(mac).collect();
        holders.iter().find(|mac| **mac != expected).or(holders.first()).copied()
    }

    fn drain(&mut self, node: usize) {
        while let Some(order) = self.machines.get_mut(&node).and_then(|m| m.engine.poll()) {
            self.carry_out(node, order);
        }
    }

    fn carry_out(&mut self, node: usize, order: Output) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        if let Output::Send(transmit) = order {
            let left = machine.uplink;
            if let Some(seq) = transmit.seq {
                machine.engine.handle(now, Input::Sent { seq, left });
            }
            if left {
                self.deliver(node, transmit.to, transmit.frame);
            }
            return;
        }
        machine.orders.push(order.clone());
        if machine.answering {
            self.answer(node, order);
        }
    }

    /// What a daemon says to a document; nodes that `object` take no proposal.
    fn examine(&self, node: usize, text: &str, strict: bool) -> Result<Arc<SharedPart>, String> {
        if strict && self.objecting.contains(&node) {
            return Err("no interface eth7".into());
        }
        if self.illiterate.contains(&node) {
            return Err("vips[0]: found the unknown key \"new\"".into());
        }
        parse_document(text, "document").map(Arc::new).map_err(|problems| format!("{problems:?}"))
    }

    fn answer(&mut self, node: usize, order: Output) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        match order {
            Output::Plumb { group, lifetime } => {
                machine.kernel.insert(group.id.clone(), lifetime);
                let report = ResourceReport::Up;
                self.later(node, Input::Resource { group: group.id.clone(), report });
            }
            Output::Unplumb { group } => {
                machine.kernel.remove(&group);
                self.later(node, Input::Resource { group, report: ResourceReport::Down });
            }
            Output::Renew { lifetime } => {
                machine.kernel.values_mut().for_each(|end| *end = Some(lifetime));
            }
            Output::StoreEpoch(epoch) => self.later(node, Input::EpochStored(epoch)),
            Output::WantBoot => {
                self.serial += 1;
                let boot = BootId(self.serial * 1000 + node as u64);
                self.later(node, Input::Boot(boot));
            }
            Output::Notify { group } => {
                self.later(node, Input::Told { group, mac: Some(mac(node)) });
            }
            Output::Look { group, expected } => {
                let mac = self.sighted(&group, expected);
                self.after(LOOKING, node, Input::Sighted { group, mac });
            }
            Output::Examine { document, digest, strict } => {
                let outcome = self.examine(node, &document, strict);
                self.later(node, Input::Examined { document: digest, outcome });
            }
            Output::Adopt(Adoption { shared, document }) => {
                let config = Config {
                    shared: Arc::unwrap_or_clone(shared),
                    local: LocalPart {
                        secrets: vec![Secret::from("a few engines")],
                        ..local(Lifetime::Auto)
                    },
                    document,
                };
                self.tell(node, Input::Configured(config.into()));
            }
            Output::Check { checks } => checks.iter().for_each(|check| self.check(node, check)),
            Output::Send(_)
            | Output::Keep(_)
            | Output::Silence { .. }
            | Output::Neighbours { .. }
            | Output::Remember(_)
            | Output::Ask { .. }
            | Output::CleanUp { .. }
            | Output::Event(_)
            | Output::Restarted
            | Output::Stopped => {}
        }
    }

    fn deliver(&mut self, from: usize, to: Destination, frame: Arc<[u8]>) {
        self.frames.push((from, frame.clone()));
        let everybody: Vec<usize> = self.machines.keys().copied().collect();
        for node in everybody {
            let (reaches, multicast) = match to {
                Destination::Multicast => (true, true),
                Destination::Unicast(whom) => (whom == address(node), false),
            };
            if reaches && !self.cut.contains(&(from, node)) && from != node {
                self.inject(node, from, multicast, &frame);
            }
        }
    }

    /// A datagram on its way to a node.
    pub(crate) fn inject(&mut self, node: usize, from: usize, multicast: bool, frame: &[u8]) {
        let datagram = Datagram { source: address(from), multicast, bytes: frame.to_vec() };
        self.later(node, Input::Datagram(datagram));
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done`, at most for `span`; says whether it came to that.
    pub(crate) fn run_until(&mut self, span: Duration, done: impl Fn(&Lan) -> bool) -> bool {
        let end = self.now + span;
        while !done(self) {
            if !self.step(end) {
                return false;
            }
        }
        true
    }

    fn step(&mut self, end: Instant) -> bool {
        let deadline = |(node, m): (&usize, &Machine)| Some((m.engine.next_deadline()?, *node));
        let tick = self.machines.iter().filter_map(deadline).min();
        let arrival = self.queue.keys().next().copied();
        match (tick, arrival) {
            (Some((at, node)), arrival) if arrival.is_none_or(|(next, _)| at < next) => {
                if at > end {
                    return false;
                }
                assert!(at >= self.now || self.now.since(at) < MATURE, "spins");
                self.now = self.now.max(at);
                self.tell(node, Input::Tick);
            }
            (_, Some(key)) if key.0 <= end => {
                let Some((node, input)) = self.queue.remove(&key) else { return false };
                self.now = self.now.max(key.0);
                self.tell(node, input);
            }
            _ => return false,
        }
        true
    }

    /// Nodes whose kernel has a group on.
    pub(crate) fn holders(&self, group: &str) -> Vec<usize> {
        let holding = self.machines.iter().filter(|(_, machine)| machine.holds(group));
        holding.map(|(node, _)| *node).collect()
    }

    pub(crate) fn status(&self, node: usize) -> Status {
        self.machines[&node].engine.status(self.now)
    }
}
