//! N machines, one wire, one event queue in virtual time.
//!
//! The world carries out what the engines order and answers as a daemon and a
//! kernel would. It judges nothing: it reports every [`Change`] to whoever
//! drives it.

mod clients;
mod freezing;
mod health;
pub mod neighbourhood;
mod orders;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use vippy_core::engine::{Engine, Start};
use vippy_core::identity::{BootId, Epoch, Mac, NodeName};
use vippy_core::input::{Command, Datagram, Input, ResourceReport};
use vippy_core::memory::Memory;
use vippy_core::neighbours;
use vippy_core::recorder::Recorded as Recorder;
use vippy_core::status::{NodeState, Status};

use super::Micros;
use super::attacker::Attacker;
use super::change::{Action, Change, Left};
use super::cluster::{Setup, Timing, group_id};
use super::fabric::{Fabric, Stations, address};
use super::notes::{Doing, Notes, Recorded};
use super::random::Random;
use super::station::{Kernel, Parcel, Process, Station, Work};
use super::timeline::Timeline;
pub use clients::Clients;

/// The world's zero in milliseconds since 1970.
const WALL_CLOCK_MS: u64 = 1_750_000_000_000;
/// The kernel counts whole seconds and is late by up to this (F1).
const KERNEL_LATE: Micros = 300_000;
/// A daemon that wakes more often in a second is spinning.
const WAKES_A_SECOND: u32 = 5_000;
/// Received frames that a process is known by.
const RECEIVED: usize = 256;

#[derive(Debug)]
enum Happening {
    Arrive { to: usize, parcel: Parcel },
    Deadline { station: usize, life: u64 },
    Finish { station: usize, life: u64, work: Work },
    Expire { station: usize },
    Request { outsider: usize, station: usize, life: u64 },
    Answer { outsider: usize, station: usize, life: u64 },
    Noise { station: usize, life: u64 },
    Claimed { group: usize, station: usize, life: u64 },
    Heard { clients: Stations, group: usize, station: usize },
    Round { station: usize, life: u64 },
    Act(Action),
    Attack,
}

/// How a process ends by itself.
enum End {
    /// It has let go of everything and said goodbye.
    Stopped,
    /// It makes room for the next one, which adopts what is there.
    Restarted,
}

/// What a machine did about a death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanUp {
    /// The machine.
    pub station: usize,
    /// The dead node.
    pub node: NodeName,
    /// Its process.
    pub boot: BootId,
    /// The number of the run.
    pub epoch: Epoch,
    /// It has run to its end.
    pub done: bool,
}

/// The machines and the wire.
pub struct World {
    /// What it was built from.
    pub setup: Setup,
    /// The wire.
    pub fabric: Fabric,
    /// The machines.
    pub stations: Vec<Station>,
    /// Who has each group's addresses, as the kernels know.
    pub holders: Vec<Stations>,
    /// Where clients send their packets.
    pub clients: Clients,
    /// Groups for whose addresses a host answers that is not of the cluster.
    pub strays: BTreeSet<usize>,
    /// The story.
    pub timeline: Timeline,
    /// Every output, byte for byte, when asked for.
    pub outputs: Option<Vec<u8>>,
    /// Every output in comparable form, when asked for.
    pub doings: Option<Vec<Doing>>,
    /// The newest frames, when somebody attacks.
    pub recorded: VecDeque<Recorded>,
    /// Some of the older frames, when somebody attacks.
    pub archive: Vec<Recorded>,
    now: Micros,
    queue: BTreeMap<(Micros, u8, u64), Happening>,
    serial: u64,
    tellings: u64,
    /// What was done about deaths, in the order in which it was begun.
    pub clean_ups: Vec<CleanUp>,
    frames: u64,
    changes: Vec<Change>,
    attacker: Option<Attacker>,
    recording: bool,
    recorders: usize,
    standing_still: u32,
}

