//! Golden screens over hand-built clusters. `VIPPY_GOLDEN=write` writes them
//! anew; look at the difference before committing it.

mod foresight;

use std::collections::BTreeMap;
use std::path::Path;

use vippy_client::Timeline;
use vippy_client::health::Verdict;
use vippy_client::identity::{Epoch, GroupId, Mac, NodeName};
use vippy_client::status::{
    BeliefStatus, Breach, CheckStatus, ClaimStatus, ConfigStatus, GroupStatus, HeardBy, Holding,
    InquiryStatus, Invariants, NodeReason, NodeState, NodeStatus, OutcomeKind, PeerStatus,
    QuorumStatus, RolloutStatus, StateStatus, Stats,
};
use vippy_client::timeline::{Belief, Failover, MoveCause, NodeMove};

use super::*;

const DIGEST: &str = "00112233445566778899aabbccddeeff";

fn golden(name: &str, screen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/golden").join(name);
    if std::env::var_os("VIPPY_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, screen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(screen, expected, "{name} differs:\n{screen}");
}

fn names(nodes: &[&str]) -> Vec<NodeName> {
    nodes.iter().map(|node| NodeName::from(*node)).collect()
}

/// `node1` of these nodes, active, with nothing else.
fn status(nodes: &[&str]) -> Status {
    Status {
        identity: "node1".into(),
        stats: Stats::default(),
        invariants: Invariants::default(),
        config: ConfigStatus {
            version: 5,
            vips: Vec::new(),
            nodes: names(nodes),
            digest: DIGEST.into(),
            rollout: RolloutStatus::default(),
        },
        state: StateStatus {
            mature: true,
            active: true,
            inactive_reason: None,
            ownership: BTreeMap::new(),
        },
        node: NodeStatus {
            state: NodeState::Active,
            reason: NodeReason::None,
            detail: String::new(),
            drained_ms: None,
            held_down_ms: None,
            uptime_ms: 273_600_000,
            boot: "0123456789abcdef".into(),
            key: "01".into(),
            keys: vec!["01".into()],
            epoch: Epoch(7),
            program: "0.1.0".into(),
            lifetime_s: 10,
            interval_ms: 500.0,
            stale_ms: 5000.0,
            warnings: Vec::new(),
            quorum: QuorumStatus::default(),
            inquiry: InquiryStatus::default(),
        },
        groups: Vec::new(),
        neighbours: std::collections::BTreeMap::new(),
        checks: Vec::new(),
        peers: nodes
            .iter()
            .filter(|node| **node != "node1")
            .map(|node| peer(node, nodes))
            .collect(),
    }
}

/// A peer that hears everybody by multicast.
fn peer(name: &str, nodes: &[&str]) -> PeerStatus {
    let others = nodes.iter().filter(|node| **node != name);
    PeerStatus {
        name: name.into(),
        configured: true,
        counts: true,
        alive: true,
        state: Some(NodeState::Active),
        reason: Some(NodeReason::None),
        detail: String::new(),
        age_ms: Some(210),
        boot: Some("00".into()),
        address: Some("10.99.0.2:5007".into()),
        hears_by: vec![HeardBy::Multicast],
        hears: others.map(|node| (NodeName::from(*node), vec![HeardBy::Multicast])).collect(),
        version: Some(5),
        digest: Some(DIGEST.into()),
        key: Some("01".into()),
        holding: 1,
        uptime_ms: Some(1),
    }
}

/// A group that its owner holds.
fn group(owner: &str, addresses: &[&str]) -> GroupStatus {
    GroupStatus {
        id: GroupId::from(addresses[0]),
        name: None,
        prefer: None,
        exclusive: false,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        interfaces: vec![Some("eth0".into()); addresses.len()],
        owner: Some(owner.into()),
        holders: names(&[owner]),
        succession: names(&[owner]),
        here: if owner == "node1" { Holding::Held } else { Holding::No },
        cannot: None,
        rather_not: None,
        epoch: None,
        belief: None,
        claimed: None,
    }
}

const THREE: [&str; 3] = ["node1", "node2", "node3"];

fn healthy() -> Status {
    let mut status = status(&THREE);
    let mut web = group("node1", &["10.99.0.101/24", "10.99.0.102/24"]);
    web.name = Some("web".into());
    let mut db = group("node2", &["10.99.0.103/24"]);
    db.prefer = Some("node2".into());
    status.groups = vec![web, db, group("node3", &["10.99.0.104/24"])];
    status
}

#[test]
fn three_healthy_nodes() {
    golden("healthy.txt", &render(&healthy(), Style::Plain, 80));
}

#[test]
fn invariants_that_did_not_hold_are_told() {
    let mut status = healthy();
    let breach = |ms: f64, group: &str| Breach {
        ms,
        group_ms: 2.0 * ms,
        worst_group: Some(group.into()),
        worst_ms: ms / 2.0,
    };
    status.invariants.unheld = breach(305.25, "web");
    let shown = |status: &Status| render(status, Style::Plain, 200);
    let line = "\ngroups since the start: unheld 305.2 ms (longest: web, 152.6 ms)\n";
    assert!(shown(&status).contains(line), "{}", shown(&status));
    status.invariants.two_holders = breach(1.0, "db");
    let line = "with two holders 1.0 ms (longest: db, 0.5 ms), unheld 305.2 ms";
    assert!(shown(&status).contains(line), "{}", shown(&status));
}

#[test]
fn colours_add_nothing_but_colours() {
    let coloured = render(&healthy(), Style::Coloured, 80);
    golden("healthy.ansi", &coloured);
    let plain = anstream::adapter::strip_str(&coloured).to_string();
    let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n") + "\n", render(&healthy(), Style::Plain, 80));
}

#[test]
fn a_booting_node_knows_no_owner_and_raises_no_alarm() {
    let mut status = healthy();
    status.node.state = NodeState::Booting;
    status.node.detail = "2.1 s to go".into();
    status.node.uptime_ms = 2_900;
    for group in &mut status.groups {
        (group.owner, group.here) = (None, Holding::No);
        group.holders.clear();
    }
    for peer in &mut status.peers {
        (peer.alive, peer.state, peer.reason, peer.age_ms) = (false, None, None, None);
        (peer.version, peer.digest) = (None, None);
        peer.hears_by.clear();
        peer.hears.clear();
    }
    status.peers[0].hears_by = vec![HeardBy::Multicast];
    golden("booting.txt", &render(&status, Style::Plain, 80));
    status.peers.clear();
    assert!(!render(&status, Style::Coloured, 80).contains("\u{1b}[31m"));
}

#[test]
fn unowned_groups_and_lost_peers() {
    let mut status = healthy();
    status.node.lifetime_s = 0;
    status.groups[2].owner = None;
    status.groups[2].holders.clear();
    status.groups[2].cannot = Some("interface eth1 is absent".into());
    status.groups[1].owner = Some("node1".into());
    status.groups[1].holders.clear();
    status.groups[1].here = Holding::Taking;
    let lost = &mut status.peers[1];
    (lost.alive, lost.age_ms) = (false, Some(63_000));
    lost.hears_by.clear();
    status.peers[0].hears.remove(&NodeName::from("node3"));
    golden("unowned.txt", &render(&status, Style::Plain, 80));
}

#[test]
fn two_holders() {
    let mut status = healthy();
    status.groups[0].holders = names(&["node1", "node3"]);
    status.groups[1].holders = names(&["node3"]);
    status.peers[0].hears.insert("node3".into(), vec![HeardBy::Relayed]);
    status.peers[1].hears_by = vec![HeardBy::Relayed];
    status.node.warnings = vec![
        "node2 and node3 do not hear each other directly: their frames are relayed by node1".into(),
    ];
    golden("two-holders.txt", &render(&status, Style::Plain, 80));
    assert!(
        render(&status, Style::Coloured, 80)
            .contains("\u{1b}[1m\u{1b}[31mheld by node1 and node3 at once")
    );
}

#[test]
fn long_lists_of_ipv6_addresses_wrap_under_their_column() {
    let mut status = healthy();
    status.groups.push(group(
        "node1",
        &["2001:db8:0:1::1/64", "2001:db8:0:1::2/64", "2001:db8:0:1::3/64", "10.1.2.3/8"],
    ));
    for width in [80, 60] {
        let screen = render(&status, Style::Plain, width);
        golden(&format!("ipv6-{width}.txt"), &screen);
        assert!(screen.lines().all(|line| line.len() <= width));
    }
}

#[test]
fn narrow_terminals_get_whole_words_on_lines_that_fit() {
    let mut status = healthy();
    status.node.state = NodeState::Draining;
    status.node.detail = "node2 has configuration version 6 (ffeeddcc), this node has 5".into();
    status.node.warnings = vec!["node2 and node3 do not hear each other directly".into()];
    status.groups[0].holders = names(&["node1", "node3"]);
    status.groups[1].holders.clear();
    status.peers[0].hears.remove(&NodeName::from("node3"));
    status.peers[0].detail = "drained by the operator".into();
    status.groups.push(group("node1", &["2001:db8:0:1::1/64", "2001:db8:0:1::2/64"]));
    let screen = render(&status, Style::Plain, 50);
    golden("narrow-50.txt", &screen);
    assert!(screen.lines().all(|line| line.len() <= 50), "{screen}");
}

#[test]
fn twenty_groups_on_five_nodes_fit_one_screen() {
    let nodes = ["node1", "node2", "node3", "node4", "node5"];
    let mut status = status(&nodes);
    status.groups = (0..20)
        .map(|index| group(nodes[index % 5], &[&format!("10.0.0.{}/24", index + 1)]))
        .collect();
    let screen = render(&status, Style::Plain, 80);
    golden("twenty-groups.txt", &screen);
    assert!(screen.lines().count() <= 32);
}

#[test]
fn keys_are_told_while_there_are_several() {
    let mut status = healthy();
    status.node.keys = vec!["01".into(), "02".into()];
    status.peers[1].key = Some("02".into());
    golden("rotation.txt", &render(&status, Style::Plain, 80));
}

#[test]
fn an_unconfigured_stranger() {
    let mut status = healthy();
    let mut stranger = peer("evil\u{1b}[2J", &THREE);
    (stranger.configured, stranger.holding) = (false, 0);
    (stranger.version, stranger.digest) =
        (Some(6), Some("ffeeddccbbaa99887766554433221100".into()));
    status.peers.push(stranger);
    status.peers[0].hears.insert("evil\u{1b}[2J".into(), vec![HeardBy::Unicast]);
    golden("stranger.txt", &render(&status, Style::Plain, 80));
}

#[test]
fn an_outranked_node_does_not_pretend_to_know_owners() {
    let mut status = healthy();
    status.node.state = NodeState::Draining;
    status.node.reason = NodeReason::Outranked;
    status.node.detail = "node2 has configuration version 6 (ffeeddcc), this node …".into();
    let other = &mut status.peers[0];
    (other.version, other.digest) = (Some(6), Some("ffeeddccbbaa99887766554433221100".into()));
    let leaving = &mut status.peers[1];
    (leaving.state, leaving.alive) = (Some(NodeState::Leaving), false);
    leaving.holding = 0;
    let unknown = &mut status.groups[1];
    (unknown.owner, unknown.holders) = (None, Vec::new());
    status.groups[2].holders.clear();
    golden("configuration.txt", &render(&status, Style::Plain, 80));
    assert!(!render(&status, Style::Coloured, 80).contains("\u{1b}[31m"), "it alarms nobody");
}

#[test]
fn a_drain_that_ends_by_itself_says_when() {
    let mut status = healthy();
    (status.node.state, status.node.reason) = (NodeState::Draining, NodeReason::Operator);
    status.node.detail = "drained by the operator".into();
    status.node.drained_ms = Some(1_743_000);
    let mut group = group("node2", &["10.99.0.101/24", "10.99.0.102/24"]);
    group.name = Some("web".into());
    status.groups[0] = group;
    golden("draining.txt", &render(&status, Style::Plain, 80));
}

#[test]
fn a_node_that_is_held_down_and_a_delayed_group_say_why() {
    let mut status = healthy();
    (status.node.state, status.node.reason) = (NodeState::Standby, NodeReason::HeldDown);
    status.node.detail = "came and went too often: holds only what no other node can".into();
    status.node.held_down_ms = Some(59_300);
    status.groups[1].rather_not = Some("its failback is delayed".into());
    golden("held-down.txt", &render(&status, Style::Plain, 80));
}

#[test]
fn checks_that_are_bad_or_unknown_say_why() {
    let mut status = healthy();
    let check = |name: &str, verdict, outcome, why: Option<&str>| CheckStatus {
        name: name.into(),
        verdict,
        groups: Vec::new(),
        since_ms: 12_300,
        outcome,
        why: why.map(str::to_owned),
        in_a_row: 3,
        age_ms: Some(200),
        took_ms: Some(1.5),
    };
    let refused = Some("127.0.0.1:80: Connection refused (os error 111)");
    let absent = Some("cannot run curl: No such file or directory (os error 2)");
    status.checks = vec![
        check("router", Verdict::Good, Some(OutcomeKind::Good), None),
        check("proxy", Verdict::Bad, Some(OutcomeKind::Bad), refused),
        check("page", Verdict::Unknown, Some(OutcomeKind::NotStarted), absent),
        check("disk", Verdict::Unknown, None, None),
        check("slow", Verdict::Good, Some(OutcomeKind::TimedOut), Some("no answer in time")),
    ];
    status.checks[1].groups = vec!["web".into()];
    status.groups[0].rather_not = Some("check proxy is bad: Connection refused".into());
    golden("checks.txt", &render(&status, Style::Plain, 80));
}

#[test]
fn a_drained_peer_says_why() {
    let mut status = healthy();
    let drained = &mut status.peers[0];
    (drained.state, drained.reason) = (Some(NodeState::Draining), Some(NodeReason::Operator));
    assert!(render(&status, Style::Plain, 80).contains("by operator\n"));
    status.peers[0].detail = "drained by the operator".into();
    let screen = render(&status, Style::Plain, 80);
    assert!(screen.contains("drained by the operator\n") && !screen.contains("by operator\n"));
}

#[test]
fn a_process_whose_name_belongs_to_another_is_pointed_out() {
    let mut status = healthy();
    status.peers[0].counts = false;
    assert!(render(&status, Style::Plain, 80).contains("does not count"));
}

#[test]
fn what_the_neighbours_do_not_believe_is_shown_below_a_group() {
    let mut status = healthy();
    let mac = |last| Mac([2, 0, 0x5e, 0x10, 0, last]);
    let doubt = BeliefStatus {
        believed: 1,
        of: 2,
        after_ms: Some(310),
        doubted_by: Some("node3".into()),
        instead: Some(mac(1)),
        repeated: 2,
    };
    let claim = ClaimStatus { mac: mac(2), times: 7, last_ms: 4_000, defended: 1 };
    (status.groups[0].belief, status.groups[0].claimed) = (Some(doubt), Some(claim.clone()));
    let screen = render(&status, Style::Plain, 100);
    let doubted = "believed by 1 of 2: asked by node3, 02:00:5e:10:00:01 answered";
    assert!(screen.contains(doubted), "{screen}");
    let claimed = "claimed by 02:00:5e:10:00:02 as well: 7 times, last 4.0 s ago";
    assert!(screen.contains(claimed), "{screen}");
    status.groups[0].claimed = Some(ClaimStatus { last_ms: 4_000_000, ..claim });
    assert!(!render(&status, Style::Plain, 100).contains("claimed by"), "long ago");
}

#[test]
fn one_node_alone_without_groups() {
    golden("alone.txt", &render(&status(&["node1"]), Style::Plain, 80));
}

/// A death that two nodes took over from, a drain, and a start.
fn story() -> Timeline {
    let part = |node: &str, groups, decided: f64| NodeMove {
        node: node.into(),
        groups,
        first: Some("web".into()),
        heard_ms: Some(decided - 305.0),
        found_ms: Some(decided - 0.1),
        decided_ms: decided,
        plumbed_ms: Some(decided + 2.05),
        announced_ms: Some(decided + 4.0),
        released_ms: None,
        believed_ms: Some(decided + 57.3),
        belief: Belief { believed: if node == "node3" { 1 } else { 2 }, of: 2 },
    };
    let mut unfinished = part("node1", 1, 0.0);
    (unfinished.heard_ms, unfinished.found_ms, unfinished.announced_ms) = (None, None, None);
    (unfinished.believed_ms, unfinished.belief) = (None, Belief::default());
    let drained = NodeMove { released_ms: Some(5.5), first: None, ..unfinished.clone() };
    let failover = |cause, from: Option<&str>, age_ms, moves| {
        let from = from.map(NodeName::from);
        Failover { cause, from, age_ms, moves }
    };
    Timeline {
        identity: "node1".into(),
        unix_ms: Some(1_795_248_000_123),
        failovers: vec![
            failover(MoveCause::Start, None, 90_000_000.0, vec![unfinished]),
            failover(MoveCause::Planned, Some("node1"), 60_000.5, vec![drained]),
            failover(
                MoveCause::Death,
                Some("node2"),
                1_000.0,
                vec![part("node1", 4, 305.0), part("node3", 3, 305.8)],
            ),
        ],
    }
}

#[test]
fn a_timeline_has_a_block_for_each_failover() {
    golden("timeline.txt", &timeline::render(&story(), Style::Plain, 90));
    let unknown = Timeline { unix_ms: None, ..story() };
    assert!(timeline::render(&unknown, Style::Plain, 90).starts_with("1 d 1 h ago  held by"));
    let empty = Timeline { failovers: Vec::new(), ..story() };
    assert_eq!(timeline::render(&empty, Style::Plain, 90), "node1 knows of no moves\n");
}
