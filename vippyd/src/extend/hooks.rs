//! Hooks: which programs run when something happens, and in which order.
//!
//! What happens to one group runs one hook at a time, in the order in which it
//! happened; so does what happens to the node as a whole, and the cleaning up after
//! nodes that are gone. Each of these is a lane, and no lane waits for another.

mod gate;
mod lane;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use vippy_core::config::{Config, Hook, hooks};
use vippy_core::event::{Event, HookOutcome};
use vippy_core::identity::{BootId, GroupId, NodeName};
use vippy_core::input::Input;

use self::gate::Gates;
pub use self::gate::{Passed, Ticket};
use self::lane::{Lane, Tools};
use super::Told;
use super::launch::Launcher;
use super::occasion::Occasion;

/// Hooks that wait in one lane. Who is that far behind is told what is left out.
const ROOM: usize = 64;
/// The same of cleaning up, which must not be left out when half of a large cluster is
/// gone.
const CLEAN_UPS: usize = 4096;

/// What runs one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Course {
    Group(GroupId),
    Node,
    CleanUp,
}

/// A hook to be run.
#[derive(Debug)]
struct Job {
    hook: Arc<Hook>,
    occasion: Arc<Occasion>,
    /// Who waits for its end; when nobody does any more, it is not worth running.
    waiter: Option<oneshot::Sender<Ended>>,
}

/// How a hook ended.
#[derive(Debug)]
struct Ended {
    outcome: HookOutcome,
    detail: String,
}

/// All hooks of this node.
#[derive(Debug)]
pub(super) struct Hooks {
    node: NodeName,
    hooks: Vec<Arc<Hook>>,
    lanes: BTreeMap<Course, Lane>,
    gates: Gates,
    tools: Tools,
}

impl Hooks {
    pub(super) fn new(
        node: NodeName,
        config: &Config,
        launcher: Launcher,
        told: UnboundedSender<Told>,
    ) -> Hooks {
        let mut hooks = Hooks {
            node,
            hooks: Vec::new(),
            lanes: BTreeMap::new(),
            gates: Gates::default(),
            tools: Tools { launcher, told },
        };
        hooks.configure(config);
        hooks
    }

    /// Goes on with another configuration; what waits is still run.
    pub(super) fn configure(&mut self, config: &Config) {
        self.hooks = config.shared.hooks.iter().cloned().map(Arc::new).collect();
        // A lane that nobody gives work to any more ends when it has done its last.
        self.lanes.retain(|course, lane| match course {
            Course::Group(group) => config.shared.groups.iter().any(|one| one.id == *group),
            Course::Node | Course::CleanUp => !lane.is_idle(),
        });
    }

    /// Something happened.
    pub(super) fn happened(&mut self, occasion: &Arc<Occasion>) {
        let minds = |hook: &&Arc<Hook>| {
            !hook.once && hook.minds(&self.node, &occasion.name, occasion.group.as_ref())
        };
        let minding: Vec<Arc<Hook>> = self.hooks.iter().filter(minds).cloned().collect();
        for hook in minding {
            let course = occasion.group.clone().map_or(Course::Node, Course::Group);
            let occasion = Arc::clone(occasion);
            self.enqueue(course, Job { hook, occasion, waiter: None });
        }
    }

    /// Runs what must run before a group's addresses are put on, and tells when they
    /// may be.
    pub(super) fn open_gate(&mut self, ticket: Ticket, occasion: &Arc<Occasion>) {
        let minds =
            |hook: &&Arc<Hook>| hook.minds(&self.node, hooks::BEFORE_UP, occasion.group.as_ref());
        let minding: Vec<Arc<Hook>> = self.hooks.iter().filter(minds).cloned().collect();
        let course = occasion.group.clone().map_or(Course::Node, Course::Group);
        let mut ends = Vec::new();
        for hook in minding {
            let (waiter, end) = oneshot::channel();
            ends.push((Arc::clone(&hook), end));
            let occasion = Arc::clone(occasion);
            self.enqueue(course.clone(), Job { hook, occasion, waiter: Some(waiter) });
        }
        self.gates.open(ticket, ends, self.tools.told.clone());
    }

    /// Nobody waits for a group's addresses any more.
    pub(super) fn close_gate(&mut self, ticket: Ticket) {
        self.gates.close(ticket);
    }

    /// Runs the `once` hooks for a process that is gone, and tells when they have run.
    pub(super) fn clean_up(&mut self, boot: BootId, occasion: &Arc<Occasion>) {
        let once: Vec<Arc<Hook>> = self.hooks.iter().filter(|hook| hook.once).cloned().collect();
        let mut ends = Vec::new();
        for hook in once {
            let (waiter, end) = oneshot::channel();
            ends.push(end);
            let occasion = Arc::clone(occasion);
            self.enqueue(Course::CleanUp, Job { hook, occasion, waiter: Some(waiter) });
        }
        let told = self.tools.told.clone();
        tokio::spawn(async move {
            for end in ends {
                // One that was dropped has been told of.
                let _ = end.await;
            }
            // Nobody listens only when the daemon is about to end.
            let _ = told.send(Told::Input(Input::CleanedUp(boot)));
        });
    }

    /// Completes when everything that waits has run.
    pub(super) fn finish(&self) -> impl Future<Output = ()> + use<> {
        let open: Vec<_> = self.lanes.values().map(Lane::emptied).collect();
        async move {
            for emptied in open {
                emptied.await;
            }
        }
    }

    fn enqueue(&mut self, course: Course, job: Job) {
        let tools = &self.tools;
        let room = match course {
            Course::Group(_) | Course::Node => ROOM,
            Course::CleanUp => CLEAN_UPS,
        };
        let lane = self.lanes.entry(course).or_insert_with(|| Lane::start(room, tools.clone()));
        lane.enqueue(job, tools);
    }
}

impl Tools {
    /// Tells how a hook ended.
    fn tell(&self, job: &Job, ended: &Ended, ms: u64) {
        let event = Event::HookEnded {
            run: job.hook.run.join(" "),
            on: job.occasion.name.clone(),
            group: job.occasion.group.clone(),
            outcome: ended.outcome,
            detail: ended.detail.clone(),
            ms,
        };
        // Nobody listens only when the daemon is about to end.
        let _ = self.told.send(Told::Event(event));
    }
}
