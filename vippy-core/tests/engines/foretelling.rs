use std::collections::BTreeMap;
use std::time::Duration;

use vippy_core::config::Failback;
use vippy_core::identity::NodeIndex;
use vippy_core::input::{Command, ResourceReport};
use vippy_core::plan::{Change, Plan as Foretold};
use vippy_core::status::QuorumStatus;

use crate::lan::{self, Lan, MATURE, Plan, STALE, group, name};

/// Who has what; nobody's groups are not in it.
type Holders = BTreeMap<String, String>;

fn down(nodes: &[usize]) -> Change {
    Change { down: nodes.iter().map(|node| name(*node)).collect(), ..Change::default() }
}

fn up(nodes: &[usize]) -> Change {
    Change { up: nodes.iter().map(|node| name(*node)).collect(), ..Change::default() }
}

fn to(plan: &Plan) -> Change {
    Change { config: Some(plan.config().shared.clone()), ..Change::default() }
}

fn foretell(lan: &Lan, node: usize, change: &Change) -> Foretold {
    lan.machines[&node].engine.outlook().foretell(change).unwrap()
}

fn refused(lan: &Lan, change: &Change) -> String {
    lan.machines[&0].engine.outlook().foretell(change).unwrap_err().to_string()
}

fn holders(lan: &Lan, plan: &Plan) -> Holders {
    let holder = |name: &str| match lan.holders(name)[..] {
        [] => None,
        [holder] => Some(lan::name(holder).to_string()),
        _ => panic!("{name} has several holders"),
    };
    let names = plan.groups.iter().map(|group| group.id.to_string());
    names.filter_map(|name| Some((name.clone(), holder(&name)?))).collect()
}

/// What a plan makes of the present holders.
fn applied(before: &Holders, foretold: &Foretold) -> Holders {
    let mut after = before.clone();
    let removed = foretold.config.iter().flat_map(|config| &config.removed);
    for gone in foretold.unheld.iter().chain(removed) {
        after.remove(gone.as_str());
    }
    for step in &foretold.moves {
        let former = after.insert(step.group.to_string(), step.to.to_string());
        assert_eq!(former, step.from.as_ref().map(ToString::to_string), "{step:?}");
    }
    after
}

/// Nodes that differ in every way, and what has happened to them.
fn mixed() -> (Plan, Lan) {
    let mut plan = Plan { standby: vec![4], weights: [(1, 3), (5, 0)].into(), ..Plan::new(6, 24) };
    for (place, group) in plan.groups.iter_mut().enumerate() {
        group.prefer = (place % 4 == 0).then_some(NodeIndex(2));
        group.failback = if place % 3 == 0 { Failback::Never } else { Failback::Auto };
        group.exclusive = place % 5 == 0;
    }
    let mut lan = Lan::settled(&plan);
    lan.command(3, Command::Drain { lasting: None });
    lan.report(0, "g7", ResourceReport::Unavailable("no interface eth0".into()));
    lan.run(2 * MATURE);
    (plan, lan)
}

#[test]
fn a_death_moves_what_was_foretold_and_nothing_else() {
    for dies in [vec![0], vec![1], vec![2], vec![3], vec![4], vec![5], vec![0, 1], vec![0, 1, 2]] {
        let (plan, mut lan) = mixed();
        let witness = (0..6).find(|node| !dies.contains(node)).unwrap();
        let foretold = foretell(&lan, witness, &down(&dies));
        let before = holders(&lan, &plan);
        dies.iter().for_each(|node| drop(lan.machines.remove(node)));
        lan.run(30 * STALE);
        assert_eq!(applied(&before, &foretold), holders(&lan, &plan), "{dies:?}");
        assert!(
            foretold.pairs.iter().map(|pair| pair.groups).sum::<usize>() == foretold.moves.len()
        );
    }
}

#[test]
fn every_node_foretells_the_same() {
    let (_, lan) = mixed();
    let moves = |node: usize| foretell(&lan, node, &down(&[1])).moves;
    assert!(!moves(0).is_empty());
    assert!((1..6).all(|node| moves(node) == moves(0)), "the one that is to die included");
}

