//! The keys that all nodes must agree on, except the groups: `version`,
//! `nodes` and the timers; and how all of them come together.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::checks::Check;
use super::digest;
use super::groups::Groups;
use super::hooks::Hook;
use super::model::{DEFAULT_WEIGHT, Digest, Node, SharedPart};
use super::plugins::Plugin;
use super::policy::Policy;
use super::reader::{Fields, Reader, in_seconds, quoted};
use super::text::{Node as TextNode, Value};
use crate::identity::NodeIndex;

/// A node's number has 10 bits (W7).
const MOST_NODES: usize = 1_024;

const NODE_FORMS: &str =
    "a node: its name, or an object such as {\"name\": \"node3\", \"standby\": true}";

const WEIGHT: RangeInclusive<u8> = 0..=100;

/// Below, a daemon that is not scheduled in real time is late too often.
const SHORT_INTERVAL: Duration = Duration::from_millis(20);

/// The `nodes` list while other keys refer to it.
pub(super) struct Nodes<'t> {
    names: Vec<&'t str>,
    models: Vec<Node>,
    index: BTreeMap<&'t str, NodeIndex>,
    /// Whether the list was read without problems: only then may somebody be
    /// told that a name is not in it.
    trusted: bool,
}

impl<'t> Nodes<'t> {
    /// Position of a name, when the list has it.
    pub(super) fn position(&self, name: &str) -> Option<NodeIndex> {
        self.index.get(name).copied()
    }

    /// Whether a name is certainly not in the list.
    pub(super) fn lacks(&self, name: &str) -> bool {
        self.trusted && !self.index.contains_key(name)
    }

    /// All names, in the order of the file; empty when they cannot be trusted.
    pub(super) fn trusted_names(&self) -> &[&'t str] {
        if self.trusted { &self.names } else { &[] }
    }

    /// What is said of a node.
    pub(super) fn get(&self, node: NodeIndex) -> Option<&Node> {
        self.models.get(node.get())
    }

    /// The nodes for the model.
    pub(super) fn into_model(self) -> Vec<Node> {
        self.models
    }
}

/// The three timers.
pub(super) struct Timers {
    pub(super) interval: Duration,
    pub(super) mature: Duration,
    pub(super) stale: Duration,
}

/// Everything that all nodes share, while it is being read.
pub(super) struct Shared<'t> {
    version: u64,
    pub(super) nodes: Nodes<'t>,
    pub(super) groups: Groups,
    pub(super) timers: Timers,
    pub(super) policy: Policy,
    checks: Vec<Arc<Check>>,
    hooks: Vec<Hook>,
    plugins: Vec<Plugin>,
}

impl Shared<'_> {
    /// The model, with its digest. Only of what was read without problems.
    pub(super) fn into_model(self) -> SharedPart {
        let Shared { version, nodes, groups, timers, policy, checks, hooks, plugins } = self;
        let mut shared = SharedPart {
            version,
            digest: Digest::default(),
            nodes: nodes.into_model(),
            groups: groups.groups,
            interval: timers.interval,
            mature: timers.mature,
            stale: timers.stale,
            quorum: policy.quorum,
            witness: policy.witness,
            isolation: policy.isolation,
            hold_down: policy.hold_down,
            checks,
            hooks,
            plugins,
        };
        shared.digest = digest::digest(&shared);
        shared
    }
}

