//! `make demo`: a cluster of three in network namespaces, a failure, a return,
//! and a maintenance, each watched from a client that asks every address a
//! thousand times a second.
//!
//! Exit code 0 only when every step was seen to happen.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use vippy_client::status::{GroupStatus, Status};
use vippy_lab::options::{vip4, vip6};
use vippy_lab::{Cluster, Options, Port, ProbeOptions, ProbeReport};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long anything may take before the demonstration gives up.
const PATIENCE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    match demonstrate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demonstration failed: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn demonstrate() -> Outcome<()> {
    vippy_lab::enter_user_namespace_if_needed()?;
    let show = Show::new()?;
    show.title("Vippy keeps virtual addresses on exactly one live node");
    show.say(
        "Three nodes and a client, each in a network namespace of its own, on one switch.\n\
         Real daemons, the real kernel; announcements every 0.1 s, a node counts as dead\n\
         after 0.3 s of silence. A client asks every address 1,000 times a second.",
    );

    show.step("1", "Start vippyd on node1, node2 and node3");
    let cluster = Cluster::start(Options::new(&show.vippyd))?;
    cluster.wait_settled(PATIENCE)?;
    show.status(&cluster, 1)?;

    let victim = owner(&cluster, 1, 0)?;
    failure(&show, &cluster, victim)?;
    let survivor = if victim == 1 { 2 } else { 1 };
    show.status(&cluster, survivor)?;

    comeback(&show, &cluster, victim)?;
    maintenance(&show, &cluster, survivor)?;
    show.status(&cluster, 1)?;
    show.title("Every step was seen to happen.");
    show.say(
        "Next: `vippyctl lab` gives you such a cluster to break by hand; README.md starts\n\
         one on two real machines.",
    );
    Ok(())
}

/// A node loses power and network at the same moment.
fn failure(show: &Show, cluster: &Cluster, victim: usize) -> Outcome<()> {
    let node = Port::Node(victim);
    show.step("2", &format!("Pull the plug of {node}"));
    let lost = addresses_of(cluster, 4 - victim.min(2), victim)?;
    let probe = cluster.lan().probe(Port::Client(0), ProbeOptions::new(all_addresses()))?;
    std::thread::sleep(Duration::from_millis(700));
    cluster.crash_node(victim)?;
    cluster.wait_settled(PATIENCE)?;
    std::thread::sleep(Duration::from_millis(700));
    let report = probe.finish();
    show.report(&report, &lost);
    for (address, series) in &report.series {
        let last = series.reigns().last().map(|reign| reign.by);
        check(last.is_some_and(|by| by != node), format!("{address} was not taken over"))?;
        let moved = lost.contains(address);
        check(moved || series.lost() == 0, format!("{address} did not stay, but was disturbed"))?;
    }
    let worst = report.outage();
    show.say(&format!(
        "Longest outage a client saw: {:.0} ms. The other addresses lost nothing.",
        worst.as_secs_f64() * 1000.0
    ));
    check(worst < Duration::from_secs(2), format!("an outage of {worst:?} is too long"))
}

/// The node returns and takes back what is its own.
fn comeback(show: &Show, cluster: &Cluster, victim: usize) -> Outcome<()> {
    let node = Port::Node(victim);
    show.step("3", &format!("Start {node} again: it gets its addresses back"));
    let probe = cluster.lan().probe(Port::Client(0), ProbeOptions::new(all_addresses()))?;
    cluster.start_node(victim)?;
    cluster.wait_settled(PATIENCE)?;
    std::thread::sleep(Duration::from_millis(500));
    let report = probe.finish();
    let back = addresses_of(cluster, victim, victim)?;
    show.report(&report, &back);
    check(!back.is_empty(), format!("{node} got nothing back"))?;
    show.verdict(&report, "The new holder answers before the old one lets go");
    check(report.lost() == 0, format!("the return lost {} datagrams", report.lost()))
}

