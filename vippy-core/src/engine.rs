//! The engine: routes inputs, queues outputs, and nothing else.
//!
//! Call order: [`Engine::handle`] with the time and one input, then
//! [`Engine::poll`] until it is empty, then sleep until
//! [`Engine::next_deadline`] or the next input. Every [`Output::Send`] of an own
//! frame is answered with [`Input::Sent`] before anything else is handled.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::authority::{Authority, Scene};
use crate::chronicle::{Chronicle, View};
use crate::conduct::Conduct;
use crate::config::{Config, Secret};
use crate::dialect::Dialect;
use crate::epoch::Epochs;
use crate::event::Event;
use crate::fence::Fence;
use crate::holdings::{Hands, Holdings};
use crate::identity::{BootId, Epoch, GroupId, NodeIndex, NodeName};
use crate::input::{Command, Datagram, Input};
use crate::invariants::{Scope, Sight, Watch};
use crate::membership::facts::Changes;
use crate::membership::{Membership, Passage, Reception, Timers};
use crate::memory::Memory;
use crate::output::{Destination, Output, Transmit};
use crate::placement::Placement;
use crate::ranking::Ranking;
use crate::rejects::Rejects;
use crate::relay::{self, Relay};
use crate::speaker::{self, Speaker};
use crate::standing::{Farewell, GOODBYES, Standing};
use crate::status::{NodeReason, NodeState, RejectReason, Status};
use crate::surroundings::{Leave, Surroundings};
use crate::time::{Instant, earliest};
use crate::timeline::Timeline;
use crate::timing::Timing;
use crate::unicast::Unicast;
use crate::wire::announcement::{Announcement, Section};
use crate::wire::auth::{KeyId, Keyring};
use crate::wire::frame::{self, Body, Header};

/// What an engine starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// The validated configuration.
    pub config: Arc<Config>,
    /// This node's name.
    pub node: NodeName,
    /// 64 fresh random bits: this life's identity.
    pub boot: BootId,
    /// The higher of the persisted epoch and the wall clock (W7).
    pub epoch_floor: Epoch,
    /// Groups whose addresses were all found on this node, ours and unexpired.
    pub present: BTreeSet<GroupId>,
    /// What the last process of this node remembered.
    pub memory: Memory,
}

/// One node's protocol state machine.
///
/// It can be written down and read again; only the secret is left out. What was
/// read cannot go on before it has got keys again, which is the business of
/// [`recorder`](crate::recorder).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Engine {
    pub(crate) config: Arc<Config>,
    pub(crate) name: NodeName,
    pub(crate) me: Option<NodeIndex>,
    #[serde(skip)]
    pub(crate) placement: Placement,
    pub(crate) started: Instant,
    pub(crate) members: Membership,
    pub(crate) standing: Standing,
    pub(crate) conduct: Conduct,
    pub(crate) holdings: Holdings,
    pub(crate) timing: Timing,
    pub(crate) fence: Fence,
    pub(crate) epochs: Epochs,
    pub(crate) relay: Relay,
    pub(crate) rejects: Rejects,
    pub(crate) ranking: Ranking,
    pub(crate) dialect: Dialect,
    pub(crate) authority: Authority,
    pub(crate) traffic: Traffic,
    pub(crate) watch: Watch,
    #[serde(skip)]
    keys: Keyring,
    speaker: Speaker,
    chronicle: Chronicle,
    unicast: Unicast,
    #[serde(skip)]
    outputs: VecDeque<Output>,
    /// This node is silent: it slept or its frames do not leave (F2).
    asleep: bool,
    /// Burnt; the next boot has been asked for (W1).
    burnt: bool,
    /// Everything is being dropped: not a word until it is off (F2).
    hushed: bool,
    /// Groups must be decided about anew.
    unsettled: bool,
    /// Its own configuration left it out: until when it hands over.
    removed_until: Option<Instant>,
}

/// What a recorder must know of a step.
pub(crate) struct Noted {
    /// How many outputs waited before it.
    pub(crate) before: usize,
    /// Why its datagram was refused before its sender mattered.
    pub(crate) refused: Option<RejectReason>,
    /// Nothing but a counter changed.
    pub(crate) quiet: bool,
}

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Received {
    /// No key of this node made it, or nobody can read it.
    Refused(RejectReason),
    /// It changed nothing but a counter.
    Rejected,
    /// It may have changed something.
    Taken,
}

