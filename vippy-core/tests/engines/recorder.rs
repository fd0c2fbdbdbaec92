#![allow(clippy::disallowed_types, reason = "what recording costs is measured in real time")]

use std::time::Duration;

use vippy_core::config::Secret;
use vippy_core::engine::Engine;
use vippy_core::input::{Command, Input, ResourceReport};
use vippy_core::recorder::{Deviation, Line, Recorded, Replay, Replayed};
use vippy_core::status::RejectReason;
use vippy_core::wire::auth::Keyring;
use vippy_core::wire::frame;

use crate::lan::{INTERVAL, Lan, MATURE, Plan, STALE};

/// A node's recording as text.
fn dump(lan: &Lan, node: usize) -> Vec<String> {
    let recording = lan.machines[&node].engine.recording().unwrap();
    recording.lines().map(|line| serde_json::to_string(&line).unwrap()).collect()
}

/// Goes through a recording; says how many states it met after the first.
fn replay(lines: &[String]) -> Result<(Replay, usize), Deviation> {
    let mut replay = Replay::new();
    let mut met = 0;
    for line in lines {
        let line: Line = serde_json::from_str(line).unwrap();
        met += usize::from(matches!(replay.line(line)?, Replayed::Same));
    }
    Ok((replay, met))
}

fn assert_identical(lan: &Lan) -> usize {
    let met = |node: &usize| match replay(&dump(lan, *node)) {
        Ok((replay, met)) => {
            assert!(replay.inputs > 3, "node{node}");
            met
        }
        Err(deviation) => panic!("node{node}: {deviation}"),
    };
    lan.machines.keys().map(met).sum()
}

/// A life with about everything in it.
fn busy() -> Lan {
    let mut plan = Plan::new(3, 9);
    plan.groups[0].exclusive = true;
    plan.groups[4].prefer = Some(vippy_core::identity::NodeIndex(2));
    let mut lan = Lan::settled(&plan);
    lan.command(0, Command::Drain { lasting: None });
    lan.run(5 * INTERVAL);
    lan.command(0, Command::Resume);
    lan.report(1, "g1", ResourceReport::Unavailable("link down".into()));
    lan.run(5 * INTERVAL);
    lan.report(1, "g1", ResourceReport::Available);
    lan.cut_between(0, 1);
    lan.run(5 * INTERVAL);
    lan.cut_between(0, 2);
    lan.run(STALE + 3 * INTERVAL);
    lan.cut.clear();
    lan.run(MATURE);
    lan
}

#[test]
fn a_busy_life_replays_identically_from_any_of_its_states() {
    let lan = busy();
    assert!(assert_identical(&lan) > 0, "no state in the middle was compared");
}

#[test]
fn rejected_datagrams_are_rejected_again_for_the_same_reason() {
    let mut lan = busy();
    let good = lan.frames.last().unwrap().clone();
    let old = lan.frames[lan.frames.len() - 40].clone();
    for round in 0..300u32 {
        let mut forged = good.1.to_vec();
        forged[20] ^= u8::try_from(round % 200).unwrap() + 1;
        let mut foreign = forged.clone();
        foreign[6] ^= 1;
        lan.inject(0, 1, true, &forged);
        lan.inject(0, 2, true, &foreign);
        lan.inject(0, 2, true, b"GET / HTTP/1.1");
        lan.inject(0, 2, true, &good.1[..60]);
        lan.inject(0, 1, true, &old.1);
    }
    lan.run(3 * INTERVAL);
    // A copy of its own frame, and a clone that speaks with its boot.
    let own = lan.frames.iter().rfind(|(from, _)| *from == 0).unwrap().1.clone();
    lan.inject(0, 1, true, &own);
    lan.run(INTERVAL);
    assert_identical(&lan);
    let before = lan.status(0).node.boot;
    let keys = Keyring::new(&[Secret::from("a few engines")], "");
    let frame::Frame { mut header, body, .. } = frame::open(&own, &keys).unwrap();
    header.uptime += Duration::from_secs(1);
    lan.inject(0, 1, true, &frame::seal(&header, &body, &keys));
    lan.run(2 * MATURE);
    assert_ne!(lan.status(0).node.boot, before, "the clone was noticed");
    assert_identical(&lan);
}

#[test]
fn an_own_frame_of_before_the_first_state_is_known_again_however_late_it_comes_back() {
    let mut lan = Lan::new();
    // A segment is some frames long: the copy comes in the first, in the second,
    // or when the frame's own time is recorded.
    lan.tape = 6 << 10;
    let plan = Plan::new(3, 3);
    for node in 0..3 {
        lan.start(node, &plan, &[]);
    }
    lan.run(2 * MATURE);
    for tenths in 1..40 {
        let own = lan.frames.iter().rfind(|(from, _)| *from == 0).unwrap().1.clone();
        lan.run(INTERVAL * tenths / 10);
        lan.inject(0, 1, true, &own);
        lan.run(INTERVAL / 7);
        assert_identical(&lan);
    }
}

