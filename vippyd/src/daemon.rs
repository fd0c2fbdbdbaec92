//! The loop: owns the engine, tells it what happens, does what it asks.
//!
//! Nothing here decides and nothing here waits: sockets are read and written
//! without waiting, everything slower is an order to a worker whose answer
//! comes back as another input. Every turn begins with a tick, so that a
//! suspension is noticed before anything that arrived meanwhile is looked at
//! (F2), and carries out the engine's orders after each input, in their order.

mod gate;
mod reload;
mod restart;
mod rollout;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use vippy_client::{Answer, Status};
use vippy_core::config::{Config, Group};
use vippy_core::engine::Engine;
use vippy_core::event::Event;
use vippy_core::identity::{GroupId, Mac, NodeName};
use vippy_core::input::{Command, Input, ResourceReport};
use vippy_core::output::{Output, Transmit};
use vippy_core::recorder::Recorded;
use vippy_core::time::{Instant, earliest};
use vippy_core::timeline::Timeline;

use self::gate::Gate;
use self::reload::Reloader;
pub(crate) use self::reload::older_than_running;
use self::restart::Restarter;
use self::rollout::Examiner;
use crate::announce::Announcer;
use crate::chat::Chat;
use crate::clock::{self, Alarm};
use crate::collector::{Cache, Collector};
use crate::extend::{Extensions, Fitness, Opinion, Told};
use crate::kernel::{Homes, Kernel, Report};
use crate::lateness::Lateness;
use crate::load::Source;
use crate::logging::{Level, Logger};
use crate::management::Request;
use crate::metrics::Facts;
use crate::narrate;
use crate::neighbourhood::{Neighbourhood, News};
use crate::operators::Opened;
use crate::signals::{Signal, Signals};
use crate::state_dir::{Stored, Writer};
use crate::successor::Successor;
use crate::summary::Summary;
use crate::supervision::Supervision;
use crate::witness::{Evidence, Prober, Question};

/// Datagrams read from one socket in one turn (W3).
const READS: usize = 64;

/// Inputs taken from one queue in one turn.
const BATCH: usize = 256;

/// How long a second stop signal waits for the kernel.
const FORCED: Duration = Duration::from_millis(1_500);

/// How long hooks and plugins may take at the end.
const LAST_HOOKS: Duration = Duration::from_secs(5);

/// How long the disk may take at the end.
const LAST_WRITES: Duration = Duration::from_millis(500);

/// Everything the loop works with, opened and running.
#[derive(Debug)]
pub struct Parts {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// What this node's own file says; the same, unless others have a higher one.
    pub file: Arc<Config>,
    /// Where it came from.
    pub source: Source,
    /// This node.
    pub node: NodeName,
    /// What takes this process's place at a restart.
    pub successor: Successor,
    /// The log.
    pub logger: Logger,
    /// Sockets to the other daemons.
    pub chat: Chat,
    /// Addresses on interfaces.
    pub kernel: Kernel,
    /// What the kernel side has to report.
    pub reports: UnboundedReceiver<Report>,
    /// Sentences of the kernel side for the log.
    pub notices: UnboundedReceiver<String>,
    /// Groups whose addresses were here already.
    pub present: BTreeSet<GroupId>,
    /// What renewals cost.
    pub renewals: UnboundedReceiver<Duration>,
    /// Where addresses belong on this host.
    pub homes: watch::Receiver<Homes>,
    /// Tells neighbours.
    pub announcer: Announcer,
    /// Collects them.
    pub collector: Collector,
    /// Asks for evidence (O7).
    pub prober: Prober,
    /// Hears who has the cluster's addresses.
    pub neighbourhood: Neighbourhood,
    /// What operators add.
    pub extensions: Extensions,
    /// Writes what must outlive this process.
    pub writer: Writer,
    /// What became of it.
    pub stored: UnboundedReceiver<Stored>,
    /// What operators ask, and where they hear of events.
    pub opened: Opened,
    /// Signals to this process.
    pub signals: Signals,
    /// The service manager.
    pub supervision: Supervision,
}

/// Why the loop ended.
#[derive(Debug)]
pub enum Ending {
    /// Everything was handed over or let go.
    Stopped,
    /// A second signal came; these groups may still have addresses here.
    Forced(BTreeSet<GroupId>),
    /// The loop cannot go on, for this reason.
    Failed(String),
}

