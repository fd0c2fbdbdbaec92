//! Small values inside texts: names, interfaces, addresses with ports,
//! addresses with prefixes, paths.
//!
//! Owns their rules; does not know in which key they stand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::reader::{Reader, quoted};
use super::text::Node;
use crate::identity::NodeName;

/// A path in `sockaddr_un` has 108 bytes with its terminating zero.
pub(super) const LONGEST_SOCKET_PATH: usize = 107;

/// Why a name is not one, if so. Names appear in files, on command lines and
/// in the canonical text, hence the narrow alphabet.
pub(super) fn name_rule(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name == "_" {
        Some("a name other than `_`, which means \"nobody\" in the status")
    } else if name.len() > NodeName::MAX || name.is_empty() {
        Some("a name of 1 to 63 bytes")
    } else if !name.chars().all(allowed) {
        Some("a name of letters, digits, `-`, `_` and `.` only")
    } else if name.starts_with(['-', '.']) {
        Some("a name that starts with a letter, a digit or `_`")
    } else {
        None
    }
}

/// Why Linux would not accept an interface name, if so.
pub(super) fn interface_rule(name: &str) -> Option<&'static str> {
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 {
        Some("an interface name of 1 to 15 bytes")
    } else if matches!(name, "." | "..") || name.chars().any(forbidden) {
        Some("an interface name without `/`, `:` or white space")
    } else {
        None
    }
}

impl Reader {
    /// A node's, group's or cluster's name.
    pub(super) fn name<'t>(&mut self, node: &'t Node<'t>, expected: &str) -> Option<&'t str> {
        let name = self.text(node, expected)?;
        match name_rule(name) {
            Some(rule) => {
                let trimmed = name.trim();
                let hint = (trimmed != name && name_rule(trimmed).is_none()).then_some(trimmed);
                self.wrong_but(node, rule, hint.map(quoted))
            }
            None => Some(name),
        }
    }

    /// The name of a network interface.
    pub(super) fn interface(&mut self, node: &Node<'_>) -> Option<String> {
        let name = self.text(node, "the name of a network interface, such as \"eth0\"")?;
        match interface_rule(name) {
            Some(rule) => {
                let (trimmed, _alias) = name.split_once(':').unwrap_or((name, ""));
                let trimmed = trimmed.trim();
                let hint = interface_rule(trimmed).is_none().then_some(trimmed);
                self.wrong_but(node, rule, hint.map(quoted))
            }
            None => Some(name.to_owned()),
        }
    }

    /// `ADDRESS:PORT`, without the judgement what kind of address it is.
    pub(super) fn endpoint(&mut self, node: &Node<'_>, example: &str) -> Option<SocketAddr> {
        let expected = format!("ADDRESS:PORT, such as \"{example}\"");
        let text = self.text(node, &expected)?;
        let Ok(endpoint) = text.parse::<SocketAddr>() else {
            let port = example.rsplit(':').next().unwrap_or_default();
            return self.wrong_but(
                node,
                expected,
                endpoint_hint(text, port).as_deref().map(quoted),
            );
        };
        if text.contains('%') {
            let expected = "an address without a zone: chat_interface names the interface";
            return self.wrong(node, expected);
        }
        if let Some(v4) = mapped(endpoint.ip()) {
            let hint = SocketAddr::new(v4.into(), endpoint.port()).to_string();
            return self.wrong_but(node, "a plain IPv4 address", Some(quoted(&hint)));
        }
        if endpoint.port() == 0 {
            return self.wrong(node, "a port from 1 to 65535");
        }
        Some(endpoint)
    }

    /// One address without port and prefix, without the judgement what kind of
    /// address it is.
    pub(super) fn ip(&mut self, node: &Node<'_>, expected: &str) -> Option<IpAddr> {
        let text = self.text(node, expected)?;
        let Ok(ip) = text.parse::<IpAddr>() else {
            let address = text.split('/').next().unwrap_or_default();
            let hint = address_hint(address, None);
            return self.wrong_but(node, expected, hint.as_deref().map(quoted));
        };
        match mapped(ip) {
            Some(v4) => self.wrong_but(node, "a plain IPv4 address", Some(quoted(&v4.to_string()))),
            None => Some(ip),
        }
    }