impl World {
    /// Machines without processes.
    pub fn new(setup: Setup, notes: Notes) -> World {
        let stations = (0..setup.stations()).map(|station| new_station(&setup, station)).collect();
        World {
            fabric: Fabric::new(setup.seed, setup.delay),
            stations,
            holders: vec![Stations::NONE; setup.groups.len() + 8],
            clients: Clients::default(),
            strays: BTreeSet::new(),
            timeline: Timeline::of(notes.timeline),
            outputs: notes.outputs.then(Vec::new),
            doings: notes.doings.then(Vec::new),
            recorded: VecDeque::new(),
            archive: Vec::new(),
            now: 0,
            queue: BTreeMap::new(),
            serial: 0,
            tellings: 0,
            clean_ups: Vec::new(),
            frames: 0,
            changes: Vec::new(),
            attacker: None,
            recording: false,
            recorders: notes.recorders,
            standing_still: 0,
            setup,
        }
    }

    /// The time.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// The times by which the cluster is judged: the longest that any
    /// configuration has, once there are several.
    pub fn timing(&self) -> Timing {
        let first = |station: &Station| station.config.shared.version == 1;
        if self.stations.iter().all(first) { self.setup.timing } else { self.setup.slowest() }
    }

    /// Machines whose process runs and is not paused.
    pub fn awake(&self) -> Stations {
        (0..self.stations.len()).filter(|station| self.stations[*station].awake()).collect()
    }

    /// The cluster as one machine's engine sees it.
    pub fn status(&self, station: usize) -> Option<Status> {
        let machine = &self.stations[station];
        machine.process.as_ref().map(|process| process.engine.status(machine.instant(self.now)))
    }

    /// Does something now.
    pub fn act(&mut self, action: Action) {
        self.timeline.tell(self.now, None, || format!("{action:?}"));
        self.changes.push(Change::Acted(action));
        match action {
            Action::Start(station) => {
                self.run_clock(station);
                self.start(station, None);
            }
            Action::StartClone(station, of) => {
                let boot = self.stations[of].process.as_ref().map(|process| process.boot);
                self.start(station, boot);
            }
            Action::Crash(station) => {
                self.run_clock(station);
                self.stations[station].process = None;
            }
            Action::PowerFail(station) => {
                self.run_clock(station);
                self.power_fail(station);
            }
            Action::Stop(station) => self.command(station, Command::Stop),
            Action::Drain(station) => {
                self.command(station, Command::Drain { lasting: self.setup.drains })
            }
            Action::DrainFor(station, span) => {
                let lasting = Some(Duration::from_micros(span));
                self.command(station, Command::Drain { lasting });
            }
            Action::Restart(station) => self.command(station, Command::Restart),
            Action::StepClock(station, step) => {
                let clock = &mut self.stations[station].wall_clock;
                *clock = clock.saturating_add_signed(step);
            }
            Action::Undrain(station) => self.command(station, Command::Resume),
            Action::Pause(station) => self.set_paused(station, true),
            Action::Wake(station) if self.stations[station].frozen.is_some() => {}
            Action::Wake(station) => self.wake(station),
            Action::Freeze(station) => self.freeze(station),
            Action::Thaw(station) => self.thaw(station),
            Action::Unavailable(station, group) => {
                self.stations[station].unavailable.insert(group);
                self.report(station, group, ResourceReport::Unavailable("link down".to_owned()));
            }
            Action::Available(station, group) => {
                self.stations[station].unavailable.remove(&group);
                self.report(station, group, ResourceReport::Available);
            }
            Action::BreakPlumbing(station, group) => {
                self.stations[station].unpluggable.insert(group);
            }
            Action::RepairPlumbing(station, group) => {
                self.stations[station].unpluggable.remove(&group);
                self.report(station, group, ResourceReport::Available);
            }
            Action::UplinkDown(station) => self.stations[station].uplink = false,
            Action::UplinkUp(station) => self.stations[station].uplink = true,
            Action::Fault(rule) => self.fabric.add(rule),
            Action::Repair(rule) => self.fabric.remove(rule),
            Action::Heal => self.fabric.heal(),
            Action::Stray(group) => {
                self.strays.insert(group);
            }
            Action::StrayGone(group) => {
                self.strays.remove(&group);
            }
            Action::Claim(group) => self.claim(group),
            Action::Sicken(station, group) => {
                self.stations[station].ailing.insert(group);
            }
            Action::Cure(station, group) => {
                self.stations[station].ailing.remove(&group);
            }
            Action::Configure(station, version) => {
                let config = self.setup.config(version);
                self.stations[station].config = Arc::clone(&config);
                self.tell(station, Input::Configured(config));
            }
        }
    }

