//! keepalived beside Vippy on the same LAN, for comparison.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use vippy_lab::{LabError, Machine};

/// The address that keepalived keeps.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 190);

const PROGRAM: &str = "/usr/sbin/keepalived";

/// Its daemons' files. The daemons themselves end with their machines.
#[derive(Debug)]
pub struct Keepalived {
    directory: TempDir,
    interval: Duration,
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
        Ok(Some(Keepalived { directory, interval }))
    }

    /// What `keepalived --version` calls itself.
    pub fn version() -> Option<String> {
        let output = Command::new(PROGRAM).arg("--version").output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    }

    /// Starts a daemon on a machine. The first node has the highest priority,
    /// so it is master whenever it is there.
    ///
    /// # Errors
    /// Files cannot be written or it cannot be started.
    pub fn start(&self, machine: &Machine, node: usize) -> Result<(), LabError> {
        // An earlier life's address stays in the kernel for good.
        if machine.addresses()?.iter().any(|(ip, _)| *ip == IpAddr::V4(ADDRESS)) {
            machine.remove_address(ADDRESS.into(), 24)?;
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
        machine.spawn(command).map(drop)
    }

    fn config(&self, node: usize) -> String {
        let priority = 200 - 20 * node;
        let interval = self.interval.as_secs_f64();
        format!(
            "global_defs {{\n  router_id node{node}\n  vrrp_version 3\n}}\n\
             vrrp_instance lab {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  \
             priority {priority}\n  advert_int {interval}\n  \
             virtual_ipaddress {{\n    {ADDRESS}/24 dev eth0\n  }}\n}}\n"
        )
    }
}
