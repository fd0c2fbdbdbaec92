//! Whether the neighbours believe what this node took.
//!
//! One question at a time goes to two nodes: about all groups that the neighbours
//! were told of since the last one, so that thousands cost as many frames as a few.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::SharedPart;
use crate::identity::{BootId, GroupId, GroupIndex, Mac, NodeIndex};
use crate::membership::Membership;
use crate::membership::facts::Facts;
use crate::speaker;
use crate::status::NodeState;
use crate::time::{Instant, earliest};
use crate::timeline::Belief;
use crate::wire::announcement::Section;
use crate::wire::belief::{Look, Sighting, VERIFIERS};

/// The neighbours are told again so long after each time that they did not believe.
const REPEATS: [Duration; 5] = [
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_millis(1_200),
    Duration::from_millis(2_400),
    Duration::from_millis(5_000),
];
/// Answers are waited for this long, and some intervals: looking takes a while, and
/// begins when the former holder has let go.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENT_INTERVALS: u32 = 4;

/// What this node took, and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Takes {
    takes: BTreeMap<GroupIndex, Take>,
    /// Groups that nobody was asked about yet.
    pending: BTreeSet<GroupIndex>,
    round: Option<Round>,
    /// When to tell the neighbours of a group again.
    repeats: BTreeSet<(Instant, GroupIndex)>,
    /// Groups of which the neighbours are being told again.
    telling: BTreeSet<GroupIndex>,
    /// Number of the last question.
    number: u16,
}

/// One take of a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Take {
    /// When it was decided.
    since: Instant,
    /// Where the neighbours were told that it is.
    mac: Mac,
    pub(crate) belief: Belief,
    /// How long after the decision the last word of a verifier came.
    pub(crate) after: Option<Duration>,
    /// Who found it elsewhere, and where; `None` for nowhere.
    pub(crate) doubt: Option<(NodeIndex, Option<Mac>)>,
    /// How often the neighbours were told again.
    pub(crate) repeated: u8,
}

/// A question under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Round {
    number: u16,
    by: [Option<NodeIndex>; VERIFIERS],
    mac: Mac,
    until: Instant,
    /// Somebody has answered since the answers were looked at.
    answered: bool,
    /// What each of them saw.
    groups: BTreeMap<GroupIndex, [Answer; VERIFIERS]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    /// There is nobody to be asked.
    Unasked,
    Awaited,
    Seen(Option<Mac>),
}

/// What the nodes to be asked are chosen from.
pub(crate) struct Scene<'a> {
    pub(crate) shared: &'a SharedPart,
    pub(crate) members: &'a Membership,
    pub(crate) me: Option<NodeIndex>,
    pub(crate) interval: Duration,
}

/// What follows from the answers.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// There is a new question.
    pub(crate) asks: bool,
    /// Groups of which the neighbours are to be told again.
    pub(crate) repeat: Vec<GroupIndex>,
    /// Groups about which all is said.
    pub(crate) settled: Vec<(GroupIndex, Belief)>,
    /// Groups that are still not believed and are not repeated any more.
    pub(crate) doubted: Vec<GroupIndex>,
}

impl Scene<'_> {
    /// Who looks for a group: the first two that can hold it, in the order of the
    /// configuration from a place that goes round with the groups.
    fn verifiers(&self, group: GroupIndex) -> [Option<NodeIndex>; VERIFIERS] {
        let nodes = u16::try_from(self.shared.nodes.len()).unwrap_or(u16::MAX);
        let start = u16::try_from(group.get() % usize::from(nodes.max(1))).unwrap_or(0);
        let order = (start..nodes).chain(0..start).map(NodeIndex);
        let mut able = order.filter(|node| Some(*node) != self.me && self.can_look(*node, group));
        std::array::from_fn(|_| able.next())
    }

    fn can_look(&self, node: NodeIndex, group: GroupIndex) -> bool {
        self.facts(node).is_some_and(|facts| {
            let takes_part = match facts.state {
                NodeState::Active | NodeState::Standby | NodeState::Draining => true,
                NodeState::Booting | NodeState::Leaving => false,
            };
            takes_part && !facts.cannot.contains(group.0)
        })
    }

    fn facts(&self, node: NodeIndex) -> Option<&Facts> {
        let name = &self.shared.nodes.get(node.get())?.name;
        let facts = self.members.live(name)?.facts.as_ref()?;
        facts.speaks(self.shared.digest).then_some(facts)
    }
}

