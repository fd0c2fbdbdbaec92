//! Addresses that wait for what must run before they are put on.
//!
//! Such a group waits here and not in the kernel's queue, so neither the loop nor any
//! other group waits with it; an order to take it off again finds it here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vippy_core::config::Group;
use vippy_core::identity::GroupId;
use vippy_core::input::{Input, ResourceReport};

use super::Daemon;
use crate::extend::{Passed, Ticket};

/// The groups that wait.
#[derive(Debug, Default)]
pub(super) struct Gate {
    waiting: BTreeMap<GroupId, Waiting>,
    last: Ticket,
}

/// What is ordered when it has passed.
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    group: Arc<Group>,
    lifetime: Option<Duration>,
}

impl Daemon {
    /// Puts a group's addresses on; first, if none of them is, what must run before.
    pub(super) fn plumb(&mut self, group: Arc<Group>, lifetime: Option<Duration>) {
        let off = self.plumbed.insert(group.id.clone());
        if let Some(waiting) = self.gate.waiting.get_mut(&group.id) {
            (waiting.group, waiting.lifetime) = (group, lifetime);
        } else if off && self.parts.extensions.is_gated(&group.id) {
            self.gate.last += 1;
            let ticket = self.gate.last;
            self.parts.extensions.open_gate(ticket, group.id.clone());
            self.gate.waiting.insert(group.id.clone(), Waiting { ticket, group, lifetime });
        } else {
            self.parts.kernel.plumb(group, lifetime);
        }
    }

    /// Takes a group's addresses off; what waits to be put on is not.
    pub(super) fn unplumb(&mut self, group: GroupId) {
        if let Some(waiting) = self.gate.waiting.remove(&group) {
            self.parts.extensions.close_gate(waiting.ticket);
        }
        self.parts.neighbourhood.release(&group);
        self.parts.kernel.unplumb(group);
    }

    /// What had to run has run.
    pub(super) fn pass(&mut self, Passed { ticket, refusal }: Passed) {
        let mut waiting = self.gate.waiting.extract_if(.., |_, waiting| waiting.ticket == ticket);
        // It may have been taken off, or taken anew, meanwhile.
        let Some((id, Waiting { group, lifetime, .. })) = waiting.next() else { return };
        drop(waiting);
        match refusal {
            None => self.parts.kernel.plumb(group, lifetime),
            Some(refusal) => {
                self.plumbed.remove(&id);
                let report = ResourceReport::Failed(refusal);
                self.tell(Input::Resource { group: id, report });
            }
        }
    }
}
