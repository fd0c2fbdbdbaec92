//! `vips`: the groups, in both written forms.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::model::{Address, Failback, Group};
use super::reader::{Fields, Reader, quoted};
use super::shared::Nodes;
use super::suggest::nearest;
use super::text::{Node, Value};
use crate::identity::{GroupId, NodeIndex};

/// Bounds announcements and memory; 10,000 groups are the design's measure.
const MOST_GROUPS: usize = 16_384;

/// Bounds the time of one take-over.
const MOST_ADDRESSES: usize = 1_024;

const GROUP_FORMS: &str = "a group: a list of addresses, its preferred node's name first if any, \
     or an object with `vips`";
const ADDRESS_FORM: &str = "an address: {\"interface\": \"eth0\", \"ip\": \"10.1.2.3/24\"}";

/// The groups and where their parts stand.
pub(super) struct Groups {
    pub(super) groups: Vec<Arc<Group>>,
    /// Every managed address with the offset of its `ip`.
    pub(super) addresses: BTreeMap<IpAddr, usize>,
    /// Every group's name with its offset.
    names: BTreeMap<String, usize>,
    /// What holds for a group that does not say otherwise.
    failback: Failback,
    /// Whether the list was read without problems: only then may somebody be told
    /// that a group is not in it.
    pub(super) trusted: bool,
}

impl Groups {
    /// The group of a name, or with an address.
    pub(super) fn named(&self, name: &str) -> Option<GroupId> {
        let ip: Option<IpAddr> = name.parse().ok();
        let meant = |group: &&Arc<Group>| {
            group.id.as_str() == name || group.addresses.iter().any(|a| Some(a.ip()) == ip)
        };
        self.groups.iter().find(meant).map(|group| group.id.clone())
    }
}

impl Reader {
    pub(super) fn groups(&mut self, top: &Fields<'_>, nodes: &Nodes<'_>) -> Groups {
        let failback = top.get("failback").and_then(|node| self.failback(node));
        let mut groups = Groups {
            groups: Vec::new(),
            addresses: BTreeMap::new(),
            names: BTreeMap::new(),
            failback: failback.unwrap_or(Failback::Auto),
            trusted: false,
        };
        let expected =
            "the list of groups, such as [[{\"interface\": \"eth0\", \"ip\": \"10.1.2.3/24\"}]]";
        let Some(list) = top.get("vips") else {
            self.missing::<()>(top, "vips", expected);
            return groups;
        };
        let Some(items) = self.list(list, expected) else { return groups };
        if items.is_empty() && self.intact(list) {
            self.report.warn(list.start, "an empty list", "at least one group to manage");
        }
        if let Some(excess) = items.get(MOST_GROUPS) {
            let found = format!("{} groups", items.len());
            self.report.error(excess.start, found, format!("at most {MOST_GROUPS}"));
        }
        for item in items {
            if let Some(group) = self.group(item, nodes, &mut groups) {
                groups.groups.push(Arc::new(group));
            }
        }
        groups.trusted = groups.groups.len() == items.len();
        groups
    }

    fn group(&mut self, node: &Node<'_>, nodes: &Nodes<'_>, seen: &mut Groups) -> Option<Group> {
        match &node.value {
            Value::Array(items) => self.array_form(node, items, nodes, seen),
            Value::Object(members)
                if members
                    .iter()
                    .any(|member| matches!(member.key.as_str(), "ip" | "interface")) =>
            {
                self.wrong_but(node, GROUP_FORMS, Some("the same address in [ ]"))
            }
            Value::Object(_) => self.object_form(node, nodes, seen),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Broken => {
                self.wrong(node, GROUP_FORMS)
            }
        }
    }

