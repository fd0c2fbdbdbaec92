//! How the nodes reach each other: `chat`, `chat_interface`, `peers`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::groups::{Groups, host_rule};
use super::model::ChatInterface;
use super::reader::{Fields, Reader, quoted};
use super::shared::Nodes;
use super::suggest::nearest;
use super::text::{Node, Value};
use super::values::interface_rule;
use crate::identity::NodeName;

const CHAT_EXAMPLE: &str = "224.1.1.1:5007";
const PEER_EXAMPLE: &str = "10.0.0.1:5007";

/// The validated keys.
pub(super) struct Chat {
    pub(super) chat: Option<SocketAddr>,
    pub(super) interface: ChatInterface,
    pub(super) peers: BTreeMap<NodeName, SocketAddr>,
}

impl Reader {
    pub(super) fn chat(&mut self, top: &Fields<'_>, nodes: &Nodes<'_>, groups: &Groups) -> Chat {
        let chat = top.get("chat").and_then(|node| self.multicast_group(node));
        let peers = self.peers(top, nodes, groups);
        let interface = self.chat_interface(top, chat, groups);
        if top.get("chat").is_none() {
            self.check_peers_suffice(top, nodes);
        }
        self.check_one_family(top, chat, &peers);
        Chat {
            chat,
            interface,
            peers: peers.into_iter().map(|(name, peer)| (name, peer.0)).collect(),
        }
    }

    fn multicast_group(&mut self, node: &Node<'_>) -> Option<SocketAddr> {
        let chat = self.endpoint(node, CHAT_EXAMPLE)?;
        if !chat.ip().is_multicast() {
            let expected =
                "a multicast address (224.0.0.0/4 or ff00::/8); unicast belongs in `peers`";
            return self.wrong(node, expected);
        }
        let rule = match chat.ip() {
            IpAddr::V4(v4) => match v4.octets() {
                [224, 0, 0, 0] => {
                    return self.wrong(node, "a group's address, not the base of the range");
                }
                [224, 0, 0, _] => {
                    Some("a group outside 224.0.0.0/24, which is kept for routing protocols")
                }
                [232, ..] => Some("a group outside 232.0.0.0/8, which is kept for single sources"),
                _ => None,
            },
            IpAddr::V6(v6) => match v6.octets()[1] & 0xf {
                0 | 0xf => {
                    return self
                        .wrong(node, "a multicast scope that is not reserved, such as ff02::");
                }
                1 => Some("a scope that leaves this node (ff02:: reaches the link)"),
                _ => None,
            },
        };
        if let Some(rule) = rule {
            self.report.warn(node.start, chat.to_string(), rule);
        }
        if chat.port() < 1024 {
            let expected = "a port from 1024 up: lower ones need a further capability";
            self.report.warn(node.start, format!("port {}", chat.port()), expected);
        }
        Some(chat)
    }

    fn chat_interface(
        &mut self,
        top: &Fields<'_>,
        chat: Option<SocketAddr>,
        groups: &Groups,
    ) -> ChatInterface {
        let Some(node) = top.get("chat_interface") else { return ChatInterface::All };
        let interface = self.interface_choice(node).unwrap_or(ChatInterface::All);
        if top.get("chat").is_none() && top.intact() {
            let expected = "no chat_interface without `chat`: it has no effect";
            self.report.warn(node.start, "chat_interface", expected);
        }
        let ChatInterface::Address(ip) = &interface else { return interface };
        if chat.is_some_and(|chat| chat.is_ipv4() != ip.is_ipv4()) {
            self.wrong::<()>(node, "an address of the same family as `chat`");
        } else if groups.addresses.contains_key(ip) {
            self.wrong::<()>(node, "an address that stays on this node, not one in `vips`");
        } else if ip.is_loopback() {
            let expected = "an interface other hosts are on: loopback reaches this host only";
            self.report.warn(node.start, ip.to_string(), expected);
        }
        interface
    }

