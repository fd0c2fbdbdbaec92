//! What a plugin is told when it starts: how things are by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use vippy_core::chatter::Chatter;
use vippy_core::config::{Config, Group, SharedPart};
use vippy_core::event::{Event, Tenure};
use vippy_core::identity::{Epoch, GroupId, NodeName, Seq};
use vippy_core::neighbours::Station;
use vippy_core::status::{NodeReason, NodeState, Status, original_form};

/// The version of what passes between a plugin and the daemon.
const PROTOCOL: u32 = 1;

/// How things are. Copies are of the same board.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<Mutex<Facts>>);

#[derive(Debug)]
struct Facts {
    here: NodeName,
    cluster: String,
    config: Arc<str>,
    version: u64,
    state: NodeState,
    reason: NodeReason,
    detail: String,
    held: BTreeMap<GroupId, Epoch>,
    peers: BTreeSet<NodeName>,
    neighbours: BTreeMap<NodeName, Arc<str>>,
    /// What was told of last.
    voices: BTreeMap<NodeName, Seq>,
    unauthentic: Option<u64>,
}

impl Board {
    pub(super) fn new(here: &NodeName, config: &Config) -> Board {
        Board(Arc::new(Mutex::new(Facts {
            here: here.clone(),
            cluster: config.local.cluster.clone(),
            config: config_line(&config.shared),
            version: config.shared.version,
            state: NodeState::Booting,
            reason: NodeReason::None,
            detail: String::new(),
            held: BTreeMap::new(),
            peers: BTreeSet::new(),
            neighbours: BTreeMap::new(),
            voices: BTreeMap::new(),
            unauthentic: None,
        })))
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // Every change is complete in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line that tells of a configuration, when it is another one.
    pub(super) fn configure(&self, config: &Config) -> Option<Arc<str>> {
        let mut facts = self.facts();
        let line = config_line(&config.shared);
        facts.version = config.shared.version;
        (facts.config != line).then(|| {
            facts.config = Arc::clone(&line);
            line
        })
    }

    pub(super) fn recall(&self, status: &Status) {
        let mut facts = self.facts();
        facts.state = status.node.state;
        facts.reason = status.node.reason;
        facts.detail.clone_from(&status.node.detail);
        let held = status.groups.iter().filter_map(|group| Some((group.id.clone(), group.epoch?)));
        facts.held = held.collect();
        let alive = status.peers.iter().filter(|peer| peer.alive);
        facts.peers = alive.map(|peer| peer.name.clone()).collect();
    }

    pub(super) fn note(&self, event: &Event) {
        let mut facts = self.facts();
        match event.tenure() {
            Some((group, Tenure::Here(epoch))) => drop(facts.held.insert(group.clone(), epoch)),
            Some((group, Tenure::Leaving | Tenure::Gone)) => drop(facts.held.remove(group)),
            None => facts.note(event),
        }
    }

    /// The lines that tell of announcements: this node's, and those heard since the one
    /// before.
    pub(super) fn announced(&self, chatter: &Chatter) -> Vec<Arc<str>> {
        let mut facts = self.facts();
        let own = json!({
            "event": "send-announce",
            "node": facts.here,
            "active": takes_part(facts.state),
            "version": facts.version,
        });
        let mut lines = vec![own];
        for voice in &chatter.voices {
            if facts.voices.insert(voice.name.clone(), voice.seq) == Some(voice.seq) {
                continue;
            }
            lines.push(json!({
                "event": "recv-announce",
                "node": voice.name,
                "active": takes_part(voice.state),
                "version": voice.version,
                "address": voice.source.map(|source| source.ip()),
                "port": voice.source.map(|source| source.port()),
            }));
        }
        let before = facts.unauthentic.replace(chatter.unauthentic);
        let ignored = chatter.unauthentic - before.unwrap_or(chatter.unauthentic);
        if ignored > 0 {
            lines.push(json!({"event": "ignore", "why": "hash", "frames": ignored}));
        }
        lines.iter().map(|line| line.to_string().into()).collect()
    }

    /// The line that tells of a node's neighbours.
    pub(super) fn neighbours(&self, node: &NodeName, stations: &[Station]) -> Arc<str> {
        let mac = |station: &Station| (station.ip.to_string(), station.mac.to_string().into());
        let stations: Map<String, Value> = stations.iter().map(mac).collect();
        let line = json!({"event": "neighbours", "node": node, "stations": stations});
        let line: Arc<str> = line.to_string().into();
        self.facts().neighbours.insert(node.clone(), Arc::clone(&line));
        line
    }

    pub(super) fn all_neighbours(&self) -> Vec<Arc<str>> {
        self.facts().neighbours.values().cloned().collect()
    }

    /// The first lines for a plugin.
    pub(super) fn greeting(&self, plugin: &str) -> [Arc<str>; 2] {
        let facts = self.facts();
        let group = |(group, epoch): (&GroupId, &Epoch)| json!({"group": group, "epoch": epoch});
        let hello = json!({
            "event": "hello",
            "protocol": PROTOCOL,
            "program": env!("CARGO_PKG_VERSION"),
            "plugin": plugin,
            "here": facts.here,
            "cluster": facts.cluster,
            "state": facts.state,
            "reason": facts.reason,
            "detail": facts.detail,
            "up": facts.held.iter().map(group).collect::<Vec<Value>>(),
            "peers": facts.peers,
        });
        [hello.to_string().into(), Arc::clone(&facts.config)]
    }
}

impl Facts {
    fn note(&mut self, event: &Event) {
        if let Event::StateChanged { state, reason, detail } = event {
            (self.state, self.reason) = (*state, *reason);
            self.detail.clone_from(detail);
        } else if let Event::PeerUp { node } = event {
            self.peers.insert(node.clone());
        } else if let Event::PeerLost { node, .. } | Event::PeerLeft { node } = event {
            self.peers.remove(node);
        }
    }
}

fn takes_part(state: NodeState) -> bool {
    match state {
        NodeState::Active | NodeState::Standby => true,
        NodeState::Booting | NodeState::Draining | NodeState::Leaving => false,
    }
}

fn config_line(shared: &SharedPart) -> Arc<str> {
    let group = |group: &Arc<Group>| {
        let prefer = group.prefer.map(|node| &shared.nodes[node.get()].name);
        let addresses = group.addresses.iter().map(|address| {
            let interface = address.interface.as_ref().or(address.hint.as_ref());
            json!({"ip": address.net.to_string(), "interface": interface})
        });
        json!({
            "group": group.id,
            "prefer": prefer,
            "exclusive": group.exclusive,
            "addresses": addresses.collect::<Vec<Value>>(),
            "vips": original_form(shared, group),
        })
    };
    let line = json!({
        "event": "config",
        "version": shared.version,
        "digest": shared.digest.to_string(),
        "nodes": shared.nodes.iter().map(|node| &node.name).collect::<Vec<_>>(),
        "groups": shared.groups.iter().map(group).collect::<Vec<Value>>(),
    });
    line.to_string().into()
}