    /// `["node2", {address}, …]` or `[{address}, …]`.
    fn array_form<'t>(
        &mut self,
        node: &Node<'t>,
        items: &'t [Node<'t>],
        nodes: &Nodes<'_>,
        seen: &mut Groups,
    ) -> Option<Group> {
        let (prefer, addresses) = match items.split_first() {
            Some((first, rest)) if matches!(first.value, Value::String(_)) => {
                (self.preference(first, nodes), rest)
            }
            Some(_) | None => (None, items),
        };
        if addresses.is_empty() && self.intact(node) {
            let found =
                if items.is_empty() { "an empty group" } else { "a group without addresses" };
            self.report.error(node.start, found, "at least one address");
        }
        let addresses = self.addresses(addresses, seen);
        Some(Group { prefer, failback: seen.failback, ..finished(None, addresses) })
    }

    /// `{"name": …, "prefer": …, "exclusive": …, "failback": …, "vips": […]}`.
    fn object_form(
        &mut self,
        node: &Node<'_>,
        nodes: &Nodes<'_>,
        seen: &mut Groups,
    ) -> Option<Group> {
        let known = ["name", "prefer", "exclusive", "failback", "vips"];
        let fields = self.object(node, GROUP_FORMS, &known)?;
        let name = fields.get("name").and_then(|name| self.group_name(name, seen));
        let prefer = fields.get("prefer").and_then(|prefer| self.preference(prefer, nodes));
        let exclusive = fields.get("exclusive").and_then(|value| self.boolean(value));
        let failback = fields.get("failback").and_then(|value| self.failback(value));
        let Some(vips) = fields.get("vips") else {
            return self.missing(&fields, "vips", "the list of the group's addresses");
        };
        let items = self.list(vips, "the list of the group's addresses")?;
        if items.is_empty() && self.intact(vips) {
            self.wrong::<()>(vips, "at least one address");
        }
        let addresses = self.addresses(items, seen);
        Some(Group {
            prefer,
            exclusive: exclusive.unwrap_or(false),
            failback: failback.unwrap_or(seen.failback),
            ..finished(name, addresses)
        })
    }

    fn group_name(&mut self, node: &Node<'_>, seen: &mut Groups) -> Option<String> {
        let name = self.name(node, "the group's name")?;
        if name.parse::<IpAddr>().is_ok() {
            let expected = "a name that is no address: nameless groups are known by theirs";
            return self.wrong(node, expected);
        }
        if let Some(&first) = seen.names.get(name) {
            let note = self.report.error(node.start, quoted(name), "every group's name once");
            note.first_at(first);
            return None;
        }
        seen.names.insert(name.to_owned(), node.start);
        Some(name.to_owned())
    }

    fn preference(&mut self, node: &Node<'_>, nodes: &Nodes<'_>) -> Option<NodeIndex> {
        let name = self.text(node, "the preferred node's name")?;
        if nodes.lacks(name) {
            let known = nodes.trusted_names();
            let hint = nearest(name, known.iter().copied()).map(quoted);
            return self.wrong_but(node, "the name of a node in `nodes`", hint);
        }
        let node_index = nodes.position(name)?;
        let preferred = nodes.get(node_index)?;
        if preferred.standby {
            return self.wrong(node, "a node that is not `standby`: those come after all others");
        }
        if preferred.is_retired() {
            let found = format!("{}, a node of weight 0", quoted(name));
            let expected = "a node of more weight: this one gets what no other node can have";
            self.report.warn(node.start, found, expected);
        }
        Some(node_index)
    }

    fn addresses<'t>(&mut self, items: &'t [Node<'t>], seen: &mut Groups) -> Vec<Address> {
        if let Some(excess) = items.get(MOST_ADDRESSES) {
            let found = format!("{} addresses in one group", items.len());
            self.report.error(excess.start, found, format!("at most {MOST_ADDRESSES}"));
        }
        items.iter().filter_map(|item| self.address(item, seen)).collect()
    }

    fn address(&mut self, node: &Node<'_>, seen: &mut Groups) -> Option<Address> {
        if let Value::String(text) = &node.value {
            let is_address = text.as_str().starts_with(|c: char| c.is_ascii_digit())
                || text.as_str().contains(':');
            let hint = is_address
                .then(|| format!("{{\"interface\": \"eth0\", \"ip\": {}}}", quoted(text.as_str())));
            let expected =
                format!("{ADDRESS_FORM} (only the first entry may name the preferred node)");
            return self.wrong_but(node, expected, hint);
        }
        let fields = self.object(node, ADDRESS_FORM, &["interface", "ip"])?;
        let interface = fields.get("interface").map(|name| self.interface(name));
        let net = match fields.get("ip") {
            Some(ip) => self.vip(ip, seen),
            None => {
                self.missing(&fields, "ip", "an address with a prefix, such as \"10.1.2.3/24\"")
            }
        };
        let address = Address::anywhere(net?);
        Some(match interface {
            Some(name) => Address { interface: Some(name?), ..address },
            None => address,
        })
    }

    fn vip(&mut self, node: &Node<'_>, seen: &mut Groups) -> Option<IpNet> {
        let net = self.net(node)?;
        if let Some(rule) = vip_rule(net) {
            return self.wrong(node, rule);
        }
        if let Some(&first) = seen.addresses.get(&net.addr()) {
            let found = format!("the address {}", net.addr());
            self.report.error(node.start, found, "every address once").first_at(first);
            return None;
        }
        seen.addresses.insert(net.addr(), node.start);
        Some(net)
    }
}

/// Why a host cannot have this address, if so.
fn vip_rule(net: IpNet) -> Option<&'static str> {
    let ip = net.addr();
    if let Some(rule) = host_rule(ip) {
        return Some(rule);
    }
    match net {
        IpNet::V4(v4) if v4.prefix_len() <= 30 && v4.addr() == v4.network() => {
            Some("a host's address, not its network's (all host bits are zero)")
        }
        IpNet::V4(v4) if v4.prefix_len() <= 30 && v4.addr() == v4.broadcast() => {
            Some("a host's address, not its network's broadcast address")
        }
        IpNet::V6(v6) if v6.prefix_len() <= 126 && v6.addr() == v6.network() => {
            Some("a host's address, not the routers' anycast address (all host bits are zero)")
        }
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}

/// Why no single host on a network can have this address, if so.
pub(super) fn host_rule(ip: IpAddr) -> Option<&'static str> {
    let this_network = matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 0);
    let reserved = matches!(ip, IpAddr::V4(v4) if v4.octets()[0] >= 240);
    if ip.is_unspecified() || this_network {
        Some("the address of a host, not the unspecified one")
    } else if ip.is_loopback() {
        Some("an address that other hosts can reach, not a loopback address")
    } else if ip.is_multicast() {
        Some("the address of one host, not a multicast address")
    } else if reserved {
        Some("the address of one host, not a broadcast or reserved address")
    } else {
        None
    }
}

/// A group of these addresses with its identity: its name, else its addresses in
/// ascending order.
fn finished(name: Option<String>, addresses: Vec<Address>) -> Group {
    let id = match &name {
        Some(name) => GroupId::from(name.as_str()),
        None => {
            let mut ips: Vec<_> = addresses.iter().map(Address::ip).collect();
            ips.sort_unstable();
            let texts: Vec<_> = ips.iter().map(IpAddr::to_string).collect();
            GroupId::from(texts.join(",").as_str())
        }
    };
    let failback = Failback::Auto;
    Group { id, name, prefer: None, exclusive: false, failback, addresses }
}