/// The loop and what it remembers.
pub struct Daemon {
    parts: Parts,
    engine: Recorded,
    alarm: Alarm,
    /// When the engine wants to be called next.
    due: Option<Instant>,
    groups: BTreeMap<GroupId, Arc<Group>>,
    /// Groups that may have addresses on this host because of us.
    plumbed: BTreeSet<GroupId>,
    gate: Gate,
    /// Answers to orders, which the engine gets once it has no more orders.
    answers: VecDeque<Input>,
    reloader: Reloader,
    examiner: Examiner,
    restarter: Restarter,
    summary: Summary,
    lateness: Lateness,
    stopping: bool,
    ending: Option<Ending>,
}

/// What ended a wait.
enum Woken {
    Alarm,
    Datagrams,
    Report(Report),
    Told((GroupId, Option<Mac>)),
    Evidence(Evidence),
    Neighbours(Cache),
    News(News),
    Extension(Told),
    Renewed(Duration),
    Notice(String),
    Stored(Stored),
    Signal(Signal),
    Request(Request),
    Reload(reload::Step),
    Rollout(rollout::Step),
    Restart(restart::Step),
    Lost(&'static str),
}

impl Daemon {
    /// Ready to run. Must be called inside the runtime.
    ///
    /// # Errors
    /// When no timer can be had.
    pub fn new(parts: Parts, engine: Engine) -> std::io::Result<Daemon> {
        Ok(Daemon {
            groups: groups_by_id(&parts.config),
            reloader: Reloader::new(parts.source.clone()),
            examiner: Examiner::new(),
            restarter: Restarter::new(parts.successor.clone()),
            plumbed: parts.present.clone(),
            parts,
            engine: Recorded::new(engine),
            alarm: Alarm::new()?,
            due: None,
            gate: Gate::default(),
            answers: VecDeque::new(),
            summary: Summary::new(),
            lateness: Lateness::default(),
            stopping: false,
            ending: None,
        })
    }

    /// Runs until the engine has stopped, or something makes going on impossible.
    pub async fn run(mut self) -> Ending {
        self.tell(Input::Tick);
        self.parts.supervision.ready();
        loop {
            if let Some(ending) = self.ending.take() {
                self.parts.logger.log(Level::Debug, format_args!("loop: {}", self.lateness));
                if matches!(ending, Ending::Stopped) {
                    self.finish_extensions().await;
                }
                // A disk that takes longer keeps nobody: what it lacks is old.
                let _ = tokio::time::timeout(LAST_WRITES, self.parts.writer.flush()).await;
                return ending;
            }
            let woken = match self.wait().await {
                Ok(woken) => woken,
                Err(e) => return Ending::Failed(format!("the loop's timer failed: {e}")),
            };
            self.turn(woken).await;
        }
    }

    /// Waits for the first thing that happens, or for the engine's deadline.
    async fn wait(&mut self) -> std::io::Result<Woken> {
        self.due = self.engine.next_deadline();
        let feeding = self.parts.supervision.next_feeding(clock::now());
        self.alarm.set(earliest(self.due, feeding))?;
        let Parts {
            chat,
            reports,
            announcer,
            collector,
            prober,
            neighbourhood,
            extensions,
            notices,
            renewals,
            stored,
            opened,
            signals,
            ..
        } = &mut self.parts;
        Ok(tokio::select! {
            biased;
            rung = self.alarm.ring() => { rung?; Woken::Alarm }
            signal = signals.next() => Woken::Signal(signal),
            report = reports.recv() => report.map_or(Woken::Lost("kernel"), Woken::Report),
            told = announcer.told() => told.map_or(Woken::Lost("announcer"), Woken::Told),
            evidence = prober.evidence() => evidence.map_or(Woken::Lost("witness"), Woken::Evidence),
            cache = collector.changed() => cache.map_or(Woken::Lost("collector"), Woken::Neighbours),
            news = neighbourhood.news() => news.map_or(Woken::Lost("neighbourhood"), Woken::News),
            told = extensions.told() => told.map_or(Woken::Lost("extension"), Woken::Extension),
            // These end together with the reports, which tell.
            Some(notice) = notices.recv() => Woken::Notice(notice),
            Some(took) = renewals.recv() => Woken::Renewed(took),
            stored = stored.recv() => stored.map_or(Woken::Lost("state"), Woken::Stored),
            step = self.reloader.next() => Woken::Reload(step),
            step = self.examiner.next() => Woken::Rollout(step),
            step = self.restarter.next() => Woken::Restart(step),
            request = opened.requests.recv() => request.map_or(Woken::Lost("management"), Woken::Request),
            () = chat.readable() => Woken::Datagrams,
        })
    }

