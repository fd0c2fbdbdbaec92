//! `--check`: is the file fine, and does it suit this host?
//!
//! What only this host lacks is a warning: the file may be meant for another.

use std::collections::BTreeSet;

use nix::net::if_::if_nametoindex;
use vippy_core::config::{ChatInterface, Config};

use super::{StartError, node_name};
use crate::cli::{Cli, Exit};
use crate::load::{Loaded, Source};

/// Reads the file and says what it is and what is risky in it.
///
/// # Errors
/// When a start would refuse the file, or the node that the command line names.
pub(super) fn check(cli: &Cli, source: &Source) -> Result<Exit, StartError> {
    let Loaded { config, mut warnings } = source.look()?;
    let node = node_name(cli.node.as_deref(), &config, &source.path);
    let note = match node {
        // Nobody said that the file is for this host.
        Err(StartError::NotANode { name, known, .. }) if cli.node.is_none() => Some(format!(
            "this host is {name}, which is not in `nodes` ({known}); to run here, choose with -n"
        )),
        other => other.map(|_| None)?,
    };
    warnings.extend(absent_interfaces(&config));
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
    if let Some(note) = note {
        println!("note: {note}");
    }
    Ok(Exit::Fine)
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The interfaces that the file uses and this host lacks.
fn absent_interfaces(config: &Config) -> impl Iterator<Item = String> {
    let addresses = config.shared.groups.iter().flat_map(|group| &group.addresses);
    let mut used: BTreeSet<&str> = addresses.map(|address| address.interface.as_str()).collect();
    if let ChatInterface::Name(name) = &config.local.chat_interface {
        used.insert(name);
    }
    let absent = used.into_iter().filter(|name| if_nametoindex(*name).is_err());
    absent.map(|name| format!("this host has no interface {name}"))
}
