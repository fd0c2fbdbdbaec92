//! The last moves of groups, told as one story over all nodes.
//!
//! [`Timeline`] is what operators get. Where its entries come from is the
//! business of `chronicle`; how entries of several nodes become one story is
//! told here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{BootId, GroupId, NodeName};
use crate::time::Instant;

/// Entries whose stories begin within this much of each other, or within
/// `stale`, tell of one thing.
const TOGETHER: Duration = Duration::from_secs(1);

/// The last moves as one node knows them, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The node that tells.
    pub identity: NodeName,
    /// Its wall clock when it told, in milliseconds since 1970: what ages count
    /// back from. The core does not know it.
    pub unix_ms: Option<u64>,
    /// What happened, oldest first.
    pub failovers: Vec<Failover>,
}

/// One thing that made groups move, and everything that followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failover {
    /// Why groups moved.
    pub cause: MoveCause,
    /// Whose groups moved, if they were somebody's.
    pub from: Option<NodeName>,
    /// How long ago it began, in milliseconds: with the last that was heard of a
    /// node that died, else with the first decision.
    pub age_ms: f64,
    /// Who took what, in the order of their decisions.
    pub moves: Vec<NodeMove>,
}

/// What one node took. Times are in milliseconds since the failover began; those
/// of another node are too late by the time its frame took to come here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeMove {
    /// The node.
    pub node: NodeName,
    /// How many groups it took.
    pub groups: u32,
    /// The first of them, if its place in the configuration is known here.
    pub first: Option<GroupId>,
    /// It last heard the node that died.
    pub heard_ms: Option<f64>,
    /// It found that node dead.
    pub found_ms: Option<f64>,
    /// It decided to take the first group.
    pub decided_ms: f64,
    /// The last group's addresses were on its interfaces.
    pub plumbed_ms: Option<f64>,
    /// The neighbours had been told of the last group.
    pub announced_ms: Option<f64>,
    /// The former holder was heard to have let go of the last group.
    pub released_ms: Option<f64>,
    /// The verifiers had said of the last group where it is for the neighbours.
    #[serde(default)]
    pub believed_ms: Option<f64>,
    /// How many of them found each group at this node, and how many were asked.
    #[serde(default)]
    pub belief: Belief,
}

/// How many nodes found a group where its holder says that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Belief {
    /// How many; of several groups the fewest.
    pub believed: u8,
    /// Of how many that were asked.
    pub of: u8,
}

impl Belief {
    /// What is said of several groups: that of the worst of them. Where nobody could
    /// be asked says nothing.
    pub(crate) fn worse(self, other: Belief) -> Belief {
        match (self.of, other.of) {
            (0, _) => other,
            (_, 0) => self,
            _ if other.believed < self.believed => other,
            _ => self,
        }
    }
}

/// Why groups moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveCause {
    /// Their holder was not heard for `stale`.
    Death,
    /// Their holder said goodbye.
    Goodbye,
    /// A living holder gives them away: drained, stopping, failback, preference,
    /// configuration.
    Planned,
    /// A living holder cannot hold them.
    Unavailable,
    /// Nobody else held them.
    Start,
    /// Two nodes held them and met; this is the one that keeps them (O9).
    Rival,
}

/// One node's part in a failover, in this node's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) node: NodeName,
    /// With `id`, what makes it one entry however often it is told.
    pub(crate) boot: BootId,
    pub(crate) id: u32,
    pub(crate) cause: MoveCause,
    pub(crate) from: Option<NodeName>,
    pub(crate) groups: u32,
    pub(crate) first: Option<GroupId>,
    pub(crate) heard: Option<Instant>,
    pub(crate) found: Option<Instant>,
    pub(crate) decided: Instant,
    pub(crate) plumbed: Option<Instant>,
    pub(crate) announced: Option<Instant>,
    pub(crate) released: Option<Instant>,
    pub(crate) believed: Option<Instant>,
    pub(crate) belief: Belief,
}

impl Entry {
    /// When its story begins.
    fn origin(&self) -> Instant {
        self.heard.unwrap_or(self.decided)
    }
}

/// Entries of one cause, and when the first of their stories begins.
struct Thread<'a> {
    origin: Instant,
    entries: Vec<&'a Entry>,
}

impl Thread<'_> {
    fn continues_with(&self, entry: &Entry, within: Duration) -> bool {
        let same = |first: &&&Entry| (first.cause, &first.from) == (entry.cause, &entry.from);
        let near = entry.origin().since(self.origin) <= within;
        near && self.entries.first().as_ref().is_some_and(same)
    }
}

