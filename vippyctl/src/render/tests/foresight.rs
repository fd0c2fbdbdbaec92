//! Explanations and plans.

use vippy_client::explanation::{CandidateStatus, Explanation, FailbackRule, Rule, Tier};
use vippy_client::plan::{ConfigChange, GroupChange, Move, Pair, Plan};
use vippy_client::status::QuorumStatus;

use super::*;

fn candidate(node: &str, tier: Option<Tier>) -> CandidateStatus {
    CandidateStatus {
        node: node.into(),
        tier,
        holds: false,
        alive: true,
        left: false,
        age_ms: Some(120),
        state: Some(NodeState::Active),
        reason: Some(NodeReason::None),
        detail: String::new(),
        readable: true,
        standby: false,
        weight: 1,
        cannot: false,
        rather_not: false,
        why: None,
        left_ms: None,
    }
}

/// One candidate of every kind.
fn explanation() -> Explanation {
    let drained = CandidateStatus {
        state: Some(NodeState::Draining),
        reason: Some(NodeReason::Operator),
        detail: "drained by the operator".into(),
        ..candidate("node1", Some(Tier::RatherNot))
    };
    let delayed = CandidateStatus {
        rather_not: true,
        why: Some("its failback is delayed".into()),
        left_ms: Some(42_000),
        ..candidate("node2", Some(Tier::RatherNot))
    };
    let unable = CandidateStatus { cannot: true, ..candidate("node3", None) };
    let dead = CandidateStatus { alive: false, age_ms: Some(252_000), ..candidate("node4", None) };
    let owner = CandidateStatus { holds: true, ..candidate("node5", Some(Tier::Active)) };
    let booting = CandidateStatus { state: Some(NodeState::Booting), ..candidate("node7", None) };
    let left = CandidateStatus { left: true, alive: false, ..candidate("node8", None) };
    let unheard = CandidateStatus { alive: false, age_ms: None, ..candidate("node9", None) };
    let standby = CandidateStatus {
        state: Some(NodeState::Standby),
        detail: "stands by for what no other node can hold".into(),
        ..candidate("spare", Some(Tier::Standby))
    };
    let foreign = CandidateStatus { readable: false, ..candidate("node10", None) };
    let able = candidate("node6", Some(Tier::Active));
    Explanation {
        identity: "node2".into(),
        group: GroupId::from("web"),
        name: Some("web".into()),
        addresses: ["10.0.0.5/24", "fd00::5/64"].map(|net| net.parse().unwrap()).to_vec(),
        prefer: Some("node1".into()),
        exclusive: true,
        failback: FailbackRule::After,
        failback_ms: Some(60_000),
        owner: Some("node5".into()),
        rule: Some(Rule::First),
        holders: names(&["node5"]),
        here: Holding::No,
        outranked: None,
        candidates: vec![
            drained, delayed, unable, dead, owner, able, booting, left, unheard, foreign, standby,
        ],
    }
}

#[test]
fn an_explanation_has_a_line_for_every_candidate() {
    golden("explanation.txt", &explanation::render(&explanation(), Style::Plain, 80));
    let narrow = explanation::render(&explanation(), Style::Plain, 50);
    assert!(narrow.lines().all(|line| line.chars().count() <= 50), "{narrow}");
}

