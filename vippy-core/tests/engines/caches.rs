use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vippy_core::event::Event;
use vippy_core::identity::Mac;
use vippy_core::input::Input;
use vippy_core::neighbours::{Station, document};
use vippy_core::output::Output;

use crate::lan::{INTERVAL, Lan, Plan, STALE, name};

/// A cache of so many stations from 10.`net`.0.0 on.
fn cache(net: u8, stations: u16) -> Vec<Station> {
    let station = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let ip = [10, net, high, low].into();
        Station { ip, mac: Mac([2, 0, 0, net, high, low]), router: n == 0 }
    };
    (0..stations).map(station).collect()
}

fn share(lan: &mut Lan, node: usize, stations: &[Station]) {
    lan.tell(node, Input::Neighbours(document(stations)));
}

/// What a node was told last of each other node's neighbours.
fn known(lan: &Lan, node: usize) -> BTreeMap<String, Arc<[Station]>> {
    let told = lan.machines[&node].orders.iter().filter_map(|order| {
        let Output::Neighbours { node, stations } = order else { return None };
        Some((node.to_string(), Arc::clone(stations)))
    });
    told.collect()
}

#[test]
fn everybody_learns_what_each_knows_and_again_only_when_it_changed() {
    let mut lan = Lan::settled(&Plan::new(3, 3));
    share(&mut lan, 0, &cache(0, 300));
    share(&mut lan, 1, &cache(1, 5));
    lan.run(10 * INTERVAL);
    for node in 0..3 {
        let known = known(&lan, node);
        for (other, stations) in [(0, 300), (1, 5)] {
            let theirs = known.get(&format!("node{other}")).map(|theirs| theirs.to_vec());
            let expected = cache(u8::try_from(other).unwrap(), stations);
            assert_eq!(theirs, (node != other).then_some(expected), "node{node} of node{other}");
        }
        let sizes = lan.status(node).neighbours;
        assert_eq!(sizes, BTreeMap::from([(name(0), 300), (name(1), 5)]), "node{node}");
    }
    lan.frames.clear();
    let told = lan.machines[&2].orders.len();
    share(&mut lan, 0, &cache(0, 300));
    lan.run(Duration::from_secs(5));
    let announced = lan.frames.iter().all(|(_, frame)| frame.len() < 400);
    assert!(announced, "nothing but announcements travels at rest");
    let news = lan.machines[&2].orders[told..].iter();
    assert!(news.clone().all(|order| !matches!(order, Output::Neighbours { .. })));
    share(&mut lan, 0, &cache(0, 301));
    lan.run(10 * INTERVAL);
    assert_eq!(known(&lan, 2)["node0"].len(), 301);
}

#[test]
fn what_a_dead_node_knew_is_known_on() {
    let mut lan = Lan::settled(&Plan::new(3, 3));
    share(&mut lan, 2, &cache(2, 20));
    lan.run(10 * INTERVAL);
    lan.machines.remove(&2);
    lan.run(10 * STALE);
    assert_eq!(known(&lan, 0)["node2"].len(), 20);
    assert_eq!(lan.status(0).neighbours[&name(2)], 20);
    // Until it is configured no more.
    let fewer = Plan { version: 2, nodes: vec![0, 1], ..Plan::new(3, 3) };
    lan.configure(0, &fewer);
    lan.run(INTERVAL);
    assert!(known(&lan, 0)["node2"].is_empty());
    assert_eq!(lan.status(0).neighbours.get(&name(2)), None);
}

#[test]
fn the_largest_cache_travels_within_seconds() {
    let mut lan = Lan::settled(&Plan::new(3, 3));
    share(&mut lan, 0, &cache(0, 4_096));
    assert!(lan.run_until(Duration::from_secs(2), |lan| known(lan, 2).contains_key("node0")));
}

#[test]
fn who_hears_the_owner_serves_those_who_do_not() {
    let plan = Plan::new(3, 3);
    let mut lan = Lan::settled(&plan);
    lan.cut_between(0, 2);
    lan.run(10 * STALE);
    share(&mut lan, 0, &cache(0, 300));
    lan.run(Duration::from_secs(2));
    assert_eq!(known(&lan, 2)["node0"].len(), 300);
}

#[test]
fn a_node_that_tells_by_broadcast_alone_fetches_nothing() {
    let plan = Plan { notify: false, ..Plan::new(2, 2) };
    let mut lan = Lan::settled(&plan);
    share(&mut lan, 0, &cache(0, 300));
    lan.run(10 * INTERVAL);
    assert!(known(&lan, 1).is_empty());
    lan.configure(1, &Plan::new(2, 2));
    lan.run(10 * INTERVAL);
    assert_eq!(known(&lan, 1)["node0"].len(), 300);
}

#[test]
fn a_cache_that_cannot_be_read_is_told_of_once_and_not_fetched_again() {
    let mut lan = Lan::settled(&Plan::new(2, 2));
    lan.tell(0, Input::Neighbours("10.0.0.1 nobody\n".into()));
    lan.run(Duration::from_secs(10));
    let warnings = lan.machines[&1].events().filter_map(|event| {
        if let Event::Warning { text } = event { Some(text.clone()) } else { None }
    });
    let expected = "the neighbour cache of node0 cannot be read: line 1: found \
                    \"10.0.0.1 nobody\", expected an IP address, a MAC, perhaps `router`";
    assert_eq!(warnings.collect::<Vec<_>>(), [expected]);
}
