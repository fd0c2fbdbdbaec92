//! One machine of the lab: a network and a host name of its own, and whatever is
//! started on it.
//!
//! Owns the namespaces; processes run on its `power`. Does not know
//! what the machine is wired to; that is [`crate::lan`].
//!
//! Nothing has a name in the file system: the network lives as long as the
//! thread inside it, its processes and its sockets.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rtnetlink::Handle;

use crate::error::{Context, LabError};
use crate::netlink::{self, HardwareAddress};
use crate::power::Power;
use crate::process::Process;

/// Name of the interface that joins a machine to the LAN.
pub const INTERFACE: &str = "eth0";

/// How long the kernel may take to get a link or an address ready.
const READY_WITHIN: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&mut Inside) + Send>;

/// A machine. It vanishes, with all its processes, when dropped.
pub struct Machine {
    name: String,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    namespaces: Namespaces,
    running: Mutex<Running>,
}

/// Files that name the namespaces.
struct Namespaces {
    network: File,
    hostname: File,
}

/// What runs on a machine.
#[derive(Default)]
struct Running {
    power: Option<Power>,
    processes: Vec<Process>,
}

impl Machine {
    /// A machine with nothing but a loopback interface.
    ///
    /// # Errors
    /// The namespaces cannot be made: most often a lack of privilege, see
    /// [`crate::enter_user_namespace_if_needed`].
    pub fn new(name: &str) -> Result<Machine, LabError> {
        let (jobs, queue) = channel();
        let (ready, booted) = channel();
        let thread = std::thread::Builder::new()
            .name(format!("lab {name}"))
            .spawn({
                let name = name.to_string();
                move || live(&name, &ready, &queue)
            })
            .context(|| format!("start the thread of {name}"))?;
        let namespaces = booted.recv().map_err(|_| gone(name))??;
        let (jobs, thread) = (Some(jobs), Some(thread));
        Ok(Machine { name: name.into(), jobs, thread, namespaces, running: Mutex::default() })
    }

    /// Its name, which is also its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a function on the thread inside the machine and waits for it.
    /// Sockets that it opens belong to the machine's network for good, wherever
    /// they are used later.
    ///
    /// A process started here would outlive a killed lab; that is what
    /// [`Machine::spawn`] is for.
    ///
    /// # Errors
    /// [`LabError::MachineGone`] when this or an earlier function panicked.
    pub fn run<T: Send + 'static>(
        &self,
        function: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LabError> {
        self.inside(|_| function())
    }

