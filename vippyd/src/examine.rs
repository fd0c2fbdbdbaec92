//! Whether this node can run a configuration that came from elsewhere.
//!
//! Everything here may block: it asks the kernel for the host's interfaces. It
//! runs on threads of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use vippy_core::config::{Address, Config, Problem, SharedPart, parse_document};

use crate::kernel::{Kernel, homeless};

/// Reads a document. With `strict`, everything it says must be possible on this
/// host's interfaces now.
///
/// # Errors
/// What is wrong, the first thing in full: it has to fit an announcement.
pub(crate) fn document(
    text: &Arc<str>,
    file: &Config,
    strict: bool,
) -> Result<Arc<SharedPart>, String> {
    let shared = parse_document(text, "configuration")
        .map_err(|problems| first_of(problems.iter().map(Problem::to_string)))?;
    let config = file.with_shared(shared.clone(), Arc::clone(text));
    if let Some(conflict) = config.conflict() {
        return Err(conflict);
    }
    let lacking = if strict { lacking(&config) } else { Vec::new() };
    if lacking.is_empty() { Ok(Arc::new(shared)) } else { Err(first_of(lacking.into_iter())) }
}

/// What this host's interfaces lack for a configuration, one line for each group.
pub(crate) fn lacking(config: &Config) -> Vec<String> {
    let homes = match Kernel::survey(&config.shared.groups) {
        Ok(homes) => homes,
        Err(error) => return vec![format!("this host's interfaces: {error}")],
    };
    let present = present_interfaces();
    let trouble = |address: &Address| match homes.of(address) {
        Some(name) if present.contains(name) => None,
        Some(name) => Some(format!("{}: no interface {name} here", address.net)),
        None => Some(format!("{}: {}", address.net, homeless(address))),
    };
    let group = |addresses: &[Address]| addresses.iter().find_map(trouble);
    config.shared.groups.iter().filter_map(|each| group(&each.addresses)).collect()
}

fn present_interfaces() -> BTreeSet<String> {
    let interfaces = nix::net::if_::if_nameindex();
    let names = interfaces.iter().flatten().map(|each| each.name().to_string_lossy().into_owned());
    names.collect()
}

/// The first, and how many more there are.
fn first_of(mut lines: impl Iterator<Item = String>) -> String {
    let first = lines.next().unwrap_or_default();
    match lines.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Config {
        let text = "{chat: '224.1.1.1:5007', secret: 'a secret of some length', version: 1, \
                    nodes: ['a', 'b'], peers: {a: '10.0.0.7:5007'}, \
                    vips: [[{interface: 'lo', ip: '10.0.0.1/24'}]]}";
        vippy_core::config::parse(text, "test").unwrap().config
    }

    fn changed(from: &str, to: &str) -> Arc<str> {
        file().document.replacen(from, to, 1).into()
    }

    #[test]
    fn an_interface_that_is_not_there_matters_only_to_what_is_proposed() {
        let text = changed("\"ip\"", "\"interface\": \"nosuch0\", \"ip\"");
        let text: Arc<str> = text.replacen("\"interface\": \"lo\", ", "", 1).into();
        let text: Arc<str> = text.replace("10.0.0.1/24", "10.0.0.2/24").into();
        assert!(document(&text, &file(), false).is_ok(), "{text}");
        let why = document(&text, &file(), true).unwrap_err();
        assert!(why.contains("10.0.0.2/24") && why.contains("nosuch0"), "{why}");
        // This node's own file says where that address is.
        assert!(document(&file().document, &file(), true).is_ok());
    }

    #[test]
    fn what_cannot_be_read_or_is_a_nodes_own_address_is_refused() {
        let why = document(&changed("10.0.0.1/24", "10.0.0.0/24"), &file(), false).unwrap_err();
        assert!(why.contains("vips[0]") && why.contains("network"), "{why}");
        let why = document(&changed("10.0.0.1/24", "10.0.0.7/24"), &file(), false).unwrap_err();
        assert!(why.contains("10.0.0.7"), "{why}");
    }
}