#[test]
fn every_rule_is_told_in_words() {
    let owned = |rule, tier| {
        let mut owner = candidate("node1", Some(tier));
        owner.holds = true;
        let of = Explanation {
            rule: Some(rule),
            owner: Some("node1".into()),
            candidates: vec![owner],
            ..explanation()
        };
        let screen = explanation::render(&of, Style::Plain, 200);
        screen.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(owned(Rule::First, Tier::Active), "owner: node1, the node that it prefers");
    let never = "owner: node1, it holds it, and with failback never it stays";
    assert_eq!(owned(Rule::FailbackNever, Tier::Active), never);
    assert!(owned(Rule::Keeps, Tier::Keeps).ends_with("nothing moves while configurations differ"));
    assert!(owned(Rule::First, Tier::Standby).ends_with("this is the first that stands by"));
    assert!(owned(Rule::First, Tier::RatherNotButHolds).ends_with("nobody better can have it"));
}

#[test]
fn what_nobody_can_have_and_what_several_hold_stands_out() {
    let nobody = Explanation { owner: None, rule: None, holders: Vec::new(), ..explanation() };
    let screen = explanation::render(&nobody, Style::Plain, 80);
    assert!(screen.contains("\nowner: nobody, as no node can have it\n"), "{screen}");
    let outranked = Some("node9 has configuration version 7 (ffeeddcc), this node has 5".into());
    let twice = Explanation { holders: names(&["node5", "node6"]), outranked, ..explanation() };
    let screen = explanation::render(&twice, Style::Plain, 80);
    assert!(screen.contains("\nheld by node5 and node6 at once\n"), "{screen}");
    assert!(screen.contains("\nbut configurations differ: node9 has"), "{screen}");
}

fn a_move(group: &str, from: Option<&str>, to: &str) -> Move {
    Move {
        group: GroupId::from(group),
        from: from.map(NodeName::from),
        to: to.into(),
        delay_ms: None,
    }
}

fn pair(from: Option<&str>, to: &str, groups: usize) -> Pair {
    Pair { from: from.map(NodeName::from), to: to.into(), groups }
}

/// Something of everything.
fn full_plan() -> Plan {
    let many = (1..=12).map(|n| a_move(&format!("10.0.0.{n}"), Some("node1"), "node2"));
    let delayed = Move { delay_ms: Some(60_000), ..a_move("web", Some("node2"), "node3") };
    let ids = |names: &[&str]| names.iter().map(|name| GroupId::from(*name)).collect();
    Plan {
        identity: "node2".into(),
        down: names(&["node1"]),
        up: names(&["node3"]),
        assumptions: vec![
            "all else stays as it is now, nodes that are down stay down (node4)".into(),
            "node3: up, takes part, can hold everything, is not held down".into(),
        ],
        warnings: vec!["its version is 5 as the running one's: raise it".into()],
        config: Some(ConfigChange {
            from_version: 5,
            version: 6,
            digest: DIGEST.into(),
            keys: vec!["nodes".into(), "quorum".into()],
            nodes_added: names(&["node5"]),
            nodes_removed: names(&["node6"]),
            added: ids(&["new"]),
            removed: ids(&["old"]),
            changed: vec![GroupChange {
                group: GroupId::from("web"),
                keys: vec!["prefer".into(), "failback".into()],
            }],
        }),
        quorum_lost: None,
        groups: 40,
        pairs: vec![
            pair(None, "node2", 1),
            pair(Some("node1"), "node2", 12),
            pair(Some("node2"), "node3", 1),
        ],
        moves: many.chain([delayed, a_move("new", None, "node2")]).collect(),
        unheld: ids(&["db"]),
    }
}

#[test]
fn a_plan_has_a_line_for_each_pair_of_nodes() {
    golden("plan.txt", &plan::render(&full_plan(), Style::Plain, 80));
}

#[test]
fn a_plan_that_moves_nothing_is_short() {
    let quiet = Plan {
        up: Vec::new(),
        warnings: Vec::new(),
        config: None,
        pairs: Vec::new(),
        moves: Vec::new(),
        unheld: Vec::new(),
        assumptions: vec!["all else stays as it is now".into()],
        ..full_plan()
    };
    let wanted =
        "if node1 is down: none of 40 groups moves\nassumed: all else stays as it is now\n";
    assert_eq!(plan::render(&quiet, Style::Plain, 80), wanted);
    let lost = Plan { quorum_lost: Some(QuorumStatus { present: 1, needed: Some(2) }), ..quiet };
    let screen = plan::render(&lost, Style::Plain, 80);
    assert!(screen.contains("\nno quorum: 1 of the 2 nodes that it needs\n"), "{screen}");
}
