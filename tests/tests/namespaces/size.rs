//! A thousand addresses.

use std::time::Duration;

use serde_json::{Value, json};
use vippy_lab::Options;

use crate::support::{calm, eventually, settled, virtual_addresses};

/// A thousand groups of an address, half of the default test's size each.
fn thousand() -> Value {
    let group = |n: u32| json!([{ "interface": "eth0", "ip": format!("10.79.{}.{}/20", n / 250, n % 250 + 1) }]);
    (0..1000).map(group).collect()
}

#[test]
fn a_thousand_addresses_are_taken_over_and_let_go_within_two_seconds() {
    let options = Options { nodes: 2, groups: thousand(), ..calm() };
    let options = options.with_times(
        Duration::from_millis(200),
        Duration::from_secs(3),
        Duration::from_millis(600),
    );
    let cluster = settled(options);
    let held = |node| virtual_addresses(&cluster, node).len();
    eventually("all are on", || match (held(1), held(2)) {
        (500, 500) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.crash_node(2).unwrap();
    eventually("node1 has all", || match held(1) {
        1000 => Ok(()),
        other => Err(format!("{other}")),
    });
    eventually("the dead node's have run out", || match held(2) {
        0 => Ok(()),
        other => Err(format!("{other}")),
    });
    cluster.start_node(2).unwrap();
    eventually("half is back", || match (held(1), held(2)) {
        (500, 500) => cluster.settled(),
        other => Err(format!("{other:?}")),
    });
    for (node, others) in [(1, 1000), (2, 0)] {
        let stopped = cluster.stop(node).unwrap();
        assert_eq!(stopped.status.code(), Some(0), "{}", cluster.log(node).unwrap());
        println!("node{node} with {} addresses stopped in {:?}", 1000 / (3 - node), stopped.took);
        assert!(stopped.took < Duration::from_secs(2), "node{node}: {:?}", stopped.took);
        assert_eq!(held(node), 0);
        assert_eq!(held(3 - node), others);
    }
}
