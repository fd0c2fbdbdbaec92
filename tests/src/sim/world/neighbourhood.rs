//! What is heard on the LAN beside the chat. Hosts that are not of the cluster
//! answer whoever asks them (O7), and whatever has a group's addresses answers for
//! them, if both directions let it pass.

use std::collections::VecDeque;
use std::net::IpAddr;

use vippy_core::identity::Mac;
use vippy_core::input::Input;

use super::{Happening, World};
use crate::sim::Micros;
use crate::sim::cluster::group_id;
use crate::sim::fabric::{Packet, address};
use crate::sim::station::{Process, Work};

/// How long after a request a daemon notes what else arrives.
const LISTENS: Micros = 200_000;

/// How long it takes to ask for an address: the window of one question.
const LOOKS: Micros = 50_000;

/// A host that answers for addresses of the cluster.
pub const STRAY: Mac = Mac([2, 0xff, 0, 0, 0, 0]);

/// A station's place on the LAN.
pub fn mac(station: usize) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(station).unwrap_or(u8::MAX)])
}

impl World {
    /// Asks the witnesses that are set, else every host outside the cluster.
    pub(super) fn ask(
        &mut self,
        station: usize,
        process: &mut Process,
        witnesses: &[IpAddr],
        inputs: &mut VecDeque<Input>,
    ) {
        let asked = |host: &usize| witnesses.is_empty() || witnesses.contains(&ip(*host));
        let targets: Vec<usize> = self.setup.outsiders().filter(asked).collect();
        process.listens_until = self.now + LISTENS;
        inputs.push_back(Input::Asked { targets: targets.len() });
        if !self.stations[station].uplink {
            return;
        }
        let life = process.life;
        for outsider in targets {
            let packet = Packet { from: station, to: outsider, multicast: false };
            for at in self.fabric.carry(self.now, packet, true) {
                self.schedule(at, Happening::Request { outsider, station, life });
            }
        }
    }

    /// Whether requests of a station reach a host outside the cluster, and its
    /// answers the station.
    pub fn answers(&self, outsider: usize, station: usize) -> bool {
        self.stations[station].uplink
            && self.fabric.hears(outsider, station)
            && self.fabric.hears(station, outsider)
    }

    pub(super) fn requested(&mut self, outsider: usize, station: usize, life: u64) {
        let packet = Packet { from: outsider, to: station, multicast: false };
        for at in self.fabric.carry(self.now, packet, true) {
            self.schedule(at, Happening::Answer { outsider, station, life });
        }
    }

    pub(super) fn answered(&mut self, outsider: usize, station: usize, life: u64) {
        if self.stations[station].process_of(life).is_some() {
            self.timeline.tell(self.now, Some(station), || format!("o{outsider} answers"));
            self.tell(station, Input::Answered { from: ip(outsider) });
        }
    }

    /// A station's word to its neighbours also reaches the other stations.
    pub(super) fn be_noticed(&mut self, from: usize) {
        if !self.stations[from].uplink {
            return;
        }
        let listening = |world: &World, station: usize| {
            let process = world.stations[station].process.as_ref();
            process.filter(|process| process.listens_until > world.now).map(|process| process.life)
        };
        for to in (0..self.stations.len()).filter(|to| *to != from) {
            let Some(life) = listening(self, to) else { continue };
            // By broadcast, which nothing prunes.
            let packet = Packet { from, to, multicast: false };
            for at in self.fabric.carry(self.now, packet, true) {
                self.schedule(at, Happening::Noise { station: to, life });
            }
        }
    }

    /// Begins to ask the LAN for a group's address.
    pub(super) fn look(&mut self, station: usize, life: u64, group: usize, expected: Mac) {
        let work = Work::Look { group, expected };
        self.schedule(self.now + LOOKS, Happening::Finish { station, life, work });
    }

    /// Who answers a station for a group's address, another one than expected if
    /// any such does. A machine's kernel does so whatever becomes of its daemon.
    pub(super) fn sighted(&self, station: usize, group: usize, expected: Mac) -> Option<Mac> {
        let asks = self.stations[station].uplink;
        let answers = |other: &usize| {
            let machine = &self.stations[*other];
            let hears = self.fabric.hears(*other, station) && self.fabric.hears(station, *other);
            asks && hears && machine.uplink && machine.frozen.is_none()
        };
        let holders = self.holders[group].without(station).iter().filter(answers).map(mac);
        let stray = self.strays.contains(&group).then_some(STRAY);
        let found: Vec<Mac> = holders.chain(stray).collect();
        found.iter().find(|mac| **mac != expected).or(found.first()).copied()
    }

    /// A host says to everybody that it has a group's addresses.
    pub(super) fn claim(&mut self, group: usize) {
        self.clients.mislead(group);
        let holders = self.holders[group].iter();
        let lives: Vec<(usize, u64)> = holders
            .filter_map(|station| Some((station, self.stations[station].process.as_ref()?.life)))
            .collect();
        for (station, life) in lives {
            let at = self.now + self.setup.delay.1;
            self.schedule(at, Happening::Claimed { group, station, life });
        }
    }

    pub(super) fn claimed(&mut self, group: usize, station: usize, life: u64) {
        if self.stations[station].process_of(life).is_some() {
            self.timeline.tell(self.now, Some(station), || format!("g{group} is claimed"));
            let input = Input::Claimed { group: group_id(group), mac: STRAY, times: 1 };
            self.tell(station, input);
        }
    }

    pub(super) fn noticed(&mut self, station: usize, life: u64) {
        if self.stations[station].process_of(life).is_some() {
            self.timeline.tell(self.now, Some(station), || "something arrives".to_owned());
            self.tell(station, Input::Arrived);
        }
    }
}

fn ip(station: usize) -> IpAddr {
    address(station).ip()
}
