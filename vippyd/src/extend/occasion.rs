//! What happened, as programs of operators are told of it: an event with the facts
//! that belong to it, as JSON and as variables.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vippy_core::config::{Address, Config, hooks};
use vippy_core::event::{Event, Tenure};
use vippy_core::identity::{BootId, Epoch, GroupId, NodeName};
use vippy_core::status::Status;

use crate::clock;

/// The field that tells what happened.
const NAME: &str = "event";

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) struct Occasion {
    /// Its name.
    pub(super) name: String,
    /// The group it is about.
    pub(super) group: Option<GroupId>,
    facts: Map<String, Value>,
}

impl Occasion {
    /// As one line of JSON, without its end.
    pub(super) fn line(&self) -> String {
        Value::Object(self.facts.clone()).to_string()
    }

    /// As variables: every fact that is a text or a number, and every list of texts
    /// with spaces between them.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let variable = |(key, value): (&String, &Value)| {
            let name = match key.as_str() {
                // `node` of an event is the node that it is about.
                "node" => "PEER".to_owned(),
                "here" => "NODE".to_owned(),
                key => key.to_ascii_uppercase(),
            };
            Some((format!("VIPPY_{name}"), text(value)?))
        };
        self.facts.iter().filter_map(variable).collect()
    }
}

fn text(value: &Value) -> Option<String> {
    // A variable ends at the first zero byte.
    let text = match value {
        Value::String(text) => text.replace('\0', ""),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) => items.iter().filter_map(text).collect::<Vec<_>>().join(" "),
        Value::Null | Value::Object(_) => return None,
    };
    Some(text)
}

/// What an event does not say itself.
#[derive(Debug)]
pub(super) struct Scene {
    here: NodeName,
    cluster: String,
    addresses: BTreeMap<GroupId, Vec<Address>>,
    /// Those of groups that left the configuration and are still to be let go.
    left_out: BTreeMap<GroupId, Vec<Address>>,
    /// The numbers of this node's ownerships (W7).
    epochs: BTreeMap<GroupId, Epoch>,
}

impl Scene {
    pub(super) fn new(here: NodeName, config: &Config) -> Scene {
        let mut scene = Scene {
            here,
            cluster: String::new(),
            addresses: BTreeMap::new(),
            left_out: BTreeMap::new(),
            epochs: BTreeMap::new(),
        };
        scene.configure(config);
        scene
    }

    pub(super) fn configure(&mut self, config: &Config) {
        self.cluster.clone_from(&config.local.cluster);
        let groups = config.shared.groups.iter();
        let known = groups.map(|group| (group.id.clone(), group.addresses.clone()));
        let former = std::mem::replace(&mut self.addresses, known.collect());
        let former = std::mem::take(&mut self.left_out).into_iter().chain(former);
        let held = former.filter(|(group, _)| self.epochs.contains_key(group));
        self.left_out = held.filter(|(group, _)| !self.addresses.contains_key(group)).collect();
    }

    /// What was held already when nobody listened yet.
    pub(super) fn recall(&mut self, status: &Status) {
        let held = status.groups.iter().filter_map(|group| Some((group.id.clone(), group.epoch?)));
        self.epochs = held.collect();
    }

    /// An event with its facts.
    pub(super) fn occasion(&mut self, event: &Event) -> Occasion {
        let facts = match serde_json::to_value(event) {
            Ok(Value::Object(facts)) => facts,
            // Every event is an object.
            Ok(_) | Err(_) => Map::new(),
        };
        let group = facts.get("group").and_then(Value::as_str).map(GroupId::from);
        let name = facts.get(NAME).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some((group, Tenure::Here(epoch))) = event.tenure() {
            self.epochs.insert(group.clone(), epoch);
        }
        let occasion = self.complete(name, group, facts);
        match event.tenure() {
            Some((group, Tenure::Leaving)) if self.left_out.remove(group).is_some() => {
                self.epochs.remove(group);
            }
            Some((group, Tenure::Gone)) => drop(self.epochs.remove(group)),
            Some((_, Tenure::Here(_) | Tenure::Leaving)) | None => {}
        }
        occasion
    }

    /// A group's addresses are about to be put on.
    pub(super) fn before_up(&self, group: GroupId) -> Occasion {
        let mut facts = Map::new();
        facts.insert(NAME.into(), hooks::BEFORE_UP.into());
        facts.insert("group".into(), group.as_str().into());
        self.complete(hooks::BEFORE_UP.to_owned(), Some(group), facts)
    }

    /// This node cleans up after a process that is gone.
    pub(super) fn clean_up(&self, node: &NodeName, boot: BootId, epoch: Epoch) -> Occasion {
        let facts = [
            (NAME, Value::from(hooks::NODE_DOWN)),
            ("node", node.as_str().into()),
            ("life", boot.to_string().into()),
            ("epoch", epoch.0.into()),
        ];
        let facts = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        self.complete(hooks::NODE_DOWN.to_owned(), None, facts)
    }

