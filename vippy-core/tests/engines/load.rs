#![allow(clippy::disallowed_types, reason = "real time is what is measured here")]

use std::time::{Duration, Instant};

use vippy_core::input::{Datagram, Input};

use crate::lan::{Lan, MATURE, Plan, STALE, group};

fn plan(groups: u32) -> Plan {
    let groups = (0..groups).map(|n| group(&format!("g{n}"), u8::try_from(n % 250).unwrap()));
    Plan { groups: groups.collect(), ..Plan::new(2, 0) }
}

/// Far more than this work takes on a busy machine without optimization, and
/// far less than it takes when each of many steps looks at every group.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn taking_over_many_groups_is_not_quadratic() {
    let mut lan = Lan::settled(&plan(16_000));
    lan.machines.remove(&0);
    let start = Instant::now();
    lan.run(2 * STALE + MATURE);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!(lan.machines[&1].kernel.len(), 16_000);
}

#[test]
fn a_flood_costs_an_outranked_node_no_look_at_its_groups() {
    let plan = plan(16_000);
    let mut lan = Lan::settled(&plan);
    lan.configure(0, &Plan { version: 2, ..plan });
    lan.run(Duration::from_secs(30) + 4 * STALE);
    assert!(lan.machines[&1].kernel.is_empty(), "it has let go");
    let start = Instant::now();
    for _ in 0..100_000 {
        let source = ([10, 0, 0, 1], 1).into();
        let datagram = Datagram { source, multicast: true, bytes: vec![0; 100] };
        lan.machines.get_mut(&1).unwrap().engine.handle(lan.now, Input::Datagram(datagram));
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}
