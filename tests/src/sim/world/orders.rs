//! How the world carries out what an engine orders: workers, kernel and wire.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use vippy_core::config::parse_document;
use vippy_core::event::Event;
use vippy_core::identity::{BootId, GroupId};
use vippy_core::input::{Input, ResourceReport};
use vippy_core::output::{Destination, Output, Transmit};
use vippy_core::time::micros;

use super::neighbourhood::mac;
use super::{CleanUp, End, Happening, KERNEL_LATE, World};
use crate::sim::Micros;
use crate::sim::change::{Action, Change, Left};
use crate::sim::cluster::{group_id, group_position};
use crate::sim::fabric::{Packet, Stations, address, station_at};
use crate::sim::frames;
use crate::sim::notes::{Doing, Recorded, summary};
use crate::sim::station::{Parcel, Process, Work};

/// How often neighbours are told, and the gap between two times: older Linux
/// ignores what comes within a second.
const ROUNDS: u32 = 3;
const ROUND: Micros = 1_200_000;
/// Apart from the labels of plumbing, which are positions of groups.
const LABEL_TELLING: u64 = 1 << 32;

impl World {
    // ---- orders ----------------------------------------------------------

    /// Carries one order out; says so when the process is to end.
    pub(super) fn obey(
        &mut self,
        station: usize,
        process: &mut Process,
        output: Output,
        inputs: &mut VecDeque<Input>,
    ) -> Option<End> {
        self.write_down(station, &output);
        match output {
            Output::Send(transmit) => {
                let left = self.stations[station].uplink;
                if let Some(seq) = transmit.seq {
                    inputs.push_back(Input::Sent { seq, left });
                }
                if left {
                    self.send(station, process.life, &transmit);
                }
            }
            Output::Plumb { group, lifetime } => {
                self.check_lifetime(station, process, lifetime.map(micros));
                process.lifetime = lifetime.map(micros);
                if let Some(group) = self.known(station, &group.id) {
                    process.failed.entry(group).and_modify(|tried| *tried = self.now);
                    let work = Work::Plumb { group };
                    self.begin(station, process, (group, self.setup.plumbing), work);
                }
            }
            Output::Unplumb { group } => {
                if let Some(group) = self.known(station, &group) {
                    let queue = (group, self.setup.plumbing);
                    self.begin(station, process, queue, Work::Unplumb { group });
                }
            }
            Output::Renew { lifetime } => {
                self.check_lifetime(station, process, Some(micros(lifetime)));
                process.lifetime = Some(micros(lifetime));
                let until = self.end_of_life(station, micros(lifetime));
                self.stations[station].kernel.renew(until);
                self.schedule(until, Happening::Expire { station });
                inputs.push_back(Input::Renewed { took: Duration::ZERO });
            }
            Output::Notify { group } => {
                if let Some(group) = self.known(station, &group) {
                    self.notify(station, process, group);
                }
            }
            Output::Look { group, expected } => {
                if let Some(group) = self.known(station, &group) {
                    self.look(station, process.life, group, expected);
                }
            }
            Output::Silence { group } => {
                if let Some(group) = self.known(station, &group) {
                    process.telling.remove(&group);
                }
            }
            Output::Neighbours { .. } => {}
            Output::Remember(memory) => self.stations[station].memory = (memory, self.now),
            Output::Ask { witnesses } => self.ask(station, process, &witnesses, inputs),
            Output::StoreEpoch(epoch) => {
                let queue = (usize::MAX, self.setup.storing);
                self.begin(station, process, queue, Work::Store(epoch));
            }
            Output::Examine { document, digest, .. } => {
                let queue = (usize::MAX - 1, self.setup.storing);
                self.begin(station, process, queue, Work::Examine { document, digest });
            }
            Output::Adopt(adoption) => {
                let config = &mut self.stations[station].config;
                let shared = Arc::unwrap_or_clone(adoption.shared);
                *config = Arc::new(config.with_shared(shared, adoption.document));
                inputs.push_back(Input::Configured(Arc::clone(config)));
                let version = config.shared.version;
                self.changes.push(Change::Acted(Action::Configure(station, version)));
            }
            Output::Check { checks } => self.run_checks(station, process, &checks),
            // What is adopted is on disk at once.
            Output::Keep(_) => {}
            Output::CleanUp { node, boot, epoch } => {
                self.clean_ups.push(CleanUp { station, node, boot, epoch, done: false });
                let queue = (usize::MAX - 2, self.setup.cleaning.unwrap_or_default());
                self.begin(station, process, queue, Work::CleanUp(boot));
            }
            Output::WantBoot => {
                let boot = BootId(self.stations[station].dice.bits());
                process.boot = boot;
                inputs.push_back(Input::Boot(boot));
            }
            Output::Event(event) => self.event(station, process, event),
            Output::Stopped => return Some(End::Stopped),
            Output::Restarted => return Some(End::Restarted),
        }
        None
    }

