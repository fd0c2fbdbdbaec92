use crate::lan::{INTERVAL, Lan, Plan, STALE};

#[test]
fn frames_that_come_first_from_elsewhere_do_not_lead_the_answers_away() {
    let plan = Plan { unicast: true, ..Plan::new(2, 2) };
    let mut lan = Lan::settled(&plan);
    // Everything of node1 reaches node0 from the address of a third machine.
    lan.cut.insert((1, 0));
    let until = lan.now + 4 * STALE;
    let mut seen = lan.frames.len();
    while lan.now < until {
        let new = lan.frames[seen..].to_vec();
        seen = lan.frames.len();
        for (_, frame) in new.iter().filter(|(from, _)| *from == 1) {
            lan.inject(0, 2, false, frame);
        }
        lan.run(INTERVAL / 10);
        for node in [0, 1] {
            assert!(lan.status(node).peers.iter().all(|peer| peer.alive), "node{node}");
        }
    }
}
