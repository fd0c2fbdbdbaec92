//! Datagrams from somebody who hears everything and may say anything, but does
//! not know the secret (invariant 5, W3).

use std::sync::Arc;
use std::time::Duration;

use vippy_core::engine::{Engine, Start};
use vippy_core::identity::{BootId, Epoch};
use vippy_core::input::Input;
use vippy_core::output::Output;
use vippy_core::time::Instant;
use zeroize::Zeroizing;

use super::Micros;
use super::cluster::{Setup, node_name};
use super::fabric::address;
use super::notes::Recorded;
use super::random::Random;
use super::station::Parcel;
use super::world::World;

/// Which frames are replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replays {
    /// Only what the victim's present process has received already, and what
    /// ended lives sent before it started: nothing at all may follow from it.
    Known,
    /// Anything ever sent, to anybody: also what the wire lost. No receiver can
    /// tell that from a slow wire, so it may prolong a life within W1's bounds.
    Any,
}

/// Somebody who attacks at random times.
pub struct Attacker {
    dice: Random,
    gap: (Micros, Micros),
    replays: Replays,
    foreign: Vec<Arc<[u8]>>,
}

impl Attacker {
    /// Strikes after a random `gap` again and again.
    pub fn new(setup: &Setup, gap: (Micros, Micros), replays: Replays) -> Attacker {
        let dice = Random::labelled(setup.seed, &[0xa77ac]);
        Attacker { dice, gap, replays, foreign: frames_under_another_key(setup) }
    }

    /// When it strikes next.
    pub fn next_strike(&mut self, now: Micros) -> Micros {
        now + self.dice.span(self.gap).max(1)
    }

    /// Its datagrams: when they arrive, where, what.
    pub fn strike(&mut self, world: &World) -> Vec<(Micros, usize, Parcel)> {
        let count = world.stations.len();
        let multicast = self.dice.chance(500);
        let lone = self.dice.index(count);
        let source = address(self.dice.index(count + 1));
        let later = self.dice.between(0, 2_000);
        let (at, shared) = match self.replays {
            Replays::Any => (world.now() + later, self.forge(world, None)),
            // In a moment the victim may be another process, which received nothing yet.
            Replays::Known => (world.now(), None),
        };
        (0..count)
            .filter(|victim| multicast || *victim == lone)
            .filter_map(|victim| {
                let bytes = shared.clone().or_else(|| self.forge(world, Some(victim)))?;
                Some((at, victim, Parcel { source, multicast, bytes, frame: None }))
            })
            .collect()
    }

    fn forge(&mut self, world: &World, victim: Option<usize>) -> Option<Arc<[u8]>> {
        match self.dice.index(6) {
            0 => Some(self.garbage().into()),
            1 => {
                let pick = self.dice.index(self.foreign.len());
                self.foreign.get(pick).cloned()
            }
            2 => self.genuine(world, victim).map(|frame| self.truncate(&frame).into()),
            3 => self.genuine(world, victim).map(|frame| self.flip(&frame).into()),
            _ => self.genuine(world, victim),
        }
    }

    fn garbage(&mut self) -> Vec<u8> {
        let length = self.dice.index(1500);
        (0..length).map(|_| self.dice.bits().to_le_bytes()[0]).collect()
    }

    fn truncate(&mut self, frame: &[u8]) -> Vec<u8> {
        frame[..self.dice.index(frame.len())].to_vec()
    }

    fn flip(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut bytes = frame.to_vec();
        for _ in 0..=self.dice.index(3) {
            let at = self.dice.index(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << self.dice.index(8);
            }
        }
        bytes
    }

    fn genuine(&mut self, world: &World, victim: Option<usize>) -> Option<Arc<[u8]>> {
        let archived = self.dice.chance(500);
        let (new, old) = (&world.recorded, &world.archive);
        let pick = self.dice.index(if archived { old.len() } else { new.len() });
        let recorded = if archived { old.get(pick) } else { new.get(pick) }?;
        match victim {
            Some(victim) => self.harmless(world, victim, recorded),
            None => Some(Arc::clone(&recorded.bytes)),
        }
    }

    /// `recorded` if nothing may follow from it, else something the victim has
    /// received before.
    fn harmless(&mut self, world: &World, victim: usize, recorded: &Recorded) -> Option<Arc<[u8]>> {
        let process = world.stations[victim].process.as_ref()?;
        let sender = &world.stations[recorded.station];
        let ended = sender.process.as_ref().is_none_or(|process| process.life > recorded.life);
        if ended && recorded.at < process.started {
            return Some(Arc::clone(&recorded.bytes));
        }
        let received = &process.received;
        let wanted = *received.get(self.dice.index(received.len()))?;
        let position = world.recorded.binary_search_by_key(&wanted, |frame| frame.id).ok()?;
        world.recorded.get(position).map(|frame| Arc::clone(&frame.bytes))
    }
}

/// Frames that a daemon of another cluster with the same names would send.
fn frames_under_another_key(setup: &Setup) -> Vec<Arc<[u8]>> {
    let mut config = (*setup.config(1)).clone();
    for secret in &mut config.local.secrets {
        secret.0 = Zeroizing::new(b"another secret".to_vec());
    }
    let start = Start {
        config: Arc::new(config),
        node: node_name(0),
        boot: BootId(0x00f0_4e16),
        epoch_floor: Epoch::from_wall_clock(1),
        present: std::collections::BTreeSet::new(),
        memory: vippy_core::memory::Memory::default(),
        trial: None,
    };
    let mut now = Instant::from_micros(1_000_000);
    let mut engine = Engine::new(now, start);
    let mut frames = Vec::new();
    for _ in 0..12 {
        engine.handle(now, Input::Tick);
        while let Some(output) = engine.poll() {
            if let Output::Send(transmit) = output {
                frames.push(transmit.frame);
            }
        }
        now = now + setup.timing.interval.max(Duration::from_millis(1));
    }
    frames
}
