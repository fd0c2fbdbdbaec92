//! One hook after the other.

use std::time::Instant;

use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel};
use tokio::sync::{oneshot, watch};
use vippy_core::event::HookOutcome;

use super::super::Told;
use super::super::launch::Launcher;
use super::{Ended, Job, run};
use crate::logging::Level;

/// What a lane works with.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    pub(super) launcher: Launcher,
    pub(super) told: UnboundedSender<Told>,
}

/// A queue and the task that works it off. Dropped, it ends once it is empty.
#[derive(Debug)]
pub(super) struct Lane {
    jobs: Sender<Job>,
    /// What did not find room since the last that did.
    dropped: u64,
    /// Jobs taken in and not ended yet.
    open: watch::Sender<usize>,
}

impl Lane {
    pub(super) fn start(room: usize, tools: Tools) -> Lane {
        let (jobs, queue) = channel(room);
        let open = watch::Sender::new(0);
        tokio::spawn(work(queue, tools, open.clone()));
        Lane { jobs, dropped: 0, open }
    }

    pub(super) fn is_idle(&self) -> bool {
        *self.open.borrow() == 0
    }

    /// Completes when nothing waits or runs.
    pub(super) fn emptied(&self) -> impl Future<Output = ()> + use<> {
        let mut open = self.open.subscribe();
        async move {
            // The lane may have ended: then nothing runs, either.
            let _ = open.wait_for(|open| *open == 0).await;
        }
    }

    /// Appends a job, or tells that there is no room for it: of those that find none
    /// in a row, the first and how many there were.
    pub(super) fn enqueue(&mut self, job: Job, tools: &Tools) {
        let line = |text: String| drop(tools.told.send(Told::Line(Level::Err, text)));
        let about = describe(&job);
        if self.jobs.try_send(job).is_ok() {
            self.open.send_modify(|open| *open += 1);
            match std::mem::take(&mut self.dropped) {
                0 | 1 => {}
                dropped => line(format!("{dropped} hooks were left out before this one: {about}")),
            }
            return;
        }
        self.dropped += 1;
        if self.dropped == 1 {
            let waiting = self.jobs.max_capacity();
            line(format!("hook left out, as {waiting} wait before it: {about}"));
        }
    }
}

fn describe(job: &Job) -> String {
    let group = job.occasion.group.as_ref().map(|group| format!(" group={group}"));
    let run = job.hook.run.join(" ");
    format!("{run:?} on={}{}", job.occasion.name, group.unwrap_or_default())
}

async fn work(mut queue: Receiver<Job>, tools: Tools, open: watch::Sender<usize>) {
    while let Some(mut job) = queue.recv().await {
        let begun = Instant::now();
        let run = run::run(&tools, &job.hook, &job.occasion);
        let mut waiter = job.waiter.take();
        let ended = tokio::select! {
            biased;
            // Dropping the run ends it.
            () = given_up(&mut waiter) => {
                Ended { outcome: HookOutcome::Cancelled, detail: String::new() }
            }
            ended = run => ended,
        };
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tools.tell(&job, &ended, ms);
        if let Some(waiter) = waiter {
            // Who waited may have gone this moment.
            let _ = waiter.send(ended);
        }
        open.send_modify(|open| *open -= 1);
    }
}

/// Completes when whoever waited does so no more; never, where nobody did.
async fn given_up(waiter: &mut Option<oneshot::Sender<Ended>>) {
    match waiter {
        Some(waiter) => waiter.closed().await,
        None => std::future::pending().await,
    }
}