    async fn turn(&mut self, woken: Woken) {
        let now = clock::now();
        if let Some(due) = self.due.filter(|due| *due <= now) {
            self.note_lateness(due, now);
        }
        self.tell(Input::Tick);
        self.lateness.settle();
        self.take(woken).await;
        self.read_datagrams();
        self.drain_queues();
        self.answer_reload();
        if let Some(line) = self.summary.take() {
            self.parts.supervision.status(&line);
        }
        self.parts.supervision.feed(clock::now());
    }

    async fn take(&mut self, woken: Woken) {
        match woken {
            // The tick before and the reads after are all there is to do.
            Woken::Alarm | Woken::Datagrams => {}
            Woken::Report(report) => self.take_report(report),
            Woken::Told((group, mac)) => self.tell(Input::Told { group, mac }),
            Woken::Evidence(evidence) => self.take_evidence(evidence),
            Woken::Neighbours(cache) => self.take_neighbours(cache),
            Woken::News(news) => self.take_news(news),
            Woken::Extension(told) => self.take_told(told),
            Woken::Renewed(took) => self.tell(Input::Renewed { took }),
            Woken::Notice(text) => self.parts.logger.notice(text),
            Woken::Stored(stored) => self.take_stored(stored),
            Woken::Signal(Signal::Reload) => self.begin_reload(None),
            Woken::Signal(Signal::Stop(name)) => self.stop(name).await,
            Woken::Request(request) => self.take_request(request),
            Woken::Reload(step) => self.take_reload_step(step),
            Woken::Rollout(step) => self.take_rollout_step(step),
            Woken::Restart(step) => self.take_step(step).await,
            Woken::Lost(worker) => {
                let text = format!("the {worker} worker ended without being asked to");
                self.ending.get_or_insert(Ending::Failed(text));
            }
        }
    }

    fn read_datagrams(&mut self) {
        let mut datagrams = Vec::new();
        self.parts.chat.receive(READS, |datagram| datagrams.push(datagram));
        for datagram in datagrams {
            self.tell(Input::Datagram(datagram));
        }
    }

    /// What else waits, a bounded number of each: none starves the others.
    fn drain_queues(&mut self) {
        for _ in 0..BATCH {
            let Ok(report) = self.parts.reports.try_recv() else { break };
            self.take_report(report);
        }
        for _ in 0..BATCH {
            let Some((group, mac)) = self.parts.announcer.told_at_hand() else { break };
            self.tell(Input::Told { group, mac });
        }
        for _ in 0..BATCH {
            let Some(news) = self.parts.neighbourhood.news_at_hand() else { break };
            self.take_news(news);
        }
        for _ in 0..BATCH {
            let Some(told) = self.parts.extensions.told_at_hand() else { break };
            self.take_told(told);
        }
        while let Ok(stored) = self.parts.stored.try_recv() {
            self.take_stored(stored);
        }
        for _ in 0..BATCH {
            let Ok(request) = self.parts.opened.requests.try_recv() else { break };
            self.take_request(request);
        }
    }

    /// One input, then everything that follows from it.
    fn tell(&mut self, input: Input) {
        self.engine.handle(clock::now(), input);
        loop {
            self.parts.announcer.vouch(self.engine.alive_until());
            while let Some(order) = self.engine.poll() {
                self.carry_out(order);
            }
            match self.answers.pop_front() {
                Some(answer) => self.engine.handle(clock::now(), answer),
                None => return,
            }
        }
    }