/// Announcements counted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Engine {
    /// Starts booting at `now`.
    pub fn new(now: Instant, start: Start) -> Engine {
        let Start { config, node, boot, epoch_floor, present, memory } = start;
        let shared = &config.shared;
        let timers = Timers { interval: shared.interval, stale: shared.stale };
        let me = shared.node_index(&node);
        let mut engine = Engine {
            keys: Keyring::new(&config.local.secrets, &config.local.cluster),
            placement: Placement::new(shared),
            members: Membership::new(node.clone(), boot, timers),
            standing: Standing::new(now, shared.mature),
            conduct: Conduct::recalled(now, &memory, shared.hold_down),
            holdings: Holdings::new(shared),
            timing: Timing::new(timers),
            fence: Fence::new(now, config.local.lifetime, shared.stale),
            epochs: Epochs::new(epoch_floor),
            relay: Relay::new(),
            rejects: Rejects::default(),
            ranking: Ranking::default(),
            dialect: Dialect::default(),
            authority: Authority::new(now),
            traffic: Traffic::default(),
            watch: Watch::new(shared),
            speaker: Speaker::new(),
            chronicle: Chronicle::new(shared),
            unicast: Unicast::new(now),
            outputs: VecDeque::new(),
            asleep: false,
            burnt: false,
            hushed: false,
            unsettled: true,
            removed_until: None,
            started: now,
            name: node,
            me,
            config,
        };
        engine.find_place();
        engine.adopt(now, &present);
        engine.settle(now);
        engine
    }

    /// What the configuration says about this node as a whole.
    fn find_place(&mut self) {
        self.standing.set_idle(self.me.is_none());
        let own = self.me.map(|me| &self.config.shared.nodes[me.get()]);
        self.standing.set_standby(own.is_some_and(|node| node.standby));
    }

    fn adopt(&mut self, now: Instant, present: &BTreeSet<GroupId>) {
        let config = self.config.clone();
        if let Some(me) = self.me {
            let (holdings, mut hands) = self.holdings_and_hands();
            holdings.adopt(now, &config.shared, me, present, &mut hands);
        }
    }

    /// Takes one input. `now` must never run backwards. Drain [`Engine::poll`] after it.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.handle_noting(now, input);
    }

    /// The same, and what a recorder must know of it.
    pub(crate) fn handle_noting(&mut self, now: Instant, input: Input) -> Noted {
        let before = self.outputs.len();
        let (refused, quiet) = self.step(now, input);
        if self.outputs.len() > before {
            self.chronicle_step(now, before);
        }
        Noted { before, refused, quiet }
    }

    /// Why an input was refused before its sender mattered, and whether nothing
    /// but a counter changed.
    fn step(&mut self, now: Instant, input: Input) -> (Option<RejectReason>, bool) {
        let mut refused = None;
        let slept = self.notice_sleep(now);
        match input {
            Input::Tick => {}
            Input::Datagram(datagram) => {
                // What time alone changes waits for its deadline: a flood of
                // datagrams without effect must not cost a look at everything (W3).
                let received = self.receive(now, &datagram);
                if let Received::Refused(reason) = received {
                    refused = Some(reason);
                }
                if received != Received::Taken && !slept {
                    return (refused, true);
                }
            }
            Input::Sent { left, .. } => self.sent(now, left),
            Input::Configured(config) => self.configure(now, config),
            Input::Boot(boot) => self.reboot(now, boot),
            Input::Resource { group, report } => {
                if let Some(index) = self.holdings.position(&group) {
                    let (config, me) = (self.config.clone(), self.me);
                    let (holdings, mut hands) = self.holdings_and_hands();
                    holdings.report(now, (&config.shared, index), me, report, &mut hands);
                }
            }
            Input::EpochStored(epoch) => {
                self.epochs.stored(epoch);
                self.speaker.touch();
            }
            Input::Told { group } => {
                if let Some(index) = self.holdings.position(&group) {
                    self.chronicle.told(index, now);
                    let config = self.config.clone();
                    let (holdings, mut hands) = self.holdings_and_hands();
                    holdings.told(&config.shared, index, &mut hands);
                }
            }
            Input::Renewed { took } => {
                if let Some(text) = self.fence.renewed(now, took) {
                    self.tell(Event::Warning { text });
                }
            }
            Input::Asked { targets } => self.authority.asked(targets),
            Input::Answered { from } => {
                self.authority.answered(now, from, &self.config.shared.witness);
            }
            Input::Arrived => self.authority.arrived(now),
            Input::Operator(command) => self.command(now, command),
        }
        self.settle(now);
        (refused, false)
    }

    /// Outputs that wait, from the one at this place on.
    pub(crate) fn outputs_from(&self, place: usize) -> impl Iterator<Item = &Output> {
        self.outputs.range(place..)
    }

    /// A copy without secrets and without the outputs that wait, and the ids of
    /// the keys.
    pub(crate) fn copy(&mut self) -> (Engine, Vec<KeyId>) {
        let ids = self.keys.ids();
        let public = Arc::new(self.config.without_secrets());
        let config = std::mem::replace(&mut self.config, public);
        let keys = std::mem::take(&mut self.keys);
        let outputs = std::mem::take(&mut self.outputs);
        let copy = self.clone();
        (self.config, self.keys, self.outputs) = (config, keys, outputs);
        (copy, ids)
    }

    /// Gives an engine that was read its secrets and what follows from its
    /// configuration.
    pub(crate) fn revive(&mut self, secrets: Vec<Secret>) {
        let mut config = self.config.without_secrets();
        config.local.secrets = secrets;
        self.keys = Keyring::new(&config.local.secrets, &config.local.cluster);
        self.placement = Placement::new(&config.shared);
        self.config = Arc::new(config);
    }

    /// Everything that must be the same in two engines that went through the
    /// same; the tags of frames they have sent need not.
    pub(crate) fn told_apart(&mut self) -> String {
        let (mut copy, _) = self.copy();
        copy.members.own.reprint(|_| Default::default());
        format!("{copy:?}")
    }

    /// The next order, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Engine::handle`] with [`Input::Tick`] at the latest.
    /// Earlier does no harm.
    pub fn next_deadline(&self) -> Option<Instant> {
        let speak = self.may_speak().then(|| self.next_words());
        // Booting cannot end while nobody hears: nothing is due at its end.
        let held_up = self.asleep || self.burnt || self.authority.is_barred();
        let standing = self.standing.next_deadline().filter(|_| !held_up);
        let deadlines = [
            speak,
            self.members.next_deadline(),
            standing,
            self.conduct.next_deadline(),
            self.holdings.next_deadline(),
            self.fence.next_renewal(),
            self.alive_until(),
            self.ranking.next_deadline(),
            self.removed_until.filter(|_| self.holdings.any_plumbed()),
            self.authority.next_deadline(),
        ];
        deadlines.into_iter().fold(None, earliest)
    }

    /// Where other daemons are: the addresses they were heard from while alive,
    /// and the configured ones.
    pub fn peer_addresses(&self) -> BTreeSet<IpAddr> {
        let configured = self.config.local.peers.iter().filter(|(name, _)| **name != self.name);
        let configured = configured.map(|(_, address)| address.ip());
        configured.chain(self.unicast.addresses()).collect()
    }

    /// When others must have given this node up unless another frame leaves: until
    /// then it may speak for what it holds (F2). `None` once that has happened.
    pub fn alive_until(&self) -> Option<Instant> {
        let silent = self.fence.silent_at(self.timing.acting().stale);
        Some(silent).filter(|_| !self.asleep && !self.burnt)
    }

    /// The cluster as this node sees it.
    pub fn status(&self, now: Instant) -> Status {
        crate::report::status(self, now)
    }

    /// The last moves of groups as this node knows them.
    pub fn timeline(&self, now: Instant) -> Timeline {
        self.chronicle.timeline(now, &self.name, self.members.timers().stale)
    }

    /// Id of the key this node signs with.
    pub(crate) fn signing_key(&self) -> String {
        self.keys.signing().to_string()
    }

    fn holdings_and_hands(&mut self) -> (&mut Holdings, Hands<'_>) {
        let hands =
            Hands { outputs: &mut self.outputs, epochs: &mut self.epochs, fence: &mut self.fence };
        (&mut self.holdings, hands)
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Takes note of what the outputs from `before` on tell.
    fn chronicle_step(&mut self, now: Instant, before: usize) {
        let view = View {
            now,
            name: &self.name,
            me: self.me,
            shared: &self.config.shared,
            members: &self.members,
            holdings: &self.holdings,
        };
        self.chronicle.note(self.outputs.range(before..), &view);
    }

    fn drop_all(&mut self, why: &str) {
        let config = self.config.clone();
        let (holdings, mut hands) = self.holdings_and_hands();
        holdings.drop_all(&config.shared, why, &mut hands);
        self.unsettled = true;
    }

    /// Boots again, awaiting the peers that were alive until now.
    fn boot_again(&mut self, now: Instant, reason: NodeReason, peers: BTreeSet<NodeName>) {
        let patience = (self.timing.acting().interval, self.config.shared.mature);
        self.standing.reboot(now, reason, peers, patience);
        self.holdings.returned(&self.config.shared);
        self.speaker.touch();
    }

    fn live_names(&self) -> BTreeSet<NodeName> {
        self.members.live_processes().map(|process| process.name.clone()).collect()
    }

    /// F2: before anything is read, everything held is dropped. True when it was.
    fn notice_sleep(&mut self, now: Instant) -> bool {
        let stale = self.timing.acting().stale;
        if self.asleep || self.burnt || !self.fence.slept(now, stale) {
            return false;
        }
        self.asleep = true;
        self.hushed = true;
        let peers = self.live_names();
        self.drop_all("this node was silent for longer than stale");
        self.boot_again(now, NodeReason::Suspended, peers);
        true
    }

    /// F2: a clock that stood still hid that this node was silent.
    fn notice_standstill(&mut self, now: Instant) {
        if !self.members.clock_stood_still(now) {
            return;
        }
        let peers = self.live_names();
        self.members.distrust();
        self.hushed = true;
        self.drop_all("this node's clock stood still for longer than stale");
        self.boot_again(now, NodeReason::Suspended, peers);
        self.standing.explain("its clock stood still for longer than stale: paused as a guest is");
    }

    fn sent(&mut self, now: Instant, left: bool) {
        if !left {
            return;
        }
        self.fence.left(now);
        if std::mem::take(&mut self.asleep) {
            let peers = self.live_names();
            self.boot_again(now, NodeReason::Suspended, peers);
        }
    }

    /// Takes a datagram.
    fn receive(&mut self, now: Instant, datagram: &Datagram) -> Received {
        let source = datagram.source;
        let frame = match frame::open(&datagram.bytes, &self.keys) {
            Ok(frame) => frame,
            Err(reason) => {
                self.reject(now, reason, source, None);
                return Received::Refused(reason);
            }
        };
        let known = self.config.shared.node_index(&frame.header.name).is_some();
        match self.members.receive(now, &frame, (source, datagram.multicast), known) {
            Reception::Rejected(reason) => {
                self.reject(now, reason, source, Some(&frame.header.name));
                return Received::Rejected;
            }
            Reception::Cloned => self.burn(),
            Reception::New { fresh: None, .. } => {
                self.reject(now, RejectReason::NotFresh, source, Some(&frame.header.name));
            }
            Reception::New { boot, fresh: Some(changes) } => {
                self.traffic.received += 1;
                self.epochs.heard(frame.header.epoch);
                self.learn(now, boot, &frame.body);
                self.take_note(now, boot, changes);
                self.notice_standstill(now);
                self.forward(now, boot, &datagram.bytes);
            }
            Reception::Goodbye { boot } => {
                self.epochs.heard(frame.header.epoch);
                self.forward(now, boot, &datagram.bytes);
                match self.members.take_leave(now, boot) {
                    Some(node) => self.tell(Event::PeerLeft { node }),
                    None => self.reject(now, RejectReason::Burnt, source, Some(&frame.header.name)),
                }
                self.unsettled = true;
            }
        }
        Received::Taken
    }

    /// What a fresh frame of a peer tells of its moves.
    fn learn(&mut self, now: Instant, boot: BootId, body: &Body) {
        let Body::Announcement(announcement) = body else { return };
        let process = self.members.process(boot).filter(|_| self.members.counts(boot));
        let Some(process) = process else { return };
        let shared = &self.config.shared;
        let same = (announcement.digest == shared.digest).then_some(shared);
        for section in &announcement.sections {
            if let Section::Moves(reports) = section {
                self.chronicle.learn(now, (&process.name, boot), reports, same);
            }
        }
    }

    /// What a fresh frame of a peer means for groups.
    fn take_note(&mut self, now: Instant, boot: BootId, changes: Changes) {
        let digest = self.config.shared.digest;
        if let Some((before, held)) = &changes.left
            && let Some(held) = self.dialect.last_words(*before, held, digest)
        {
            self.members.held_before(boot, held);
        }
        let facts = self.members.process(boot).and_then(|process| process.facts.as_ref());
        self.unsettled |= changes.standing;
        self.holdings.frame_came();
        // Positions in another configuration are not positions in this one (O5).
        if let Some(facts) = facts.filter(|facts| facts.speaks(digest)) {
            // Of two holders at least one waits for the other's echo (O8, O9).
            if facts.holding.meets(self.holdings.holding()) {
                self.speaker.touch();
            }
            let name = self.members.process(boot).map(|process| &process.name);
            let node = name.and_then(|name| Some((self.config.shared.node_index(name)?, name)));
            if let Some(node) = node.filter(|_| !changes.holding.is_empty()) {
                self.chronicle.peer_changed(now, node, &changes.holding, &facts.holding);
            }
            self.holdings.touch(changes.holding.iter().copied());
            self.holdings.contact(changes.holding);
        }
    }

    fn reject(
        &mut self,
        now: Instant,
        reason: RejectReason,
        source: SocketAddr,
        name: Option<&NodeName>,
    ) {
        if self.rejects.count(now, reason, source.ip()) {
            let source = name.map_or(source.to_string(), |name| format!("{source} ({name})"));
            self.tell(Event::Rejected { reason, source });
        }
    }

    /// W2: forwards what others may not have heard.
    fn forward(&mut self, now: Instant, boot: BootId, bytes: &[u8]) {
        let duty = relay::Duty { own_name: &self.name, shared: &self.config.shared };
        for forward in self.relay.heard(now, (boot, bytes), &self.members, &duty) {
            let to = Destination::Unicast(forward.to);
            let frame = frame::mark_relayed(&forward.frame).into();
            self.outputs.push_back(Output::Send(Transmit { to, seq: None, frame }));
        }
    }

    /// W1: somebody else speaks with this boot.
    fn burn(&mut self) {
        if std::mem::replace(&mut self.burnt, true) {
            return;
        }
        self.hushed = true;
        self.drop_all("a clone or a restored snapshot speaks with this boot");
        let text = "another process speaks with this node's boot id (a clone or a restored \
                    snapshot): everything is dropped, a new boot id is drawn";
        self.tell(Event::Warning { text: text.into() });
        self.outputs.push_back(Output::WantBoot);
    }

    fn reboot(&mut self, now: Instant, boot: BootId) {
        if !std::mem::take(&mut self.burnt) {
            return;
        }
        let peers = self.live_names();
        self.members.reboot(boot);
        self.boot_again(now, NodeReason::Twin, peers);
    }

    fn configure(&mut self, now: Instant, config: Arc<Config>) {
        let old = std::mem::replace(&mut self.config, config.clone());
        let new = &config.shared;
        self.dialect.change(&old.shared, new, &mut self.members);
        self.placement = Placement::new(new);
        self.me = new.node_index(&self.name);
        self.keys = Keyring::new(&config.local.secrets, &config.local.cluster);
        self.find_place();
        self.removed_until = match self.me {
            Some(_) => None,
            None => self.removed_until.or(Some(now + config.local.stop_timeout)),
        };
        self.conduct.configure(new.hold_down);
        self.timing.configure(Timers { interval: new.interval, stale: new.stale });
        let retermed = self.fence.configure(now, config.local.lifetime, new.stale);
        let (holdings, mut hands) = self.holdings_and_hands();
        holdings.configure(now, (&old.shared, new), retermed, &mut hands);
        if self.standing.is_booting() {
            self.holdings.returned(new);
        }
        self.ranking.forget();
        self.chronicle.configure(new);
        self.watch.configure(now, &old.shared, new);
        self.unsettled = true;
        self.speaker.touch();
    }

    fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Drain { lasting } => self.conduct.drain(now, lasting),
            Command::Resume => {
                self.conduct.resume();
                self.holdings.resume();
                self.unsettled = true;
            }
            Command::Stop if self.standing.farewell().is_none() => {
                let until = now + self.config.local.stop_timeout;
                self.standing.set_farewell(Farewell::HandingOver { until });
            }
            Command::Stop => {}
            Command::Restart => self.restart(now),
        }
    }

    /// F1: everything held gets its full lifetime for the next process to adopt.
    fn restart(&mut self, now: Instant) {
        let held = self.holdings.any_plumbed();
        if let Some(lifetime) = self.fence.renew_now(now, held) {
            self.outputs.push_back(Output::Renew { lifetime });
        }
        self.conduct.ends_in_order();
        self.remember(now);
        self.outputs.push_back(Output::Restarted);
    }

    /// Everything that follows from time and facts, in the order in which one
    /// follows from the other.
    fn settle(&mut self, now: Instant) {
        self.settle_members(now);
        self.settle_standing(now);
        self.settle_groups(now);
        self.settle_farewell(now);
        self.renew(now);
        self.hushed &= !self.holdings.all_idle();
        self.speak(now);
        // What was claimed may have found nobody to ask.
        if self.holdings.is_touched() {
            self.settle_groups(now);
        }
        self.store_epoch();
        self.remember(now);
    }

    fn settle_members(&mut self, now: Instant) {
        for passage in self.members.refresh(now, self.timing.announced()) {
            self.unsettled = true;
            match passage {
                Passage::Up { name } => {
                    self.holdings.meet();
                    self.tell(Event::PeerUp { node: name });
                }
                Passage::Lost { name, silent } => {
                    let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
                    self.tell(Event::PeerLost { node: name, silent_ms });
                }
                Passage::Restarted { name } => self.tell(Event::PeerRestarted { node: name }),
            }
        }
        let own = self.members.own.boot;
        let echoes = self.members.live_processes();
        self.timing.echoed(echoes.map(|p| p.hears(own).map_or(p.echoed, |h| h.seq)).min());
    }

    fn settle_standing(&mut self, now: Instant) {
        self.settle_authority(now);
        let members = &self.members;
        let may_end = !self.asleep && !self.burnt && !self.authority.is_barred();
        if may_end && self.standing.mature(now, |name| members.live(name).is_some()) {
            self.conduct.booted(now);
        }
        self.conduct.settle(now);
        self.standing.set_drained(self.conduct.is_drained());
        self.standing.set_held_down(self.conduct.held_down_until().is_some());
        let shared = &self.config.shared;
        let differing = self.ranking.compare(now, shared, &self.members);
        for event in differing {
            self.tell(event);
        }
        self.standing.set_outranked(self.ranking.outranked().map(str::to_owned));
        let twin = self.members.twin(now) && !self.members.is_counted();
        if self.standing.settle(twin) {
            let (state, reason) = (self.standing.state(), self.standing.reason());
            let detail = self.standing.detail().to_owned();
            self.tell(Event::StateChanged { state, reason, detail });
            self.speaker.touch();
            self.unsettled = true;
        }
    }

    /// O6, O7: whether this node may hold anything, and take more.
    fn settle_authority(&mut self, now: Instant) {
        let scene = Scene {
            members: &self.members,
            shared: &self.config.shared,
            name: &self.name,
            interval: self.timing.acting().interval,
        };
        let finding = self.authority.settle(now, &scene);
        self.unsettled |= finding.changed;
        self.standing.set_barred(self.authority.barred());
        self.standing.set_isolated(self.authority.isolation());
        self.outputs.extend(finding.orders);
        if let Some(why) = finding.drop {
            self.drop_all(why);
        }
        if let Some(reason) = finding.boot {
            self.boot_again(now, reason, BTreeSet::new());
        }
        if finding.hush {
            let held = self.holdings.plumbed(&self.config.shared);
            self.outputs.extend(held.map(|group| Output::Silence { group: group.clone() }));
        }
        if finding.tell {
            self.holdings.meet();
        }
    }

    fn settle_groups(&mut self, now: Instant) {
        let due = [self.holdings.next_deadline(), self.removed_until];
        let recheck = due.into_iter().flatten().any(|at| now >= at);
        let overruled = self.ranking.settle(now, &self.members, self.standing.changed());
        if overruled.let_go {
            self.drop_all("a peer whose configuration ranks higher has taken over");
        }
        let all = std::mem::take(&mut self.unsettled) || recheck;
        if !(all || self.holdings.is_touched()) {
            if !self.watch.is_counting() {
                self.look(now, Scope::All);
            }
            return;
        }
        let touched = if all { Vec::new() } else { self.holdings.touched() };
        let config = self.config.clone();
        let leave = Leave {
            take: !self.asleep
                && !self.burnt
                && self.authority.may_take()
                && !overruled.by_an_active_peer
                && self.members.is_counted(),
            keep: self.me.is_some() || self.removed_until.is_some_and(|until| now < until),
        };
        let readings = self.dialect.readings(&self.members, config.shared.digest);
        let around = Surroundings {
            readings: &readings,
            shared: &config.shared,
            placement: &self.placement,
            members: &self.members,
            me: self.me,
            candidacy: self.standing.state().into(),
            leave,
            standing_changed: self.standing.changed(),
            booted_at: self.standing.booted_at(),
            mature: config.shared.mature,
            strangers_fenced: self.fence.time(now).map(|fence| self.started + fence),
        };
        let mut hands =
            Hands { outputs: &mut self.outputs, epochs: &mut self.epochs, fence: &mut self.fence };
        if all {
            self.holdings.settle(now, &around, &mut hands);
        } else {
            self.holdings.settle_touched(now, &around, &mut hands);
        }
        if self.holdings.has_news() {
            self.speaker.touch();
        }
        self.look(now, if all { Scope::All } else { Scope::These(&touched) });
    }

    /// Keeps the counters of the invariants.
    fn look(&mut self, now: Instant, scope: Scope<'_>) {
        let silent = self.asleep || self.burnt || self.authority.is_barred();
        let judges = self.me.is_some() && self.ranking.outranked().is_none();
        let Some(booted_at) = self.standing.booted_at().filter(|_| !silent && judges) else {
            return self.watch.pause(now);
        };
        let digest = self.config.shared.digest;
        let readings = self.dialect.readings(&self.members, digest);
        let peers = self.members.live_processes().filter_map(|peer| {
            let facts = peer.facts.as_ref().filter(|facts| facts.speaks(digest));
            facts.map(|facts| &facts.holding).or_else(|| readings.get(&peer.boot))
        });
        let Timers { interval, stale } = self.members.timers();
        let sight = Sight {
            holdings: peers.chain(std::iter::once(self.holdings.holding())).collect(),
            owned: &|group| self.holdings.owner(group).is_some(),
            patience_over: now >= booted_at + stale + 2 * interval,
        };
        self.watch.look(now, scope, &sight);
    }

    /// O8: waits for takers, lets go, says goodbye.
    fn settle_farewell(&mut self, now: Instant) {
        match self.standing.farewell() {
            Some(Farewell::HandingOver { until }) => {
                if now >= until || !self.holdings.awaits_relief(self.me) {
                    self.standing.set_farewell(Farewell::LettingGo);
                    self.drop_all("this node is stopping");
                    self.settle_farewell(now);
                }
            }
            Some(Farewell::LettingGo) if self.holdings.all_idle() => {
                self.standing.set_farewell(Farewell::Goodbyes(GOODBYES));
                self.standing.settle(false);
                self.speaker.touch();
            }
            Some(Farewell::LettingGo | Farewell::Goodbyes(_) | Farewell::Gone) | None => {}
        }
    }

    fn renew(&mut self, now: Instant) {
        if self.fence.next_renewal().is_some_and(|at| now >= at) {
            let held = self.holdings.any_plumbed();
            if let Some(lifetime) = self.fence.renewal(now, held) {
                self.outputs.push_back(Output::Renew { lifetime });
            }
        }
    }

    fn store_epoch(&mut self) {
        if let Some(epoch) = self.epochs.take_unstored() {
            self.outputs.push_back(Output::StoreEpoch(epoch));
        }
    }

    fn remember(&mut self, now: Instant) {
        if let Some(memory) = self.conduct.take_news(now) {
            self.outputs.push_back(Output::Remember(memory));
        }
    }

    fn may_speak(&self) -> bool {
        !self.burnt && !self.hushed && self.standing.farewell() != Some(Farewell::Gone)
    }

    /// When to announce. While somebody is sought the rhythm is faster: two nodes
    /// that meet again need three frames to know each other, and until then both
    /// may hold what either of them had (O9).
    fn next_words(&self) -> Instant {
        let interval = self.timing.acting().interval;
        self.speaker.due(interval, if self.members.seeks() { interval / 3 } else { interval })
    }

    fn speak(&mut self, now: Instant) {
        if !self.may_speak() || now < self.next_words() {
            return;
        }
        self.announce(now);
        self.speaker.spoke(now);
        let last = self.members.own.last;
        self.standing.announced_by(last);
        self.timing.announced_by(last);
        self.holdings.announced_by(last);
        self.members.announced_by(last);
        if let Some(Farewell::Goodbyes(left)) = self.standing.farewell() {
            let next = if left > 1 { Farewell::Goodbyes(left - 1) } else { Farewell::Gone };
            self.standing.set_farewell(next);
            self.speaker.touch();
            if next == Farewell::Gone {
                self.conduct.ends_in_order();
                self.remember(now);
                self.outputs.push_back(Output::Stopped);
            }
        }
    }

    fn announce(&mut self, now: Instant) {
        let targets = self.unicast.targets(now, &self.config, &self.members, &self.name);
        let heard = self.members.heard(now);
        let shared = &self.config.shared;
        let base = Announcement {
            state: self.standing.state(),
            reason: self.standing.reason(),
            detail: self.standing.detail().to_owned(),
            version: shared.version,
            digest: shared.digest,
            sections: Vec::new(),
        };
        let groups = speaker::Groups {
            count: u32::try_from(shared.groups.len()).unwrap_or(u32::MAX),
            holding: self.holdings.holding(),
            cannot: self.holdings.cannot(),
            rather_not: self.holdings.rather_not(),
        };
        let moves =
            self.chronicle.reports(now, self.timing.acting().interval, shared, &self.holdings);
        for part in speaker::parts(&base, self.name.as_str().len(), &heard, &groups, moves) {
            self.transmit(now, &Body::Announcement(part), &targets);
            self.traffic.sent += 1;
        }
    }

    fn transmit(&mut self, now: Instant, body: &Body, targets: &[SocketAddr]) {
        let timers = self.timing.announced();
        let seq = self.members.own.next();
        let header = Header {
            name: self.name.clone(),
            boot: self.members.own.boot,
            seq,
            epoch: self.epochs.announced(),
            uptime: now.since(self.started),
            interval: timers.interval,
            stale: timers.stale,
            fence: self.fence.time(now),
        };
        let frame: Arc<[u8]> = frame::seal(&header, body, &self.keys).into();
        self.members.sent(now, seq, frame::fingerprint(&frame));
        let multicast = self.config.local.chat.map(|_| Destination::Multicast);
        let unicast = targets.iter().map(|address| Destination::Unicast(*address));
        if multicast.is_none() && targets.is_empty() {
            // A cluster of one: nobody to reach is no failure to reach anybody.
            self.fence.left(now);
        }
        for to in multicast.into_iter().chain(unicast) {
            let frame = frame.clone();
            self.outputs.push_back(Output::Send(Transmit { to, seq: Some(seq), frame }));
        }
    }

    /// Whether the node takes part and has left booting behind.
    pub(crate) fn is_active(&self) -> bool {
        match self.standing.state() {
            NodeState::Active | NodeState::Standby => true,
            NodeState::Booting | NodeState::Draining | NodeState::Leaving => false,
        }
    }
}
