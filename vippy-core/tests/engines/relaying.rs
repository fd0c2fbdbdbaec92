use crate::lan::{Lan, MATURE, Plan, STALE};

/// Three segments in a row: 0, 1, 2 and 3 hear each other, 3 hears 4, and 4
/// hears 5.
#[test]
fn the_last_of_a_row_hears_the_first_although_earlier_nodes_hear_both() {
    let mut lan = Lan::new();
    for far in [4, 5] {
        (0..3).for_each(|near| lan.cut_between(near, far));
    }
    lan.cut_between(3, 5);
    let plan = Plan::new(6, 12);
    for node in 0..6 {
        lan.start(node, &plan, &[]);
    }
    lan.run(4 * MATURE);
    for _ in 0..30 {
        lan.run(STALE);
        for node in 0..6 {
            let status = lan.status(node);
            let alive = status.peers.iter().filter(|peer| peer.alive).count();
            assert_eq!(alive, 5, "node{node}");
        }
        for n in 0..12 {
            let g = format!("g{n}");
            assert_eq!(lan.holders(&g).len(), 1, "{g} is on {:?}", lan.holders(&g));
        }
    }
}
