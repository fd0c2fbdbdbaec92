//! Names of interfaces are local: what another node's configuration calls them
//! says little here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::model::SharedPart;

/// `shared`, as read from another node's text, for this node: each address gets
/// the interface that `own`, this node's file, names for it, in whichever group;
/// the names in `shared` become hints. The digest stays.
#[must_use]
pub fn localize(mut shared: SharedPart, own: &SharedPart) -> SharedPart {
    let addresses = own.groups.iter().flat_map(|group| &group.addresses);
    let named: BTreeMap<IpAddr, &String> =
        addresses.filter_map(|address| Some((address.ip(), address.interface.as_ref()?))).collect();
    for group in &mut shared.groups {
        for address in &mut Arc::make_mut(group).addresses {
            let own = named.get(&address.ip()).copied().cloned();
            let theirs = std::mem::replace(&mut address.interface, own);
            address.hint = address.hint.take().or(theirs);
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Address, parse};

    fn shared(vips: &str) -> SharedPart {
        let text = format!(
            "{{ chat: '239.77.0.1:5007', secret: '0123456789abcdef', nodes: ['a'], vips: {vips} }}"
        );
        parse(&text, "f").unwrap().config.shared
    }

    fn addresses(shared: &SharedPart) -> Vec<Address> {
        shared.groups.iter().flat_map(|group| group.addresses.clone()).collect()
    }

    #[test]
    fn the_own_files_name_wins_and_the_other_nodes_is_a_hint() {
        let theirs = shared(
            "[[{ interface: 'ens3', ip: '192.0.2.10/24' }], [{ interface: 'ens4', ip: 'fd00::9/64' }],
              { name: 'new', vips: [{ ip: '192.0.2.11/24' }, { interface: 'ens3', ip: '192.0.2.12' }] }]",
        );
        let own = shared(
            "[{ name: 'other', vips: [{ interface: 'eth0', ip: '192.0.2.10/16' }] },
              [{ ip: 'fd00::9/64' }, { interface: 'eth1', ip: '192.0.2.11/24' }]]",
        );
        let address = |net: &str, interface: Option<&str>, hint: Option<&str>| Address {
            net: net.parse().unwrap(),
            interface: interface.map(str::to_owned),
            hint: hint.map(str::to_owned),
        };
        let localized = localize(theirs.clone(), &own);
        let expected = [
            address("192.0.2.10/24", Some("eth0"), Some("ens3")),
            address("fd00::9/64", None, Some("ens4")),
            address("192.0.2.11/24", Some("eth1"), None),
            address("192.0.2.12/32", None, Some("ens3")),
        ];
        assert_eq!(addresses(&localized), expected);
        assert_eq!(localized.digest, theirs.digest);
        assert_eq!(crate::config::digest::digest(&localized), theirs.digest);
    }

    #[test]
    fn without_an_own_name_for_anything_all_names_are_hints() {
        let theirs = shared("[[{ interface: 'ens3', ip: '192.0.2.10/24' }]]");
        let localized = localize(theirs, &shared("[]"));
        let address = &addresses(&localized)[0];
        assert_eq!((&address.interface, address.hint.as_deref()), (&None, Some("ens3")));
    }
}
