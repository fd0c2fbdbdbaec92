//! The engine: routes inputs, queues outputs, and nothing else.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::config::Config;
use crate::identity::{BootId, Epoch, GroupId, NodeName};
use crate::input::Input;
use crate::output::Output;
use crate::status::Status;
use crate::time::Instant;

/// What an engine starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// The validated configuration.
    pub config: Arc<Config>,
    /// This node's name.
    pub node: NodeName,
    /// 64 fresh random bits: this life's identity.
    pub boot: BootId,
    /// Seed of every random choice.
    pub seed: u64,
    /// The higher of the persisted epoch and the wall clock (W7).
    pub epoch_floor: Epoch,
    /// Groups whose addresses were all found on this node, ours and unexpired.
    pub present: BTreeSet<GroupId>,
}

/// One node's protocol state machine.
pub struct Engine {
    start: Start,
    outputs: VecDeque<Output>,
}

impl Engine {
    /// Starts booting at `now`.
    pub fn new(_now: Instant, start: Start) -> Engine {
        Engine { start, outputs: VecDeque::new() }
    }

    /// Takes one input. `now` must never run backwards. Drain [`Engine::poll`] after it.
    pub fn handle(&mut self, _now: Instant, _input: Input) {}

    /// The next order, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Engine::handle`] with [`Input::Tick`] at the latest.
    /// Earlier does no harm.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// The cluster as this node sees it.
    pub fn status(&self, _now: Instant) -> Status {
        unreachable!("{:?}", self.start)
    }
}
