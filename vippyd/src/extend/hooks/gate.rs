//! What runs before a group's addresses are put on, and how long they wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use vippy_core::config::Hook;
use vippy_core::event::HookOutcome;

use super::super::Told;
use super::Ended;
use crate::logging::Level;

/// The number of one wish to put a group's addresses on.
pub type Ticket = u64;

/// The addresses of a group may be put on, or may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Whose turn it is.
    pub ticket: Ticket,
    /// Why they may not be put on; `None`: they may.
    pub refusal: Option<String>,
}

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Gates {
    open: BTreeMap<Ticket, AbortHandle>,
}

impl Gates {
    /// Waits for the ends of these hooks, each at most as long as its `timeout` says.
    pub(super) fn open(
        &mut self,
        ticket: Ticket,
        ends: Vec<(Arc<Hook>, oneshot::Receiver<Ended>)>,
        told: UnboundedSender<Told>,
    ) {
        self.open.retain(|_, task| !task.is_finished());
        let task = tokio::spawn(async move {
            let refusal = pass(ends, &told).await;
            // Nobody listens only when the daemon is about to end.
            let _ = told.send(Told::Passed(Passed { ticket, refusal }));
        });
        self.open.insert(ticket, task.abort_handle());
    }

    /// Stops waiting; hooks that run for it are ended, those that wait are left out.
    pub(super) fn close(&mut self, ticket: Ticket) {
        if let Some(task) = self.open.remove(&ticket) {
            task.abort();
        }
    }
}

/// Why the addresses may not be put on, if a hook that is required says so.
async fn pass(
    ends: Vec<(Arc<Hook>, oneshot::Receiver<Ended>)>,
    told: &UnboundedSender<Told>,
) -> Option<String> {
    for (hook, end) in ends {
        // The time in the queue counts: it is the addresses that wait.
        let trouble = match timeout(hook.timeout, end).await {
            Ok(Ok(Ended { outcome: HookOutcome::Succeeded, .. })) => continue,
            Ok(Ok(Ended { detail, .. })) => detail,
            Ok(Err(_)) => "it was left out".to_owned(),
            Err(_) => format!("it did not end within {} s", hook.timeout.as_secs_f64()),
        };
        let run = hook.run.join(" ");
        if hook.required {
            return Some(format!("the before-up hook {run:?} failed: {trouble}"));
        }
        let line = format!("the before-up hook {run:?} failed: {trouble}; going on without it");
        let _ = told.send(Told::Line(Level::Warning, line));
    }
    None
}
