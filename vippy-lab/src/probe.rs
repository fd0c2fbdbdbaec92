//! Who answers for an address, packet by packet, as a client of the LAN sees it.
//!
//! Owns the client's side: pacing, sending, collecting. What the numbers mean is
//! in [`crate::report`]. The client is an ordinary kernel: it finds the
//! address's owner by ARP or neighbour discovery and believes its cache, so a
//! takeover that fails to tell the neighbours shows as an outage.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Context, LabError};
use crate::lan::Port;
use crate::machine::Machine;
use crate::prompt::make_prompt;
use crate::report::{Answer, ProbeReport, Question as Asked, Series};
use crate::responder::{ANSWER_SIZE, Question, UDP_PORT, decode_answer, enlarge_buffers};

/// What to probe, how often and how long.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The addresses, at most 256; each is asked once every `period`.
    pub targets: Vec<IpAddr>,
    /// Time between two questions to the same address.
    pub period: Duration,
    /// How long to ask; `None` is until [`Probe::finish`].
    pub duration: Option<Duration>,
    /// An answer that takes longer counts as none.
    pub patience: Duration,
}

impl ProbeOptions {
    /// The given addresses a thousand times a second until finished, with half
    /// a second of patience (a busy machine holds an answer back for tens of
    /// milliseconds, sometimes for more).
    pub fn new(targets: impl IntoIterator<Item = IpAddr>) -> ProbeOptions {
        ProbeOptions {
            targets: targets.into_iter().collect(),
            period: Duration::from_millis(1),
            duration: None,
            patience: Duration::from_millis(500),
        }
    }

    /// The same for a limited time.
    pub fn lasting(self, duration: Duration) -> ProbeOptions {
        ProbeOptions { duration: Some(duration), ..self }
    }
}

/// A probe under way. Stops when dropped.
#[derive(Debug)]
pub struct Probe {
    shared: Arc<Shared>,
    sender: Option<JoinHandle<Sent>>,
    receiver: Option<JoinHandle<Vec<Received>>>,
    options: ProbeOptions,
    started: Instant,
}

/// What the two threads tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// Send no more.
    stop: AtomicBool,
    /// Everything that will be sent is sent.
    all_sent: AtomicBool,
    /// How much that was.
    sent: AtomicU64,
}

#[derive(Debug, Default)]
struct Sent {
    /// Per target, when each question left.
    times: Vec<Vec<Instant>>,
    skipped: u64,
    latest: Duration,
}

#[derive(Debug)]
struct Received {
    question: Question,
    by: Port,
    at: Instant,
}

/// A socket a target: each then has room for what arrives while the machine is
/// busy elsewhere.
type Sockets = Vec<UdpSocket>;

/// Most targets of one probe.
const MOST_TARGETS: usize = 256;

static NEXT_PROBE: AtomicU32 = AtomicU32::new(1);

impl Probe {
    pub(crate) fn start(machine: &Machine, options: ProbeOptions) -> Result<Probe, LabError> {
        check(&options)?;
        let targets = options.targets.clone();
        let sockets = machine
            .run(move || targets.into_iter().map(open).collect::<std::io::Result<Sockets>>())?
            .context(|| format!("open the probe's sockets on {}", machine.name()))?;
        let sockets = Arc::new(sockets);
        let shared = Arc::new(Shared::default());
        let probe = NEXT_PROBE.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let receiver = std::thread::Builder::new().name("lab probe in".into()).spawn({
            let (shared, sockets, patience) = (shared.clone(), sockets.clone(), options.patience);
            move || {
                make_prompt();
                receive(&shared, &sockets, probe, patience)
            }
        });
        let receiver = receiver.context(|| "start the probe's receiver".into())?;
        let sender = std::thread::Builder::new().name("lab probe out".into()).spawn({
            let (shared, options) = (shared.clone(), options.clone());
            move || {
                make_prompt();
                let sent = send(&shared, &sockets, probe, &options, started);
                shared.all_sent.store(true, Ordering::Release);
                sent
            }
        });
        let sender = sender.inspect_err(|_| {
            shared.all_sent.store(true, Ordering::Release);
        });
        let sender = sender.context(|| "start the probe's sender".into())?;
        let (sender, receiver) = (Some(sender), Some(receiver));
        Ok(Probe { shared, sender, receiver, options, started })
    }

    /// When the first question left; times of the report count from here.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Stops asking, waits for late answers and reports.
    pub fn finish(self) -> ProbeReport {
        self.shared.stop.store(true, Ordering::Release);
        self.wait()
    }

    /// Waits until the probe's duration is over and reports. A probe without a
    /// duration is finished at once.
    pub fn wait(mut self) -> ProbeReport {
        if self.options.duration.is_none() {
            self.shared.stop.store(true, Ordering::Release);
        }
        let sent = self.sender.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let received = self.receiver.take().and_then(|thread| thread.join().ok());
        report(&self.options, self.started, sent, received.unwrap_or_default())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        let _ = self.sender.take().map(JoinHandle::join);
        let _ = self.receiver.take().map(JoinHandle::join);
    }
}