/// A node is drained for maintenance and resumes.
fn maintenance(show: &Show, cluster: &Cluster, node: usize) -> Outcome<()> {
    let name = Port::Node(node);
    show.step("4", &format!("vippyctl drain on {name}, then resume"));
    let held = addresses_of(cluster, node, node)?;
    let probe = cluster.lan().probe(Port::Client(0), ProbeOptions::new(all_addresses()))?;
    show.ctl(cluster, node, &["drain"])?;
    cluster.wait_until("an empty node", PATIENCE, |cluster| {
        let left = addresses_of(cluster, node, node).map_err(|error| error.to_string())?;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} still there")) }
    })?;
    show.ctl(cluster, node, &["resume"])?;
    cluster.wait_settled(PATIENCE)?;
    std::thread::sleep(Duration::from_millis(500));
    let report = probe.finish();
    show.report(&report, &held);
    show.verdict(&report, "Given away and taken back");
    check(report.lost() == 0, format!("the maintenance lost {} datagrams", report.lost()))
}

fn check(seen: bool, otherwise: String) -> Outcome<()> {
    if seen { Ok(()) } else { Err(otherwise.into()) }
}

/// The addresses of the demonstration's six groups.
fn all_addresses() -> Vec<IpAddr> {
    let second_of_two = vip4(12);
    (1..=5).map(vip4).chain([second_of_two, vip6(6)]).collect()
}

/// The node that owns a group, as `node` sees it.
fn owner(cluster: &Cluster, node: usize, group: usize) -> Outcome<usize> {
    let status = cluster.status(node)?;
    let owner = status.groups.get(group).and_then(|group| group.owner.clone());
    (1..=cluster.lan().nodes())
        .find(|number| {
            owner.as_ref().is_some_and(|o| o.as_str() == Port::Node(*number).to_string())
        })
        .ok_or_else(|| "the first group has no owner".into())
}

/// The addresses that `node` holds, as `witness` sees it.
fn addresses_of(cluster: &Cluster, witness: usize, node: usize) -> Outcome<BTreeSet<IpAddr>> {
    let status: Status = cluster.status(witness)?;
    let name = Port::Node(node).to_string();
    let held = |group: &&GroupStatus| group.holders.iter().any(|holder| holder.as_str() == name);
    let groups = status.groups.iter().filter(held);
    Ok(groups.flat_map(|group| group.addresses.iter().map(|net| net.addr())).collect())
}

/// What the audience sees.
struct Show {
    vippyd: PathBuf,
    vippyctl: PathBuf,
    colour: bool,
}

impl Show {
    fn new() -> Outcome<Show> {
        let here = std::env::current_exe()?;
        let beside = |name: &str| -> Outcome<PathBuf> {
            let path = here.with_file_name(name);
            if path.exists() {
                return Ok(path);
            }
            Err(format!("{} is missing: build it with `make build`", path.display()).into())
        };
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Ok(Show { vippyd: beside("vippyd")?, vippyctl: beside("vippyctl")?, colour })
    }

    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn title(&self, text: &str) {
        println!("\n{}\n", self.bold(text));
    }

    fn step(&self, number: &str, text: &str) {
        println!("\n{}\n", self.bold(&format!("[{number}] {text}")));
    }

    fn say(&self, text: &str) {
        println!("{text}");
    }

    fn verdict(&self, report: &ProbeReport, what: &str) {
        println!("{what}: {} datagrams lost.", report.lost());
    }

    /// One line for each address of interest.
    fn report(&self, report: &ProbeReport, addresses: &BTreeSet<IpAddr>) {
        for address in addresses {
            if let Some(series) = report.series.get(address) {
                println!("  {:<14} {series}", address.to_string());
            }
        }
    }

    /// The real `vippyctl status`, asked on one node.
    fn status(&self, cluster: &Cluster, node: usize) -> Outcome<()> {
        println!("$ vippyctl status        (on {})", Port::Node(node));
        self.ctl(cluster, node, &["status"])
    }

    fn ctl(&self, cluster: &Cluster, node: usize, arguments: &[&str]) -> Outcome<()> {
        let mut command = Command::new(&self.vippyctl);
        command.arg("-s").arg(cluster.management(node)).args(arguments);
        let status = command.status()?;
        check(status.success(), format!("vippyctl {} ended with {status}", arguments.join(" ")))
    }
}
