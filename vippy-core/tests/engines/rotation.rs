use vippy_core::event::Event;
use vippy_core::output::Output;
use vippy_core::status::{PeerStatus, RejectReason};

use crate::lan::{INTERVAL, Lan, MATURE, Plan, STALE, name};

const OLD: &str = "the secret that everybody has";
const NEW: &str = "the secret that comes after it";

fn plan(secrets: &[&'static str]) -> Plan {
    Plan { secrets: secrets.to_vec(), ..Plan::new(3, 6) }
}

/// What one node gets to do with groups, and whom it loses.
fn unrest(lan: &Lan) -> Vec<&Output> {
    let orders = lan.machines.values().flat_map(|machine| &machine.orders);
    let unrest = |order: &&Output| {
        matches!(
            order,
            Output::Plumb { .. }
                | Output::Unplumb { .. }
                | Output::Event(
                    Event::PeerLost { .. } | Event::PeerRestarted { .. } | Event::Rejected { .. }
                )
        )
    };
    orders.filter(unrest).collect()
}

fn key_of(lan: &Lan, node: usize) -> String {
    lan.status(node).node.key
}

fn peer(lan: &Lan, node: usize, of: usize) -> PeerStatus {
    let peers = lan.status(node).peers;
    peers.into_iter().find(|peer| peer.name == name(of)).unwrap()
}

#[test]
fn three_steps_node_by_node_lose_nobody_and_move_nothing() {
    let mut lan = Lan::settled(&plan(&[OLD]));
    let old = key_of(&lan, 0);
    let changes = |lan: &Lan| [0, 1, 2].map(|node| lan.status(node).stats.state_changes);
    let before = changes(&lan);
    lan.machines.values_mut().for_each(|machine| machine.orders.clear());
    for step in [&[OLD, NEW][..], &[NEW, OLD], &[NEW]] {
        for node in 0..3 {
            lan.configure(node, &plan(step));
            // Long enough for a node that is not heard to be lost.
            lan.run(2 * STALE);
            assert_eq!(lan.status(node).node.keys.len(), step.len());
            let signs = key_of(&lan, node);
            for other in (0..3).filter(|other| *other != node) {
                let seen = peer(&lan, other, node);
                assert_eq!((seen.alive, seen.key), (true, Some(signs.clone())));
            }
        }
    }
    assert_ne!(key_of(&lan, 0), old);
    assert_eq!(changes(&lan), before);
    let unrest = unrest(&lan);
    assert!(unrest.is_empty(), "{unrest:?}");
}

#[test]
fn a_node_that_skips_the_first_step_is_not_heard_until_the_others_know_its_key() {
    let mut lan = Lan::settled(&plan(&[OLD]));
    lan.configure(0, &plan(&[NEW, OLD]));
    lan.run(2 * STALE);
    assert!(!peer(&lan, 1, 0).alive);
    for node in [1, 2] {
        lan.configure(node, &plan(&[OLD, NEW]));
    }
    lan.run(MATURE + STALE);
    assert!(peer(&lan, 1, 0).alive && peer(&lan, 0, 1).alive);
}

#[test]
fn a_node_whose_key_was_revoked_is_out_and_the_others_go_on() {
    let mut lan = Lan::settled(&plan(&[OLD, NEW]));
    for node in [0, 1] {
        lan.configure(node, &plan(&[NEW, OLD]));
    }
    lan.configure(2, &plan(&[OLD]));
    for node in [0, 1] {
        lan.configure(node, &plan(&[NEW]));
    }
    lan.run(2 * STALE + 2 * INTERVAL);
    for (node, other) in [(0, 1), (1, 0)] {
        assert!(peer(&lan, node, other).alive && !peer(&lan, node, 2).alive);
        let status = lan.status(node);
        assert!(status.stats.rejects[&RejectReason::UnknownKey] > 0);
        let told = |text: &String| text.contains("signs with another secret or cluster name");
        assert!(status.node.warnings.iter().any(told), "{:?}", status.node.warnings);
        assert!(status.groups.iter().all(|group| group.owner != Some(name(2))));
    }
    let revoked = lan.status(2);
    assert!(revoked.peers.iter().all(|peer| !peer.alive));
    assert!(revoked.stats.rejects[&RejectReason::UnknownKey] > 0);
}