    /// Does something later.
    pub fn plan(&mut self, at: Micros, action: Action) {
        self.schedule(at, Happening::Act(action));
    }

    /// Lets somebody attack from `at` on.
    pub fn attack(&mut self, at: Micros, attacker: Attacker) {
        self.attacker = Some(attacker);
        self.recording = true;
        self.schedule(at, Happening::Attack);
    }

    /// Keeps frames for [`World::recorded`] without attacking anybody.
    pub fn record_frames(&mut self) {
        self.recording = true;
    }

    /// Delivers a datagram that no station sent.
    pub fn inject(
        &mut self,
        at: Micros,
        to: usize,
        multicast: bool,
        from: usize,
        bytes: Arc<[u8]>,
    ) {
        let parcel = Parcel { source: address(from), multicast, bytes, frame: None };
        self.schedule(at, Happening::Arrive { to, parcel });
    }

    /// The next thing that happens, unless it is later than `until`: then time
    /// alone passes and the answer is false.
    pub fn step(&mut self, until: Micros) -> bool {
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        let at = entry.key().0;
        let happening = entry.remove();
        if at > self.now {
            self.standing_still = 0;
        }
        self.now = self.now.max(at);
        self.carry(happening);
        true
    }

    /// What changed since the last call.
    pub fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn schedule(&mut self, at: Micros, happening: Happening) {
        // Attacks come last among simultaneous happenings, so that they cannot
        // change the order of the others.
        let rank = match &happening {
            Happening::Arrive { parcel, .. } if parcel.frame.is_none() => 1,
            Happening::Attack => 1,
            Happening::Arrive { .. }
            | Happening::Deadline { .. }
            | Happening::Finish { .. }
            | Happening::Expire { .. }
            | Happening::Request { .. }
            | Happening::Answer { .. }
            | Happening::Noise { .. }
            | Happening::Claimed { .. }
            | Happening::Heard { .. }
            | Happening::Round { .. }
            | Happening::Act(_) => 0,
        };
        self.serial += 1;
        self.queue.insert((at.max(self.now), rank, self.serial), happening);
    }

