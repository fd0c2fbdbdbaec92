//! What `systemctl status` shows, kept up to date from events alone: asking the
//! engine for everything each time would be dear with many groups.

use std::collections::BTreeSet;
use std::fmt::Write;

use vippy_core::event::{Event, Tenure};
use vippy_core::identity::GroupId;
use vippy_core::status::{NodeReason, NodeState};

use crate::narrate;

/// Groups named in the line; beyond, only their number is told.
const NAMED: usize = 8;

/// This node in one line.
#[derive(Debug)]
pub struct Summary {
    state: NodeState,
    reason: NodeReason,
    held: BTreeSet<GroupId>,
    changed: bool,
}

impl Summary {
    /// A node that has just started.
    pub fn new() -> Summary {
        let (state, reason) = (NodeState::Booting, NodeReason::None);
        Summary { state, reason, held: BTreeSet::new(), changed: true }
    }

    /// Takes note of an event.
    pub fn note(&mut self, event: &Event) {
        self.changed |= match (event.tenure(), event) {
            (Some((group, Tenure::Here(_))), _) => self.held.insert(group.clone()),
            (Some((group, Tenure::Leaving | Tenure::Gone)), _) => self.held.remove(group),
            (None, Event::StateChanged { state, reason, .. }) => {
                (self.state, self.reason) = (*state, *reason);
                true
            }
            (None, _) => false,
        };
    }

    /// The line, if it differs from the last one taken.
    pub fn take(&mut self) -> Option<String> {
        std::mem::take(&mut self.changed).then(|| self.line())
    }

    fn line(&self) -> String {
        let mut line = narrate::state_name(self.state);
        if let Some(reason) = narrate::reason_name(self.reason) {
            // Writing to a string cannot fail.
            let _ = write!(line, " ({reason})");
        }
        let _ = match self.held.len() {
            0 => write!(line, ", holds no group"),
            1 => write!(line, ", holds 1 group"),
            many => write!(line, ", holds {many} groups"),
        };
        let named: Vec<&str> = self.held.iter().take(NAMED).map(GroupId::as_str).collect();
        if !named.is_empty() {
            let more = if self.held.len() > NAMED { ", …" } else { "" };
            let _ = write!(line, ": {}{more}", named.join(", "));
        }
        line
    }
}

impl Default for Summary {
    fn default() -> Self {
        Summary::new()
    }
}

#[cfg(test)]
mod tests {
    use vippy_core::identity::Epoch;

    use super::*;

    #[test]
    fn line_names_state_reason_and_groups_and_comes_once() {
        let mut summary = Summary::new();
        assert_eq!(summary.take().as_deref(), Some("booting, holds no group"));
        assert_eq!(summary.take(), None);
        summary.note(&Event::StateChanged {
            state: NodeState::Draining,
            reason: NodeReason::Operator,
            detail: String::new(),
        });
        summary.note(&Event::GroupUp { group: "web".into(), epoch: Epoch(1) });
        summary.note(&Event::GroupUp { group: "db".into(), epoch: Epoch(1) });
        assert_eq!(summary.take().as_deref(), Some("draining (operator), holds 2 groups: db, web"));
        summary.note(&Event::GroupDown { group: "db".into() });
        assert_eq!(summary.take().as_deref(), Some("draining (operator), holds 1 group: web"));
    }

    #[test]
    fn thousands_of_groups_are_counted_not_listed() {
        let mut summary = Summary::new();
        for number in 0..1_000 {
            let group = format!("g{number:04}").as_str().into();
            summary.note(&Event::Adopted { group, epoch: Epoch(1) });
        }
        let line = summary.take().unwrap();
        assert!(line.starts_with("booting, holds 1000 groups: g0000, g0001"), "{line}");
        assert!(line.ends_with("g0007, …"), "{line}");
    }
}
