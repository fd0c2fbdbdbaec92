//! Evenness and movement of succession lists (O2), over every subset of nodes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use vippy_core::config::{Address, Digest, Group, Node, SharedPart};
use vippy_core::identity::{GroupId, NodeIndex};
use vippy_core::placement::Placement;

fn shared(nodes: usize, groups: usize, prefer: impl Fn(usize) -> Option<u16>) -> SharedPart {
    let name = |n: usize| Node::new(format!("node{n}").as_str());
    let group = |g: usize| {
        let ip = format!("10.{}.{}.{}/16", g / 62_500, g / 250 % 250, g % 250 + 1);
        Arc::new(Group {
            id: GroupId::from(ip.as_str()),
            name: None,
            prefer: prefer(g).map(NodeIndex),
            exclusive: false,
            failback: vippy_core::config::Failback::Auto,
            addresses: vec![Address::on("eth0", ip.parse().unwrap())],
        })
    };
    SharedPart {
        version: 1,
        digest: Digest::default(),
        nodes: (1..=nodes).map(name).collect(),
        groups: (0..groups).map(group).collect(),
        interval: Duration::from_secs(1),
        mature: Duration::from_secs(5),
        stale: Duration::from_secs(3),
        quorum: None,
        witness: Vec::new(),
        isolation: Duration::from_secs(30),
        hold_down: None,
        checks: Vec::new(),
        hooks: Vec::new(),
        plugins: Vec::new(),
    }
}

/// The same, with these nodes standing by.
fn with_standby(mut shared: SharedPart, standby: &[usize]) -> SharedPart {
    standby.iter().for_each(|n| shared.nodes[*n].standby = true);
    shared
}

/// The same, with these weights.
fn with_weights(mut shared: SharedPart, weights: &[u8]) -> SharedPart {
    shared.nodes.iter_mut().zip(weights).for_each(|(node, weight)| node.weight = *weight);
    shared
}

/// The same, with one node retired.
fn without(shared: &SharedPart, node: usize) -> SharedPart {
    let mut shared = shared.clone();
    shared.nodes[node].weight = 0;
    shared
}

/// How many groups each node owns.
fn loads(shared: &SharedPart, down: impl Fn(usize) -> bool) -> Vec<usize> {
    let owners = owners(shared, down);
    (0..shared.nodes.len()).map(|n| owners.iter().filter(|owner| **owner == n).count()).collect()
}

/// Owner of every group when the nodes of `down` are down.
fn owners(shared: &SharedPart, down: impl Fn(usize) -> bool) -> Vec<usize> {
    let placement = Placement::new(shared);
    let first_up = |list: Vec<NodeIndex>| list.into_iter().map(NodeIndex::get).find(|n| !down(*n));
    shared.group_indexes().map(|g| first_up(placement.succession(g)).unwrap()).collect()
}

