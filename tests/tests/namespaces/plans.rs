//! What a plan foretells, and what then happens.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use vippy_client::{Explanation, Plan};
use vippy_lab::Cluster;
use vippy_lab::options::vip4;

use crate::support::{PATIENCE, calm_cluster, eventually, holder, owners, program};

/// Runs `vippyctl` on a node: whether it succeeded, and what it said.
fn vippyctl(cluster: &Cluster, node: usize, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program("vippyctl"));
    let output = command.arg("-s").arg(cluster.management(node)).args(arguments).output().unwrap();
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn plan(cluster: &Cluster, node: usize, arguments: &[&str]) -> Plan {
    let (done, said) = vippyctl(cluster, node, &[&["plan", "--json"], arguments].concat());
    assert!(done, "{said}");
    serde_json::from_str(&said).unwrap()
}

/// Owners after the moves of a plan.
fn applied(before: &BTreeMap<String, String>, plan: &Plan) -> BTreeMap<String, String> {
    let mut after = before.clone();
    let removed = plan.config.iter().flat_map(|config| &config.removed);
    removed.for_each(|group| drop(after.remove(group.as_str())));
    for step in &plan.moves {
        let former = after.insert(step.group.to_string(), step.to.to_string());
        assert_eq!(former, step.from.as_ref().map(ToString::to_string), "{step:?}");
    }
    after
}

/// The running file with some keys set.
fn changed(cluster: &Cluster, keys: &Value) -> String {
    let mut config: Value = serde_json::from_str(&cluster.options().config_text()).unwrap();
    let keys = keys.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(keys);
    config.to_string()
}

#[test]
fn a_killed_node_moves_what_was_foretold_and_nothing_else() {
    let cluster = calm_cluster();
    let foretold = plan(&cluster, 2, &["--down", "node1"]);
    let (_, screen) = vippyctl(&cluster, 2, &["plan", "--down", "node1"]);
    assert!(screen.starts_with("if node1 is down: "), "{screen}");
    let before = owners(&cluster, 2);
    assert!(!foretold.moves.is_empty());
    assert!(foretold.moves.iter().all(|step| step.from.as_ref().unwrap().as_str() == "node1"));
    cluster.crash_node(1).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    assert_eq!(owners(&cluster, 2), applied(&before, &foretold));
    let foretold = plan(&cluster, 3, &["--up", "node1"]);
    cluster.start_node(1).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    assert_eq!(owners(&cluster, 2), before);
    let after: BTreeMap<_, _> =
        foretold.moves.iter().map(|step| (step.group.as_str(), step.to.as_str())).collect();
    assert!(after.values().all(|to| *to == "node1"));
    assert_eq!(after.len(), before.values().filter(|owner| *owner == "node1").count());
}

#[test]
fn a_configuration_that_retires_a_node_moves_what_was_foretold() {
    let cluster = calm_cluster();
    let retired = json!({ "name": "node2", "weight": 0 });
    let keys = json!({ "version": 9, "nodes": ["node1", retired, "node3"] });
    let text = changed(&cluster, &keys);
    let file = cluster.root().join("next.conf");
    std::fs::write(&file, &text).unwrap();
    let foretold = plan(&cluster, 1, &["--config", file.to_str().unwrap()]);
    let before = owners(&cluster, 1);
    assert_eq!(foretold.config.as_ref().unwrap().keys, ["nodes"]);
    assert_eq!(cluster.status(1).unwrap().config.version, before_version(&cluster));
    cluster.rewrite_config(&text).unwrap();
    (1..=3).for_each(|node| cluster.hup(node).unwrap());
    eventually("what was foretold", || match owners(&cluster, 1) {
        now if now == applied(&before, &foretold) => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
    let retired = cluster.status(2).unwrap();
    assert_eq!(retired.node.detail, "retired by weight 0: holds only what no other node can");
}

/// The version of the file that the cluster was started with.
fn before_version(cluster: &Cluster) -> u64 {
    let config: Value = serde_json::from_str(&cluster.options().config_text()).unwrap();
    config["version"].as_u64().unwrap_or_default()
}

#[test]
fn a_broken_configuration_is_refused_with_places_and_without_the_secret() {
    let cluster = calm_cluster();
    let file = cluster.root().join("broken.conf");
    let secret = "a-secret-that-must-not-be-told";
    let keys = json!({ "nodes": ["node1", { "name": "node2", "weight": 101 }], "secret": secret });
    std::fs::write(&file, changed(&cluster, &keys)).unwrap();
    let (done, said) = vippyctl(&cluster, 1, &["plan", "--config", file.to_str().unwrap()]);
    assert!(!done);
    assert!(
        said.contains("broken.conf:1:") && said.contains("nodes[1].weight: found 101"),
        "{said}"
    );
    assert!(!said.contains(secret) && !cluster.log(1).unwrap().contains(secret));
}

#[test]
fn every_node_explains_a_group_alike() {
    let cluster = calm_cluster();
    let ip = vip4(1).to_string();
    let owner = format!("node{}", holder(&cluster, vip4(1)));
    for node in 1..=3 {
        let (_, said) = vippyctl(&cluster, node, &["explain", &ip, "--json"]);
        let explanation: Explanation = serde_json::from_str(&said).unwrap();
        assert_eq!(explanation.owner.unwrap().as_str(), owner);
        let (_, screen) = vippyctl(&cluster, node, &["explain", &ip]);
        assert!(screen.contains(&format!("owner: {owner}, ")), "{screen}");
        assert_eq!(explanation.candidates.len(), 3);
    }
    let (done, said) = vippyctl(&cluster, 1, &["explain", "nothing"]);
    assert!(!done && said.contains("found \"nothing\", expected a group's name"), "{said}");
}
