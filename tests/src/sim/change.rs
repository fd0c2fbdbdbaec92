//! What can be done to a cluster, and what a world reports to its referee.

use vippy_core::identity::Epoch;
use vippy_core::status::{NodeReason, NodeState};

use super::Micros;
use super::fabric::Rule;

/// Something done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the daemon, if it does not run.
    Start(usize),
    /// Start a daemon with the boot of the one running on another machine: a
    /// clone, or a restored snapshot.
    StartClone(usize, usize),
    /// End the daemon without a word; its kernel keeps the addresses for their lifetime.
    Crash(usize),
    /// The whole machine is gone, addresses and all.
    PowerFail(usize),
    /// Tell the daemon to stop.
    Stop(usize),
    /// Stop the process by a signal.
    Pause(usize),
    /// Let it go on.
    Wake(usize),
    /// A guest is stopped with its clock.
    Freeze(usize),
    /// It goes on; what its clock shows has not changed.
    Thaw(usize),
    /// Operator: give everything away.
    Drain(usize),
    /// Operator: give everything away for so many microseconds.
    DrainFor(usize, Micros),
    /// Operator: replace the program; the next one adopts what is there.
    Restart(usize),
    /// The wall clock of a machine steps by so many milliseconds.
    StepClock(usize, i64),
    /// Operator: take part again.
    Undrain(usize),
    /// A group cannot be held on a machine.
    Unavailable(usize, usize),
    /// It can again.
    Available(usize, usize),
    /// Plumbing of a group fails on a machine from now on.
    BreakPlumbing(usize, usize),
    /// It works again.
    RepairPlumbing(usize, usize),
    /// Frames of a machine no longer leave.
    UplinkDown(usize),
    /// They do again.
    UplinkUp(usize),
    /// A fault of the wire.
    Fault(Rule),
    /// The end of one.
    Repair(Rule),
    /// The end of all.
    Heal,
    /// The daemon reads this version of the configuration.
    Configure(usize, u64),
    /// A host that is not of the cluster answers for a group's addresses.
    Stray(usize),
    /// It does so no more.
    StrayGone(usize),
    /// Such a host says once that it has a group's addresses.
    Claim(usize),
    /// A group's check is not good on a machine from now on.
    Sicken(usize, usize),
    /// It is again.
    Cure(usize, usize),
}

/// How addresses left a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// A running daemon took them off.
    Unplumbed,
    /// Their lifetime ended.
    Expired,
    /// The machine went with them.
    PowerFailed,
}

/// Something that the referee should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A group's addresses appeared on a machine.
    Gained {
        /// The machine.
        station: usize,
        /// The group.
        group: usize,
    },
    /// A group's addresses disappeared from a machine.
    Lost {
        /// The machine.
        station: usize,
        /// The group.
        group: usize,
        /// How.
        left: Left,
    },
    /// Somebody did something to the cluster.
    Acted(Action),
    /// An engine's state changed.
    State {
        /// The machine.
        station: usize,
        /// Its state before.
        before: NodeState,
        /// Its state now.
        after: NodeState,
        /// Why.
        reason: NodeReason,
    },
    /// An engine announced a group up under this fencing number.
    Fenced {
        /// The machine.
        station: usize,
        /// The group.
        group: usize,
        /// The number.
        epoch: Epoch,
    },
    /// Clients were told where to send a group's packets.
    Heard {
        /// The group.
        group: usize,
    },
    /// A stopping daemon ended.
    Exited(usize),
    /// An engine did what no engine may ever do.
    Broken(String),
}