    fn interface_choice(&mut self, node: &Node<'_>) -> Option<ChatInterface> {
        let expected = "an address of this node, an interface's name or \"all\"";
        let text = self.text(node, expected)?;
        if let Ok(ip) = text.parse::<IpAddr>() {
            if ip.is_unspecified() {
                return self.wrong_but(node, expected, Some("\"all\""));
            }
            if ip.is_multicast() {
                return self
                    .wrong(node, "an address of this node, not the group's (that is `chat`)");
            }
            return Some(ChatInterface::Address(ip));
        }
        let numeric = text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match text {
            "all" => Some(ChatInterface::All),
            _ if matches!(text.to_ascii_lowercase().as_str(), "all" | "any" | "*") => {
                self.wrong_but(node, expected, Some("\"all\""))
            }
            _ if numeric || interface_rule(text).is_some() => self.wrong(node, expected),
            _ => Some(ChatInterface::Name(text.to_owned())),
        }
    }

    /// Every peer with the offset of its value.
    fn peers(
        &mut self,
        top: &Fields<'_>,
        nodes: &Nodes<'_>,
        groups: &Groups,
    ) -> BTreeMap<NodeName, (SocketAddr, usize)> {
        let mut peers = BTreeMap::new();
        let expected = "an object of nodes and their addresses: {\"node1\": \"10.0.0.1:5007\"}";
        let Some(members) = top.get("peers").and_then(|node| self.map(node, expected)) else {
            return peers;
        };
        let mut places = BTreeMap::new();
        for member in members {
            let name = member.key.as_str();
            if nodes.lacks(name) {
                let hint = nearest(name, nodes.trusted_names().iter().copied()).map(quoted);
                self.report
                    .error(member.at, quoted(name), "the name of a node in `nodes`")
                    .maybe_hint(hint);
            }
            let Some(peer) = self.peer(&member.value, groups) else { continue };
            if let Some(&first) = places.get(&peer) {
                let found = format!("the address {peer}");
                let note = self.report.error(member.value.start, found, "every address once");
                note.first_at(first);
                continue;
            }
            places.insert(peer, member.value.start);
            peers.insert(NodeName::from(name), (peer, member.value.start));
        }
        peers
    }

    fn peer(&mut self, node: &Node<'_>, groups: &Groups) -> Option<SocketAddr> {
        let peer = self.endpoint(node, PEER_EXAMPLE)?;
        // Several daemons on one host are allowed, so loopback is.
        if let Some(rule) = host_rule(peer.ip()).filter(|_| !peer.ip().is_loopback()) {
            return self.wrong(node, rule);
        }
        if groups.addresses.contains_key(&peer.ip()) {
            return self.wrong(node, "an address that stays on its node, not one in `vips`");
        }
        Some(peer)
    }

    /// Without multicast a node that `peers` does not name cannot be reached.
    fn check_peers_suffice(&mut self, top: &Fields<'_>, nodes: &Nodes<'_>) {
        let Some(written) = top.get("peers") else {
            let expected = format!("a multicast group such as \"{CHAT_EXAMPLE}\", or `peers`");
            self.missing::<()>(top, "chat", expected);
            return;
        };
        // An entry that is wrong is there all the same.
        let Value::Object(members) = &written.value else { return };
        let named: BTreeSet<_> = members.iter().map(|member| member.key.as_str()).collect();
        let names = nodes.trusted_names().iter().copied();
        let lacking: Vec<_> = names.filter(|name| !named.contains(name)).collect();
        if !lacking.is_empty() && self.intact(written) && top.intact() {
            let found = format!("no entry for {}", shortened_list(&lacking));
            let expected = "every node in `peers`, as there is no `chat`";
            self.report.error(written.start, found, expected);
        }
    }

    /// One socket serves all of them.
    fn check_one_family(
        &mut self,
        top: &Fields<'_>,
        chat: Option<SocketAddr>,
        peers: &BTreeMap<NodeName, (SocketAddr, usize)>,
    ) {
        let mut by_place: Vec<_> = peers.values().copied().collect();
        by_place.sort_by_key(|(_, at)| *at);
        let (judge, what) = match (chat, by_place.first()) {
            (Some(chat), _) => (chat, "`chat`"),
            (None, Some((first, _))) if top.get("chat").is_none() => (*first, "the first peer"),
            (None, _) => return,
        };
        for (peer, at) in by_place {
            if peer.is_ipv4() != judge.is_ipv4() {
                let expected = format!("an address of the same family as {what} ({judge})");
                self.report.error(at, peer.to_string(), expected);
            }
        }
    }
}

/// The first names of a list, and how many there are more.
fn shortened_list(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        Some(0) | None => shown,
    }
}
