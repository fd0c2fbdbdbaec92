//! A cluster and keepalived on the same nodes, and what is seen of both while
//! something happens: who had which address, which questions were answered.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vippy_lab::{
    Cluster, Frame, FrameKind, Options, Port, Presence, Probe, ProbeOptions, ProbeReport, Series,
    Tap, Watch,
};

use super::experiments::Outcome;
use super::keepalived::KEEPALIVED;
use super::{GROUP, Keepalived, ms};

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What is told of the chat around a moment.
const CHATTER_BEFORE: Duration = Duration::from_millis(20);
const CHATTER_BEHIND: Duration = Duration::from_millis(200);

/// A run that tells nothing: not what was looked at lost something, but those
/// who looked on.
#[derive(Debug)]
pub(super) struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a run tells nothing: {}", self.0)
    }
}

impl Error for Invalid {}

/// Datagrams that found a socket's buffer full, on all machines, so far.
fn full_buffers(cluster: &Cluster) -> Outcome<u64> {
    let lan = cluster.lan();
    lan.ports().map(|port| Ok(lan.machine(port)?.dropped_datagrams()?)).sum()
}

/// Both programs at work.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) cluster: Cluster,
    pub(super) keepalived: Option<Keepalived>,
}

impl Scene {
    /// Starts both and waits until each address is on one node; keepalived's on
    /// node1.
    pub(super) fn new(options: Options, adverts: Option<Duration>) -> Outcome<Scene> {
        let cluster = Cluster::start(options)?;
        let keepalived = adverts.map(Keepalived::new).transpose()?.flatten();
        let scene = Scene { cluster, keepalived };
        for node in 1..=scene.cluster.lan().nodes() {
            scene.start_keepalived(node)?;
        }
        scene.cluster.wait_settled(PATIENCE)?;
        scene.wait_for_master(1)?;
        Ok(scene)
    }

    pub(super) fn start_keepalived(&self, node: usize) -> Outcome<()> {
        if let Some(keepalived) = &self.keepalived {
            keepalived.start(self.cluster.lan(), node)?;
        }
        Ok(())
    }

    /// Waits until keepalived's address is on one node alone.
    pub(super) fn wait_for_master(&self, node: usize) -> Outcome<()> {
        if self.keepalived.is_none() {
            return Ok(());
        }
        self.wait_for_holder(KEEPALIVED, node)
    }

    /// Waits until the kernel of one node alone has an address.
    pub(super) fn wait_for_holder(&self, ip: IpAddr, node: usize) -> Outcome<()> {
        let what = format!("{ip} on node{node} alone");
        Ok(self.cluster.wait_until(&what, PATIENCE, |cluster| {
            let mut on = Vec::new();
            for node in 1..=cluster.lan().nodes() {
                let machine = cluster.lan().machine(node).map_err(|error| error.to_string())?;
                let addresses = machine.addresses().map_err(|error| error.to_string())?;
                on.extend(addresses.iter().any(|(held, _)| *held == ip).then_some(node));
            }
            if on == [node] { Ok(()) } else { Err(format!("on {on:?}")) }
        })?)
    }

    /// The targets of a probe: these, and keepalived's where it takes part.
    pub(super) fn with_other(&self, targets: &[IpAddr]) -> Vec<IpAddr> {
        let other = self.keepalived.as_ref().map(|_| KEEPALIVED);
        targets.iter().copied().chain(other).collect()
    }

    /// Looks on from now on: a client asks the addresses, `rate` questions a
    /// second each.
    pub(super) fn look(&self, from: &[Port], targets: &[IpAddr], rate: u32) -> Outcome<Look> {
        let lan = self.cluster.lan();
        let watch = lan.watch()?;
        let options = || ProbeOptions {
            period: Duration::from_secs(1) / rate.max(1),
            patience: Duration::from_secs(2),
            ..ProbeOptions::new(targets.iter().copied())
        };
        let probe = |port: &Port| Ok((*port, lan.probe(*port, options())?));
        let full = full_buffers(&self.cluster)?;
        let probes = from.iter().map(probe).collect::<Outcome<_>>()?;
        Ok(Look { watch, probes, taps: BTreeMap::new(), full })
    }

    /// The end of every daemon's log: what was logged since those lengths.
    pub(super) fn logs_since(&self, lengths: &BTreeMap<usize, usize>) -> String {
        let mut text = String::new();
        for (node, length) in lengths {
            let log = self.cluster.log(*node).unwrap_or_default();
            for line in log.get(*length..).unwrap_or_default().lines() {
                let _ = writeln!(text, "    node{node} {line}");
            }
        }
        text
    }

    /// How much each daemon has logged.
    pub(super) fn log_lengths(&self) -> BTreeMap<usize, usize> {
        let length = |node| (node, self.cluster.log(node).unwrap_or_default().len());
        (1..=self.cluster.lan().nodes()).map(length).collect()
    }
}

/// Somebody looks on.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) watch: Watch,
    probes: BTreeMap<Port, Probe>,
    taps: BTreeMap<Port, Tap>,
    /// Datagrams that found a full buffer before it began.
    full: u64,
}

