//! `--check`: is the file fine, and does it suit this host?
//!
//! What only this host lacks is a warning: the file may be meant for another.

use std::collections::{BTreeMap, BTreeSet};

use nix::net::if_::if_nametoindex;
use vippy_core::config::{ChatInterface, Config};

use super::{StartError, node_name};
use crate::cli::{Cli, Exit};
use crate::kernel::Kernel;
use crate::load::{Loaded, Source};

/// Addresses of one network that are told by name.
const MOST_NAMED: usize = 8;

/// Reads the file and says what it is and what is risky in it.
///
/// # Errors
/// When a start would refuse the file, or the node that the command line names.
pub(super) fn check(cli: &Cli, source: &Source) -> Result<Exit, StartError> {
    let Loaded { config, mut warnings } = source.look()?;
    let node = node_name(cli.node.as_deref(), &config, &source.path);
    let stranger = match node {
        // Nobody said that the file is for this host.
        Err(StartError::NotANode { name, known, .. }) if cli.node.is_none() => Some(format!(
            "this host is {name}, which is not in `nodes` ({known}); to run here, choose with -n"
        )),
        other => other.map(|_| None)?,
    };
    warnings.extend(absent_interfaces(&config));
    let (mut notes, homeless) = homes(&config);
    warnings.extend(homeless);
    notes.extend(stranger);
    let shared = &config.shared;
    println!(
        "{}: fine (version {}, {}, {}, digest {})",
        source.path.display(),
        shared.version,
        counted(shared.nodes.len(), "node"),
        counted(shared.groups.len(), "group"),
        shared.digest
    );
    for warning in warnings {
        println!("warning: {warning}");
    }
    for note in notes {
        println!("note: {note}");
    }
    Ok(Exit::Fine)
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The interfaces that the file names and this host lacks.
fn absent_interfaces(config: &Config) -> impl Iterator<Item = String> {
    let places = config.shared.groups.iter().flat_map(|group| group.places());
    let mut used: BTreeSet<&str> = places.filter_map(|(_, interface)| interface).collect();
    if let ChatInterface::Name(name) = &config.local.chat_interface {
        used.insert(name);
    }
    let absent = used.into_iter().filter(|name| if_nametoindex(*name).is_err());
    absent.map(|name| format!("this host has no interface {name}"))
}

/// Where addresses for which the file names no interface would go on this host,
/// and what is wrong with that.
fn homes(config: &Config) -> (Vec<String>, Vec<String>) {
    let addresses = config.shared.groups.iter().flat_map(|group| &group.addresses);
    let nameless = addresses.filter(|address| address.interface.is_none());
    let mut by_net: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let homes = match Kernel::survey(&config.shared.groups) {
        Ok(homes) => homes,
        Err(error) => {
            let warning = format!("this host's interfaces cannot be looked at: {error}");
            return (Vec::new(), vec![warning]);
        }
    };
    for address in nameless {
        let home = homes.of(address);
        by_net.entry((home, address.net.trunc())).or_default().push(address.ip().to_string());
    }
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    for ((home, net), ips) in by_net {
        let ips = some_of(&ips);
        match home {
            Some(name) => notes.push(format!("{name} carries {net} and would get {ips}")),
            None => warnings.push(format!(
                "no interface of this host carries {net} now, and none is named for {ips}"
            )),
        }
    }
    (notes, warnings)
}

/// The first few, and how many more there are.
fn some_of(ips: &[String]) -> String {
    let first = ips.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match ips.len().saturating_sub(MOST_NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
