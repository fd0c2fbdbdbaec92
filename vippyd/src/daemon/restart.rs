//! Replacing this process by its successor without letting go (F1).
//!
//! First the successor is tried out, on a thread of its own; a bad one changes
//! nothing. Then the engine is told, and from its [`Output::Restarted`] on the
//! loop turns as ever until nothing ordered is half done: no netlink request,
//! no file, no repetition to the neighbours. Then the successor takes over.
//!
//! [`Output::Restarted`]: vippy_core::output::Output::Restarted

use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use vippy_client::{ApiError, Restarting};
use vippy_core::input::{Command, Input};
use vippy_core::time::Instant;

use super::Daemon;
use crate::clock;
use crate::realtime;
use crate::signals::Signal;
use crate::successor::{Successor, Unfit};

/// What trying the successor out came to: its version.
type Outcome = Result<String, Unfit>;

/// What happened on the way to a restart.
#[derive(Debug)]
pub(super) enum Step {
    TriedOut(Outcome),
    /// Nothing is half done, or there is no more time for it.
    Settled,
}

/// Who asked over the management socket.
pub(super) type Reply = oneshot::Sender<Result<Restarting, ApiError>>;

/// Time for the answer to reach whoever asked.
const ANSWER: Duration = Duration::from_millis(50);

/// What is not done by then is left to the successor, as after a crash.
const LONGEST: Duration = Duration::from_secs(4);

/// How long the last lines may take to be written: the loop waits for them.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// A restart under way.
#[derive(Debug)]
pub(super) struct Restarter {
    successor: Successor,
    results: UnboundedSender<Outcome>,
    outcomes: UnboundedReceiver<Outcome>,
    trying: bool,
    /// Those whose wish the present try fulfils.
    waiting: Vec<Reply>,
    leaving: Option<Leaving>,
}

/// Waiting until nothing is half done.
#[derive(Debug)]
struct Leaving {
    /// Answers when the kernel side has carried out what was ordered by then.
    kernel: oneshot::Receiver<()>,
    /// Orders to the kernel side, of which `kernel` covers all.
    orders: u64,
    not_before: Instant,
    latest: Instant,
}

impl Restarter {
    pub(super) fn new(successor: Successor) -> Restarter {
        let (results, outcomes) = unbounded_channel();
        let waiting = Vec::new();
        Restarter { successor, results, outcomes, trying: false, waiting, leaving: None }
    }

    /// The next step. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Step {
        let Restarter { outcomes, leaving, .. } = self;
        tokio::select! {
            // We hold a sender ourselves, so the queue never ends.
            Some(outcome) = outcomes.recv() => Step::TriedOut(outcome),
            () = settled(leaving) => Step::Settled,
        }
    }

    /// A stop is more than a restart.
    pub(super) fn cancel(&mut self) {
        self.leaving = None;
    }

    fn is_busy(&self) -> bool {
        self.trying || self.leaving.is_some()
    }

    fn try_out(&mut self, reply: Reply) -> std::io::Result<()> {
        let (successor, results) = (self.successor.clone(), self.results.clone());
        std::thread::Builder::new().name("restart".into()).spawn(move || {
            realtime::step_back();
            // Nobody listens only when the process is about to end.
            let _ = results.send(successor.try_out());
        })?;
        self.trying = true;
        self.waiting.push(reply);
        Ok(())
    }
}

/// Completes when the kernel side has done what was ordered, or when there is
/// no more time for it. Never, while no restart is under way.
async fn settled(leaving: &mut Option<Leaving>) {
    let Some(leaving) = leaving else { return std::future::pending().await };
    if !leaving.kernel.is_terminated() {
        let patience = leaving.latest.since(clock::now());
        let _ = tokio::time::timeout(patience, &mut leaving.kernel).await;
    }
    tokio::time::sleep(leaving.not_before.since(clock::now())).await;
}

impl Daemon {
    pub(super) async fn take_step(&mut self, step: Step) {
        match step {
            Step::TriedOut(outcome) => self.end_try_out(outcome),
            Step::Settled => self.leave_if_settled().await,
        }
    }

    pub(super) fn begin_restart(&mut self, reply: Reply) {
        let refused = if self.stopping {
            Some("the daemon is stopping".to_owned())
        } else if self.restarter.is_busy() {
            Some("a restart is under way already".to_owned())
        } else {
            None
        };
        if let Some(text) = refused {
            let _ = reply.send(Err(ApiError::new(text)));
            return;
        }
        self.parts.logger.notice("operator: restart");
        if let Err(e) = self.restarter.try_out(reply) {
            self.parts.logger.err(format_args!("cannot restart: no thread: {e}"));
        }
    }

    fn end_try_out(&mut self, outcome: Outcome) {
        self.restarter.trying = false;
        let waiting = std::mem::take(&mut self.restarter.waiting);
        let answer = match outcome {
            Ok(_) if self.stopping => Err(ApiError::new("the daemon is stopping")),
            Ok(successor) => {
                Ok(Restarting { program: env!("CARGO_PKG_VERSION").into(), successor })
            }
            Err(unfit) => {
                let problems = unfit.said().to_vec();
                problems.iter().for_each(|line| self.parts.logger.err(line));
                self.parts.logger.err(format_args!("not restarted: {unfit}"));
                Err(ApiError { problems, ..ApiError::new(format!("not restarted: {unfit}")) })
            }
        };
        let begins = answer.is_ok();
        for reply in waiting {
            let _ = reply.send(answer.clone());
        }
        if begins {
            self.tell(Input::Operator(Command::Restart));
        }
    }

    /// The engine has said its last.
    pub(super) fn leave(&mut self) {
        let now = clock::now();
        let orders = self.parts.kernel.orders();
        let kernel = self.parts.kernel.settled();
        let (not_before, latest) = (now + ANSWER, now + LONGEST);
        self.restarter.leaving = Some(Leaving { kernel, orders, not_before, latest });
    }

    /// Everything ordered before is done; if nothing came since, it is time.
    async fn leave_if_settled(&mut self) {
        let now = clock::now();
        let Some(leaving) = &mut self.restarter.leaving else { return };
        if now < leaving.latest {
            let quiet = leaving.not_before.max(now + self.parts.announcer.time_to_quiet());
            if self.parts.kernel.orders() != leaving.orders {
                leaving.orders = self.parts.kernel.orders();
                leaving.kernel = self.parts.kernel.settled();
                return;
            }
            if now < quiet {
                leaving.not_before = quiet.min(leaving.latest);
                return;
            }
        }
        self.restarter.leaving = None;
        self.take_over().await;
    }

    async fn take_over(&mut self) {
        self.parts.supervision.reloading();
        self.parts.logger.notice(format_args!(
            "restarting: {} takes over",
            self.restarter.successor.program().display()
        ));
        let _ = tokio::time::timeout(LAST_WORDS, self.parts.writer.flush()).await;
        self.parts.logger.flush(LAST_WORDS);
        // It would be lost with this process; to read the file again is the
        // successor's first act in any case.
        if let Some(Signal::Stop(name)) = self.parts.signals.at_hand() {
            return self.stop(name).await;
        }
        // The successor reads for itself what it is to be.
        realtime::step_back();
        let error = self.restarter.successor.take_over();
        realtime::lead();
        self.parts.supervision.ready();
        let program = self.restarter.successor.program().display();
        self.parts.logger.err(format_args!("not restarted: cannot run {program}: {error}"));
    }
}
