//! A lab to play with: boots a cluster, then does what each line says.
//!
//! Owns the conversation. The words are read in `command`; the cluster
//! does the work. `vippyctl lab` is this behind its own options.

use std::io::{self, BufRead, IsTerminal, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::{getpgrp, tcsetpgrp};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cluster::{Cluster, Life, chain};
use crate::command::{Command, HELP, parse};
use crate::error::{Context, LabError};
use crate::lan::Port;
use crate::options::Options;
use crate::probe::ProbeOptions;
use crate::render;

/// How long a command waits for the cluster to come to rest before the picture
/// is shown anyway.
const REST_WITHIN: Duration = Duration::from_secs(10);

/// What `vippyctl lab` boots.
pub type LabOptions = Options;

/// Boots the cluster and serves lines from standard input until `quit`, its end
/// or Ctrl-C. A wrong line is answered and changes nothing.
///
/// Call [`crate::enter_user_namespace_if_needed`] first thing in `main`.
///
/// # Errors
/// The cluster does not start, or standard output is gone.
pub fn run(options: LabOptions) -> Result<(), LabError> {
    let (events, asked) = listen(|| Box::new(io::stdin().lock()))?;
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).context(|| "listen for signals".into())?;
    let interrupts = events.clone();
    let handle = signals.handle();
    let thread = std::thread::spawn(move || {
        signals.forever().try_for_each(|_| interrupts.send(Event::Interrupt)).is_ok()
    });
    let result = converse(options, &mut io::stdout(), &asked);
    handle.close();
    let _ = thread.join();
    result
}

/// The same with lines from elsewhere.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    options: LabOptions,
    input: impl BufRead + Send + 'static,
    output: &mut impl Write,
) -> Result<(), LabError> {
    let (_events, asked) = listen(move || Box::new(input))?;
    converse(options, output, &asked)
}

/// What the conversation waits for.
enum Event {
    Line(String),
    End,
    Interrupt,
}

/// Lines come one by one, each when asked for: in between, standard input is
/// free for a shell.
struct Lines {
    ask: Sender<()>,
    events: Receiver<Event>,
}