impl Reader {
    pub(super) fn shared<'t>(&mut self, top: &Fields<'t>) -> Shared<'t> {
        let version = self.version(top);
        let nodes = self.nodes(top);
        let groups = self.groups(top, &nodes);
        let timers = self.timers(top);
        let policy = self.policy(top, &timers, &nodes, &groups);
        let checks = self.checks(top, &nodes, &groups);
        let hooks = self.hooks(top, &nodes, &groups);
        let plugins = self.plugins(top, &nodes);
        Shared { version, nodes, groups, timers, policy, checks, hooks, plugins }
    }

    fn version(&mut self, top: &Fields<'_>) -> u64 {
        top.get("version").and_then(|node| self.integer(node)).unwrap_or(0)
    }

    fn nodes<'t>(&mut self, top: &Fields<'t>) -> Nodes<'t> {
        let mut nodes =
            Nodes { names: Vec::new(), models: Vec::new(), index: BTreeMap::new(), trusted: false };
        let expected = "the list of all nodes' names, such as [\"node1\", \"node2\"]";
        let Some(list) = top.get("nodes") else {
            self.missing::<()>(top, "nodes", expected);
            return nodes;
        };
        let Some(items) = self.list(list, expected) else { return nodes };
        nodes.trusted = self.intact(list);
        if items.is_empty() {
            nodes.trusted = false;
            self.wrong::<()>(list, "at least one node's name");
        }
        if let Some(excess) = items.get(MOST_NODES) {
            let found = format!("{} nodes", items.len());
            self.report.error(excess.start, found, format!("at most {MOST_NODES}"));
        }
        let mut places: BTreeMap<String, (usize, &str)> = BTreeMap::new();
        for item in items {
            let Some((item, name, model)) = self.node(item) else {
                nodes.trusted = false;
                continue;
            };
            match places.get(&name.to_ascii_lowercase()) {
                Some(&(first, other)) if other == name => {
                    let note = self.report.error(item.start, quoted(name), "every node once");
                    note.first_at(first);
                    continue;
                }
                Some(&(_, other)) => {
                    let expected = format!(
                        "a name that differs from {} in more than letter case",
                        quoted(other)
                    );
                    self.report.error(item.start, quoted(name), expected);
                }
                None => {}
            }
            places.insert(name.to_ascii_lowercase(), (item.start, name));
            // Beyond the maximum the configuration is refused anyway.
            let position = u16::try_from(nodes.names.len()).unwrap_or(u16::MAX);
            nodes.index.insert(name, NodeIndex(position));
            nodes.names.push(name);
            nodes.models.push(model);
        }
        if nodes.trusted {
            self.check_anybody(list, &nodes.models);
        }
        nodes
    }

    /// Somebody must take groups when all nodes are well.
    fn check_anybody(&mut self, list: &TextNode<'_>, nodes: &[Node]) {
        if nodes.iter().all(|node| node.standby) {
            let expected = "at least one node that does not stand by for others";
            self.report.error(list.start, "nothing but standby nodes", expected);
        } else if nodes.iter().all(|node| node.standby || node.is_retired()) {
            let found = "nothing but nodes that stand by or have weight 0";
            let expected = "at least one node of more weight that does not stand by";
            self.report.error(list.start, found, expected);
        }
    }

    /// A name, or `{"name": …, "standby": …, "weight": …}`: where the name stands,
    /// the name, and the node.
    fn node<'t>(&mut self, item: &'t TextNode<'t>) -> Option<(&'t TextNode<'t>, &'t str, Node)> {
        if !matches!(item.value, Value::Object(_)) {
            let name = self.name(item, NODE_FORMS)?;
            return Some((item, name, Node::new(name)));
        }
        let fields = self.object(item, NODE_FORMS, &["name", "standby", "weight"])?;
        let standby = fields.get("standby").and_then(|value| self.boolean(value));
        let expected = "a whole number from 0 (retired) to 100";
        let weight = fields.get("weight").and_then(|value| self.within(value, WEIGHT, expected));
        let Some(at) = fields.get("name") else {
            return self.missing(&fields, "name", "the node's name");
        };
        let name = self.name(at, "the node's name")?;
        let (standby, weight) = (standby.unwrap_or(false), weight.unwrap_or(DEFAULT_WEIGHT));
        Some((at, name, Node { standby, weight, ..Node::new(name) }))
    }

    /// The timers, each alone and against each other.
    fn timers(&mut self, top: &Fields<'_>) -> Timers {
        let mut read = |key, bounds, default: u64| {
            top.get(key)
                .and_then(|node| self.seconds(node, bounds))
                .unwrap_or(Duration::from_secs(default))
        };
        let timers = Timers {
            interval: read("interval", (0.001, 60.0), 1),
            mature: read("mature", (0.001, 3_600.0), 5),
            stale: read("stale", (0.003, 3_600.0), 3),
        };
        self.check_stale(top, &timers);
        self.check_mature(top, &timers);
        if timers.interval < SHORT_INTERVAL && top.get("realtime").is_none() {
            let found = format!("interval {}", in_seconds(timers.interval));
            let expected = "`realtime` with an interval this short: on a busy processor the \
                            daemon is late, and a late node looks dead";
            self.report.warn(top.place_of("interval"), found, expected);
        }
        timers
    }

    fn check_stale(&mut self, top: &Fields<'_>, timers: &Timers) {
        let Timers { interval, stale, .. } = *timers;
        let at = place_of_either(top, "stale", "interval");
        let found = format!("stale {} with interval {}", in_seconds(stale), in_seconds(interval));
        if stale < 2 * interval {
            let least = in_seconds(2 * interval);
            let expected = format!("stale of at least 2 × interval ({least}), better 3 ×");
            self.report.error(at, found, expected);
        } else if stale < 3 * interval {
            let least = in_seconds(3 * interval);
            let expected = format!(
                "stale of at least 3 × interval ({least}): one lost packet looks like a dead node"
            );
            self.report.warn(at, found, expected);
        }
    }

    fn check_mature(&mut self, top: &Fields<'_>, timers: &Timers) {
        let Timers { interval, mature, .. } = *timers;
        let at = place_of_either(top, "mature", "interval");
        let found = format!("mature {} with interval {}", in_seconds(mature), in_seconds(interval));
        let why = "a starting node must hear the others before it takes their groups";
        if mature < interval {
            self.report.error(at, found, format!("mature of at least interval: {why}"));
        } else if mature < 2 * interval {
            self.report.warn(at, found, format!("mature of at least 2 × interval: {why}"));
        }
    }
}

/// Where two settings contradict each other: the first key, when it is written
/// down, else the second (then the first has its default).
fn place_of_either(top: &Fields<'_>, first: &str, second: &str) -> usize {
    if top.get(first).is_some() { top.place_of(first) } else { top.place_of(second) }
}
