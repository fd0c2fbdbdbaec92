//! Where clients on the LAN send their packets for each group: to whoever told
//! them last that it has its addresses.
//!
//! A client sits beside every machine and is every host outside the cluster; it
//! hears what its place on the wire lets pass. No word to clients is lost by
//! chance: that they are told three times is the remedy for it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Happening, World};
use crate::sim::Micros;
use crate::sim::change::Change;
use crate::sim::fabric::Stations;

/// Apart from the labels of other spans.
const LABEL_HEARING: u64 = 2 << 32;

/// No machine of the cluster.
const NOWHERE: usize = 31;

/// What the clients believe.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    /// By client and group.
    believed: BTreeMap<(usize, usize), usize>,
    /// Client, group, and who told the others while this one could not hear it,
    /// and has not met anybody since.
    missed: BTreeSet<(usize, usize, usize)>,
    /// By machine and group: when its last word on it left.
    said: BTreeMap<(usize, usize), Micros>,
}

impl Clients {
    /// The machine to which a client sends its packets for a group.
    pub fn believes(&self, client: usize, group: usize) -> Option<usize> {
        self.believed.get(&(client, group)).copied()
    }

    /// The client cannot know that `station` has the group: it was cut off when
    /// it was told, and nothing since has given cause to tell it again.
    pub fn missed(&self, client: usize, group: usize, station: usize) -> bool {
        self.missed.contains(&(client, group, station))
    }

    /// When a machine's last word on a group left.
    pub fn said(&self, station: usize, group: usize) -> Option<Micros> {
        self.said.get(&(station, group)).copied()
    }

    /// Everybody is told that a group is where no machine is.
    pub(super) fn mislead(&mut self, group: usize) {
        let told = self.believed.iter_mut().filter(|((_, told), _)| *told == group);
        told.for_each(|(_, station)| *station = NOWHERE);
    }

    /// A machine came in contact with another one: it has to tell everybody (O9).
    pub(super) fn met(&mut self, station: usize) {
        self.missed.retain(|(_, _, teller)| *teller != station);
    }
}

impl World {
    /// All clients, by their place on the wire.
    pub fn places(&self) -> Stations {
        (0..self.setup.outsiders().end).collect()
    }

    /// A station's word on a group leaves.
    pub(super) fn tell_clients(&mut self, station: usize, group: usize) {
        let leaves = self.stations[station].uplink;
        let hears = |client: &usize| leaves && self.fabric.hears(*client, station);
        self.clients.said.insert((station, group), self.now);
        let reached: Stations = self.places().iter().filter(hears).collect();
        for client in self.places().and(reached.others()).iter() {
            self.clients.missed.insert((client, group, station));
        }
        let label = LABEL_HEARING + group as u64;
        let took = self.stations[station].lasting(self.now, label, self.setup.delay);
        self.schedule(self.now + took, Happening::Heard { clients: reached, group, station });
    }

    pub(super) fn heard(&mut self, clients: Stations, group: usize, station: usize) {
        self.timeline.tell(self.now, Some(station), || format!("clients send g{group} here"));
        // A holder without a two-way path to this one does not know, or must not
        // believe, that clients were told otherwise: not until it meets somebody.
        let unaware = |other: &usize| !self.fabric.two_way(*other, station, self.awake());
        let unaware: Stations =
            self.holders[group].without(station).iter().filter(unaware).collect();
        let Clients { believed, missed, .. } = &mut self.clients;
        missed.retain(|(client, told, _)| *told != group || !clients.contains(*client));
        for client in clients.iter() {
            believed.insert((client, group), station);
            missed.extend(unaware.iter().map(|holder| (client, group, holder)));
        }
        self.changes.push(Change::Heard { group });
    }
}