#[test]
fn a_return_moves_what_was_foretold_and_nothing_else() {
    for returns in 0..3 {
        let (plan, mut lan) = mixed();
        lan.machines.remove(&returns);
        lan.run(30 * STALE);
        let foretold = foretell(&lan, 4, &up(&[returns]));
        assert!(foretold.assumptions[1].starts_with(&format!("node{returns}: up")));
        let before = holders(&lan, &plan);
        lan.start(returns, &plan, &[]);
        lan.run(4 * MATURE);
        assert_eq!(applied(&before, &foretold), holders(&lan, &plan), "{returns}");
    }
}

#[test]
fn a_delayed_return_is_foretold_with_its_delay() {
    let mut plan = Plan::new(2, 4);
    for group in &mut plan.groups {
        (group.prefer, group.failback) =
            (Some(NodeIndex(0)), Failback::After(Duration::from_secs(9)));
    }
    let mut lan = Lan::settled(&plan);
    lan.machines.remove(&0);
    lan.run(2 * STALE);
    let foretold = foretell(&lan, 1, &up(&[0]));
    assert!(foretold.moves.iter().all(|step| step.delay_ms == Some(9_000)));
    let before = holders(&lan, &plan);
    lan.start(0, &plan, &[]);
    lan.run(MATURE + Duration::from_secs(8));
    assert_eq!(before, holders(&lan, &plan));
    lan.run(MATURE + Duration::from_secs(1));
    assert_eq!(applied(&before, &foretold), holders(&lan, &plan));
}

#[test]
fn a_configuration_moves_what_was_foretold_and_nothing_else() {
    let changes: [fn(&mut Plan); 6] = [
        |plan| plan.weights = [(0, 0), (1, 3), (5, 0)].into(),
        |plan| plan.weights = [(2, 9), (1, 3), (5, 0)].into(),
        |plan| plan.standby.push(2),
        |plan| plan.nodes.retain(|node| *node != 1),
        |plan| {
            plan.groups.remove(3);
            plan.groups.push(group("new", 99));
        },
        |plan| plan.groups.iter_mut().for_each(|group| group.prefer = Some(NodeIndex(0))),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let (plan, mut lan) = mixed();
        let mut next = Plan { version: 2, ..plan.clone() };
        change(&mut next);
        let foretold = foretell(&lan, 0, &to(&next));
        assert!(foretold.warnings.is_empty());
        let before = holders(&lan, &plan);
        (0..6).for_each(|node| lan.configure(node, &next));
        lan.run(30 * STALE);
        assert_eq!(applied(&before, &foretold), holders(&lan, &next), "change {place}");
    }
}

#[test]
fn retiring_a_node_by_configuration_moves_exactly_its_groups_and_they_come_back() {
    let plan = Plan::new(5, 40);
    let mut lan = Lan::settled(&plan);
    let before = holders(&lan, &plan);
    let retired = Plan { version: 2, weights: [(2, 0)].into(), ..plan.clone() };
    (0..5).for_each(|node| lan.configure(node, &retired));
    lan.run(2 * MATURE);
    let without = holders(&lan, &plan);
    for (group, holder) in &without {
        assert_ne!(holder, "node2");
        assert!(before[group] == *holder || before[group] == "node2", "{group}");
    }
    let back = Plan { version: 3, ..plan.clone() };
    (0..5).for_each(|node| lan.configure(node, &back));
    lan.run(2 * MATURE);
    assert_eq!(holders(&lan, &plan), before);
}

#[test]
fn a_retired_node_is_better_than_nobody() {
    let plan = Plan { standby: vec![1], weights: [(2, 0)].into(), ..Plan::new(3, 4) };
    let mut lan = Lan::settled(&plan);
    assert!(holders(&lan, &plan).values().all(|holder| holder == "node0"));
    lan.machines.remove(&0);
    lan.run(2 * STALE);
    assert!(holders(&lan, &plan).values().all(|holder| holder == "node1"));
    lan.machines.remove(&1);
    lan.run(2 * STALE);
    assert!(holders(&lan, &plan).values().all(|holder| holder == "node2"));
}

