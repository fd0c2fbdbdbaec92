//! What the tests share: programs, patience, daemons started by hand, and a
//! watch over what the nodes' kernels hold.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use vippy_client::Status;
use vippy_client::status::GroupStatus;
use vippy_lab::options::vip4;
use vippy_lab::{Cluster, Machine, Options, Port, Probe, ProbeOptions, Process, Series};

/// Longest wait for something that must happen; a busy machine needs some.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A program of this workspace, built beside the test.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is missing: cargo build -p {name}", path.display());
    path
}

/// Three nodes, a client, six groups; times that a machine busy with other
/// tests can keep.
pub(crate) fn calm() -> Options {
    let ms = Duration::from_millis;
    Options { patience: PATIENCE, ..Options::new(program("vippyd")) }.with_times(
        ms(100),
        ms(1000),
        ms(600),
    )
}

/// A cluster in which everything is where it belongs.
pub(crate) fn settled(options: Options) -> Cluster {
    let cluster = Cluster::start(options).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    cluster
}

/// Runs a test on three calm nodes that have settled.
pub(crate) fn calm_cluster() -> Cluster {
    settled(calm())
}

/// Owners by group, as a node tells them.
pub(crate) fn owners(cluster: &Cluster, node: usize) -> BTreeMap<String, String> {
    let status = cluster.status(node).unwrap();
    let owner = |group: &GroupStatus| match &group.owner {
        Some(owner) => owner.to_string(),
        None => "_".into(),
    };
    status.groups.iter().map(|group| (group.id.to_string(), owner(group))).collect()
}

/// The nodes whose kernel has the address on the LAN's interface now.
pub(crate) fn holders(cluster: &Cluster, ip: IpAddr) -> Vec<usize> {
    let has = |node: &usize| has_address(cluster.lan().machine(*node).unwrap(), ip);
    (1..=cluster.lan().nodes()).filter(has).collect()
}

/// Whether the machine's kernel has the address.
pub(crate) fn has_address(machine: &Machine, ip: IpAddr) -> bool {
    machine.addresses().unwrap().iter().any(|(address, _)| *address == ip)
}

/// The one node whose kernel has the address.
pub(crate) fn holder(cluster: &Cluster, ip: IpAddr) -> usize {
    let holders = holders(cluster, ip);
    assert_eq!(holders.len(), 1, "{ip} is on {holders:?}");
    holders[0]
}

/// The virtual addresses on a node's interface.
pub(crate) fn virtual_addresses(cluster: &Cluster, node: usize) -> Vec<IpAddr> {
    let port = Port::Node(node);
    let own = [IpAddr::from(port.ipv4()), port.ipv6().into(), port.link_local().into()];
    let all = cluster.lan().machine(node).unwrap().addresses().unwrap();
    all.into_iter().map(|(ip, _)| ip).filter(|ip| !own.contains(ip)).collect()
}

/// The IPv4 addresses of the demonstration's groups.
pub(crate) fn addresses() -> Vec<IpAddr> {
    [1, 2, 3, 4, 5, 12].map(vip4).to_vec()
}

/// A client asks for the addresses from now on. Slow answers count: only what
/// never comes is lost.
pub(crate) fn ask(cluster: &Cluster, addresses: &[IpAddr]) -> Probe {
    let options = ProbeOptions {
        period: Duration::from_millis(1),
        patience: Duration::from_secs(3),
        ..ProbeOptions::new(addresses.iter().copied())
    };
    let probe = cluster.lan().probe(Port::Client(0), options).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    probe
}

/// A planned move was not noticed: not one question in a thousand a second was
/// lost.
pub(crate) fn assert_unnoticed(ip: &IpAddr, series: &Series) {
    assert_eq!(series.lost(), 0, "{ip}: {series}");
}

/// Waits until a condition holds; its error says what is missing.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> Result<(), String>) {
    let begin = Instant::now();
    while let Err(missing) = condition() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen: {missing}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a node's status is as wanted.