    fn known(&mut self, station: usize, id: &GroupId) -> Option<usize> {
        let position = group_position(id).filter(|group| *group < self.holders.len());
        if position.is_none() {
            self.changes.push(Change::Broken(format!("s{station} names no group of ours: {id}")));
        }
        position
    }

    fn check_lifetime(&mut self, station: usize, process: &Process, lifetime: Option<Micros>) {
        // It may wake up to another configuration, of which it will hear in a moment.
        if process.pending.iter().any(|input| matches!(input, Input::Configured(_))) {
            return;
        }
        let config = &self.stations[station].config;
        let due = self.setup.lifetime.valid_for(config.shared.stale).map(micros);
        if lifetime != due {
            let text = format!("s{station} orders a lifetime of {lifetime:?} µs");
            self.changes.push(Change::Broken(text));
        }
    }

    fn end_of_life(&mut self, station: usize, lifetime: Micros) -> Micros {
        self.now
            + lifetime
            + self.stations[station].lasting(self.now, u64::MAX - 1, (0, KERNEL_LATE))
    }

    /// Begins to tell the neighbours of a group, in place of what was begun before.
    fn notify(&mut self, station: usize, process: &mut Process, group: usize) {
        if !self.stations[station].kernel.has(group) {
            let text = format!("s{station} tells neighbours it has g{group}: it has not");
            self.changes.push(Change::Broken(text));
        }
        self.tellings += 1;
        process.telling.insert(group, self.tellings);
        let label = LABEL_TELLING + group as u64;
        let took = self.stations[station].lasting(self.now, label, self.setup.telling);
        let work = Work::Tell { group, order: self.tellings, round: 0 };
        self.schedule(self.now + took, Happening::Finish { station, life: process.life, work });
    }

    /// Gives a job to the workers: jobs of one group end in the order given.
    pub(super) fn begin(
        &mut self,
        station: usize,
        process: &mut Process,
        (queue, span): (usize, (Micros, Micros)),
        work: Work,
    ) {
        let earliest = process.busy_until.get(&queue).copied().unwrap_or(0);
        let took = self.stations[station].lasting(self.now, queue as u64, span);
        let end = (self.now + took).max(earliest);
        process.busy_until.insert(queue, end);
        let life = process.life;
        self.schedule(end, Happening::Finish { station, life, work });
    }

