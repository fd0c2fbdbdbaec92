//! The power of a machine: a PID namespace for everything that runs on it.
//!
//! Its first process does nothing but wait for the end of a pipe that only the
//! lab holds open. When the lab ends, however it ends, the kernel closes the
//! pipe, the first process exits, and the kernel kills the rest, children of
//! children included. Killing the first process pulls the plug at any time.
//!
//! Each time the power comes on, a new thread enters the machine's namespaces:
//! a thread that has made a PID namespace can make no second one, and an
//! ordinary user cannot go back to the first.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns, unshare};

/// Something to start, and where to tell how it went.
struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

/// A machine that is on. It goes off when dropped, but the processes' parent,
/// the lab, must see them off before [`Power::bury`] returns.
pub(crate) struct Power {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    first: Child,
    lifeline: Option<ChildStdin>,
}

impl Power {
    /// Turns on a machine with these namespaces.
    pub(crate) fn on(name: &str, netns: File, hostname: File) -> io::Result<Power> {
        let (orders, queue) = channel();
        let (ready, started) = channel();
        let thread = std::thread::Builder::new().name(format!("lab {name} on")).spawn(
            move || match enter(&netns, &hostname) {
                // Nobody listens only when the lab is being dropped.
                Ok(first) => drop(ready.send(Ok(first)).map(|()| serve(&queue))),
                Err(error) => drop(ready.send(Err(error))),
            },
        )?;
        let mut first = started.recv().map_err(|_| gone())??;
        let lifeline = first.stdin.take();
        Ok(Power { orders: Some(orders), thread: Some(thread), first, lifeline })
    }

    /// Starts a process.
    pub(crate) fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, answered) = channel();
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        orders.send(Order { command, answer }).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    /// Kills every process; they are gone when their parent has seen them off.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.first.kill()
    }

    /// Sees off the first process, which ends last.
    pub(crate) fn bury(mut self) -> io::Result<()> {
        self.first.wait().map(drop)
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts processes has ended")
}

fn enter(netns: &File, hostname: &File) -> io::Result<Child> {
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    setns(hostname, CloneFlags::CLONE_NEWUTS)?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    Command::new("cat")
        .current_dir("/")
        // The terminal's Ctrl-C is for the lab alone.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn serve(queue: &Receiver<Order>) {
    while let Ok(Order { mut command, answer }) = queue.recv() {
        let _ = answer.send(command.spawn());
    }
}