    /// `ADDRESS/PREFIX`, without the judgement what kind of address it is; a
    /// missing prefix means the single address.
    pub(super) fn net(&mut self, node: &Node<'_>) -> Option<IpNet> {
        let expected = "an address with a prefix, such as \"10.1.2.3/24\" or \"fd00::3/64\"";
        let text = self.text(node, expected)?;
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(ip) = address.parse::<IpAddr>() else {
            return self.wrong_but(
                node,
                expected,
                address_hint(address, prefix).as_deref().map(quoted),
            );
        };
        if let Some(v4) = mapped(ip) {
            return self.wrong_but(node, "a plain IPv4 address", Some(quoted(&v4.to_string())));
        }
        let whole = if ip.is_ipv4() { 32 } else { 128 };
        let length = match prefix.map(|prefix| (prefix, prefix_length(prefix))) {
            None => whole,
            Some((_, Some(length))) if (1..=whole).contains(&length) => length,
            Some((prefix, _)) => {
                let hint = mask_length(ip, prefix).map(|length| quoted(&format!("{ip}/{length}")));
                return self.wrong_but(node, format!("a prefix from 1 to {whole}"), hint);
            }
        };
        IpNet::new(ip, length).ok()
    }

    /// An absolute path.
    pub(super) fn path(&mut self, node: &Node<'_>) -> Option<PathBuf> {
        let expected = "an absolute path";
        let text = self.text(node, expected)?;
        if !text.starts_with('/') || text.contains('\0') {
            return self.wrong(node, expected);
        }
        Some(PathBuf::from(text))
    }
}

/// The IPv4 address inside `::ffff:a.b.c.d`.
fn mapped(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
    }
}

/// Plain decimal digits only: `+24` and `024` are typing mistakes.
fn prefix_length(text: &str) -> Option<u8> {
    let plain =
        text.bytes().all(|b| b.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// The prefix length that a netmask such as `255.255.255.0` stands for.
fn mask_length(ip: IpAddr, mask: &str) -> Option<u8> {
    let mask: IpAddr = mask.parse().ok()?;
    let length = ipnet::ip_mask_to_prefix(mask).ok()?;
    (mask.is_ipv4() == ip.is_ipv4() && length > 0).then_some(length)
}

/// What an unreadable address may have meant: without blanks or a zone, or
/// without leading zeros (which some programs read as octal).
fn address_hint(address: &str, prefix: Option<&str>) -> Option<String> {
    let trimmed = address.trim().split('%').next().unwrap_or_default();
    let parts = trimmed.split('.').map(|part| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0",
        digits => digits,
    });
    let decimal = parts.collect::<Vec<_>>().join(".");
    let ip: IpAddr = trimmed.parse().or_else(|_| decimal.parse()).ok()?;
    Some(match prefix {
        Some(prefix) => format!("{ip}/{}", prefix.trim()),
        None => ip.to_string(),
    })
}

/// What an unreadable endpoint may have meant: a lacking port, lacking brackets
/// or blanks.
/// `ff02::7:5007` is an address, but its end looks much like a port.
fn without_brackets(text: &str) -> Option<String> {
    const LEAST: u16 = 1024;
    let (address, port) = text.rsplit_once(':')?;
    let ip: Ipv6Addr = address.parse().ok()?;
    let port: u16 = port.parse().ok().filter(|port| *port >= LEAST)?;
    Some(format!("[{ip}]:{port}"))
}

fn endpoint_hint(text: &str, port: &str) -> Option<String> {
    let trimmed = text.trim();
    if let Some(endpoint) = without_brackets(trimmed) {
        return Some(endpoint);
    }
    if let Ok(ip) = trimmed.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(match ip {
            IpAddr::V4(v4) => format!("{v4}:{port}"),
            IpAddr::V6(v6) => format!("[{v6}]:{port}"),
        });
    }
    trimmed.parse::<SocketAddr>().ok().map(|endpoint| endpoint.to_string())
}