    pub(super) fn finish(&mut self, station: usize, life: u64, work: Work) {
        // A dead process's jobs die with it, a paused one's wait.
        let Some(process) = self.stations[station].process_of(life) else { return };
        if process.paused {
            process.finished.push_back(work);
            return;
        }
        let answer = match work {
            Work::Plumb { group } => self.plumb(station, group),
            Work::Unplumb { group } => {
                if self.stations[station].kernel.take(group) {
                    self.lost(station, group, Left::Unplumbed);
                }
                Input::Resource { group: group_id(group), report: ResourceReport::Down }
            }
            Work::Tell { group, order, round } => {
                if self.told(station, life, (group, order, round)) {
                    let mac = Some(mac(station));
                    self.feed(station, Input::Told { group: group_id(group), mac });
                }
                return;
            }
            Work::Look { group, expected } => {
                let mac = self.sighted(station, group, expected);
                Input::Sighted { group: group_id(group), mac }
            }
            Work::Ask { group, began } => self.asked(station, group, began),
            Work::Examine { document, digest } => {
                let shared = parse_document(&document, "document").map(Arc::new);
                let outcome = shared.map_err(|problems| format!("{problems:?}"));
                Input::Examined { document: digest, outcome }
            }
            Work::CleanUp(boot) => {
                let own = |run: &&mut CleanUp| run.station == station && run.boot == boot;
                self.clean_ups.iter_mut().filter(own).for_each(|run| run.done = true);
                Input::CleanedUp(boot)
            }
            Work::Store(epoch) => {
                let disk = &mut self.stations[station].disk;
                *disk = epoch.max(*disk);
                Input::EpochStored(epoch)
            }
        };
        self.feed(station, answer);
    }

    /// Tells the neighbours once; true the first time.
    fn told(
        &mut self,
        station: usize,
        life: u64,
        (group, order, round): (usize, u64, u32),
    ) -> bool {
        let Some(process) = self.stations[station].process_of(life) else { return false };
        // Silenced, or begun anew.
        if process.telling.get(&group) != Some(&order) {
            return false;
        }
        let round = round + 1;
        if round < ROUNDS {
            let work = Work::Tell { group, order, round };
            self.schedule(self.now + ROUND, Happening::Finish { station, life, work });
        } else {
            process.telling.remove(&group);
        }
        self.tell_clients(station, group);
        self.be_noticed(station);
        round == 1
    }

    fn plumb(&mut self, station: usize, group: usize) -> Input {
        let machine = &mut self.stations[station];
        let broken = machine.unpluggable.contains(&group) || machine.unavailable.contains(&group);
        let report = if broken {
            if let Some(process) = &mut machine.process {
                process.failed.insert(group, self.now);
            }
            if machine.kernel.take(group) {
                self.lost(station, group, Left::Unplumbed);
            }
            ResourceReport::Failed("no such device".to_owned())
        } else {
            // Orders are carried out in turn: what was ordered last holds.
            let lifetime = machine.process.as_ref().and_then(|process| process.lifetime);
            let until = lifetime.map(|lifetime| self.end_of_life(station, lifetime));
            if let Some(process) = &mut self.stations[station].process {
                process.failed.remove(&group);
            }
            if self.stations[station].kernel.put(group, until) {
                self.gained(station, group);
            }
            if let Some(until) = until {
                self.schedule(until, Happening::Expire { station });
            }
            ResourceReport::Up
        };
        Input::Resource { group: group_id(group), report }
    }

    pub(super) fn expire(&mut self, station: usize) {
        let machine = &mut self.stations[station];
        if machine.frozen.is_some() {
            return;
        }
        let gone = machine.kernel.expire(self.now);
        // A process that found them as it started may still be putting them on anew.
        let busy = |process: &Process, group: &usize| {
            process.busy_until.get(group).is_some_and(|until| *until > self.now)
        };
        let neglected = machine.process.as_ref().filter(|process| !process.paused);
        if let Some(process) = neglected
            && let Some(group) = gone.iter().find(|group| !busy(process, group))
        {
            let text = format!("s{station} let the lifetime of g{group} run out while it lives");
            self.changes.push(Change::Broken(text));
        }
        for group in gone {
            self.lost(station, group, Left::Expired);
        }
    }

    fn gained(&mut self, station: usize, group: usize) {
        self.timeline.tell(self.now, Some(station), || format!("+ g{group} on the interface"));
        self.holders[group] = self.holders[group].with(station);
        self.changes.push(Change::Gained { station, group });
    }