pub(crate) fn await_status(
    cluster: &Cluster,
    node: usize,
    what: &str,
    wanted: impl Fn(&Status) -> bool,
) -> Status {
    let begin = Instant::now();
    loop {
        let status = cluster.status(node).unwrap();
        if wanted(&status) {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}; node{node} says {status:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `ip` on a machine.
pub(crate) fn ip(machine: &Machine, arguments: &[&str]) {
    let mut command = Command::new("ip");
    command.args(arguments);
    let ended = machine.spawn(command).unwrap().wait(PATIENCE).unwrap();
    assert!(ended.is_some_and(|status| status.success()), "ip {arguments:?}: {ended:?}");
}

/// Asks a management socket as a plain HTTP client does: status line and body.
pub(crate) fn get(socket: &Path, path: &str) -> Result<(String, String), String> {
    let mut stream = UnixStream::connect(socket).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let question = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(format!("no HTTP: {answer:?}"))?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

/// A daemon that a test starts by hand, wherever it likes.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) process: Process,
    directory: TempDir,
}

impl Daemon {
    /// Starts `vippyd` on a machine, as a node, with a configuration's text.
    pub(crate) fn start(machine: &Machine, node: &str, config: &str) -> Daemon {
        let directory = tempfile::Builder::new().prefix("vippy-e2e-").tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("vippy.conf"), config).unwrap();
        let log = File::create(path("log")).unwrap();
        let mut command = Command::new(program("vippyd"));
        command
            .arg("-c")
            .arg(path("vippy.conf"))
            .args(["-n", node, "--management"])
            .arg(path("socket"))
            .arg("--state")
            .arg(path("state"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = machine.spawn(command).unwrap();
        Daemon { process, directory }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// The status as JSON, read without the project's own client.
    pub(crate) fn json(&self) -> Result<Value, String> {
        let (_, body) = get(&self.socket(), "/status")?;
        serde_json::from_str(&body).map_err(|e| format!("{e}: {body}"))
    }

    pub(crate) fn status(&self) -> Result<Status, String> {
        serde_json::from_value(self.json()?).map_err(|e| e.to_string())
    }

    /// Waits until the status is as wanted.
    pub(crate) fn await_status(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let begin = Instant::now();
        loop {
            let status = self.status();
            match status {
                Ok(status) if wanted(&status) => return status,
                Ok(_) | Err(_) if begin.elapsed() < PATIENCE => {}
                other => panic!("{what}: {other:#?}\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// When an address was surely on a node: from the end of the first look that
/// found it to the beginning of the last one in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// What the kernels of the nodes held while something went on.
#[derive(Debug)]
pub(crate) struct Record {
    /// Spans by address and node.
    pub(crate) spans: BTreeMap<(IpAddr, usize), Vec<Span>>,
}

impl Record {
    /// How long, in one piece, at least two nodes surely held an address.
    pub(crate) fn longest_double(&self) -> (Duration, Option<IpAddr>) {
        let mut worst = (Duration::ZERO, None);
        for ((ip, node), spans) in &self.spans {
            for ((other_ip, other), others) in &self.spans {
                if ip != other_ip || node >= other {
                    continue;
                }
                for one in spans {
                    for two in others {
                        let end = one.to.min(two.to);
                        let both = end.saturating_duration_since(one.from.max(two.from));
                        worst = worst.max((both, Some(*ip)));
                    }
                }
            }
        }
        worst
    }

    /// Who held the address at any time.
    pub(crate) fn holders(&self, ip: IpAddr) -> Vec<usize> {
        self.spans.keys().filter(|(held, _)| *held == ip).map(|(_, node)| *node).collect()
    }
}

/// Watches what the nodes' kernels hold while `act` goes on.
pub(crate) fn watch<T>(cluster: &Cluster, act: impl FnOnce() -> T) -> (T, Record) {
    let stop = AtomicBool::new(false);
    let look = |node: usize| {
        let machine = cluster.lan().machine(node).unwrap();
        let mut closed: BTreeMap<IpAddr, Vec<Span>> = BTreeMap::new();
        let mut open: BTreeMap<IpAddr, Span> = BTreeMap::new();
        while !stop.load(Ordering::Acquire) {
            let asked = Instant::now();
            let found = machine.addresses().unwrap();
            let done = Instant::now();
            let mut still = BTreeMap::new();
            for (ip, _) in found {
                let from = open.remove(&ip).map_or(done, |span| span.from);
                still.insert(ip, Span { from, to: asked.max(from) });
            }
            for (ip, span) in std::mem::replace(&mut open, still) {
                closed.entry(ip).or_default().push(span);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        for (ip, span) in open {
            closed.entry(ip).or_default().push(span);
        }
        (node, closed)
    };
    std::thread::scope(|scope| {
        let look = &look;
        let nodes = 1..=cluster.lan().nodes();
        let watchers: Vec<_> = nodes.map(|node| scope.spawn(move || look(node))).collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        stop.store(true, Ordering::Release);
        let mut record = Record { spans: BTreeMap::new() };
        for watcher in watchers {
            let (node, spans) = watcher.join().unwrap();
            record.spans.extend(spans.into_iter().map(|(ip, spans)| ((ip, node), spans)));
        }
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (done, record)
    })
}