/// Puts the entries of all nodes together, oldest first.
pub(crate) fn weave<'a>(
    now: Instant,
    stale: Duration,
    entries: impl Iterator<Item = &'a Entry>,
) -> Vec<Failover> {
    let mut entries: Vec<&Entry> = entries.collect();
    entries.sort_by_key(|entry| (entry.origin(), entry.decided, entry.boot, entry.id));
    let within = stale.max(TOGETHER);
    let mut threads: Vec<Thread<'_>> = Vec::new();
    for entry in entries {
        let thread = threads.iter_mut().rev().find(|thread| thread.continues_with(entry, within));
        match thread {
            Some(thread) => thread.entries.push(entry),
            None => threads.push(Thread { origin: entry.origin(), entries: vec![entry] }),
        }
    }
    threads.into_iter().filter_map(|thread| tell(now, thread)).collect()
}

fn tell(now: Instant, thread: Thread<'_>) -> Option<Failover> {
    let Thread { origin, mut entries } = thread;
    entries.sort_by_key(|entry| (entry.decided, entry.boot, entry.id));
    let first = entries.first()?;
    let ms = |at: Instant| millis(at.since(origin));
    let part = |entry: &&Entry| NodeMove {
        node: entry.node.clone(),
        groups: entry.groups,
        first: entry.first.clone(),
        heard_ms: entry.heard.map(ms),
        found_ms: entry.found.map(ms),
        decided_ms: ms(entry.decided),
        plumbed_ms: entry.plumbed.map(ms),
        announced_ms: entry.announced.map(ms),
        released_ms: entry.released.map(ms),
        believed_ms: entry.believed.map(ms),
        belief: entry.belief,
    };
    Some(Failover {
        cause: first.cause,
        from: first.from.clone(),
        age_ms: millis(now.since(origin)),
        moves: entries.iter().map(part).collect(),
    })
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn entry(node: &str, cause: MoveCause, heard: Option<u64>, decided: u64) -> Entry {
        Entry {
            node: node.into(),
            boot: BootId(decided),
            id: 1,
            cause,
            from: Some("node9".into()),
            groups: 2,
            first: None,
            heard: heard.map(at),
            found: heard.map(|_| at(decided)),
            decided: at(decided),
            plumbed: Some(at(decided + 2)),
            announced: None,
            released: None,
            believed: None,
            belief: Belief::default(),
        }
    }

    fn told(entries: &[Entry]) -> Vec<(MoveCause, Vec<(String, f64)>)> {
        let failovers = weave(at(100_000), Duration::from_secs(5), entries.iter());
        let parts = |failover: Failover| {
            let parts = failover.moves.iter().map(|m| (m.node.to_string(), m.decided_ms));
            (failover.cause, parts.collect())
        };
        failovers.into_iter().map(parts).collect()
    }

    #[test]
    fn takers_of_one_dead_node_are_one_story_that_begins_when_it_was_last_heard() {
        let entries = [
            entry("node2", MoveCause::Death, Some(1_001), 6_010),
            entry("node1", MoveCause::Death, Some(1_000), 6_000),
            // An exclusive group, taken when the fence time is over.
            entry("node1", MoveCause::Death, Some(1_000), 21_000),
        ];
        let parts = [("node1", 5_000.0), ("node2", 5_010.0), ("node1", 20_000.0)];
        let parts = parts.map(|(node, at)| (node.to_owned(), at)).to_vec();
        assert_eq!(told(&entries), [(MoveCause::Death, parts)]);
    }

    #[test]
    fn several_groups_are_believed_as_the_worst_of_them_is() {
        let by = |believed, of| Belief { believed, of };
        assert_eq!(by(2, 2).worse(by(1, 2)), by(1, 2));
        assert_eq!(by(0, 2).worse(by(1, 1)), by(0, 2));
        assert_eq!(by(0, 0).worse(by(1, 1)), by(1, 1));
        assert_eq!(by(2, 2).worse(by(0, 0)), by(2, 2));
    }

    #[test]
    fn what_has_another_cause_or_comes_much_later_is_another_story() {
        let entries = [
            entry("node1", MoveCause::Planned, None, 50_000),
            entry("node1", MoveCause::Death, Some(1_000), 6_000),
            entry("node1", MoveCause::Death, Some(11_000), 16_000),
        ];
        let causes: Vec<MoveCause> = told(&entries).into_iter().map(|(cause, _)| cause).collect();
        assert_eq!(causes, [MoveCause::Death, MoveCause::Death, MoveCause::Planned]);
    }
}