    fn carry(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { to, parcel } => self.arrive(to, parcel),
            Happening::Deadline { station, life } => self.deadline(station, life),
            Happening::Finish { station, life, work } => self.finish(station, life, work),
            Happening::Expire { station } => self.expire(station),
            Happening::Request { outsider, station, life } => {
                self.requested(outsider, station, life);
            }
            Happening::Answer { outsider, station, life } => {
                self.answered(outsider, station, life);
            }
            Happening::Noise { station, life } => self.noticed(station, life),
            Happening::Claimed { group, station, life } => self.claimed(group, station, life),
            Happening::Heard { clients, group, station } => self.heard(clients, group, station),
            Happening::Round { station, life } => self.round(station, life),
            Happening::Act(action) => self.act(action),
            Happening::Attack => self.carry_attack(),
        }
    }

    // ---- processes -------------------------------------------------------

    fn start(&mut self, station: usize, boot: Option<BootId>) {
        if self.stations[station].process.is_some() {
            return;
        }
        let now = self.now;
        let node = self.setup.node_of(station);
        let machine = &mut self.stations[station];
        machine.lives += 1;
        let boot = boot.unwrap_or(BootId(machine.dice.bits()));
        let wall = Epoch::from_wall_clock(WALL_CLOCK_MS + machine.wall_clock + now / 1000);
        let start = Start {
            config: Arc::clone(&machine.config),
            node,
            boot,
            epoch_floor: machine.disk.max(wall),
            present: machine.kernel.groups().map(group_id).collect(),
            memory: machine.remembered(now),
            trial: None,
        };
        let engine = Engine::new(machine.instant(now), start);
        let engine = match self.recorders {
            0 => Recorder::off(engine),
            bytes => Recorder::with_capacity(engine, bytes),
        };
        machine.process = Some(Process {
            life: machine.lives,
            engine,
            boot,
            paused: false,
            stopping: false,
            drained: false,
            state: NodeState::Booting,
            wake_at: None,
            socket: VecDeque::new(),
            pending: VecDeque::new(),
            finished: VecDeque::new(),
            busy_until: BTreeMap::new(),
            telling: BTreeMap::new(),
            lifetime: None,
            failed: BTreeMap::new(),
            received: VecDeque::new(),
            started: now,
            listens_until: 0,
            wakes: (0, 0),
        });
        self.feed(station, Input::Tick);
        if self.setup.travels {
            let cache = neighbours::document(&self.neighbours(station));
            self.feed(station, Input::Neighbours(cache));
        }
        self.begin_rounds(station);
        // The daemon looks at its interfaces before it takes part.
        let blocked: Vec<usize> = self.stations[station].unavailable.iter().copied().collect();
        for group in blocked {
            self.report(station, group, ResourceReport::Unavailable("link down".to_owned()));
        }
    }

    /// What a machine knows of others: something else in each life of its daemon.
    pub fn neighbours(&self, station: usize) -> Vec<neighbours::Station> {
        let lives = self.stations[station].lives;
        let [.., high, low] = lives.to_be_bytes();
        let owner = u8::try_from(station).unwrap_or(u8::MAX);
        let known = |n: u8| neighbours::Station {
            ip: [10, owner, low, n].into(),
            mac: Mac([2, owner, high, low, 0, n]),
            router: n == 1,
        };
        (1..=20 * (low % 8 + 1)).map(known).collect()
    }

    fn power_fail(&mut self, station: usize) {
        self.stations[station].process = None;
        let kernel = std::mem::take(&mut self.stations[station].kernel);
        for group in Kernel::groups(&kernel) {
            self.lost(station, group, Left::PowerFailed);
        }
    }

    fn set_paused(&mut self, station: usize, paused: bool) {
        if let Some(process) = &mut self.stations[station].process {
            process.paused = paused;
        }
    }

    fn wake(&mut self, station: usize) {
        let Some(process) = &mut self.stations[station].process else { return };
        if !std::mem::replace(&mut process.paused, false) {
            return;
        }
        let life = process.life;
        // The loop may see its timer or its sockets first; both must be right.
        let by_chance = self.stations[station].dice.chance(500);
        let timer_first = by_chance || self.setup.timer_first;
        if timer_first {
            self.feed(station, Input::Tick);
        }
        while let Some(process) = self.stations[station].process_of(life)
            && let Some(parcel) = process.socket.pop_front()
        {
            self.receive(station, parcel);
        }
        while let Some(process) = self.stations[station].process_of(life)
            && let Some(input) = process.pending.pop_front()
        {
            self.feed(station, input);
        }
        while let Some(process) = self.stations[station].process_of(life)
            && let Some(work) = process.finished.pop_front()
        {
            self.finish(station, life, work);
        }
        if self.stations[station].awake() {
            self.feed(station, Input::Tick);
        }
    }

    fn command(&mut self, station: usize, command: Command) {
        let Some(process) = &mut self.stations[station].process else { return };
        match command {
            Command::Stop => process.stopping = true,
            Command::Drain { .. } => process.drained = true,
            Command::Resume => process.drained = false,
            Command::Restart | Command::Confirm | Command::Forget => {}
        }
        self.tell(station, Input::Operator(command));
    }

    fn report(&mut self, station: usize, group: usize, report: ResourceReport) {
        self.tell(station, Input::Resource { group: group_id(group), report });
    }

    /// An input now, or as soon as the process goes on.
    fn tell(&mut self, station: usize, input: Input) {
        match &mut self.stations[station].process {
            Some(process) if process.paused => process.pending.push_back(input),
            Some(_) => self.feed(station, input),
            None => {}
        }
    }

    // ---- inputs ----------------------------------------------------------

    fn arrive(&mut self, to: usize, parcel: Parcel) {
        let limit = self.setup.socket_buffer;
        match &mut self.stations[to].process {
            None => {}
            // An attacker's datagrams do not count here: what a full buffer
            // loses is the socket filter's business, not the engine's.
            Some(process) if process.paused => {
                let waiting = process.socket.iter().filter(|other| other.frame.is_some()).count();
                let room = parcel.frame.is_none() || waiting < limit;
                process.socket.extend(room.then_some(parcel));
            }
            Some(_) => self.receive(to, parcel),
        }
    }

    fn receive(&mut self, station: usize, parcel: Parcel) {
        if let (Some(frame), Some(process), true) =
            (parcel.frame, &mut self.stations[station].process, self.recording)
        {
            if process.received.len() == RECEIVED {
                process.received.pop_front();
            }
            process.received.push_back(frame);
        }
        let Parcel { source, multicast, bytes, .. } = parcel;
        let datagram = Datagram { source, multicast, bytes: bytes.to_vec() };
        self.feed(station, Input::Datagram(datagram));
    }

    fn deadline(&mut self, station: usize, life: u64) {
        let now = self.now;
        let Some(process) = self.stations[station].process_of(life) else { return };
        if process.wake_at != Some(now) || process.paused {
            return;
        }
        process.wake_at = None;
        let second = now / 1_000_000;
        process.wakes =
            if process.wakes.0 == second { (second, process.wakes.1 + 1) } else { (second, 1) };
        let wakes = process.wakes.1;
        self.standing_still += 1;
        if wakes > WAKES_A_SECOND || self.standing_still > 200 {
            let text = format!("s{station} spins: {wakes} wake-ups in this second");
            self.changes.push(Change::Broken(text));
        }
        self.feed(station, Input::Tick);
    }

    /// One input, everything it leads to at once, and the next deadline.
    fn feed(&mut self, station: usize, input: Input) {
        let instant = self.stations[station].instant(self.now);
        let Some(mut process) = self.stations[station].process.take() else { return };
        let mut inputs = VecDeque::from([input]);
        let mut ended = None;
        let mut rounds = 0;
        while let Some(input) = inputs.pop_front() {
            process.engine.handle(instant, input);
            while let Some(output) = process.engine.poll() {
                rounds += 1;
                ended = ended.or(self.obey(station, &mut process, output, &mut inputs));
                if rounds > 100_000 {
                    let text = format!("s{station} never stops giving orders");
                    self.changes.push(Change::Broken(text));
                    return;
                }
            }
        }
        match ended {
            Some(End::Stopped) => return self.exited(station),
            // The next program takes the place of this one.
            Some(End::Restarted) => return self.start(station, None),
            None => {}
        }
        self.set_alarm(station, &mut process);
        self.stations[station].process = Some(process);
    }

    fn set_alarm(&mut self, station: usize, process: &mut Process) {
        let Some(deadline) = process.engine.next_deadline() else { return };
        let machine = &mut self.stations[station];
        let due = machine.world_time(deadline).max(self.now);
        let (least, most) = self.setup.lateness;
        // An alarm that is already set for the same deadline stays.
        if process.wake_at.is_some_and(|at| at >= due + least && at <= due + most) {
            return;
        }
        let at = due + machine.lasting(due, u64::MAX, (least, most));
        process.wake_at = Some(at);
        let life = process.life;
        self.schedule(at, Happening::Deadline { station, life });
    }

    fn exited(&mut self, station: usize) {
        self.timeline.tell(self.now, Some(station), || "exits".to_owned());
        let kept: Vec<usize> = self.stations[station].kernel.groups().collect();
        if !kept.is_empty() {
            let text = format!("s{station} says it has stopped but still holds {kept:?}");
            self.changes.push(Change::Broken(text));
        }
        self.changes.push(Change::Exited(station));
    }
}

fn new_station(setup: &Setup, station: usize) -> Station {
    let mut dice = Random::labelled(setup.seed, &[0x57a7, station as u64]);
    Station {
        // Hours apart, and never near zero.
        clock: 1_000_000_000 + dice.between(0, 100_000_000_000),
        frozen: None,
        wall_clock: dice.between(0, 5_000),
        config: setup.config(1),
        kernel: Kernel::default(),
        disk: Epoch(0),
        memory: (Memory::default(), 0),
        process: None,
        lives: 0,
        uplink: true,
        unavailable: BTreeSet::new(),
        unpluggable: BTreeSet::new(),
        ailing: BTreeSet::new(),
        seed: dice.bits(),
        dice,
    }
}
