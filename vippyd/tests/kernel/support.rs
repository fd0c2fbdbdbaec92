//! A network namespace of its own for each test, with `eth0` wired to `far0`.
//!
//! Needs root; without it every test here fails, it never passes unseen. The
//! witness is `ip`, which knows nothing of Vippy.

use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rtnetlink::{LinkUnspec, LinkVeth};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use vippy_core::config::{Address, Group};
use vippy_core::input::ResourceReport;
use vippyd::kernel::{Homes, Kernel, Report, Settings, Started};

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A namespace and a state directory.
pub(crate) struct Lan {
    state: TempDir,
}

/// Runs a test on a thread that is alone in a new network namespace.
pub(crate) fn in_namespace(test: impl FnOnce(&Lan) + Send + 'static) {
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("this test makes namespaces: it needs root");
        let lan = Lan { state: tempfile::tempdir().unwrap() };
        lan.wire();
        test(&lan);
    };
    if let Err(panic) = std::thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

impl Lan {
    /// Makes `eth0` and `far0`, wired to each other, and sets all links up.
    pub(crate) fn wire(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            let connection = tokio::spawn(connection);
            let veth = LinkVeth::new("eth0", "far0").build();
            handle.link().add(veth).execute().await.unwrap();
            for name in ["lo", "eth0", "far0"] {
                let index = nix::net::if_::if_nametoindex(name).unwrap();
                let up = LinkUnspec::new_with_index(index).up().build();
                handle.link().set(up).execute().await.unwrap();
            }
            connection.abort();
        });
        eventually("eth0 is up", || {
            links().iter().filter(|link| link["operstate"] == "UP").count() == 2
        });
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { ledger: self.ledger() }
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.state.path().join("ledger")
    }

    /// Starts a worker that knows these groups.
    pub(crate) fn start(&self, groups: &[Arc<Group>]) -> Running {
        let started = Kernel::start(self.settings(), groups).unwrap();
        Running::new(started)
    }
}

/// A worker and its reports.
pub(crate) struct Running {
    pub(crate) kernel: Kernel,
    pub(crate) present: Vec<String>,
    pub(crate) homes: watch::Receiver<Homes>,
    reports: UnboundedReceiver<Report>,
    notices: UnboundedReceiver<String>,
    renewals: UnboundedReceiver<Duration>,
}

impl Running {
    fn new(started: Started) -> Running {
        let Started { kernel, reports, notices, renewals, homes, present } = started;
        let present = present.iter().map(ToString::to_string).collect();
        Running { kernel, present, homes, reports, notices, renewals }
    }

    /// The next report about a group; those about others are dropped.
    pub(crate) fn next(&mut self, group: &Group) -> ResourceReport {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.reports.try_recv() {
                Ok(report) if report.group == group.id => return report.report,
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_micros(50)),
            }
        }
        panic!("no report about {} within {PATIENCE:?}", group.id);
    }

    /// The next report about any group, without a pause before its return.
    pub(crate) fn next_of_any(&mut self) -> Report {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.reports.try_recv() {
                Ok(report) => return report,
                Err(_) => std::thread::yield_now(),
            }
        }
        panic!("no report within {PATIENCE:?}");
    }

    /// Waits for as many reports of this kind, of any group.
    pub(crate) fn await_all(&mut self, count: usize, wanted: &ResourceReport) {
        let end = Instant::now() + PATIENCE;
        let mut seen = 0;
        while seen < count {
            assert!(Instant::now() < end, "{seen} of {count} reports of {wanted:?}");
            match self.reports.try_recv() {
                Ok(report) if report.report == *wanted => seen += 1,
                Ok(report) => panic!("expected {wanted:?}, got {report:?}"),
                Err(_) => std::thread::sleep(Duration::from_micros(50)),
            }
        }
    }

    /// Orders a renewal and waits for its cost.
    pub(crate) fn renew(&mut self, lifetime: u64) -> Duration {
        self.kernel.renew(Duration::from_secs(lifetime));
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok(took) = self.renewals.try_recv() {
                return took;
            }
            assert!(Instant::now() < end, "no renewal within {PATIENCE:?}");
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Whether no report has come.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.reports.try_recv().is_err()
    }

    pub(crate) fn drain(&mut self) {
        while self.reports.try_recv().is_ok() {}
    }

    /// Orders a group up and waits until it is.
    pub(crate) fn plumb(&mut self, group: &Arc<Group>, lifetime: Option<u64>) {
        self.drain();
        self.kernel.plumb(Arc::clone(group), lifetime.map(Duration::from_secs));
        assert_eq!(self.next(group), ResourceReport::Up);
    }

    /// Orders a group down and waits until it is.
    pub(crate) fn unplumb(&mut self, group: &Arc<Group>) {
        self.drain();
        self.kernel.unplumb(group.id.clone());
        assert_eq!(self.next(group), ResourceReport::Down);
    }

    pub(crate) fn notices(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.notices.try_recv().ok()).collect()
    }
}

/// A group of `interface address/prefix` items, or of mere `address/prefix`.
pub(crate) fn group(items: &[&str]) -> Arc<Group> {
    let address = |item: &&str| match item.split_once(' ') {
        Some((interface, net)) => Address::on(interface, net.parse().unwrap()),
        None => Address::anywhere(item.parse().unwrap()),
    };
    Arc::new(Group {
        id: items.join(",").as_str().into(),
        name: None,
        prefer: None,
        exclusive: false,
        failback: vippy_core::config::Failback::Auto,
        addresses: items.iter().map(address).collect(),
    })
}

/// Runs `ip` with the words of a line; it must succeed.
pub(crate) fn ip(line: &str) -> String {
    let output = Command::new("ip")
        .args(line.split_whitespace())
        .output()
        .expect("the witness of these tests is `ip` of Debian's iproute2");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {line}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

fn ip_json(line: &str) -> Vec<Value> {
    serde_json::from_str(&ip(&format!("-j {line}"))).unwrap()
}

pub(crate) fn links() -> Vec<Value> {
    ip_json("link show")
}

/// Routes of the main table, both families, as text.
pub(crate) fn routes() -> String {
    ip("route show") + &ip("-6 route show")
}

/// What `ip` says about an address, wherever it is; `None` if it is nowhere.
pub(crate) fn seen(address: &str) -> Option<Value> {
    let address: IpAddr = address.parse().unwrap();
    let all = ip_json("address show");
    all.iter().find_map(|link| {
        let infos = link["addr_info"].as_array()?;
        let local = |info: &&Value| info["local"].as_str().and_then(|ip| ip.parse().ok());
        let mut info = infos.iter().find(|info| local(info) == Some(address))?.clone();
        info["on"] = link["ifname"].clone();
        Some(info)
    })
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a test of this program, by name, once more without any rights: there
/// `without_rights` is what it does.
pub(crate) fn again_without_rights(name: &str, without_rights: impl FnOnce()) {
    const CHILD: &str = "VIPPY_TEST_WITHOUT_RIGHTS";
    if std::env::var_os(CHILD).is_some() {
        return without_rights();
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(CHILD, "1")
        .uid(65534)
        .gid(65534)
        .status()
        .expect("this test gives up its rights: it needs root");
    assert!(status.success());
}