impl Look {
    /// Listens to what these nodes say, too.
    pub(super) fn listening(mut self, scene: &Scene, nodes: &[usize]) -> Outcome<Look> {
        for node in nodes {
            self.taps.insert(Port::Node(*node), scene.cluster.lan().tap(*node)?);
        }
        Ok(self)
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`Invalid`] when the onlookers themselves lost something.
    pub(super) fn finish(self, scene: &Scene) -> Outcome<Seen> {
        let probes = self.probes.into_iter().map(|(port, probe)| (port, probe.finish())).collect();
        let frames = self.taps.into_iter().map(|(port, tap)| (port, tap.finish())).collect();
        let presence = self.watch.finish();
        if presence.incomplete {
            return Err(Invalid("the kernel lost messages about addresses".into()).into());
        }
        let full = full_buffers(&scene.cluster)? - self.full;
        if full > 0 {
            let text = format!("{full} datagrams found a socket's buffer full");
            return Err(Invalid(text).into());
        }
        Ok(Seen { presence, reports: probes, frames })
    }
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) presence: Presence,
    pub(super) reports: BTreeMap<Port, ProbeReport>,
    pub(super) frames: BTreeMap<Port, Vec<Frame>>,
}

impl Seen {
    /// The questions that a client asked an address.
    pub(super) fn series(&self, client: Port, ip: IpAddr) -> Outcome<&Series> {
        let series = self.reports.get(&client).and_then(|report| report.series.get(&ip));
        series.ok_or_else(|| format!("{client} did not ask {ip}").into())
    }

    /// Questions lost that left at or after a moment.
    pub(super) fn lost_since(&self, client: Port, ip: IpAddr, since: Instant) -> Outcome<usize> {
        Ok(self.lost(client, ip)?.into_iter().filter(|at| *at >= since).count())
    }

    /// When the questions left that nobody answered.
    pub(super) fn lost(&self, client: Port, ip: IpAddr) -> Outcome<Vec<Instant>> {
        let series = self.series(client, ip)?;
        let lost = series.questions.iter().filter(|question| question.answers.is_empty());
        Ok(lost.map(|question| series.started + question.sent).collect())
    }

    /// What happened to an address around a moment, a line a thing, in
    /// milliseconds from that moment: for people who look for a reason.
    pub(super) fn story(&self, client: Port, ip: IpAddr, zero: Instant) -> Outcome<String> {
        let mut lines: Vec<(f64, String)> = Vec::new();
        let near = |at: Instant| at + CHATTER_BEFORE > zero && at < zero + CHATTER_BEHIND;
        let since =
            |at: Instant| at.checked_duration_since(zero).map_or_else(|| -ms(zero - at), ms);
        for port in self.presence.ever(ip) {
            for span in self.presence.spans(ip, port) {
                if span.from > self.presence.began {
                    lines.push((since(span.from), format!("{port} has it")));
                }
                if let Some(to) = span.to {
                    lines.push((since(to), format!("{port} has it no more")));
                }
            }
        }
        let series = self.series(client, ip)?;
        for outage in series.outages() {
            let from = series.started + outage.after;
            let end = outage
                .until
                .map_or("the end".into(), |until| format!("{:.2}", since(series.started + until)));
            lines.push((
                since(from),
                format!("last answer before {} lost; next {end}", outage.lost),
            ));
        }
        for reign in series.reigns() {
            lines.push((since(series.started + reign.from), format!("{} answers", reign.by)));
        }
        for (port, frames) in &self.frames {
            for frame in frames {
                if tells(frame, ip) {
                    lines.push((since(frame.at), format!("{port} tells the neighbours")));
                } else if frame.kind == FrameKind::Udp(GROUP.port()) && near(frame.at) {
                    let length = frame.bytes.len();
                    lines.push((since(frame.at), format!("{port} chats ({length} bytes)")));
                }
            }
        }
        lines.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut text = String::new();
        for (at, what) in lines {
            let _ = writeln!(text, "    {at:>10.2} ms  {what}");
        }
        Ok(text)
    }
}

/// Whether a frame tells everybody where the address is.
pub fn tells(frame: &Frame, ip: IpAddr) -> bool {
    told(frame) == Some(ip)
}

/// The address of which a frame tells everybody where it is: a gratuitous ARP, or
/// an unsolicited neighbour advertisement.
pub fn told(frame: &Frame) -> Option<IpAddr> {
    let bytes = &frame.bytes;
    match frame.kind {
        FrameKind::Arp => {
            let address = |from: usize| bytes.get(from..)?.first_chunk().copied();
            let (sender, target): (Option<[u8; 4]>, Option<[u8; 4]>) = (address(28), address(38));
            sender.filter(|_| sender == target).map(IpAddr::from)
        }
        FrameKind::Icmp6 => {
            // An advertisement to all nodes (RFC 4861, section 4.4).
            let everybody = bytes.get(0..6) == Some(&[0x33, 0x33, 0, 0, 0, 1]);
            let kind = bytes.get(54) == Some(&136);
            let target: [u8; 16] = bytes.get(62..)?.first_chunk().copied()?;
            (everybody && kind).then(|| IpAddr::from(target))
        }
        FrameKind::Udp(_) | FrameKind::Other => None,
    }
}