fn listen<F>(open: F) -> Result<(Sender<Event>, Lines), LabError>
where
    F: FnOnce() -> Box<dyn BufRead> + Send + 'static,
{
    let (ask, asked) = channel();
    let (send, events) = channel();
    let lines = send.clone();
    let serve = move || {
        let mut input = open();
        while let Ok(()) = asked.recv() {
            let mut line = String::new();
            let event = match input.read_line(&mut line) {
                Ok(0) | Err(_) => Event::End,
                Ok(_) => Event::Line(line),
            };
            if lines.send(event).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("lab input".into())
        .spawn(serve)
        .context(|| "start the thread that reads lines".into())?;
    Ok((send, Lines { ask, events }))
}

impl Lines {
    /// The next line; `None` is the end.
    fn next(&self) -> Option<String> {
        self.ask.send(()).ok()?;
        match self.events.recv() {
            Ok(Event::Line(line)) => Some(line),
            Ok(Event::End | Event::Interrupt) | Err(_) => None,
        }
    }

    /// Waits; true when interrupted meanwhile.
    fn interrupted_within(&self, time: Duration) -> bool {
        match self.events.recv_timeout(time) {
            Ok(_) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
        }
    }

    /// Forgets interrupts that were meant for somebody else.
    fn forget(&self) {
        while self.events.try_recv().is_ok() {}
    }
}

fn converse(options: Options, output: &mut impl Write, lines: &Lines) -> Result<(), LabError> {
    let talk = || "write to standard output".to_string();
    writeln!(output, "Booting {} nodes …", options.nodes).context(talk)?;
    let cluster = Cluster::start(options)?;
    // A cluster that does not come to rest is shown as it is.
    let _ = cluster.wait_settled(REST_WITHIN);
    write!(output, "{}", render::cluster(&cluster)).context(talk)?;
    writeln!(output, "`help` explains the commands; `quit` takes everything down.")
        .context(talk)?;
    loop {
        write!(output, "lab> ").and_then(|()| output.flush()).context(talk)?;
        let Some(line) = lines.next() else {
            writeln!(output).context(talk)?;
            return Ok(());
        };
        let command = match parse(&line) {
            Ok(Some(Command::Quit)) => return Ok(()),
            Ok(Some(command)) => command,
            Ok(None) => continue,
            Err(problem) => {
                writeln!(output, "{problem}").context(talk)?;
                continue;
            }
        };
        if let Some(notice) = notice(&command) {
            writeln!(output, "{notice}").context(talk)?;
        }
        // What goes wrong in a lab is part of the lab.
        let answer = obey(&cluster, command, lines).unwrap_or_else(|error| chain(&error));
        writeln!(output, "{}", answer.trim_end()).context(talk)?;
    }
}

/// What to know before a command that takes its time.
fn notice(command: &Command) -> Option<String> {
    if let Command::Probe(ip, time) = command {
        return Some(format!("asking {ip} for {time:?}; Ctrl-C ends it early"));
    }
    if let Command::Shell(port) = command {
        return Some(format!("a shell on {port}; `exit` comes back"));
    }
    None
}

fn obey(cluster: &Cluster, command: Command, lines: &Lines) -> Result<String, LabError> {
    let lan = cluster.lan();
    let done = |text: String| Ok(text);
    match command {
        Command::Status => Ok(render::cluster(cluster)),
        Command::Kill(node) => cluster.kill(node).and(done(format!("node{node}'s daemon is dead"))),
        Command::Crash(node) => cluster
            .crash_node(node)
            .and(done(format!("node{node} is gone; `start` brings it back"))),
        Command::Stop(node) => {
            let stopped = cluster.stop(node)?;
            let took = stopped.took.as_secs_f64() * 1e3;
            Ok(format!("node{node} left after {took:.0} ms ({})", stopped.status))
        }
        Command::Pause(node) => cluster.pause(node).and(done(format!("node{node} is frozen"))),
        Command::Resume(node) => cluster.resume(node).and(done(format!("node{node} goes on"))),
        Command::Start(node) => cluster.start_node(node).and(done(format!("node{node} runs"))),
        Command::Hup(node) => cluster
            .hup(node)
            .and(done(format!("node{node} reads {}", cluster.config_path(node).display()))),
        Command::Partition(one, other) => lan.partition(&one, &other).and(done(render::cuts(lan))),
        Command::Cut(from, to) => lan.cut(from, to).and(done(render::cuts(lan))),
        Command::Isolate(port) => lan.isolate(port).and(done(render::cuts(lan))),
        Command::Rejoin(port) => lan.rejoin(port).and(done(render::cuts(lan))),
        Command::Heal => lan.heal().and(done(render::cuts(lan))),
        Command::Unplug(port) => lan.unplug(port).and(done(format!("{port} has no carrier"))),
        Command::Plug(port) => lan.plug(port).and(done(format!("{port} has a carrier"))),
        Command::Probe(ip, time) => probe(cluster, ip, time, lines),
        Command::Log(node, count) => {
            lan.machine(node)?;
            let log = cluster.log(node)?;
            let all: Vec<&str> = log.lines().collect();
            Ok(all[all.len().saturating_sub(count)..].join("\n"))
        }
        Command::Shell(port) => shell(cluster, port, lines),
        Command::Help | Command::Quit => Ok(HELP.into()),
    }
}

/// Ctrl-C ends a probe early.
fn probe(cluster: &Cluster, ip: IpAddr, time: Duration, lines: &Lines) -> Result<String, LabError> {
    let probe = cluster.lan().probe(Port::Client(0), ProbeOptions::new([ip]).lasting(time))?;
    let report = if lines.interrupted_within(time) { probe.finish() } else { probe.wait() };
    let Some(series) = report.series.get(&ip) else { return Ok(String::new()) };
    Ok(format!("{ip}: {series}"))
}

/// A shell with the machine's network, host name and processes.
fn shell(cluster: &Cluster, port: Port, lines: &Lines) -> Result<String, LabError> {
    let program = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut command = std::process::Command::new(program);
    command.current_dir(cluster.root());
    let shell = cluster.lan().machine(port)?.spawn_in_foreground(command)?;
    let ended = shell.wait(Duration::MAX);
    lines.forget();
    take_terminal_back().context(|| "take the terminal back".into())?;
    ended.map(|_| format!("back from {port}"))
}

/// A shell that minds its jobs keeps the terminal for itself, and cannot give it
/// back to a process group it cannot see.
fn take_terminal_back() -> nix::Result<()> {
    let terminal = io::stdin();
    if !terminal.is_terminal() {
        return Ok(());
    }
    // Asking from the background would stop the lab.
    let mut quiet = SigSet::empty();
    quiet.add(Signal::SIGTTOU);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&quiet), Some(&mut before))?;
    let taken = tcsetpgrp(terminal.as_fd(), getpgrp());
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    taken
}

/// What the lab did to a node, in a word.
pub(crate) fn word(life: Life) -> &'static str {
    match life {
        Life::New => "not started",
        Life::Running => "ended",
        Life::Paused => "frozen",
        Life::Stopped => "stopped",
        Life::Killed => "killed",
        Life::Crashed => "crashed",
    }
}
