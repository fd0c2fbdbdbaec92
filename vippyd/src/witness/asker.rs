//! The thread that asks: keeps what it needs open while questions come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::future::pending;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use vippy_core::config::Config;
use vippy_core::identity::NodeName;

use super::choice::{self, Excluded, Target};
use super::{Evidence, Question};
use crate::chat::{Interface, Wires, scan};
use crate::ethernet::filter::Interest;
use crate::ethernet::frames::answer;
use crate::ethernet::port::Interfaces;
use crate::ethernet::tap::{Tap, any_ready};
use crate::kernel::neighbours::Neighbours;

/// After the last question answers are waited for this long.
const LINGER: Duration = Duration::from_secs(5);

/// Interfaces and neighbours are looked at again after this long.
const LOOK: Duration = Duration::from_secs(1);

/// A look may cost at most one part in this many of a processor.
const THRIFT: u32 = 50;

/// An order.
#[derive(Debug)]
pub(super) enum Order {
    Ask(Question),
    Reconfigure(Surroundings),
}

/// What the configuration says about the surroundings.
#[derive(Debug)]
pub(super) struct Surroundings {
    wires: Wires,
    managed: BTreeSet<IpAddr>,
}

impl Order {
    pub(super) fn reconfigure(config: &Config, node: &NodeName) -> Order {
        Order::Reconfigure(Surroundings::new(config, node))
    }
}

impl Surroundings {
    fn new(config: &Config, node: &NodeName) -> Surroundings {
        let addresses = config.shared.groups.iter().flat_map(|group| &group.addresses);
        let managed = addresses.map(|address| address.ip()).collect();
        Surroundings { wires: Wires::new(config, node), managed }
    }
}

/// This host's interfaces as seen last.
#[derive(Debug, Default)]
struct Scene {
    interfaces: Vec<Interface>,
    links: Interfaces,
    chat: BTreeSet<u32>,
}

impl Scene {
    fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }
}

/// Everything the thread has.
#[derive(Debug)]
pub(super) struct Asker {
    around: Surroundings,
    evidence: UnboundedSender<Evidence>,
    scene: Scene,
    /// When to look again.
    look_at: Option<Instant>,
    neighbours: Option<Neighbours>,
    /// Guessed witnesses of this time of asking: who answered at its beginning
    /// is asked until its end, whatever the kernel forgets meanwhile.
    guessed: Vec<Target>,
    taps: BTreeMap<u32, Tap>,
    asked: BTreeSet<IpAddr>,
    close_at: Option<Instant>,
}

impl Asker {
    pub(super) fn new(
        config: &Config,
        node: &NodeName,
        evidence: UnboundedSender<Evidence>,
    ) -> Asker {
        Asker {
            around: Surroundings::new(config, node),
            evidence,
            scene: Scene::default(),
            look_at: None,
            neighbours: None,
            guessed: Vec::new(),
            taps: BTreeMap::new(),
            asked: BTreeSet::new(),
            close_at: None,
        }
    }

