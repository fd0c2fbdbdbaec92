//! The thread: broadcasts as they fall due, and what single neighbours are told in
//! between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use ipnet::IpNet;
use tokio::sync::mpsc::UnboundedSender;
use vippy_core::config::NotifyTarget;
use vippy_core::identity::{GroupId, NodeName};
use vippy_core::neighbours::Station;

use super::audience::Audience;
use super::campaign::{Campaign, Extent, Flock};
use super::message::{Message, Recipient};
use super::mouth::{Lapsed, Mouth};
use super::rounds::{Due, First, ROUNDS, Schedule, Turn};
use super::{OrderNumber, Told};
use crate::ethernet::frames::Form;

/// What the loop wants.
#[derive(Debug)]
pub(super) enum Command {
    /// Tell about a group, at once and repeatedly.
    Notify(GroupId, Turn),
    /// Say nothing more of it.
    Silence(GroupId),
    /// Tell others, at another pace.
    Configure {
        /// Beside everybody.
        notify: Vec<NotifyTarget>,
        /// Frames a second.
        rate: u32,
    },
    /// These are the neighbours of a node.
    Learn(NodeName, Arc<[Station]>),
}

/// Everything the thread has.
pub(super) struct Worker {
    mouth: Mouth,
    told: UnboundedSender<Told>,
    schedule: Schedule,
    audience: Audience,
    campaign: Campaign,
}

impl Worker {
    pub(super) fn new(mouth: Mouth, told: UnboundedSender<Told>) -> Worker {
        Worker {
            mouth,
            told,
            schedule: Schedule::default(),
            audience: Audience::default(),
            campaign: Campaign::new(1, Instant::now()),
        }
    }

    /// Until the other end of the queue is gone.
    pub(super) fn run(mut self, queue: &Receiver<Command>) {
        loop {
            let next = self.schedule.next().into_iter().chain(self.campaign.next()).min();
            let command = match next {
                Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match command {
                Ok(command) => {
                    self.obey(command);
                    queue.try_iter().for_each(|command| self.obey(command));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.speak(Instant::now()) == Err(Lapsed) {
                self.forget();
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Notify(group, turn) => {
                self.silence(&group);
                self.schedule.begin(group, turn, Instant::now());
            }
            Command::Silence(group) => self.silence(&group),
            Command::Configure { notify, rate } => {
                self.audience.configure(notify);
                self.campaign.set_rate(rate);
            }
            Command::Learn(node, stations) => self.audience.learn(node, stations),
        }
    }

    fn silence(&mut self, group: &GroupId) {
        if let Some(order) = self.schedule.silence(group) {
            self.campaign.silence(order);
        }
    }

    /// The loop lets everything go before it orders anything again.
    fn forget(&mut self) {
        self.schedule = Schedule::default();
        self.campaign.clear();
        self.mouth.note_forgotten();
    }

    /// Broadcasts first; whoever is told alone comes after them.
    fn speak(&mut self, now: Instant) -> Result<(), Lapsed> {
        let due = self.schedule.take_due(now);
        if !due.is_empty() {
            self.broadcast(due)?;
        }
        for turn in self.schedule.take_refresh(now, || spread(now)) {
            self.refresh(&turn);
        }
        let handful = self.campaign.take_due(now);
        for run in handful.chunk_by(|one, other| one.interface == other.interface) {
            self.mouth.say(&run[0].interface, run.iter().map(|waiting| &waiting.message))?;
        }
        Ok(())
    }

    /// One form for all addresses first, so that the last address is not kept
    /// waiting by the second form of the first.
    fn broadcast(&mut self, due: Vec<(u32, Due)>) -> Result<(), Lapsed> {
        self.mouth.begin();
        let mut spoken = Vec::new();
        for (left, Due { turns, firsts }) in due {
            self.say_to_everybody(&turns, Form::Request)?;
            for First { group, order, interface } in firsts {
                let mac = interface.and_then(|interface| self.mouth.mac(&interface));
                // The handle is gone when the daemon is about to end.
                let _ = self.told.send(Told { group, order, mac });
            }
            spoken.push((left, turns));
        }
        for (_, turns) in &spoken {
            self.say_to_everybody(turns, Form::Reply)?;
        }
        if !self.audience.is_empty() {
            spoken.iter().for_each(|(left, turns)| self.tell_single_ones(*left, turns));
        }
        Ok(())
    }

    fn say_to_everybody(&mut self, turns: &[Turn], form: Form) -> Result<(), Lapsed> {
        let mut messages: BTreeMap<&str, Vec<Message>> = BTreeMap::new();
        for (interface, net) in turns.iter().flat_map(|turn| turn.places.iter()) {
            let message = Message { ip: net.addr(), to: Recipient::Everybody, form };
            if message.is_sensible() {
                messages.entry(interface).or_default().push(message);
            }
        }
        messages.iter().try_for_each(|(interface, messages)| self.mouth.say(interface, messages))
    }

    /// With the last round everybody was told often enough.
    fn tell_single_ones(&mut self, left: u32, turns: &[Turn]) {
        let extent = match left {
            ROUNDS => Extent::Whole,
            0 | 1 => return,
            _ => Extent::Known,
        };
        let flocks = self.flocks(turns);
        self.campaign.plan(&flocks, extent);
    }

    fn flocks(&mut self, turns: &[Turn]) -> Vec<Flock> {
        let mut flocks: BTreeMap<(Arc<str>, IpNet), Vec<(OrderNumber, _)>> = BTreeMap::new();
        for turn in turns {
            for (interface, net) in turn.places.iter() {
                let net_there = self.mouth.network(interface, *net);
                let addresses = flocks.entry((interface.as_str().into(), net_there)).or_default();
                addresses.push((turn.order, net.addr()));
            }
        }
        let flock = |((interface, net), addresses): ((Arc<str>, IpNet), _)| {
            let listeners = self.audience.listeners(&interface, net);
            Flock { interface, addresses, listeners }
        };
        flocks.into_iter().map(flock).collect()
    }

    fn refresh(&mut self, turn: &Turn) {
        for (interface, net) in turn.places.iter() {
            let interface = interface.as_str().into();
            for message in Message::all(net.addr(), Recipient::Everybody) {
                self.campaign.add(turn.order, &interface, message);
            }
        }
    }
}

/// A number that is another one on each node and each time.
fn spread(now: Instant) -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(now)
}