#[test]
fn what_nobody_could_hold_is_told() {
    let plan = Plan::new(2, 4);
    let mut lan = Lan::settled(&plan);
    lan.report(1, "g1", ResourceReport::Unavailable("no interface eth0".into()));
    lan.run(STALE);
    let foretold = foretell(&lan, 1, &down(&[0]));
    assert_eq!(foretold.unheld, [lan::id("g1")]);
    let foretold = foretell(&lan, 1, &down(&[0, 1]));
    assert_eq!((foretold.unheld.len(), foretold.moves.len()), (4, 0));
}

#[test]
fn a_lost_quorum_is_told() {
    let plan = Plan { quorum: Some(2), ..Plan::new(3, 4) };
    let mut lan = Lan::settled(&plan);
    let foretold = foretell(&lan, 0, &down(&[1]));
    assert_eq!((foretold.quorum_lost, foretold.unheld.len()), (None, 0));
    let foretold = foretell(&lan, 0, &down(&[1, 2]));
    let quorum = QuorumStatus { present: 1, needed: Some(2) };
    assert_eq!((foretold.quorum_lost, foretold.unheld.len()), (Some(quorum), 4));
    let before = holders(&lan, &plan);
    lan.machines.remove(&1);
    lan.machines.remove(&2);
    lan.run(4 * STALE);
    assert_eq!(applied(&before, &foretold), holders(&lan, &plan));
    let foretold = foretell(&lan, 0, &up(&[1]));
    assert_eq!((foretold.quorum_lost, foretold.moves.len()), (None, 4));
    lan.start(1, &plan, &[]);
    lan.run(4 * MATURE);
    assert_eq!(applied(&Holders::new(), &foretold), holders(&lan, &plan));
}

#[test]
fn what_a_configuration_changes_is_listed() {
    let plan = Plan::new(3, 4);
    let lan = Lan::settled(&plan);
    let mut next = Plan { version: 2, quorum: Some(2), weights: [(0, 2)].into(), ..plan };
    next.nodes.push(3);
    next.nodes.remove(1);
    next.groups.remove(0);
    next.groups[0].prefer = Some(NodeIndex(1));
    next.groups[1].exclusive = true;
    next.groups.push(group("new", 99));
    let foretold = foretell(&lan, 0, &to(&next));
    let config = foretold.config.unwrap();
    assert_eq!((config.from_version, config.version), (1, 2));
    assert_eq!(config.keys, ["nodes", "quorum"]);
    assert_eq!((config.nodes_added, config.nodes_removed), (vec![name(3)], vec![name(1)]));
    assert_eq!((config.added, config.removed), (vec![lan::id("new")], vec![lan::id("g0")]));
    let changed: Vec<(&str, &str)> =
        config.changed.iter().map(|c| (c.group.as_str(), c.keys[0].as_str())).collect();
    assert_eq!(changed, [("g1", "prefer"), ("g2", "exclusive")]);
}

#[test]
fn a_configuration_that_nobody_would_follow_is_warned_of() {
    let plan = Plan { version: 5, ..Plan::new(2, 2) };
    let lan = Lan::settled(&plan);
    let warnings = |next: &Plan| foretell(&lan, 0, &to(next)).warnings;
    assert!(warnings(&plan)[0].contains("the one that is in force"));
    let lower = Plan { version: 4, ..plan };
    assert!(warnings(&lower)[0].contains("nobody follows it"));
}

#[test]
fn nodes_that_make_no_sense_are_refused() {
    let lan = Lan::settled(&Plan::new(3, 1));
    let unknown = Change { down: ["noed1".into()].into(), ..Change::default() };
    let text = "found \"noed1\", expected the name of a node (did you mean \"node1\"?)";
    assert_eq!(refused(&lan, &unknown), text);
    let unknown = Change { up: ["x".into()].into(), ..Change::default() };
    assert!(refused(&lan, &unknown).ends_with("the name of a node: node0, node1, node2"));
    let both = Change { up: up(&[1]).up, ..down(&[1]) };
    assert_eq!(refused(&lan, &both), "found node1 down and up, expected one of them");
}

#[test]
fn a_node_that_does_not_judge_refuses_to_foretell() {
    let plan = Plan::new(2, 2);
    let mut lan = Lan::settled(&plan);
    lan.configure(1, &Plan { version: 2, ..plan });
    lan.run(STALE);
    assert!(refused(&lan, &down(&[1])).contains("node1 has configuration version 2"));
}
