//! What a cluster is made of: sizes, times, groups, and the file that says so to
//! the daemons.
//!
//! Pure; [`crate::cluster`] acts on it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::lan::{PREFIX4, PREFIX6, Port};
use crate::machine::INTERFACE;

/// Number of groups in [`demo_groups`].
const DEMO_GROUPS: u8 = 6;

/// The secret of the lab's clusters.
pub const SECRET: &str = "known to everybody in this lab";

/// A cluster to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes, 1 to 100.
    pub nodes: usize,
    /// How many clients, 0 to 50.
    pub clients: usize,
    /// The daemon's program.
    pub vippyd: PathBuf,
    /// Further arguments for every daemon.
    pub arguments: Vec<OsString>,
    /// Per node, a command that the daemon's command line is put behind, such
    /// as `unshare --time --boottime 10`: it must become the daemon by `exec`.
    pub wrappers: BTreeMap<usize, Vec<OsString>>,
    /// Time between two announcements.
    pub interval: Duration,
    /// Age at which a node counts as gone.
    pub stale: Duration,
    /// How long a node boots.
    pub mature: Duration,
    /// The groups, as the configuration's `vips`.
    pub groups: Value,
    /// Further keys of the configuration; they win over the ones above.
    pub more: Map<String, Value>,
    /// The configuration's whole text instead of one made from the above.
    pub config: Option<String>,
    /// How long a daemon may take until it answers on its management socket.
    pub patience: Duration,
}

impl Options {
    /// Three nodes and a client, six groups, times that suit a demonstration:
    /// interval 0.1 s, stale 0.3 s, mature 1 s.
    pub fn new(vippyd: impl Into<PathBuf>) -> Options {
        Options {
            nodes: 3,
            clients: 1,
            vippyd: vippyd.into(),
            arguments: Vec::new(),
            wrappers: BTreeMap::new(),
            interval: Duration::from_millis(100),
            stale: Duration::from_millis(300),
            mature: Duration::from_secs(1),
            groups: demo_groups(3),
            more: Map::new(),
            config: None,
            patience: Duration::from_secs(10),
        }
    }

    /// The same with another number of nodes, and the demonstration's groups
    /// for it.
    pub fn with_nodes(self, nodes: usize) -> Options {
        Options { nodes, groups: demo_groups(nodes), ..self }
    }

    /// The same with other times.
    pub fn with_times(self, interval: Duration, stale: Duration, mature: Duration) -> Options {
        Options { interval, stale, mature, ..self }
    }

    /// The configuration's text.
    pub fn config_text(&self) -> String {
        if let Some(text) = &self.config {
            return text.clone();
        }
        let nodes: Vec<String> =
            (1..=self.nodes).map(|node| Port::Node(node).to_string()).collect();
        let mut config = json!({
            "chat": "224.1.1.1:5007",
            "chat_interface": INTERFACE,
            "secret": SECRET,
            "version": 1,
            "vips": self.groups,
            "nodes": nodes,
            "interval": self.interval.as_secs_f64(),
            "stale": self.stale.as_secs_f64(),
            "mature": self.mature.as_secs_f64(),
            "logging": { "driver": "console" },
        });
        if let Value::Object(keys) = &mut config {
            keys.extend(self.more.clone());
        }
        format!("{config:#}\n")
    }
}

/// One address in the configuration's form, on the LAN's interface.
pub fn vip(ip: IpAddr) -> Value {
    let prefix = if ip.is_ipv4() { PREFIX4 } else { PREFIX6 };
    json!({ "interface": INTERFACE, "ip": format!("{ip}/{prefix}") })
}

/// The IPv4 address 10.77.0.(100 + `number`), outside what machines have.
pub fn vip4(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, 100_u8.saturating_add(number)).into()
}

/// The IPv6 address fd77::1:`number`, outside what machines have.
pub fn vip6(number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 1, number.into()).into()
}

/// Six groups: the second has two addresses, the third prefers the second node,
/// the last is IPv6.
pub fn demo_groups(nodes: usize) -> Value {
    let preferred = Port::Node(nodes.min(2)).to_string();
    let group = |number| match number {
        2 => json!([vip(vip4(2)), vip(vip4(12))]),
        3 => json!([preferred, vip(vip4(3))]),
        DEMO_GROUPS => json!([vip(vip6(DEMO_GROUPS))]),
        other => json!([vip(vip4(other))]),
    };
    (1..=DEMO_GROUPS).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_every_node_and_group() {
        let options = Options::new("vippyd").with_nodes(4);
        let config: Value = serde_json::from_str(&options.config_text()).unwrap();
        assert_eq!(config["nodes"], json!(["node1", "node2", "node3", "node4"]));
        assert_eq!(config["vips"].as_array().unwrap().len(), 6);
        assert_eq!(config["vips"][2][0], "node2");
        assert_eq!(config["vips"][5][0]["ip"], "fd77::1:6/64");
        assert_eq!(config["interval"], 0.1);
    }

    #[test]
    fn further_keys_win() {
        let mut options = Options::new("vippyd");
        options.more.insert("version".into(), json!(7));
        options.more.insert("quorum".into(), json!("majority"));
        let config: Value = serde_json::from_str(&options.config_text()).unwrap();
        assert_eq!((&config["version"], &config["quorum"]), (&json!(7), &json!("majority")));
    }
}