    pub(crate) fn inside<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Inside) -> T + Send + 'static,
    ) -> Result<T, LabError> {
        let (answer, result) = channel();
        let job = Box::new(move |inside: &mut Inside| {
            // Nobody listens only when the caller's thread is gone.
            let _ = answer.send(job(inside));
        });
        let jobs = self.jobs.as_ref().ok_or_else(|| gone(&self.name))?;
        jobs.send(job).map_err(|_| gone(&self.name))?;
        result.recv().map_err(|_| gone(&self.name))
    }

    /// Runs netlink verbs in the machine; `what` completes "cannot …".
    pub(crate) fn netlink<T: Send + 'static, F>(
        &self,
        what: impl FnOnce() -> String,
        verbs: impl FnOnce(Handle) -> F + Send + 'static,
    ) -> Result<T, LabError>
    where
        F: Future<Output = Result<T, rtnetlink::Error>>,
    {
        let result = self.inside(|inside| {
            let verbs = verbs(inside.handle.clone());
            inside.runtime.block_on(verbs)
        })?;
        result.map_err(|source| LabError::Netlink {
            machine: self.name.clone(),
            what: what(),
            source,
        })
    }

    /// Starts a process on the machine, in a process group of its own. It ends
    /// with the machine at the latest.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(&self, mut command: Command) -> Result<Process, LabError> {
        command.process_group(0);
        self.spawn_in_foreground(command)
    }

    /// Starts a process that shares the lab's terminal.
    pub(crate) fn spawn_in_foreground(&self, command: Command) -> Result<Process, LabError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut running = self.running();
        let child = self
            .powered(&mut running)
            .and_then(|power| power.spawn(command))
            .context(|| format!("start {program} on {}", self.name))?;
        let process = Process::new(child);
        running.processes.retain(|process| matches!(process.ended(), Ok(None)));
        running.processes.push(process.clone());
        Ok(process)
    }

    fn powered<'a>(&self, running: &'a mut Running) -> io::Result<&'a mut Power> {
        let power = match running.power.take() {
            Some(power) => power,
            None => {
                let Namespaces { network, hostname } = &self.namespaces;
                Power::on(&self.name, network.try_clone()?, hostname.try_clone()?)?
            }
        };
        Ok(running.power.insert(power))
    }

    /// Kills every process on the machine at once, as pulling the power cord
    /// does, and waits until they are gone. Links and addresses stay. The
    /// machine can start processes again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn power_off(&self) -> Result<(), LabError> {
        let mut running = self.running();
        let Some(mut power) = running.power.take() else { return Ok(()) };
        power.kill().context(|| format!("kill the processes of {}", self.name))?;
        // The first process stays until the lab has seen off the others.
        for process in running.processes.drain(..) {
            process.wait(Duration::MAX)?;
        }
        power.bury().context(|| format!("see off the processes of {}", self.name))
    }

    /// Addresses of the LAN interface with their prefix lengths.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn addresses(&self) -> Result<Vec<(IpAddr, u8)>, LabError> {
        self.netlink(
            || "list addresses".into(),
            async |handle| {
                let link = netlink::link(&handle, INTERFACE).await?;
                netlink::addresses(&handle, link.index).await
            },
        )
    }

    /// Puts an address on the LAN interface, usable at once. Tells nobody.
    ///
    /// # Errors
    /// The kernel refuses, for instance because it is there already.
    pub fn add_address(&self, ip: IpAddr, prefix: u8) -> Result<(), LabError> {
        let works = self.netlink(
            || format!("add {ip}/{prefix}"),
            async move |handle| {
                let link = netlink::link(&handle, INTERFACE).await?;
                netlink::add_address(&handle, link.index, ip, prefix).await?;
                Ok(link.works)
            },
        )?;
        if works { self.wait_until_heard(ip) } else { Ok(()) }
    }

    /// Waits until neighbours that ask for `ip` are heard. For IPv6 the kernel
    /// joins the group they ask by only after it has said that the address is
    /// there; who asks in between has to ask again a second later.
    pub(crate) fn wait_until_heard(&self, ip: IpAddr) -> Result<(), LabError> {
        let IpAddr::V6(ip) = ip else { return Ok(()) };
        let [.., a, b, c] = ip.octets();
        // RFC 4291, section 2.7.1.
        let group = format!("ff0200000000000000000001ff{a:02x}{b:02x}{c:02x}");
        self.wait_for(&format!("the group of {ip}"), || {
            let groups = self.run(|| std::fs::read_to_string("/proc/thread-self/net/igmp6"))?;
            let groups = groups.context(|| format!("list the IPv6 groups of {}", self.name))?;
            Ok(groups.lines().any(|line| line.contains(INTERFACE) && line.contains(&group)))
        })
    }

    /// Waits until a link of this machine passes frames.
    pub(crate) fn wait_until_works(&self, link: &str) -> Result<(), LabError> {
        self.wait_for(link, || {
            let name = link.to_string();
            self.netlink(
                || format!("look at {link}"),
                async move |handle| Ok(netlink::link(&handle, &name).await?.works),
            )
        })
    }

    fn wait_for(
        &self,
        what: &str,
        mut there: impl FnMut() -> Result<bool, LabError>,
    ) -> Result<(), LabError> {
        let begin = Instant::now();
        while !there()? {
            if begin.elapsed() >= READY_WITHIN {
                let what = format!("{what} on {}", self.name);
                let last = "it is not ready".into();
                return Err(LabError::TimedOut { what, after: READY_WITHIN, last });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Takes an address off the LAN interface.
    ///
    /// # Errors
    /// The kernel refuses, for instance because it is not there.
    pub fn remove_address(&self, ip: IpAddr, prefix: u8) -> Result<(), LabError> {
        self.netlink(
            || format!("remove {ip}/{prefix}"),
            async move |handle| {
                let link = netlink::link(&handle, INTERFACE).await?;
                netlink::remove_address(&handle, link.index, ip, prefix).await
            },
        )
    }

    /// The machine's ARP and neighbour cache on the LAN interface.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn neighbours(&self) -> Result<Vec<(IpAddr, Option<HardwareAddress>)>, LabError> {
        self.netlink(
            || "list neighbours".into(),
            async |handle| {
                let link = netlink::link(&handle, INTERFACE).await?;
                netlink::neighbours(&handle, link.index).await
            },
        )
    }

    /// Empties the machine's ARP and neighbour cache on the LAN interface.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn flush_neighbours(&self) -> Result<(), LabError> {
        self.netlink(
            || "flush neighbours".into(),
            async |handle| {
                let link = netlink::link(&handle, INTERFACE).await?;
                netlink::flush_neighbours(&handle, link.index).await
            },
        )
    }

    /// Datagrams that the machine's kernel threw away so far because a socket's
    /// buffer was full. What a client lost like that says nothing about anybody
    /// else.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn dropped_datagrams(&self) -> Result<u64, LabError> {
        let read = || {
            let read = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
            Ok::<_, io::Error>((read("snmp")?, read("snmp6")?))
        };
        let what = || format!("read the counters of {}", self.name);
        let (four, six) = self.run(read)?.context(what)?;
        Ok(dropped_in(&four, &six))
    }

    /// Whether the cable of the LAN interface is plugged in at both ends.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn has_carrier(&self) -> Result<bool, LabError> {
        self.netlink(
            || "look at the link".into(),
            async |handle| Ok(netlink::link(&handle, INTERFACE).await?.carrier),
        )
    }

    /// The network namespace.
    pub(crate) fn netns(&self) -> io::Result<File> {
        self.namespaces.network.try_clone()
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `RcvbufErrors` of UDP, both families: a line of names and one of values, and
/// a line for each name.
fn dropped_in(four: &str, six: &str) -> u64 {
    let mut udp = four.lines().filter(|line| line.starts_with("Udp:"));
    let names = udp.next().unwrap_or_default().split_whitespace();
    let mut pairs = names.zip(udp.next().unwrap_or_default().split_whitespace());
    let four = pairs.find(|(name, _)| *name == "RcvbufErrors").map(|(_, value)| value);
    let six = six.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors"));
    [four, six].into_iter().flatten().filter_map(|value| value.trim().parse::<u64>().ok()).sum()
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // What cannot be killed now goes with the lab's process.
        let _ = self.power_off();
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone(machine: &str) -> LabError {
    LabError::MachineGone { machine: machine.into() }
}

/// What only the thread inside the machine has.
pub(crate) struct Inside {
    runtime: tokio::runtime::Runtime,
    handle: Handle,
}

/// The life of the thread: boot, tell, then work until nobody asks any more.
fn live(name: &str, ready: &Sender<Result<Namespaces, LabError>>, queue: &Receiver<Job>) {
    let (mut inside, namespaces) = match boot(name) {
        Ok(booted) => booted,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    if ready.send(Ok(namespaces)).is_err() {
        return;
    }
    while let Ok(job) = queue.recv() {
        job(&mut inside);
    }
}

fn boot(name: &str) -> Result<(Inside, Namespaces), LabError> {
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
    unshare(spaces).context(|| {
        format!("give {name} a network of its own (root or a user namespace is needed)")
    })?;
    nix::unistd::sethostname(name).context(|| format!("name a machine {name}"))?;
    let open = |kind: &str| {
        let path = format!("/proc/thread-self/ns/{kind}");
        File::open(&path).context(|| format!("open {path} of {name}"))
    };
    let namespaces = Namespaces { network: open("net")?, hostname: open("uts")? };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context(|| format!("start the runtime of {name}"))?;
    let (connection, handle, _) = {
        let _context = runtime.enter();
        rtnetlink::new_connection().context(|| format!("open netlink on {name}"))?
    };
    runtime.spawn(connection);
    let loopback = async {
        let link = netlink::link(&handle, "lo").await?;
        netlink::set_up(&handle, link.index, true).await
    };
    runtime.block_on(loopback).map_err(|source| LabError::Netlink {
        machine: name.into(),
        what: "turn the loopback interface on".into(),
        source,
    })?;
    Ok((Inside { runtime, handle }, namespaces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_datagrams_of_both_families_are_counted() {
        let four = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams RcvbufErrors InCsumErrors\n\
                    Udp: 900 7 0\nUdpLite: InDatagrams RcvbufErrors\nUdpLite: 0 5\n";
        let six = "Udp6InDatagrams \t3\nUdp6RcvbufErrors        \t2\n";
        assert_eq!(dropped_in(four, six), 9);
    }
}
