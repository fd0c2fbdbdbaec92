//! Who cleans up after a node that died: for each death one survivor, the next one if
//! that dies too.
//!
//! All nodes go round the configuration's list of nodes, beginning behind the dead
//! one; the first that is alive, takes part, and was there before the death is
//! designated. It announces that it has begun, and that it is done. Who comes later
//! waits for that: as long as whoever has begun lives, and for a while for those who
//! have said nothing yet, as they may notice the death later, or cannot run anything.
//! So it is done at least once, and twice only when somebody dies, or cannot be
//! heard, between doing and saying so; every run has an epoch of its own (W7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::SharedPart;
use crate::identity::{BootId, Epoch, NodeName};
use crate::membership::Membership;
use crate::membership::process::Process;
use crate::status::NodeState;
use crate::time::{Instant, earliest};
use crate::wire::announcement::Section;
use crate::wire::clean_up::{self, CleanUp};

/// Deaths remembered: all nodes of the largest configuration, and their next ones.
const MOST: usize = 2048;

/// How long what is done is remembered and announced, in times of `stale`: nobody who
/// is alive can have missed it.
const MEMORY: u32 = 10;

/// The deaths that somebody must clean up after.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Designation {
    #[serde(with = "crate::recorder::pairs")]
    deaths: BTreeMap<BootId, Death>,
}

/// A process that is gone without a goodbye.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Death {
    node: NodeName,
    /// When it was given up.
    found: Instant,
    /// When it was last heard.
    heard: Instant,
    progress: Progress,
    /// When time alone changes something about it.
    due: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Progress {
    /// Nobody is known to have begun.
    Open,
    /// This process of another node has begun.
    Theirs { boot: BootId },
    /// It is this node's turn; it begins once it has said so.
    Ours { epoch: Epoch, begun: bool },
    /// This node is done, and says so.
    Done { epoch: Epoch, at: Instant },
    /// Another node is done.
    DoneByOther { at: Instant },
}

/// What decides at one moment.
pub(crate) struct Scene<'a> {
    pub(crate) members: &'a Membership,
    pub(crate) shared: &'a SharedPart,
    pub(crate) name: &'a NodeName,
    /// This node takes part and may take groups (O6, O7).
    pub(crate) may_act: bool,
}

/// A peer is done with one that this node waited for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relief {
    pub(crate) node: NodeName,
    pub(crate) epoch: Epoch,
}

impl Designation {
    /// A process was given up. `heard` is when it was last heard.
    pub(crate) fn died(&mut self, now: Instant, node: NodeName, boot: BootId, heard: Instant) {
        if self.deaths.len() < MOST {
            let (progress, due) = (Progress::Open, Some(now));
            self.deaths.insert(boot, Death { node, found: now, heard, progress, due });
        }
    }

    /// It lives after all: should it die again, that is another death.
    pub(crate) fn returned(&mut self, boot: BootId) {
        self.deaths.remove(&boot);
    }

    /// Nobody has died lately.
    pub(crate) fn is_idle(&self) -> bool {
        self.deaths.is_empty()
    }

    /// Nothing is to be done about any death.
    pub(crate) fn clear(&mut self) {
        self.deaths.clear();
    }

    /// A live peer says how far it is. What it says of a process that lives for this
    /// node is about an earlier death.
    pub(crate) fn heard(&mut self, now: Instant, peer: BootId, said: &CleanUp) -> Option<Relief> {
        let death = self.deaths.get_mut(&said.boot)?;
        match (&death.progress, said.done) {
            (Progress::Open | Progress::Theirs { .. }, true) => {
                death.progress = Progress::DoneByOther { at: now };
                death.due = Some(now);
                Some(Relief { node: death.node.clone(), epoch: said.epoch })
            }
            (Progress::Open, false) => {
                death.progress = Progress::Theirs { boot: peer };
                None
            }
            // Two may have begun at once; of those who are not done one is enough to
            // wait for.
            (Progress::Theirs { .. }, false)
            | (Progress::Ours { .. } | Progress::Done { .. } | Progress::DoneByOther { .. }, _) => {
                None
            }
        }
    }

    /// This node is done: which node it was for, and the number of the run.
    pub(crate) fn done(&mut self, now: Instant, boot: BootId) -> Option<(NodeName, Epoch)> {
        let death = self.deaths.get_mut(&boot)?;
        let Progress::Ours { epoch, begun: true } = death.progress else { return None };
        death.progress = Progress::Done { epoch, at: now };
        death.due = Some(now);
        Some((death.node.clone(), epoch))
    }