    /// Works until the loop is gone.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        loop {
            let close_at = self.close_at;
            let close = async move {
                match close_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    let mut question = self.take(order);
                    while let Ok(order) = orders.try_recv() {
                        question = self.take(order).or(question);
                    }
                    if let Some(question) = question {
                        self.ask(&question).await;
                    }
                }
                index = any_ready(&self.taps) => self.read(index),
                () = close => self.close(),
            }
        }
    }

    fn take(&mut self, order: Order) -> Option<Question> {
        match order {
            Order::Ask(question) => Some(question),
            Order::Reconfigure(around) => {
                self.around = around;
                self.guessed.clear();
                self.look_at = None;
                None
            }
        }
    }

    async fn ask(&mut self, question: &Question) {
        self.look(question).await;
        let targets = self.targets(question);
        self.open(&targets);
        self.asked = targets.iter().map(|(_, ip)| *ip).collect();
        let left = targets.iter().filter(|target| self.put(target)).count();
        self.close_at = Some(Instant::now() + LINGER);
        self.tell(Evidence::Asked { targets: left });
    }

    /// Looks around, where the last look is too old.
    async fn look(&mut self, question: &Question) {
        let begun = Instant::now();
        if self.look_at.is_some_and(|at| begun < at) {
            return;
        }
        let interfaces = scan().unwrap_or_default();
        let chat = self.around.wires.used(&interfaces);
        let links = Interfaces::now().unwrap_or_default();
        self.scene = Scene { interfaces, links, chat };
        if question.witnesses.is_empty() {
            self.guess(question).await;
        }
        self.look_at = Some(begun + LOOK.max(begun.elapsed() * THRIFT));
    }

    async fn guess(&mut self, question: &Question) {
        if self.neighbours.is_none() {
            self.neighbours = Neighbours::open().ok();
        }
        // Without the table there is nobody to guess.
        let Some(neighbours) = &self.neighbours else { return };
        let (table, gateways) = (neighbours.list().await, neighbours.gateways().await);
        let Scene { interfaces, chat, .. } = &self.scene;
        let excluded = Excluded { managed: &self.around.managed, peers: &question.peers };
        let found = choice::guess(&table, &gateways, interfaces, chat, excluded);
        self.guessed.retain(|(index, ip)| chat.contains(index) && !question.peers.contains(ip));
        for target in found {
            if self.guessed.len() < choice::MOST && !self.guessed.contains(&target) {
                self.guessed.push(target);
            }
        }
    }

    fn targets(&self, question: &Question) -> Vec<Target> {
        if question.witnesses.is_empty() {
            return self.guessed.clone();
        }
        let Scene { interfaces, chat, .. } = &self.scene;
        let managed = &self.around.managed;
        let place = |witness: &IpAddr| choice::place(*witness, interfaces, chat, managed);
        question.witnesses.iter().filter_map(place).collect()
    }

    /// Opens what is asked on and where the chat is, closes everything else.
    fn open(&mut self, targets: &[Target]) {
        let mut needed: BTreeSet<u32> = targets.iter().map(|(index, _)| *index).collect();
        needed.extend(&self.scene.chat);
        let scene = &self.scene;
        self.taps.retain(|index, tap| needed.contains(index) && tap.is_current(&scene.links));
        for index in needed {
            if self.taps.contains_key(&index) {
                continue;
            }
            let Some(interface) = scene.interface(index) else { continue };
            // One that is gone since, or not Ethernet, cannot be asked on.
            if let Ok(Some(tap)) = Tap::open(&interface.name, &scene.links, Interest::Answers) {
                self.taps.insert(index, tap);
            }
        }
        for (index, tap) in &mut self.taps {
            let chat = scene.chat.contains(index);
            tap.listen_for(if chat { Interest::Everything } else { Interest::Answers });
        }
    }

    /// Puts the question to one address; true if it left.
    fn put(&self, (index, ip): &Target) -> bool {
        let Some(interface) = self.scene.interface(*index).filter(|it| it.up) else { return false };
        let source = choice::source(*ip, interface, &self.around.managed);
        self.taps.get(index).is_some_and(|tap| tap.ask(source, *ip).is_ok())
    }

    fn read(&mut self, index: u32) {
        let Some(tap) = self.taps.get(&index) else { return };
        let (mut answered, mut arrived) = (Vec::new(), false);
        let read = tap.read(|frame| match answer(frame) {
            Some(told) => answered.push(told.ip),
            None => arrived = true,
        });
        if read.is_err() {
            self.taps.remove(&index);
            self.look_at = None;
            return;
        }
        // What was not asked is the answer to somebody else's question.
        for from in answered.into_iter().filter(|from| self.asked.contains(from)) {
            self.tell(Evidence::Answered { from });
        }
        if arrived {
            self.arrived();
        }
    }

    /// Once is enough until the next question.
    fn arrived(&mut self) {
        let listening = self.taps.values().any(|tap| tap.interest() == Interest::Everything);
        if listening {
            self.taps.values_mut().for_each(|tap| tap.listen_for(Interest::Answers));
            self.tell(Evidence::Arrived);
        }
    }

    fn close(&mut self) {
        self.taps.clear();
        self.asked.clear();
        self.guessed.clear();
        self.neighbours = None;
        self.look_at = None;
        self.close_at = None;
    }

    fn tell(&self, evidence: Evidence) {
        // The loop is gone when the process is about to end.
        let _ = self.evidence.send(evidence);
    }
}