fn spread(owners: &[usize], up: impl Iterator<Item = usize>) -> usize {
    let loads: Vec<usize> = up.map(|n| owners.iter().filter(|o| **o == n).count()).collect();
    loads.iter().max().unwrap() - loads.iter().min().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_subset_is_placed_evenly_and_a_death_moves_only_its_own(
        nodes in 1usize..=8, groups in 0usize..60,
    ) {
        let shared = shared(nodes, groups, |_| None);
        for down in 0u32..(1 << nodes) - 1 {
            let is_down = |n: usize| down >> n & 1 == 1;
            let before = owners(&shared, is_down);
            prop_assert!(before.iter().all(|o| *o < nodes && !is_down(*o)));
            let allowed = match down.count_ones() { 0 => 1, 1 => 2, _ => groups };
            prop_assert!(spread(&before, (0..nodes).filter(|n| !is_down(*n))) <= allowed);
            for dies in (0..nodes).filter(|n| !is_down(*n)) {
                if (down | 1 << dies).count_ones() as usize == nodes { continue; }
                let after = owners(&shared, |n| is_down(n) || n == dies);
                prop_assert!(before.iter().zip(&after).all(|(b, a)| b == a || *b == dies));
            }
        }
    }

    #[test]
    fn a_preferred_node_comes_first_and_the_rest_is_level(
        nodes in 1usize..=8, prefer in prop::collection::vec(prop::option::of(0u16..8), 0..40),
    ) {
        let wish = |g: usize| prefer[g].filter(|n| usize::from(*n) < nodes);
        let owners = owners(&shared(nodes, prefer.len(), wish), |_| false);
        let load = |n: usize| owners.iter().filter(|o| **o == n).count();
        let least = (0..nodes).map(load).min().unwrap();
        for (g, owner) in owners.iter().enumerate() {
            match wish(g) {
                Some(preferred) => prop_assert_eq!(usize::from(preferred), *owner),
                None => prop_assert!(load(*owner) <= least + 1),
            }
        }
    }

    #[test]
    fn appending_a_node_moves_exactly_its_fair_share(nodes in 1usize..=12, groups in 0usize..200) {
        let before = owners(&shared(nodes, groups, |_| None), |_| false);
        let after = owners(&shared(nodes + 1, groups, |_| None), |_| false);
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count();
        prop_assert!(before.iter().zip(&after).all(|(b, a)| b == a || *a == nodes));
        prop_assert_eq!(moved, groups / (nodes + 1));
    }

    #[test]
    fn adding_a_group_moves_a_few_others_a_node(
        nodes in 1usize..=12, groups in 0usize..200,
    ) {
        let before = owners(&shared(nodes, groups, |_| None), |_| false);
        let after = owners(&shared(nodes, groups + 1, |_| None), |_| false);
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count();
        prop_assert!(moved <= 4 * nodes, "{moved} moved");
    }

    #[test]
    fn a_succession_names_every_node_once(nodes in 1usize..=20, groups in 1usize..50) {
        let shared = shared(nodes, groups, |_| None);
        let placement = Placement::new(&shared);
        for g in shared.group_indexes() {
            let mut list = placement.succession(g);
            prop_assert_eq!(placement.leader(g), list.first().copied());
            prop_assert_eq!(placement.second(g), list.get(1).copied());
            list.sort();
            list.dedup();
            prop_assert_eq!(list.len(), nodes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn standby_nodes_come_after_all_others_and_change_nothing_among_them(
        active in 1usize..=6, standby in 1usize..=4, groups in 1usize..60, at in 0usize..=6,
    ) {
        let places: Vec<usize> = (0..standby).map(|n| at.min(active) + n).collect();
        let with = with_standby(shared(active + standby, groups, |_| None), &places);
        let mut without = with.clone();
        without.nodes.retain(|node| !node.standby);
        let names = |shared: &SharedPart, list: Vec<NodeIndex>| -> Vec<String> {
            list.into_iter().map(|n| shared.nodes[n.get()].name.to_string()).collect()
        };
        let (long, short) = (Placement::new(&with), Placement::new(&without));
        for g in with.group_indexes() {
            let list = long.succession(g);
            prop_assert_eq!(long.leader(g), list.first().copied());
            prop_assert_eq!(long.second(g), list.get(1).copied());
            let list = names(&with, list);
            prop_assert_eq!(&list[..active], &names(&without, short.succession(g))[..]);
            let mut rest = list[active..].to_vec();
            rest.sort();
            rest.dedup();
            prop_assert_eq!(rest.len(), standby);
        }
    }

    #[test]
    fn standby_nodes_share_what_nobody_else_can_hold_evenly(
        active in 1usize..=4, standby in 1usize..=6, groups in 0usize..80, dead in 0usize..6,
    ) {
        let places: Vec<usize> = (active..active + standby).collect();
        let shared = with_standby(shared(active + standby, groups, |_| None), &places);
        let taken = owners(&shared, |n| n < active);
        prop_assert!(taken.iter().all(|owner| *owner >= active));
        prop_assert!(spread(&taken, active..active + standby) <= 1);
        let dead = active + dead;
        if standby > 1 && dead < active + standby {
            let rest = owners(&shared, |n| n < active || n == dead);
            prop_assert!(spread(&rest, (active..active + standby).filter(|n| *n != dead)) <= 2);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn weights_that_are_all_the_same_change_nothing(
        nodes in 1usize..=8, groups in 0usize..60, weight in 2u8..=100, standby in 0usize..3,
    ) {
        let places: Vec<usize> = (0..standby.min(nodes - 1)).collect();
        let plain = with_standby(shared(nodes, groups, |_| None), &places);
        let weighted = with_weights(plain.clone(), &vec![weight; nodes]);
        let (one, other) = (Placement::new(&plain), Placement::new(&weighted));
        for g in plain.group_indexes() {
            prop_assert_eq!(one.succession(g), other.succession(g));
        }
    }

    #[test]
    fn shares_are_in_proportion_to_weights(
        weights in prop::collection::vec(1u8..=100, 1..=8), groups in 0usize..200,
    ) {
        let shared = with_weights(shared(weights.len(), groups, |_| None), &weights);
        let loads = loads(&shared, |_| false);
        let weight = |n: usize| usize::from(weights[n]);
        for (giver, taker) in (0..loads.len()).flat_map(|n| (0..loads.len()).map(move |m| (n, m))) {
            // Moving a group from one to the other would make it no more even.
            let worse = (2 * loads[giver]).saturating_sub(1) * weight(taker)
                <= (2 * loads[taker] + 1) * weight(giver);
            prop_assert!(worse, "{loads:?} for {weights:?}");
        }
    }

    #[test]
    fn the_dead_are_shared_out_by_weight(
        weights in prop::collection::vec(1u8..=4, 2..=7), groups in 0usize..200, dead in 0usize..7,
    ) {
        let dead = dead % weights.len();
        let shared = with_weights(shared(weights.len(), groups, |_| None), &weights);
        let all: usize = weights.iter().map(|w| usize::from(*w)).sum::<usize>()
            - usize::from(weights[dead]);
        for (n, load) in loads(&shared, |n| n == dead).into_iter().enumerate() {
            let fair = if n == dead { 0.0 } else {
                groups as f64 * f64::from(weights[n]) / all as f64
            };
            prop_assert!((load as f64 - fair).abs() <= 2.0, "{load} of {fair} for {weights:?}");
        }
    }

    #[test]
    fn retiring_a_node_moves_exactly_its_groups_whoever_else_is_down(
        nodes in 2usize..=7, groups in 0usize..60, standby in 0usize..3, retires in 0usize..7,
    ) {
        let places: Vec<usize> = (0..standby.min(nodes - 2)).collect();
        let before = with_standby(shared(nodes, groups, |_| None), &places);
        let retires = retires % nodes;
        let after = without(&before, retires);
        for down in 0u32..(1 << nodes) - 1 {
            let down = |n: usize| down >> n & 1 == 1;
            let (before, after) = (owners(&before, down), owners(&after, down));
            let moved = before.iter().zip(&after).filter(|(b, a)| b != a);
            prop_assert!(moved.clone().all(|(b, _)| *b == retires));
            let last = (0..nodes).all(|n| n == retires || down(n));
            let kept = after.iter().filter(|owner| **owner == retires).count();
            prop_assert_eq!(kept, if last { groups } else { 0 });
        }
    }

    #[test]
    fn a_node_of_the_common_weight_is_retired_alone_and_so_is_the_only_one_of_more(
        nodes in 3usize..=8, groups in 0usize..100, strong in 0usize..8, weight in 2u8..=9,
        retires in 0usize..8,
    ) {
        let mut weights = vec![1; nodes];
        weights[strong % nodes] = weight;
        let before = with_weights(shared(nodes, groups, |_| None), &weights);
        let retires = retires % nodes;
        let after = owners(&without(&before, retires), |_| false);
        let before = owners(&before, |_| false);
        prop_assert!(before.iter().zip(&after).all(|(b, a)| b == a || *b == retires));
    }

    #[test]
    fn a_succession_names_retired_nodes_behind_all_others(
        weights in prop::collection::vec(0u8..=2, 1..=8), groups in 1usize..30, standby in 0usize..3,
    ) {
        let places: Vec<usize> = (0..standby.min(weights.len())).collect();
        let plain = with_standby(shared(weights.len(), groups, |_| None), &places);
        let shared = with_weights(plain, &weights);
        let placement = Placement::new(&shared);
        let rank = |n: NodeIndex| {
            let node = &shared.nodes[n.get()];
            if node.is_retired() { 2 } else { usize::from(node.standby) }
        };
        for g in shared.group_indexes() {
            let mut list = placement.succession(g);
            prop_assert!(list.is_sorted_by_key(|n| rank(*n)), "{list:?} of {weights:?}");
            prop_assert_eq!(placement.leader(g), list.first().copied());
            prop_assert_eq!(placement.second(g), list.get(1).copied());
            list.sort();
            list.dedup();
            prop_assert_eq!(list.len(), weights.len());
        }
    }

    #[test]
    fn a_preference_for_a_retired_node_waits_until_it_is_back(
        nodes in 2usize..=6, groups in 1usize..40, prefers in 0u16..6,
    ) {
        let prefers = prefers % u16::try_from(nodes).unwrap();
        let before = shared(nodes, groups, |g| (g % 2 == 0).then_some(prefers));
        let after = owners(&without(&before, usize::from(prefers)), |_| false);
        let before = owners(&before, |_| false);
        prop_assert!(before.iter().zip(&after).all(|(b, a)| (b == a) == (*b != usize::from(prefers))));
    }
}

/// Owners, all nodes up or one of them down, of a placement made once.
fn owners_of(placement: &Placement, shared: &SharedPart, down: Option<usize>) -> Vec<usize> {
    let head = |g| [placement.leader(g), placement.second(g)].into_iter().flatten();
    let up = |g| head(g).map(NodeIndex::get).find(|node| Some(*node) != down);
    shared.group_indexes().map(|g| up(g).unwrap()).collect()
}

#[test]
fn ten_thousand_groups_on_a_hundred_nodes_are_level_and_move_no_more_than_they_must() {
    let (nodes, groups) = (100, 10_000);
    let before = shared(nodes, groups, |_| None);
    let placement = Placement::new(&before);
    let all_up = owners_of(&placement, &before, None);
    assert!(spread(&all_up, 0..nodes) <= 1);
    for dies in 0..nodes {
        let after = owners_of(&placement, &before, Some(dies));
        assert!(all_up.iter().zip(&after).all(|(b, a)| b == a || *b == dies));
        assert!(spread(&after, (0..nodes).filter(|n| *n != dies)) <= 2);
    }
    let appended = owners(&shared(nodes + 1, groups, |_| None), |_| false);
    let moved = all_up.iter().zip(&appended).filter(|(b, a)| b != a);
    assert!(moved.clone().all(|(_, a)| *a == nodes), "only to the new node");
    assert_eq!(moved.count(), groups / (nodes + 1));
}

/// Two releases that order nodes differently would fight over every group.
#[test]
fn the_lists_of_a_cluster_are_those_of_every_release() {
    let wish = |g: usize| g.is_multiple_of(5).then_some(2);
    let shared = shared(7, 50, wish);
    let placement = Placement::new(&shared);
    let lists = shared.group_indexes().flat_map(|g| placement.succession(g));
    let sum = lists.fold(0u64, |sum, node| sum.wrapping_mul(31).wrapping_add(node.get() as u64));
    assert_eq!(sum, 7_807_346_171_989_209_230);
}

/// The same where weights differ.
#[test]
fn the_lists_of_weighted_nodes_are_those_of_every_release() {
    let shared = with_weights(shared(6, 50, |_| None), &[1, 2, 4, 0, 1, 3]);
    let placement = Placement::new(&shared);
    let lists = shared.group_indexes().flat_map(|g| placement.succession(g));
    let sum = lists.fold(0u64, |sum, node| sum.wrapping_mul(31).wrapping_add(node.get() as u64));
    assert_eq!(sum, 2_475_454_336_813_480_276);
}