#[test]
fn a_flood_of_garbage_takes_no_room() {
    let mut lan = busy();
    let before = dump(&lan, 0).len();
    for _ in 0..10_000 {
        lan.inject(0, 1, true, b"garbage");
    }
    lan.run(Duration::from_micros(600));
    assert!(dump(&lan, 0).len() < before + 10);
    assert_identical(&lan);
}

#[test]
fn changed_configurations_and_keys_replay_identically() {
    let mut lan = busy();
    let plan = Plan { version: 2, ..Plan::new(3, 5) };
    for node in 0..3 {
        lan.configure(node, &plan);
    }
    lan.run(MATURE);
    let mut config = (*plan.config()).clone();
    config.local.secrets.insert(0, Secret::from("another secret"));
    lan.tell(1, Input::Configured(config.into()));
    lan.run(3 * INTERVAL);
    assert_identical(&lan);
}

#[test]
fn what_was_forged_before_keys_changed_replays_identically() {
    let mut lan = busy();
    let mut forged = lan.frames.last().unwrap().1.to_vec();
    *forged.iter_mut().nth_back(1).unwrap() ^= 1;
    lan.inject(1, 2, true, &forged);
    lan.run(INTERVAL);
    lan.configure(1, &Plan { secrets: vec!["a few engines", "next"], ..Plan::new(3, 9) });
    // Until the forged frame is in the older segment, and after it is forgotten.
    for _ in 0..60 {
        lan.run(INTERVAL);
        assert_identical(&lan);
    }
    assert_eq!(lan.status(1).stats.rejects[&RejectReason::Forged], 1);
}

#[test]
fn nothing_that_the_secret_was_used_for_is_in_a_recording() {
    let lan = busy();
    let keys = Keyring::new(&[Secret::from("a few engines")], "");
    let text = dump(&lan, 0).concat();
    assert!(!text.contains("a few engines") && !text.contains("\"secrets\""));
    assert!(!text.contains(&keys.signing().to_string()));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (_, bytes) in &lan.frames {
        assert!(!text.contains(&hex(&frame::fingerprint(bytes))));
        let list = format!("{:?}", frame::fingerprint(bytes)).replace(' ', "");
        assert!(!text.contains(&list[1..list.len() - 1]));
    }
}

#[test]
fn a_changed_recording_is_found_out() {
    let lan = busy();
    let mut lines = dump(&lan, 1);
    let heard = lines.iter().position(|line| line.contains("\"Datagram\"")).unwrap();
    lines.remove(heard);
    let deviation = replay(&lines).err().unwrap().to_string();
    assert!(deviation.starts_with("input "), "{deviation}");
}

/// Half a minute of a node's life, many times over, with a recorder and without.
#[test]
#[ignore = "measures: cargo test --release -p vippy-core --test engines -- --ignored recorder --nocapture"]
fn what_recording_costs() {
    const ROUNDS: u32 = 40;
    let plan = Plan::new(5, 50);
    let mut lan = Lan::new();
    lan.tape = 64 << 20;
    let begin = lan.now;
    let mut starts = Vec::new();
    for node in plan.nodes.clone() {
        lan.start(node, &plan, &[]);
        starts.push(lan.start_of(node, &plan, &[]));
    }
    lan.run(Duration::from_secs(30));
    // A recording is signed anew: so must be whoever takes it in.
    let recording = lan.machines[&0].engine.recording().unwrap();
    let inputs: Vec<_> = recording
        .lines()
        .filter_map(|line| match line {
            Line::Step { at, input, .. } => Some((at, input)),
            Line::Recording(_) | Line::State { .. } => None,
        })
        .collect();
    let mut config = (*plan.config()).clone();
    config.local.secrets = vec![Secret::from("vippy replay key 0")];
    starts[0].config = config.into();
    let spent = |recorder: fn(Engine) -> Recorded| {
        let mut spent = Duration::ZERO;
        for _ in 0..ROUNDS {
            let inputs = inputs.clone();
            let mut engine = recorder(Engine::new(begin, starts[0].clone()));
            let clock = std::time::Instant::now();
            let mut outputs = 0u64;
            for (at, input) in inputs {
                engine.handle(at, input);
                outputs += std::iter::from_fn(|| engine.poll()).count() as u64;
            }
            spent += clock.elapsed();
            assert!(outputs > 300, "{outputs}");
        }
        spent / ROUNDS / u32::try_from(inputs.len()).unwrap()
    };
    for _ in 0..3 {
        let (without, with) = (spent(Recorded::off), spent(Recorded::new));
        println!("{} inputs: {without:?} each without, {with:?} with", inputs.len());
    }
}
