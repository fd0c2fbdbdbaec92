//! keepalived beside Vippy on the same LAN, for comparison.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use vippy_lab::{LabError, Lan, Process};

/// The address that keepalived keeps.
pub const KEEPALIVED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 190));

const PROGRAM: &str = "/usr/sbin/keepalived";

/// How long a daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Its daemons and their files. The daemons end with their machines at the
/// latest.
#[derive(Debug)]
pub struct Keepalived {
    directory: TempDir,
    interval: Duration,
    running: Mutex<BTreeMap<usize, Process>>,
}

impl Keepalived {
    /// Ready to start daemons with this advertisement interval; `None` if it is
    /// not installed.
    ///
    /// # Errors
    /// No temporary directory can be made.
    pub fn new(interval: Duration) -> std::io::Result<Option<Keepalived>> {
        if !PathBuf::from(PROGRAM).exists() {
            return Ok(None);
        }
        let directory = tempfile::Builder::new().prefix("vippy-keepalived-").tempdir()?;
        Ok(Some(Keepalived { directory, interval, running: Mutex::default() }))
    }

    /// What `keepalived --version` calls itself.
    pub fn version() -> Option<String> {
        let output = Command::new(PROGRAM).arg("--version").output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    }

    /// Time between two advertisements.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Starts a daemon on a node. The first node has the highest priority, so
    /// it is master whenever it is there.
    ///
    /// # Errors
    /// Files cannot be written or it cannot be started.
    pub fn start(&self, lan: &Lan, node: usize) -> Result<(), LabError> {
        let machine = lan.machine(node)?;
        // An earlier life's address stays in the kernel for good.
        if machine.addresses()?.iter().any(|(ip, _)| *ip == KEEPALIVED) {
            machine.remove_address(KEEPALIVED, 24)?;
        }
        let system = |what: &str| {
            let what = what.to_owned();
            move |source| LabError::System { what, source }
        };
        let path = |kind: &str| self.directory.path().join(format!("{node}.{kind}"));
        // A killed daemon's would name a process of the machine's next life.
        for left in [path("pid"), path("vrrp")] {
            if left.exists() {
                fs::remove_file(left).map_err(system("remove keepalived's pid file"))?;
            }
        }
        fs::write(path("conf"), self.config(node)).map_err(system("write keepalived's file"))?;
        let log = File::create(path("log")).map_err(system("make keepalived's log"))?;
        let errors = log.try_clone().map_err(system("make keepalived's log"))?;
        let mut command = Command::new(PROGRAM);
        command
            .args(["--dont-fork", "--vrrp", "--log-console", "--use-file"])
            .arg(path("conf"))
            .arg("--pid")
            .arg(path("pid"))
            .arg("--vrrp_pid")
            .arg(path("vrrp"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let process = machine.spawn(command)?;
        self.running().insert(node, process);
        Ok(())
    }

    /// Sends a signal to all its processes on a node, children last, and does
    /// not wait for what follows. Nothing happens where it does not run.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&self, node: usize, signal: Signal) -> Result<(), LabError> {
        let Some(parent) = self.running().get(&node).cloned() else { return Ok(()) };
        let children = children(parent.pid());
        parent.signal(signal)?;
        for child in children {
            // One that has ended with its parent is no error.
            let _ = kill(child, signal);
        }
        Ok(())
    }

    /// Asks the daemon on a node to stop, as `systemctl stop` does.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn terminate(&self, node: usize) -> Result<(), LabError> {
        let parent = self.running().get(&node).cloned();
        parent.map_or(Ok(()), |parent| parent.signal(Signal::SIGTERM))
    }

    /// Kills the process that speaks VRRP; its parent starts another.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill_child(&self, node: usize) -> Result<(), LabError> {
        let parent = self.running().get(&node).cloned();
        for child in parent.map(|parent| children(parent.pid())).unwrap_or_default() {
            let _ = kill(child, Signal::SIGKILL);
        }
        Ok(())
    }

    /// Waits until the daemon on a node has ended.
    ///
    /// # Errors
    /// The kernel refuses to tell.
    pub fn wait(&self, node: usize) -> Result<(), LabError> {
        let parent = self.running().remove(&node);
        parent.map_or(Ok(()), |parent| parent.wait(PATIENCE).map(drop))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<usize, Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self, node: usize) -> String {
        let priority = 200 - 20 * node;
        let interval = self.interval.as_secs_f64();
        format!(
            "global_defs {{\n  router_id node{node}\n  vrrp_version 3\n}}\n\
             vrrp_instance lab {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  \
             priority {priority}\n  advert_int {interval}\n  \
             virtual_ipaddress {{\n    {KEEPALIVED}/24 dev eth0\n  }}\n}}\n"
        )
    }
}

fn children(parent: u32) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let numbers = text.unwrap_or_default();
    let numbers = numbers.split_whitespace().filter_map(|number| number.parse().ok());
    numbers.map(Pid::from_raw).collect()
}
