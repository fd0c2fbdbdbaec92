//! keepalived beside Vippy on the same LAN, for comparison.

use std::collections::BTreeMap;
use std::fmt::Write as _;
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

/// What one of its instances keeps.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Addresses with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The node that is master whenever it is there.
    pub home: usize,
}

/// Its daemons and their files. The daemons end with their machines at the
/// latest.
#[derive(Debug)]
pub struct Keepalived {
    directory: TempDir,
    interval: Duration,
    instances: Vec<Instance>,
    running: Mutex<BTreeMap<usize, Process>>,
}

impl Keepalived {
    /// Ready to start daemons with this advertisement interval and one instance,
    /// which keeps [`KEEPALIVED`] on the first node; `None` if it is not installed.
    ///
    /// # Errors
    /// No temporary directory can be made.
    pub fn new(interval: Duration) -> std::io::Result<Option<Keepalived>> {
        Keepalived::with(interval, vec![Instance { addresses: vec![(KEEPALIVED, 24)], home: 1 }])
    }

    /// The same with other instances; the protocol allows 255.
    ///
    /// # Errors
    /// No temporary directory can be made.
    pub fn with(
        interval: Duration,
        instances: Vec<Instance>,
    ) -> std::io::Result<Option<Keepalived>> {
        if !PathBuf::from(PROGRAM).exists() {
            return Ok(None);
        }
        let directory = tempfile::Builder::new().prefix("vippy-keepalived-").tempdir()?;
        Ok(Some(Keepalived { directory, interval, instances, running: Mutex::default() }))
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

    /// Starts a daemon on a node.
    ///
    /// # Errors
    /// Files cannot be written or it cannot be started.
    pub fn start(&self, lan: &Lan, node: usize) -> Result<(), LabError> {
        let machine = lan.machine(node)?;
        // An earlier life's address stays in the kernel for good.
        for (ip, prefix) in machine.addresses()? {
            if self.addresses().any(|kept| *kept == (ip, prefix)) {
                machine.remove_address(ip, prefix)?;
            }
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

    /// All its processes on a node.
    pub fn processes(&self, node: usize) -> Vec<u32> {
        let parent = self.running().get(&node).map(Process::pid);
        let children = parent.map(children).unwrap_or_default();
        let children = children.into_iter().filter_map(|child| u32::try_from(child.as_raw()).ok());
        parent.into_iter().chain(children).collect()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<usize, Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> impl Iterator<Item = &(IpAddr, u8)> {
        self.instances.iter().flat_map(|instance| &instance.addresses)
    }

    fn config(&self, node: usize) -> String {
        let mut text = format!("global_defs {{\n  router_id node{node}\n  vrrp_version 3\n}}\n");
        let interval = self.interval.as_secs_f64();
        for (id, instance) in (1..).zip(&self.instances) {
            instance.write(&mut text, id, node, interval);
        }
        text
    }
}

impl Instance {
    fn write(&self, text: &mut String, id: u8, node: usize, interval: f64) {
        let priority = if node == self.home { 200 } else { 180 - node };
        let _ = write!(
            text,
            "vrrp_instance lab{id} {{\n  state BACKUP\n  interface eth0\n  \
             virtual_router_id {id}\n  priority {priority}\n  advert_int {interval}\n"
        );
        // What an advert names must fit into it: the others go along unnamed.
        let (named, others) = self.addresses.split_at(self.addresses.len().min(1));
        for (block, addresses) in
            [("virtual_ipaddress", named), ("virtual_ipaddress_excluded", others)]
        {
            if addresses.is_empty() {
                continue;
            }
            let _ = writeln!(text, "  {block} {{");
            for (ip, prefix) in addresses {
                let _ = writeln!(text, "    {ip}/{prefix} dev eth0");
            }
            text.push_str("  }\n");
        }
        text.push_str("}\n");
    }
}

fn children(parent: u32) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let numbers = text.unwrap_or_default();
    let numbers = numbers.split_whitespace().filter_map(|number| number.parse().ok());
    numbers.map(Pid::from_raw).collect()
}