    fn carry_out(&mut self, order: Output) {
        match order {
            Output::Send(frame) => self.send(&frame),
            Output::Plumb { group, lifetime } => self.plumb(group, lifetime),
            Output::Unplumb { group } => self.unplumb(group),
            Output::Renew { lifetime } => self.parts.kernel.renew(lifetime),
            Output::Notify { group } => match self.groups.get(&group) {
                Some(group) => self.parts.announcer.notify(group, &self.parts.homes.borrow()),
                // It left the configuration meanwhile: nobody is kept waiting.
                None => self.answers.push_back(Input::Told { group, mac: None }),
            },
            Output::Look { group, expected } => {
                if let Some(group) = self.groups.get(&group) {
                    let homes = self.parts.homes.borrow();
                    self.parts.neighbourhood.look(group, &homes, expected);
                }
            }
            Output::Silence { group } => self.parts.announcer.silence(&group),
            Output::Neighbours { node, stations } => {
                self.parts.extensions.neighbours(&node, &stations);
                self.parts.announcer.learn(node, stations);
            }
            Output::Examine { document, digest, strict } => self.examine(document, digest, strict),
            Output::Adopt(adoption) => self.adopt(adoption),
            Output::Keep(kept) => self.parts.writer.keep(kept),
            Output::StoreEpoch(epoch) => self.parts.writer.store_epoch(epoch),
            Output::WantBoot => match clock::fresh_boot() {
                Ok(boot) => self.answers.push_back(Input::Boot(boot)),
                Err(e) => {
                    let text = format!("no random bits for a new boot: {e}");
                    self.ending.get_or_insert(Ending::Failed(text));
                }
            },
            Output::CleanUp { node, boot, epoch } => {
                self.parts.extensions.clean_up(node, boot, epoch);
            }
            Output::Event(event) => self.happened(event),
            Output::Remember(memory) => self.parts.writer.remember(memory),
            Output::Check { checks } => self.parts.extensions.check(checks),
            Output::Ask { witnesses } => {
                let peers = self.engine.peer_addresses();
                self.parts.prober.ask(Question { witnesses, peers });
            }
            Output::Restarted => self.leave(),
            Output::Stopped => {
                self.ending.get_or_insert(Ending::Stopped);
            }
        }
    }

    fn happened(&mut self, event: Event) {
        self.parts.logger.tell(&event);
        self.summary.note(&event);
        self.parts.extensions.happened(&event);
        self.parts.opened.teller.tell(clock::now(), event);
    }

    fn send(&mut self, frame: &Transmit) {
        let left = self.parts.chat.send(frame.to, &frame.frame);
        if let Some(seq) = frame.seq {
            self.lateness.announced(clock::now());
            self.answers.push_back(Input::Sent { seq, left });
            let engine = &self.engine;
            self.parts.extensions.announced(seq, || engine.chatter());
        }
    }

    fn take_report(&mut self, Report { group, report }: Report) {
        match &report {
            ResourceReport::Down | ResourceReport::Failed(_) => {
                self.plumbed.remove(&group);
                self.parts.neighbourhood.release(&group);
            }
            ResourceReport::Up => {
                if let Some(group) = self.groups.get(&group) {
                    self.parts.neighbourhood.hold(group, &self.parts.homes.borrow());
                }
            }
            ResourceReport::Available | ResourceReport::Unavailable(_) => {}
        }
        self.tell(Input::Resource { group, report });
    }

    fn take_evidence(&mut self, evidence: Evidence) {
        self.tell(match evidence {
            Evidence::Asked { targets } => Input::Asked { targets },
            Evidence::Answered { from } => Input::Answered { from },
            Evidence::Arrived => Input::Arrived,
        });
    }

    /// This node's own, for the others and for itself.
    fn take_neighbours(&mut self, Cache { document, stations }: Cache) {
        self.parts.extensions.neighbours(&self.parts.node, &stations);
        self.parts.announcer.learn(self.parts.node.clone(), stations);
        self.tell(Input::Neighbours(document));
    }

    fn take_news(&mut self, news: News) {
        self.tell(match news {
            News::Sighted { group, mac } => Input::Sighted { group, mac },
            News::Claimed { group, mac, times } => Input::Claimed { group, mac, times },
        });
    }

    fn take_told(&mut self, told: Told) {
        match told {
            Told::Input(input) => self.tell(input),
            Told::Line(level, line) => self.parts.logger.log(level, line),
            Told::Event(event) => self.happened(event),
            Told::Opinion(Opinion { plugin, fit }) => {
                let unfit = match fit {
                    Some(Fitness::Unfit(why)) => Some(why),
                    Some(Fitness::Fit) | None => None,
                };
                self.tell(Input::Opinion { plugin, unfit });
            }
            Told::Passed(passed) => self.pass(passed),
        }
    }

    fn take_stored(&mut self, stored: Stored) {
        match stored {
            Stored::Epoch(epoch) => self.tell(Input::EpochStored(epoch)),
            Stored::Failed(text) => self.parts.logger.err(text),
        }
    }