    pub(super) fn lost(&mut self, station: usize, group: usize, left: Left) {
        self.timeline.tell(self.now, Some(station), || format!("- g{group} {left:?}"));
        self.holders[group] = self.holders[group].without(station);
        self.changes.push(Change::Lost { station, group, left });
    }

    fn event(&mut self, station: usize, process: &mut Process, event: Event) {
        self.timeline.tell(self.now, Some(station), || format!("{event:?}"));
        if let Event::StateChanged { state, reason, .. } = event {
            let before = std::mem::replace(&mut process.state, state);
            self.changes.push(Change::State { station, before, after: state, reason });
        } else if let Event::PeerUp { .. } = event {
            self.clients.met(station);
        } else if let Event::GroupUp { group, epoch } = event
            && let Some(group) = self.known(station, &group)
        {
            self.changes.push(Change::Fenced { station, group, epoch });
        }
    }

    // ---- frames ----------------------------------------------------------

    fn send(&mut self, station: usize, life: u64, transmit: &Transmit) {
        let count = self.stations.len();
        self.frames += 1;
        let bytes = Arc::clone(&transmit.frame);
        self.record(station, life, &bytes);
        let multicast = transmit.to == Destination::Multicast;
        let receivers = match transmit.to {
            // Without a chat group there is no socket that could carry it.
            Destination::Multicast if !self.setup.multicast => Stations::NONE,
            Destination::Multicast => (0..count).collect::<Stations>().without(station),
            Destination::Unicast(to) => station_at(to, count).into_iter().collect(),
        };
        for to in receivers.iter() {
            let packet = Packet { from: station, to, multicast };
            for at in self.fabric.carry(self.now, packet, transmit.seq.is_none()) {
                let parcel = Parcel {
                    source: address(station),
                    multicast,
                    bytes: Arc::clone(&bytes),
                    frame: Some(self.frames),
                };
                self.schedule(at, Happening::Arrive { to, parcel });
            }
        }
    }

    fn record(&mut self, station: usize, life: u64, bytes: &Arc<[u8]>) {
        if !self.recording {
            return;
        }
        let (id, at, bytes) = (self.frames, self.now, Arc::clone(bytes));
        let recorded = Recorded { id, station, life, at, bytes };
        if id % 16 == 0 && self.archive.len() < 4_000 {
            self.archive.push(recorded.clone());
        }
        if self.recorded.len() == 2_000 {
            self.recorded.pop_front();
        }
        self.recorded.push_back(recorded);
    }

    pub(super) fn carry_attack(&mut self) {
        let Some(mut attacker) = self.attacker.take() else { return };
        for (at, to, parcel) in attacker.strike(self) {
            let size = parcel.bytes.len();
            self.timeline.tell(self.now, Some(to), || format!("attacked with {size} bytes"));
            self.schedule(at, Happening::Arrive { to, parcel });
        }
        let next = attacker.next_strike(self.now);
        self.attacker = Some(attacker);
        self.schedule(next, Happening::Attack);
    }

    // ---- notes -----------------------------------------------------------

    fn write_down(&mut self, station: usize, output: &Output) {
        if self.outputs.is_none() && self.doings.is_none() && !self.timeline.is_on() {
            return;
        }
        let now = self.now;
        if let Some(log) = &mut self.outputs {
            let mut line = String::new();
            let _ = writeln!(line, "{now} s{station} {output:?}");
            log.extend_from_slice(line.as_bytes());
        }
        let text = summary(output);
        if let (Some(doings), Some(what)) = (&mut self.doings, &text) {
            doings.push(Doing { at: now, station, what: what.clone() });
        }
        if let Some(text) = text {
            let detail = match frame_of(output) {
                Some(frame) if self.timeline.is_on() => frames::describe(frame),
                Some(_) | None => String::new(),
            };
            self.timeline.tell(now, Some(station), || format!("{text} {detail}"));
        }
    }
}

fn frame_of(output: &Output) -> Option<&[u8]> {
    if let Output::Send(transmit) = output { Some(&transmit.frame) } else { None }
}