impl Takes {
    /// Questions of an earlier process of this node have other numbers, most likely.
    pub(crate) fn new(boot: BootId) -> Takes {
        let [.., high, low] = boot.0.to_be_bytes();
        Takes {
            takes: BTreeMap::new(),
            pending: BTreeSet::new(),
            round: None,
            repeats: BTreeSet::new(),
            telling: BTreeSet::new(),
            number: u16::from_be_bytes([high, low]),
        }
    }

    /// The neighbours were told for the first time of a group that was taken at
    /// `since`, and that it is at `mac`.
    pub(crate) fn took(&mut self, group: GroupIndex, since: Instant, mac: Mac) {
        self.forget(group);
        let belief = Belief::default();
        let take = Take { since, mac, belief, after: None, doubt: None, repeated: 0 };
        self.takes.insert(group, take);
        self.pending.insert(group);
    }

    /// The neighbours were told again of a group.
    pub(crate) fn told(&mut self, group: GroupIndex, mac: Option<Mac>) {
        if self.telling.remove(&group)
            && let Some(take) = self.takes.get_mut(&group)
        {
            take.mac = mac.unwrap_or(take.mac);
            self.pending.insert(group);
        }
    }

    /// A group is here no more, or is taken anew.
    pub(crate) fn forget(&mut self, group: GroupIndex) {
        self.takes.remove(&group);
        self.pending.remove(&group);
        self.telling.remove(&group);
        self.repeats.retain(|(_, other)| *other != group);
        if let Some(round) = &mut self.round {
            round.groups.remove(&group);
        }
    }

    /// What is known of a group that this node took.
    pub(crate) fn of(&self, group: GroupIndex) -> Option<&Take> {
        self.takes.get(&group)
    }

    /// A verifier says what it saw.
    pub(crate) fn sighted(&mut self, now: Instant, by: NodeIndex, sighting: &Sighting) {
        let Some(round) = self.round.as_mut().filter(|r| r.number == sighting.number) else {
            return;
        };
        round.answered = true;
        let Some(place) = round.by.iter().position(|node| *node == Some(by)) else { return };
        for group in sighting.groups.0.iter().map(GroupIndex) {
            let Some(answers) = round.groups.get_mut(&group) else { continue };
            if answers[place] == Answer::Awaited {
                answers[place] = Answer::Seen(sighting.mac);
                if let Some(take) = self.takes.get_mut(&group) {
                    take.note(now, by, sighting.mac);
                }
            }
        }
    }

    /// A node is there no more: what it was asked and did not say, others are asked.
    pub(crate) fn lost(&mut self, node: NodeIndex) {
        if let Some(round) = self.round.take_if(|round| round.by.contains(&Some(node))) {
            self.pending.extend(round.groups.into_keys());
        }
    }