    fn take_request(&mut self, request: Request) {
        // A client that has gone does not take its answer; that is its right.
        match request {
            Request::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Request::Metrics(reply) => {
                let announcing = self.lateness.announcing().clone();
                let _ = reply.send(Facts { status: self.status(), announcing });
            }
            Request::Explain(of, reply) => {
                let _ = reply.send(self.engine.explain(clock::now(), &of));
            }
            Request::Outlook(reply) => {
                let _ = reply.send(self.engine.outlook());
            }
            Request::Recording(reply) => {
                let _ = reply.send(self.engine.recording());
            }
            Request::Timeline(reply) => {
                let timeline = self.engine.timeline(clock::now());
                let unix_ms = Some(clock::wall_millis());
                let _ = reply.send(Timeline { unix_ms, ..timeline });
            }
            Request::Command(command, reply) => {
                self.parts.logger.notice(format_args!("operator: {}", narrate::order(command)));
                self.tell(Input::Operator(command));
                let node = self.engine.status(clock::now()).node;
                let answer = Answer { state: node.state, reason: node.reason, detail: node.detail };
                let _ = reply.send(Ok(answer));
            }
            Request::Configurations(reply) => {
                let _ = reply.send(self.configurations());
            }
            Request::Apply { file, confirm_within, reply } => {
                self.begin_apply(file, confirm_within, reply);
            }
            Request::Forget(reply) => {
                self.parts.logger.notice("operator: forget the running configuration");
                let _ = reply.send(self.forget());
            }
            Request::Reload(reply) => self.begin_reload(Some(reply)),
            Request::Restart(reply) => self.begin_restart(reply),
        }
    }

    fn status(&self) -> Status {
        let mut status = self.engine.status(clock::now());
        let homes = self.parts.homes.borrow();
        status.place(|ip| homes.found(ip));
        status.config.rollout.file = Some(self.file_status());
        status
    }

    /// Hooks that are still to run get a moment, plugins are told to stop; what they
    /// tell meanwhile is written.
    async fn finish_extensions(&mut self) {
        let extensions = &mut self.parts.extensions;
        // What takes longer ends with this process.
        let _ = tokio::time::timeout(LAST_HOOKS, extensions.finish()).await;
        while let Some(told) = self.parts.extensions.told_at_hand() {
            match told {
                Told::Line(level, line) => self.parts.logger.log(level, line),
                Told::Event(event) => self.happened(event),
                Told::Input(_) | Told::Opinion(_) | Told::Passed(_) => {}
            }
        }
    }

    async fn stop(&mut self, signal: &str) {
        if self.stopping {
            self.parts.logger.warning(format_args!("second signal ({signal}): leaving at once"));
            self.release_at_once().await;
            return;
        }
        self.stopping = true;
        self.restarter.cancel();
        self.parts.logger.notice(format_args!("stopping (signal {signal})"));
        self.parts.supervision.stopping();
        self.tell(Input::Operator(Command::Stop));
    }

    /// Takes off whatever is on, without the engine and without the peers.
    async fn release_at_once(&mut self) {
        for group in &self.plumbed {
            self.parts.announcer.silence(group);
            self.parts.kernel.unplumb(group.clone());
        }
        let plumbed = &mut self.plumbed;
        let reports = &mut self.parts.reports;
        let confirmed = async {
            while !plumbed.is_empty() {
                let Some(Report { group, report }) = reports.recv().await else { return };
                if report == ResourceReport::Down {
                    plumbed.remove(&group);
                }
            }
        };
        // What is not confirmed by then is told; its kernel lifetime ends it (F1).
        let _ = tokio::time::timeout(FORCED, confirmed).await;
        self.ending = Some(Ending::Forced(std::mem::take(&mut self.plumbed)));
    }

    fn note_lateness(&mut self, due: Instant, now: Instant) {
        let tolerance = self.parts.config.shared.interval;
        if let Some(late) = self.lateness.note(due, now, tolerance) {
            self.parts.logger.warning(format_args!(
                "this host is overloaded or was suspended: the loop woke {} ms late",
                late.as_millis()
            ));
        }
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("node", &self.parts.node).finish_non_exhaustive()
    }
}

fn groups_by_id(config: &Config) -> BTreeMap<GroupId, Arc<Group>> {
    config.shared.groups.iter().map(|group| (group.id.clone(), Arc::clone(group))).collect()
}
