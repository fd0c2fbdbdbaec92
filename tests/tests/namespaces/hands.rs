//! Hands that meddle: addresses removed, links switched off, interfaces that
//! come late, a second daemon under a name that is taken.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use vippy_client::status::{NodeReason, NodeState};
use vippy_lab::options::{vip, vip4, vip6};
use vippy_lab::{Cluster, Options, Port};

use crate::support::{
    Daemon, PATIENCE, addresses, ask, assert_unnoticed, await_status, calm, calm_cluster,
    eventually, has_address, holder, holders, ip, owners, settled,
};

#[test]
fn an_address_removed_by_hand_is_back_at_once_and_nothing_moves() {
    let cluster = calm_cluster();
    let before = owners(&cluster, 1);
    let watch = cluster.lan().watch().unwrap();
    for (address, prefix) in [(vip4(1), 24), (vip6(6), 64)] {
        let node = holder(&cluster, address);
        let changes = cluster.status(node).unwrap().stats.state_changes;
        let removed = Instant::now();
        cluster.lan().machine(node).unwrap().remove_address(address, prefix).unwrap();
        let back = watch.wait(PATIENCE, |seen| {
            let spans = seen.spans(address, node);
            spans.last().is_some_and(|span| span.from > removed && span.to.is_none())
        });
        assert!(back, "{address} does not come back");
        let away = watch.so_far().unheld(address, removed);
        let away: Duration = away.iter().map(|stretch| stretch.length()).sum();
        println!("{address} was away for {away:?}");
        // A tenth of a second on a machine of its own.
        assert!(away < Duration::from_secs(1), "{address} was away for {away:?}");
        assert_eq!(cluster.status(node).unwrap().stats.state_changes, changes);
    }
    assert_eq!(owners(&cluster, 1), before);
}

fn make_interface(cluster: &Cluster, node: usize) {
    let machine = cluster.lan().machine(node).unwrap();
    ip(machine, &["link", "add", "vips0", "type", "veth", "peer", "name", "far0"]);
    ip(machine, &["link", "set", "far0", "up"]);
    ip(machine, &["link", "set", "vips0", "up"]);
}

/// The chat has an interface of its own: everybody is well all the time.
#[test]
fn an_interface_that_comes_late_or_is_switched_off_moves_its_groups_and_no_others() {
    let aside = |number| json!([{ "interface": "vips0", "ip": format!("10.78.0.{number}/24") }]);
    let prefers =
        |number| json!(["node1", { "interface": "vips0", "ip": format!("10.78.0.{number}/24") }]);
    let common = json!([vip(vip4(1))]);
    let options = Options { groups: json!([prefers(1), aside(2), common]), ..calm() };
    let cluster = Cluster::prepare(options).unwrap();
    for node in [2, 3] {
        make_interface(&cluster, node);
    }
    (1..=3).for_each(|node| cluster.start_node(node).unwrap());
    cluster.wait_settled(PATIENCE).unwrap();
    let told = await_status(&cluster, 1, "it says what is missing", |status| {
        status.groups[0].cannot.as_ref().is_some_and(|why| why.contains("vips0"))
    });
    assert_eq!(told.node.state, NodeState::Active);
    assert!(told.groups[2].cannot.is_none());
    let owner_is = |node: &str, what: &str| {
        eventually(what, || {
            let status = cluster.status(2).unwrap();
            let owner = status.groups[0].owner.as_ref().map(ToString::to_string);
            let right = owner.as_deref() == Some("node1");
            if right == (node == "node1") { cluster.settled() } else { Err(format!("{owner:?}")) }
        });
    };
    owner_is("another", "another node has it meanwhile");
    let stays = holder(&cluster, vip4(1));
    let probe = ask(&cluster, &[vip4(1)]);
    make_interface(&cluster, 1);
    owner_is("node1", "it is picked up");
    let machine = cluster.lan().machine(1).unwrap();
    ip(machine, &["link", "set", "vips0", "down"]);
    // The others learn it from a frame, not from silence.
    owner_is("another", "it is refused and moves");
    let log = cluster.log(1).unwrap();
    assert!(!log.contains("suspended"), "{log}");
    ip(machine, &["link", "set", "vips0", "up"]);
    owner_is("node1", "it returns");
    let series = &probe.finish().series[&vip4(1)];
    assert_eq!(series.lost(), 0, "{series}");
    assert_eq!(series.machines(), [Port::Node(stays)].into());
}

#[test]
fn a_second_daemon_under_a_name_that_is_taken_gets_nothing_until_the_first_dies() {
    let cluster = settled(Options { clients: 2, ..calm() });
    let before = owners(&cluster, 2);
    let node = holder(&cluster, vip4(1));
    let name = format!("node{node}");
    let probe = ask(&cluster, &addresses());
    let machine = cluster.lan().machine(Port::Client(1)).unwrap();
    let twin = Daemon::start(machine, &name, &cluster.options().config_text());
    twin.await_status("it knows what it is", |status| status.node.reason == NodeReason::Twin);
    std::thread::sleep(cluster.options().stale);
    assert!(!has_address(machine, vip4(1)));
    let witness = if node == 2 { 3 } else { 2 };
    assert_eq!(owners(&cluster, witness), before);
    let status = cluster.status(node).unwrap();
    assert_eq!((status.node.state, status.node.reason), (NodeState::Active, NodeReason::None));
    for (ip, series) in &probe.finish().series {
        assert_eq!(series.lost(), 0, "{ip}: {series}");
        assert_eq!(series.machines().len(), 1, "{ip}: {series}");
    }
    // Then the name is its own.
    cluster.crash_node(node).unwrap();
    eventually("the second takes the place", || {
        if has_address(machine, vip4(1)) { Ok(()) } else { Err(twin.log()) }
    });
}

/// Two preferences are exchanged, so that shares stay as they are.
#[test]
fn other_preferences_reloaded_node_by_node_lose_nothing_and_move_only_those_groups() {
    let [one, two] = [vip4(1), vip4(2)];
    let groups = |preferred: [&str; 2]| {
        let prefers = preferred.into_iter().zip([one, two]);
        let prefer = prefers.map(|(node, ip)| json!([node, vip(ip)]));
        let others = [3, 4, 5, 12].map(|number| json!([vip(vip4(number))]));
        prefer.chain(others).collect::<serde_json::Value>()
    };
    let cluster = settled(Options { groups: groups(["node1", "node2"]), ..calm() });
    let before: BTreeMap<_, _> =
        addresses().into_iter().map(|ip| (ip, holder(&cluster, ip))).collect();
    assert_eq!((before[&one], before[&two]), (1, 2));
    let mut options = Options { groups: groups(["node2", "node1"]), ..cluster.options().clone() };
    options.more.insert("version".into(), json!(2));
    let probe = ask(&cluster, &addresses());
    cluster.rewrite_config(&options.config_text()).unwrap();
    for node in 1..=3 {
        cluster.hup(node).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    eventually("both are where they are preferred now", || {
        match [one, two].map(|ip| holders(&cluster, ip)) {
            [at, other] if at == [2] && other == [1] => cluster.settled(),
            elsewhere => Err(format!("{elsewhere:?}")),
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    for (ip, series) in &probe.finish().series {
        assert_unnoticed(ip, series);
        if ![one, two].contains(ip) {
            assert_eq!(series.machines(), [Port::Node(before[ip])].into(), "{ip} moved: {series}");
        }
    }
}