fn check(options: &ProbeOptions) -> Result<(), LabError> {
    let bad = |option, found: String, expected: &str| {
        Err(LabError::BadOption { option, found, expected: expected.into() })
    };
    if options.targets.is_empty() || options.targets.len() > MOST_TARGETS {
        return bad("targets", options.targets.len().to_string(), "1 to 256 addresses");
    }
    if options.period.is_zero() {
        return bad("period", "0".into(), "more than 0");
    }
    Ok(())
}

fn open(target: IpAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    // While an address is being resolved the kernel keeps datagrams, and a full
    // buffer must not stop the pace.
    socket.set_nonblocking(true)?;
    enlarge_buffers(&socket)?;
    Ok(socket)
}

/// Asks every target at the points start, start + period, …: whoever comes late
/// to a point leaves out those that have passed, so the pace never drifts and
/// never bursts.
fn send(
    shared: &Shared,
    sockets: &[UdpSocket],
    probe: u32,
    options: &ProbeOptions,
    started: Instant,
) -> Sent {
    let addresses = options.targets.iter().map(|ip| SocketAddr::new(*ip, UDP_PORT));
    let targets: Vec<(u16, (SocketAddr, &UdpSocket))> = (0..).zip(addresses.zip(sockets)).collect();
    let mut sent = Sent { times: vec![Vec::new(); targets.len()], ..Sent::default() };
    let over = |point: Instant| {
        options.duration.is_some_and(|duration| point.duration_since(started) >= duration)
    };
    let mut point = started;
    while !shared.stop.load(Ordering::Acquire) && !over(point) {
        std::thread::sleep(point.saturating_duration_since(Instant::now()));
        sent.latest = sent.latest.max(point.elapsed());
        for ((target, (address, socket)), times) in targets.iter().zip(&mut sent.times) {
            let number = u64::try_from(times.len()).unwrap_or(u64::MAX);
            let question = Question { probe, target: *target, number };
            times.push(Instant::now());
            // What cannot be sent is not answered.
            let _ = socket.send_to(&question.encode(), address);
            shared.sent.fetch_add(1, Ordering::AcqRel);
        }
        point += options.period;
        while point + options.period <= Instant::now() && !over(point) {
            point += options.period;
            sent.skipped += 1;
        }
    }
    sent
}

/// Collects answers until all are there or patience is over after the last
/// question.
fn receive(
    shared: &Shared,
    sockets: &[UdpSocket],
    probe: u32,
    patience: Duration,
) -> Vec<Received> {
    let mut received = Vec::new();
    let mut last_sent = None;
    loop {
        let mut all: Vec<PollFd<'_>> =
            sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        // Nobody wakes the poll when the last question has left.
        let _ = poll(&mut all, PollTimeout::from(10_u8));
        sockets.iter().for_each(|socket| drain(socket, probe, &mut received));
        if !shared.all_sent.load(Ordering::Acquire) {
            continue;
        }
        let sent = shared.sent.load(Ordering::Acquire);
        let since = *last_sent.get_or_insert_with(Instant::now);
        let complete = u64::try_from(received.len()).is_ok_and(|received| received >= sent);
        if complete || since.elapsed() >= patience {
            return received;
        }
    }
}

fn drain(socket: &UdpSocket, probe: u32, received: &mut Vec<Received>) {
    let mut buffer = [0; ANSWER_SIZE + 1];
    // An error of one datagram (an ICMP answer) hides no later one: the next
    // poll comes back at once.
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        let at = Instant::now();
        match decode_answer(&buffer[..length]) {
            Some((question, by)) if question.probe == probe => {
                received.push(Received { question, by, at });
            }
            Some(_) | None => {}
        }
    }
}

fn report(
    options: &ProbeOptions,
    started: Instant,
    sent: Sent,
    received: Vec<Received>,
) -> ProbeReport {
    let asked = |at: Instant| Asked { sent: at.duration_since(started), answers: Vec::new() };
    let mut targets: Vec<Vec<Asked>> =
        sent.times.iter().map(|times| times.iter().copied().map(asked).collect()).collect();
    for Received { question, by, at } in received {
        let number = usize::try_from(question.number).unwrap_or(usize::MAX);
        let asked = targets.get_mut(usize::from(question.target)).and_then(|t| t.get_mut(number));
        if let Some(asked) = asked {
            let rtt = at.duration_since(started).saturating_sub(asked.sent);
            asked.answers.push(Answer { by, rtt });
        }
    }
    let series = |questions| Series {
        questions,
        period: options.period,
        patience: options.patience,
        started,
    };
    ProbeReport {
        series: options.targets.iter().copied().zip(targets.into_iter().map(series)).collect(),
        skipped: sent.skipped,
        latest: sent.latest,
    }
}
