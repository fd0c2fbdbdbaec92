//! Whom to tell about addresses, how fast, and how often to look for them.

use std::time::Duration;

use super::groups::host_rule;
use super::model::NotifyTarget;
use super::reader::{Fields, Reader, quoted, span};
use super::suggest::nearest;
use super::text::{Node, Value};

const ARP_CACHE: (f64, f64) = (1.0, 86_400.0);

/// Frames a second: a network of a thousand within 100 ms.
const RATE: u32 = 25_000;
/// Prefix of the largest IPv4 network.
const WIDEST: u8 = 16;

const SLOWEST: u32 = 100;
const FASTEST: u32 = 1_000_000;

impl Reader {
    /// A number, or a number in quotes: the original accepted both.
    pub(super) fn arp_cache(&mut self, top: &Fields<'_>) -> Duration {
        let default = Duration::from_secs(15);
        let Some(node) = top.get("arp-cache") else { return default };
        let quoted = match &node.value {
            Value::String(text) => span(text.as_str(), ARP_CACHE),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)
            | Value::Broken => None,
        };
        quoted.or_else(|| self.seconds(node, ARP_CACHE)).unwrap_or(default)
    }

    pub(super) fn notify(&mut self, top: &Fields<'_>) -> Vec<NotifyTarget> {
        let expected = "a list of \"arp-cache\" and networks";
        let Some(items) = top.get("notify").and_then(|node| self.list(node, expected)) else {
            return Vec::new();
        };
        items.iter().filter_map(|item| self.notify_target(item)).collect()
    }

    fn notify_target(&mut self, node: &Node<'_>) -> Option<NotifyTarget> {
        let expected = "\"arp-cache\" or {\"interface\": \"eth0\", \"ip\": \"10.1.2.0/24\"}";
        if let Value::String(text) = &node.value {
            return match text.as_str() {
                "arp-cache" => Some(NotifyTarget::ArpCache),
                other => {
                    let hint = nearest(other, ["arp-cache"]).map(quoted);
                    self.wrong_but(node, expected, hint)
                }
            };
        }
        let fields = self.object(node, expected, &["interface", "ip"])?;
        let interface = match fields.get("interface") {
            Some(interface) => self.interface(interface),
            None => self.missing(&fields, "interface", "the name of a network interface"),
        };
        let net = match fields.get("ip") {
            Some(ip) => self.notify_network(ip),
            None => self.missing(&fields, "ip", "a network, such as \"10.1.2.0/24\""),
        };
        Some(NotifyTarget::Network { interface: interface?, net: net? })
    }

    /// Every address of an IPv4 network is told, so it must not be enormous; of an
    /// IPv6 network those that are known.
    fn notify_network(&mut self, node: &Node<'_>) -> Option<ipnet::IpNet> {
        let net = self.net(node)?;
        if let Some(rule) = host_rule(net.addr()) {
            return self.wrong(node, rule);
        }
        if net.addr().is_ipv4() && net.prefix_len() < WIDEST {
            let expected = format!("a prefix of at least {WIDEST}: each of its addresses is told");
            return self.wrong(node, expected);
        }
        Some(net)
    }

    pub(super) fn notify_rate(&mut self, top: &Fields<'_>) -> u32 {
        let Some(node) = top.get("notify_rate") else { return RATE };
        let expected = format!("a whole number, {SLOWEST} to {FASTEST} frames a second");
        self.within(node, SLOWEST..=FASTEST, &expected).unwrap_or(RATE)
    }
}
