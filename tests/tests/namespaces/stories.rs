//! What daemons tell of what happened.

use std::process::Command;

use vippy_client::Timeline;
use vippy_client::timeline::{Failover, MoveCause};
use vippy_core::event::Event;
use vippy_core::output::Output;
use vippy_lab::Cluster;
use vippy_lab::options::vip4;
use vippy_tests::replay::replay;

use crate::support::{PATIENCE, calm_cluster, eventually, holder, owners, program};

/// What `vippyctl` prints when it asks a node.
fn vippyctl(cluster: &Cluster, node: usize, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(program("vippyctl"));
    let output = command.arg("-s").arg(cluster.management(node)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The newest failover of that kind, as a node tells it.
fn story(cluster: &Cluster, node: usize, cause: MoveCause) -> Option<Failover> {
    let told = vippyctl(cluster, node, &["timeline", "--json"]);
    let timeline: Timeline = serde_json::from_slice(&told).unwrap();
    timeline.failovers.into_iter().rfind(|failover| failover.cause == cause)
}

#[test]
fn the_survivors_tell_the_same_story_of_a_death() {
    let cluster = calm_cluster();
    let victim = holder(&cluster, vip4(1));
    let dead = format!("node{victim}");
    let groups = owners(&cluster, victim).values().filter(|owner| **owner == dead).count();
    cluster.crash_node(victim).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    let stale = cluster.options().stale.as_secs_f64() * 1000.0;
    for teller in (1..=3).filter(|node| *node != victim) {
        let mut told = None;
        eventually("everybody has told of its part", || {
            told = story(&cluster, teller, MoveCause::Death);
            let parts = told.iter().flat_map(|story| &story.moves);
            let up = parts.filter(|part| part.plumbed_ms.is_some());
            match up.map(|part| part.groups as usize).sum::<usize>() {
                all if all == groups => Ok(()),
                some => Err(format!("{some} groups of {groups}: {told:?}")),
            }
        });
        let told = told.unwrap();
        assert_eq!(told.from.as_ref().unwrap().as_str(), dead);
        for part in &told.moves {
            let found = part.found_ms.unwrap();
            assert!((0.7 * stale..2.0 * stale).contains(&found), "{told:?}");
            assert!(part.decided_ms >= found, "{told:?}");
            assert!(part.plumbed_ms.unwrap() >= part.decided_ms, "{told:?}");
        }
        let screen = String::from_utf8(vippyctl(&cluster, teller, &["timeline"])).unwrap();
        assert!(screen.contains(&format!("{dead} died")), "{screen}");
        println!("{screen}");
    }
}

#[test]
fn what_a_daemon_recorded_of_a_failover_happens_again_byte_for_byte() {
    let cluster = calm_cluster();
    let victim = holder(&cluster, vip4(1));
    let dead = format!("node{victim}");
    cluster.crash_node(victim).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    for node in (1..=3).filter(|node| *node != victim) {
        let recording = String::from_utf8(vippyctl(&cluster, node, &["recording"])).unwrap();
        let (mut lost, mut taken) = (0, 0);
        let summary = replay(recording.lines(), |_, outputs| {
            for output in outputs {
                let Output::Event(event) = output else { continue };
                lost += u32::from(
                    matches!(event, Event::PeerLost { node, .. } if node.as_str() == dead),
                );
                taken += u32::from(matches!(event, Event::Taking { .. }));
            }
        });
        let summary = summary.unwrap_or_else(|failure| panic!("node{node}: {failure}"));
        assert!(summary.inputs > 50 && summary.outputs > 20, "{summary:?}");
        assert_eq!(lost, 1, "node{node} lost {dead} once");
        assert!(taken > 0, "node{node} took something");
        let key = cluster.status(node).unwrap().node.key;
        assert!(!recording.contains(&key), "the id of the cluster's key is in it");
    }
}