    /// The deaths after which it is this node's turn to clean up; `epoch` numbers each
    /// run.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        scene: &Scene<'_>,
        mut epoch: impl FnMut() -> Epoch,
    ) -> Vec<(NodeName, BootId, Epoch)> {
        let memory = MEMORY * scene.members.timers().stale;
        self.deaths.retain(|_, death| match death.progress {
            Progress::Done { at, .. } | Progress::DoneByOther { at } => now.since(at) < memory,
            Progress::Open | Progress::Theirs { .. } | Progress::Ours { .. } => true,
        });
        let mut ours = Vec::new();
        for (boot, death) in &mut self.deaths {
            death.due = match death.progress {
                Progress::Done { at, .. } | Progress::DoneByOther { at } => Some(at + memory),
                Progress::Ours { .. } => None,
                Progress::Open | Progress::Theirs { .. } => {
                    if death.is_ours(now, scene) {
                        let epoch = epoch();
                        death.progress = Progress::Ours { epoch, begun: false };
                        ours.push((death.node.clone(), *boot, epoch));
                        None
                    } else {
                        death.turn(scene).filter(|turn| *turn > now)
                    }
                }
            };
        }
        ours
    }

    /// What this node announces, of runs that are numbered up to `safe` (W7).
    pub(crate) fn sections(&self, safe: Epoch) -> Vec<Section> {
        let said = self.deaths.iter().filter_map(|(boot, death)| match death.progress {
            Progress::Ours { epoch, .. } if epoch > safe => None,
            Progress::Ours { epoch, .. } => Some(CleanUp { boot: *boot, epoch, done: false }),
            Progress::Done { epoch, .. } => Some(CleanUp { boot: *boot, epoch, done: true }),
            Progress::Open | Progress::Theirs { .. } | Progress::DoneByOther { .. } => None,
        });
        let said: Vec<CleanUp> = said.collect();
        said.chunks(clean_up::MOST).map(|some| Section::CleanUps(some.to_vec())).collect()
    }

    /// An announcement left: what it was the first to tell of begins now.
    pub(crate) fn announced(&mut self, safe: Epoch) -> Vec<(NodeName, BootId, Epoch)> {
        let mut told = Vec::new();
        for (boot, death) in &mut self.deaths {
            if let Progress::Ours { epoch, begun } = &mut death.progress
                && *epoch <= safe
                && !std::mem::replace(begun, true)
            {
                told.push((death.node.clone(), *boot, *epoch));
            }
        }
        told
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deaths.values().map(|death| death.due).fold(None, earliest)
    }
}

impl Death {
    fn is_ours(&mut self, now: Instant, scene: &Scene<'_>) -> bool {
        if let Progress::Theirs { boot } = self.progress {
            if scene.members.live_processes().any(|process| process.boot == boot) {
                return false;
            }
            self.progress = Progress::Open;
        }
        scene.may_act && self.turn(scene).is_some_and(|turn| now >= turn)
    }

    /// When it is this node's turn, if nobody says anything until then.
    fn turn(&self, scene: &Scene<'_>) -> Option<Instant> {
        let nodes = &scene.shared.nodes;
        scene.shared.node_index(scene.name)?;
        // After one that was left out of the configuration comes the first.
        let next = scene.shared.node_index(&self.node).map_or(0, |dead| dead.get() + 1);
        let round = nodes.iter().cycle().skip(next).take(nodes.len());
        let before_me = round.take_while(|node| node.name != *scene.name);
        let waits_for = before_me.filter(|node| {
            scene.members.live(&node.name).is_some_and(|process| self.may_fall_to(process))
        });
        let timers = scene.members.timers();
        let patience = 2 * timers.stale + 4 * timers.interval;
        let others = u32::try_from(waits_for.count()).unwrap_or(u32::MAX);
        Some(self.found + patience.saturating_mul(others))
    }

    /// Whether a live process may be designated: it takes part, and was there to notice.
    fn may_fall_to(&self, process: &Process) -> bool {
        let takes_part = process.facts.as_ref().is_some_and(|facts| match facts.state {
            NodeState::Active | NodeState::Standby | NodeState::Draining => true,
            NodeState::Booting | NodeState::Leaving => false,
        });
        takes_part && process.first_heard <= self.heard
    }
}