    /// Whether [`Takes::settle`] may have anything to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.round.is_none() && self.repeats.is_empty()
    }

    /// What follows from the answers and from time.
    pub(crate) fn settle(&mut self, now: Instant, scene: &Scene<'_>) -> Course {
        let mut course = Course::default();
        while let Some((at, group)) = self.repeats.first().copied().filter(|(at, _)| *at <= now) {
            self.repeats.remove(&(at, group));
            self.telling.insert(group);
            course.repeat.push(group);
        }
        self.conclude(now, &mut course);
        while self.round.is_none()
            && let Some(first) = self.pending.first().copied()
        {
            self.ask(now, first, scene, &mut course);
        }
        course
    }

    /// Ends what all have answered, or what was waited for long enough.
    fn conclude(&mut self, now: Instant, course: &mut Course) {
        let Some(round) = &mut self.round else { return };
        let over = now >= round.until;
        if !std::mem::take(&mut round.answered) && !over {
            return;
        }
        let takes = &mut self.takes;
        let repeats = &mut self.repeats;
        round.groups.retain(|group, answers| {
            if !over && answers.contains(&Answer::Awaited) {
                return true;
            }
            let Some(take) = takes.get_mut(group) else { return false };
            let pause = take.doubt.and_then(|_| REPEATS.get(usize::from(take.repeated)));
            match pause {
                Some(pause) => {
                    take.repeated += 1;
                    repeats.insert((now + *pause, *group));
                }
                None => {
                    course.settled.push((*group, take.belief));
                    course.doubted.extend(take.doubt.map(|_| *group));
                }
            }
            false
        });
        if round.groups.is_empty() {
            self.round = None;
        }
    }

    /// Asks about a group, and about all others that the same nodes can look for at
    /// the same place.
    fn ask(&mut self, now: Instant, first: GroupIndex, scene: &Scene<'_>, course: &mut Course) {
        let by = scene.verifiers(first);
        let mac = self.takes.get(&first).map(|take| take.mac);
        let Some(mac) = mac.filter(|_| by.iter().any(Option::is_some)) else {
            self.pending.remove(&first);
            course.settled.push((first, Belief::default()));
            return;
        };
        let asked = by.into_iter().flatten();
        let refused: Vec<&Bits> = asked.filter_map(|n| Some(&scene.facts(n)?.cannot)).collect();
        let fits = |group: &GroupIndex| !refused.iter().any(|cannot| cannot.contains(group.0));
        let answers = by.map(|node| node.map_or(Answer::Unasked, |_| Answer::Awaited));
        let of = u8::try_from(by.iter().flatten().count()).unwrap_or(u8::MAX);
        let mut groups = BTreeMap::new();
        let takes = &mut self.takes;
        self.pending.retain(|group| {
            let Some(take) = takes.get_mut(group) else { return false };
            let asked = take.mac == mac && fits(group);
            if asked {
                take.belief = Belief { believed: 0, of };
                take.doubt = None;
                groups.insert(*group, answers);
            }
            !asked
        });
        self.number = self.number.wrapping_add(1);
        let until = now + PATIENCE + PATIENT_INTERVALS * scene.interval;
        self.round = Some(Round { number: self.number, by, mac, until, answered: false, groups });
        course.asks = true;
    }

    /// The question under way, as it is announced.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let Some(round) = &self.round else { return Vec::new() };
        let groups: Bits = round.groups.keys().map(|group| group.0).collect();
        let look = |(first, last, groups)| {
            let Round { number, by, mac, .. } = *round;
            Section::Look(Look { number, by, mac, first, last, groups })
        };
        speaker::slices(&groups).into_iter().map(look).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let repeat = self.repeats.first().map(|(at, _)| *at);
        earliest(repeat, self.round.as_ref().map(|round| round.until))
    }

    /// Positions mean other groups and nodes from now on: what was under way is asked
    /// again, what is known goes with its group.
    pub(crate) fn configure(
        &mut self,
        (old, new): (&SharedPart, &SharedPart),
        position: impl Fn(&GroupId) -> Option<GroupIndex>,
    ) {
        let id = |group: &GroupIndex| old.groups.get(group.get()).map(|group| &group.id);
        let moved = |group: &GroupIndex| id(group).and_then(&position);
        let asked = self.round.iter().flat_map(|round| round.groups.keys());
        let repeated = self.repeats.iter().map(|(_, group)| group);
        let open = self.pending.iter().chain(asked).chain(repeated).chain(&self.telling);
        let pending = open.filter_map(&moved).collect();
        let node = |node: NodeIndex| new.node_index(&old.nodes.get(node.get())?.name);
        let take = |(group, take): (&GroupIndex, &Take)| {
            let doubt = take.doubt.and_then(|(by, mac)| Some((node(by)?, mac)));
            Some((moved(group)?, Take { doubt, ..take.clone() }))
        };
        let takes = self.takes.iter().filter_map(take).collect();
        (self.takes, self.pending) = (takes, pending);
        (self.round, self.repeats, self.telling) = Default::default();
    }
}

impl Take {
    fn note(&mut self, now: Instant, by: NodeIndex, seen: Option<Mac>) {
        self.after = Some(now.since(self.since));
        if seen == Some(self.mac) {
            self.belief.believed += 1;
        } else {
            self.doubt = Some((by, seen));
        }
    }
}