    fn complete(
        &self,
        name: String,
        group: Option<GroupId>,
        mut facts: Map<String, Value>,
    ) -> Occasion {
        facts.insert("here".into(), self.here.as_str().into());
        facts.insert("unix_ms".into(), clock::wall_millis().into());
        if !self.cluster.is_empty() {
            facts.insert("cluster".into(), self.cluster.as_str().into());
        }
        if let Some(epoch) = group.as_ref().and_then(|group| self.epochs.get(group)) {
            facts.entry("epoch").or_insert_with(|| epoch.0.into());
        }
        let addresses = |group| self.addresses.get(group).or_else(|| self.left_out.get(group));
        if let Some(addresses) = group.as_ref().and_then(addresses) {
            let texts = addresses.iter().map(|address| Value::from(address.net.to_string()));
            facts.insert("addresses".into(), texts.collect());
        }
        Occasion { name, group, facts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(group: &str) -> Config {
        let text = format!(
            "{{chat: '224.1.1.1:5007', secret: 'a secret of some length', cluster: 'blue',
               nodes: ['node1', 'node2'], vips: [{group}]}}"
        );
        vippy_core::config::parse(&text, "test").unwrap().config
    }

    fn scene() -> Scene {
        let addresses = "{interface: 'lo', ip: '10.0.0.1/24'}, {interface: 'lo', ip: 'fd00::1/64'}";
        let config = config(&format!("{{name: 'web', vips: [{addresses}]}}"));
        Scene::new("node1".into(), &config)
    }

    fn variable(occasion: &Occasion, name: &str) -> Option<String> {
        occasion.variables().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    #[test]
    fn an_ownership_has_one_number_from_up_to_down() {
        let mut scene = scene();
        let taking = scene.occasion(&Event::Taking { group: "web".into(), from: None });
        assert_eq!(variable(&taking, "VIPPY_EPOCH"), None);
        let up = scene.occasion(&Event::GroupUp { group: "web".into(), epoch: Epoch(7) });
        assert_eq!(variable(&up, "VIPPY_EPOCH").as_deref(), Some("7"));
        let down = scene.occasion(&Event::GroupDown { group: "web".into() });
        assert_eq!(variable(&down, "VIPPY_EPOCH").as_deref(), Some("7"));
        let again = scene.before_up("web".into());
        assert_eq!(variable(&again, "VIPPY_EPOCH"), None);
    }

    #[test]
    fn a_group_that_was_left_out_is_told_of_whole_and_then_forgotten() {
        let (mut scene, whole) = (scene(), config("{name: 'web', vips: [{ip: '10.0.0.1/24'}]}"));
        scene.occasion(&Event::GroupUp { group: "web".into(), epoch: Epoch(7) });
        for other in ["10.0.0.9/24", "10.0.0.10/24"] {
            scene.configure(&config(&format!("{{name: 'db', vips: [{{ip: '{other}'}}]}}")));
        }
        let why = "it is no longer in the configuration".to_owned();
        let gone = scene.occasion(&Event::LettingGo { group: "web".into(), to: None, why });
        assert_eq!(variable(&gone, "VIPPY_EPOCH").as_deref(), Some("7"));
        assert!(variable(&gone, "VIPPY_ADDRESSES").is_some());
        scene.configure(&whole);
        assert_eq!(variable(&scene.before_up("web".into()), "VIPPY_EPOCH"), None);
    }

    #[test]
    fn what_happened_is_told_with_its_facts() {
        let mut scene = scene();
        let up = scene.occasion(&Event::GroupUp { group: "web".into(), epoch: Epoch(7) });
        for (name, value) in [
            ("VIPPY_EVENT", "group-up"),
            ("VIPPY_NODE", "node1"),
            ("VIPPY_CLUSTER", "blue"),
            ("VIPPY_GROUP", "web"),
            ("VIPPY_ADDRESSES", "10.0.0.1/24 fd00::1/64"),
        ] {
            assert_eq!(variable(&up, name).as_deref(), Some(value), "{name}");
        }
        let line: Value = serde_json::from_str(&up.line()).unwrap();
        assert_eq!((&line["event"], &line["epoch"]), (&"group-up".into(), &7.into()));
        let lost = scene.occasion(&Event::PeerLost { node: "node2".into(), silent_ms: 3 });
        assert_eq!(variable(&lost, "VIPPY_PEER").as_deref(), Some("node2"));
        assert_eq!(variable(&lost, "VIPPY_SILENT_MS").as_deref(), Some("3"));
    }
}
