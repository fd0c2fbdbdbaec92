//! One file for nodes whose interfaces have other names, and networks that come
//! later.

use serde_json::json;
use vippy_client::Status;
use vippy_client::status::{GroupStatus, Holding};
use vippy_lab::options::vip4;
use vippy_lab::{Cluster, Options};

use crate::support::{PATIENCE, ask, assert_unnoticed, await_status, calm, eventually, ip, owners};

/// Gives the LAN's interface of each node a name of its own.
fn rename_interfaces(cluster: &Cluster) {
    for node in 1..=cluster.lan().nodes() {
        let machine = cluster.lan().machine(node).unwrap();
        ip(machine, &["link", "set", "eth0", "down"]);
        ip(machine, &["link", "set", "eth0", "name", &format!("lan{node}")]);
        ip(machine, &["link", "set", &format!("lan{node}"), "up"]);
    }
}

fn interfaces(group: &GroupStatus) -> Vec<&str> {
    group.interfaces.iter().map(|name| name.as_deref().unwrap_or("-")).collect()
}

#[test]
fn nodes_whose_interfaces_have_other_names_share_a_file_without_any() {
    let vip = |number| json!({ "ip": format!("{}/24", vip4(number)) });
    let groups = json!([[vip(1), vip(2)], ["node2", vip(3)], [{ "ip": vip4(4) }]]);
    let mut options = Options { groups, ..calm() };
    options.more.insert("chat_interface".into(), json!("all"));
    let cluster = Cluster::prepare(options).unwrap();
    rename_interfaces(&cluster);
    (1..=3).for_each(|node| cluster.start_node(node).unwrap());
    cluster.wait_settled(PATIENCE).unwrap();
    for node in 1..=3 {
        let status = cluster.status(node).unwrap();
        let name = format!("lan{node}");
        assert_eq!(interfaces(&status.groups[0]), [&name, &name]);
        assert_eq!(interfaces(&status.groups[2]), [&name]);
        let original = serde_json::to_value(&status.config.vips[1]).unwrap();
        assert_eq!((&original[0], &original[1]["name"]), (&json!("node2"), &json!(name)));
    }
    // The neighbours are told on the right interface: nobody misses a packet.
    let moving: Vec<_> = (1..=4).map(vip4).collect();
    let probe = ask(&cluster, &moving);
    assert!(owners(&cluster, 1).values().any(|owner| owner == "node2"));
    cluster.drain(2).unwrap();
    eventually("node2 is empty", || match owners(&cluster, 1) {
        now if now.values().all(|owner| owner != "node2") => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
    for (ip, series) in &probe.finish().series {
        assert_unnoticed(ip, series);
    }
}

#[test]
fn a_node_can_hold_a_group_once_an_interface_carries_its_network() {
    let group = |number| json!([{ "ip": format!("10.78.0.{number}/24") }]);
    let options = Options { groups: json!([group(101), group(102), group(103)]), ..calm() };
    let cluster = Cluster::prepare(options).unwrap();
    let machine = |node: usize| cluster.lan().machine(node).unwrap();
    for node in 1..=3 {
        ip(machine(node), &["link", "add", "vips0", "type", "veth", "peer", "name", "far0"]);
        ip(machine(node), &["link", "set", "far0", "up"]);
        ip(machine(node), &["link", "set", "vips0", "up"]);
        cluster.start_node(node).unwrap();
    }
    let why = "no interface carries 10.78.0.0/24 and the configuration names none";
    let cannot =
        |status: &Status| status.groups.iter().all(|group| group.cannot.as_deref() == Some(why));
    for node in 1..=3 {
        let status = await_status(&cluster, node, "it says why it cannot", cannot);
        assert!(status.groups.iter().all(|group| interfaces(group) == ["-"]), "{status:#?}");
    }
    ip(machine(1), &["address", "add", "10.78.0.1/24", "dev", "vips0"]);
    await_status(&cluster, 1, "node1 has everything", |status| {
        status.groups.iter().all(|group| group.here == Holding::Held)
            && status.groups.iter().all(|group| interfaces(group) == ["vips0"])
    });
    ip(machine(2), &["address", "add", "10.78.0.2/24", "dev", "vips0"]);
    eventually("they share", || match owners(&cluster, 3) {
        now if now.values().any(|owner| owner == "node2") => cluster.settled(),
        now => Err(format!("{now:?}")),
    });
    assert!(cannot(&cluster.status(3).unwrap()));
    // What is on stays where it is without its network's address.
    ip(machine(1), &["address", "del", "10.78.0.1/24", "dev", "vips0"]);
    cluster.drain(2).unwrap();
    eventually("node1 has kept what it had, and can have nothing else", || {
        let status = cluster.status(1).map_err(|error| error.to_string())?;
        let of = |group: &GroupStatus| (group.here == Holding::Held, group.cannot.is_none());
        let mut kinds: Vec<_> = status.groups.iter().map(of).collect();
        kinds.sort_unstable();
        kinds.dedup();
        match kinds.as_slice() {
            [(false, false), (true, true)] => Ok(()),
            _ => Err(format!("{:#?}", status.groups)),
        }
    });
}
