//! The engine: routes inputs, queues outputs, and nothing else.
//!
//! Call order: [`Engine::handle`] with the time and one input, then
//! [`Engine::poll`] until it is empty, then sleep until
//! [`Engine::next_deadline`] or the next input. Every [`Output::Send`] of an own
//! frame is answered with [`Input::Sent`] before anything else is handled.

mod believing;
mod cleaning_up;
mod distributing;
mod hearing;
mod settling;
mod sharing;
mod speaking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::belief::lookout::Lookout;
use crate::belief::takes::Takes;
use crate::bits::Bits;
use crate::chronicle::{Chronicle, View};
use crate::claimants::Claimants;
use crate::collective::Collective;
use crate::conduct::Conduct;
use crate::config::{Config, Digest, Node, Secret, SharedPart};
use crate::designation::Designation;
use crate::dialect::{Dialect, Readings};
use crate::documents::Documents;
use crate::epoch::Epochs;
use crate::event::Event;
use crate::explain;
use crate::explanation::{Explanation, UnknownGroup};
use crate::fence::Fence;
use crate::field::Field;
use crate::health::{Health, Noted as HealthNoted, Run};
use crate::holdings::{Hands, Holdings};
use crate::identity::{BootId, CheckName, Epoch, GroupId, NodeIndex, NodeName};
use crate::input::{Command, Input};
use crate::invariants::Watch;
use crate::membership::{Membership, Timers};
use crate::memory::Memory;
use crate::output::Output;
use crate::placement::Placement;
use crate::ranking::Ranking;
use crate::rejects::Rejects;
use crate::relay::Relay;
use crate::rollout::graduation::Graduation;
use crate::rollout::proposal::Proposal;
use crate::rollout::trial::Trial;
use crate::rollout::verdicts::Verdicts;
use crate::speaker::Speaker;
use crate::standing::{Farewell, Standing};
use crate::status::{NodeReason, NodeState, RejectReason, Status};
use crate::time::{Instant, earliest};
use crate::timeline::Timeline;
use crate::timing::Timing;
use crate::unicast::Unicast;
use crate::wire::announcement::TrialNotice;
use crate::wire::auth::{KeyId, Keyring};

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
    /// The configuration is on trial: what comes back, and what is left of it.
    pub trial: Option<(Arc<SharedPart>, Duration)>,
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
    pub(crate) health: Health,
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
    pub(crate) takes: Takes,
    lookout: Lookout,
    pub(crate) claimants: Claimants,
    #[serde(skip)]
    keys: Keyring,
    speaker: Speaker,
    chronicle: Chronicle,
    unicast: Unicast,
    pub(crate) documents: Documents,
    collective: Collective,
    designation: Designation,
    pub(crate) graduation: Graduation,
    verdicts: Verdicts,
    pub(crate) proposal: Option<Proposal>,
    pub(crate) trial: Option<Trial>,
    /// A configuration that will be on trial when this node runs it: notice of
    /// that, and when it was so.
    trial_ahead: Option<(TrialNotice, Instant)>,
    /// What this node ran before, and the groups held then.
    former: Option<(Arc<SharedPart>, BTreeSet<GroupId>)>,
    /// Documents that are complete and still of use.
    #[serde(with = "crate::recorder::pairs")]
    at_hand: BTreeMap<Digest, Arc<str>>,
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
        let Start { config, node, boot, epoch_floor, present, memory, trial } = start;
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
            health: Health::new(now, shared, &node),
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
            takes: Takes::new(boot),
            lookout: Lookout::default(),
            claimants: Claimants::default(),
            speaker: Speaker::new(),
            chronicle: Chronicle::new(shared),
            unicast: Unicast::new(now),
            documents: Documents::default(),
            collective: Collective::default(),
            designation: Designation::default(),
            graduation: Graduation::default(),
            verdicts: Verdicts::default(),
            proposal: None,
            trial: None,
            trial_ahead: None,
            former: None,
            at_hand: BTreeMap::new(),
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
        engine.resume_trial(now, trial);
        engine.settle(now);
        engine
    }

    /// What the configuration says about this node as a whole.
    fn find_place(&mut self) {
        self.standing.set_idle(self.me.is_none());
        let own = self.me.map(|me| &self.config.shared.nodes[me.get()]);
        self.standing.set_standby(own.is_some_and(|node| node.standby));
        self.standing.set_retired(own.is_some_and(Node::is_retired));
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
            Input::Propose { shared, document, confirm_within } => {
                self.propose(now, shared, &document, confirm_within);
            }
            Input::Examined { document, outcome } => self.examined(document, outcome),
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
            Input::Told { group, mac } => {
                if let Some(index) = self.holdings.position(&group) {
                    self.told(now, index, mac);
                }
            }
            Input::Sighted { group, mac } => {
                if let Some(index) = self.holdings.position(&group)
                    && self.lookout.sighted(index, mac)
                {
                    self.speaker.touch();
                }
            }
            Input::Neighbours(cache) => self.share_neighbours(&cache),
            Input::Claimed { group, mac, times } => {
                if let Some(index) = self.holdings.position(&group)
                    && self.holdings.slot(index).is_up()
                {
                    self.claimants.claimed(now, index, mac, times);
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
            Input::CleanedUp(boot) => self.cleaned_up(now, boot),
            Input::Opinion { plugin, unfit } => {
                let noted = self.health.opine(&self.config.shared, &plugin, unfit);
                self.take_health(now, noted);
            }
            Input::Checked { check, run } => {
                if self.checked(now, &check, run) && !slept {
                    return (refused, true);
                }
            }
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

    /// All nodes as candidates, as far as this node knows.
    pub(crate) fn field<'a>(&'a self, readings: &'a Readings) -> Field<'a> {
        Field {
            shared: &self.config.shared,
            placement: &self.placement,
            members: &self.members,
            dialect: &self.dialect,
            readings,
            me: self.me,
            outranked: self.ranking.is_overruled(&self.members),
        }
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
            self.rollout_deadline(),
            self.takes.next_deadline(),
            self.claimants.next_deadline(self.members.timers().interval),
            self.designation.next_deadline(),
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

    /// Why a group is where it is (O10). The group is meant by its name, one of its
    /// addresses, or its place in the configuration, as in `#1`.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn explain(&self, now: Instant, group: &str) -> Result<Explanation, UnknownGroup> {
        let group = explain::find(&self.config.shared, group)?;
        Ok(explain::explain(self, now, group))
    }

    /// The last moves of groups as this node knows them.
    pub fn timeline(&self, now: Instant) -> Timeline {
        self.chronicle.timeline(now, &self.name, self.members.timers().stale)
    }

    /// The keys in force.
    pub(crate) fn keys(&self) -> &Keyring {
        &self.keys
    }

    fn holdings_and_hands(&mut self) -> (&mut Holdings, Hands<'_>) {
        let hands = Hands {
            outputs: &mut self.outputs,
            epochs: &mut self.epochs,
            fence: &mut self.fence,
            health: &mut self.health,
        };
        (&mut self.holdings, hands)
    }

    /// A check was run. True when that changed nothing but the status: it costs next
    /// to nothing, however many checks there are.
    fn checked(&mut self, now: Instant, check: &CheckName, run: Run) -> bool {
        let config = self.config.clone();
        let noted = self.health.note(&config.shared, now, check, run);
        let quiet = noted.is_quiet();
        self.take_health(now, noted);
        quiet
    }

    fn take_health(&mut self, now: Instant, noted: HealthNoted) {
        let config = self.config.clone();
        for group in noted.recovered {
            self.holdings.recovered(now, &config.shared, group);
        }
        self.holdings.touch(noted.changed.into_iter().chain(noted.awaited));
        noted.event.into_iter().for_each(|event| self.tell(event));
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
        self.drop_all_but(&Bits::new(), why);
    }

    fn drop_all_but(&mut self, stay: &Bits, why: &str) {
        let config = self.config.clone();
        let (holdings, mut hands) = self.holdings_and_hands();
        holdings.drop_all_but(stay, &config.shared, why, &mut hands);
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

    fn configure(&mut self, now: Instant, config: Arc<Config>) {
        let graduates = self.config.shared.rank() != config.shared.rank();
        let held = graduates.then(|| self.held_by_anybody());
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
        let former = self.timing.acting().stale;
        self.timing.configure(Timers { interval: new.interval, stale: new.stale });
        if self.timing.acting().stale < former {
            self.fence.lower(now, former);
        }
        let retermed = self.fence.configure(now, config.local.lifetime, new.stale);
        self.health.configure(now, new, &self.name);
        let (holdings, mut hands) = self.holdings_and_hands();
        holdings.configure(now, (&old.shared, new), retermed, &mut hands);
        if self.standing.is_booting() {
            self.holdings.returned(new);
        }
        self.ranking.forget();
        self.chronicle.configure(new);
        self.takes.configure((&old.shared, new), |group| self.holdings.position(group));
        self.lookout.configure();
        self.claimants.configure(&old.shared, |group| self.holdings.position(group));
        self.watch.configure(now, &old.shared, new);
        self.graduation.reconsider();
        self.forget_neighbours();
        if !self.cleans_up() {
            self.designation.clear();
        }
        self.unsettled = true;
        self.speaker.touch();
        if let Some(held) = held {
            self.graduated(now, old.shared.clone(), held);
        }
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
            Command::Confirm => self.confirm(now),
            Command::Forget => self.graduation.forget(self.config.shared.rank()),
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

    /// Whether the node takes part and has left booting behind.
    pub(crate) fn is_active(&self) -> bool {
        match self.standing.state() {
            NodeState::Active | NodeState::Standby => true,
            NodeState::Booting | NodeState::Draining | NodeState::Leaving => false,
        }
    }
}
