//! What this node sees when others ask it to look where their groups are.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::SharedPart;
use crate::identity::{BootId, GroupIndex, Mac, NodeIndex};
use crate::output::Output;
use crate::speaker;
use crate::time::Instant;
use crate::wire::announcement::Section;
use crate::wire::belief::{Look, Sighting};

/// A question that was not repeated for so many intervals is answered no more.
const LAPSE: u32 = 3;
/// The same with short intervals.
const SHORTEST_LAPSE: Duration = Duration::from_millis(200);

/// The questions of all nodes that ask this one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Lookout {
    duties: BTreeMap<NodeIndex, Duty>,
    /// Some groups wait, and who holds what has changed since they were looked at.
    stirred: bool,
}

/// One node's question.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Duty {
    boot: BootId,
    number: u16,
    /// Where that node says they are.
    mac: Mac,
    /// Until when it counts as asked.
    until: Instant,
    /// All groups of the question.
    groups: Bits,
    /// Groups that somebody else holds as well: whoever is asked would answer.
    waiting: Bits,
    /// Groups that are being looked for.
    sought: Bits,
    /// Who answered.
    #[serde(with = "crate::recorder::pairs")]
    seen: BTreeMap<Option<Mac>, Bits>,
}

impl Duty {
    fn is(&self, boot: BootId, number: u16) -> bool {
        (self.boot, self.number) == (boot, number)
    }
}

impl Lookout {
    /// A node asks `me` or others to look. A new question replaces its last one.
    pub(crate) fn asked(
        &mut self,
        now: Instant,
        (holder, boot): (NodeIndex, BootId),
        me: NodeIndex,
        interval: Duration,
        look: &Look,
    ) {
        if !look.by.contains(&Some(me)) {
            self.duties.remove(&holder);
            return;
        }
        let until = now + (LAPSE * interval).max(SHORTEST_LAPSE);
        let known = self.duties.remove(&holder).filter(|duty| duty.is(boot, look.number));
        let mut duty = known.unwrap_or_else(|| Duty {
            boot,
            number: look.number,
            mac: look.mac,
            until,
            groups: Bits::new(),
            waiting: Bits::new(),
            sought: Bits::new(),
            seen: BTreeMap::new(),
        });
        duty.until = until;
        for group in look.groups.0.iter() {
            if duty.groups.set(group, true) {
                duty.waiting.set(group, true);
                self.stirred = true;
            }
        }
        self.duties.insert(holder, duty);
    }

    /// Who holds what may have changed.
    pub(crate) fn stir(&mut self) {
        self.stirred = self.duties.values().any(|duty| !duty.waiting.is_empty());
    }

    /// Whether [`Lookout::settle`] has anything to do.
    pub(crate) fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// Looks for what only one node holds. `held_beside` tells what all live nodes
    /// but one hold, this one included.
    pub(crate) fn settle(
        &mut self,
        shared: &SharedPart,
        held_beside: impl Fn(NodeIndex) -> Bits,
        outputs: &mut VecDeque<Output>,
    ) {
        self.stirred = false;
        for (holder, duty) in &mut self.duties {
            let held = held_beside(*holder);
            let ready: Vec<u32> =
                duty.waiting.iter().filter(|group| !held.contains(*group)).collect();
            for group in ready {
                duty.waiting.set(group, false);
                let Some(config) = shared.groups.get(GroupIndex(group).get()) else { continue };
                duty.sought.set(group, true);
                outputs.push_back(Output::Look { group: config.id.clone(), expected: duty.mac });
            }
        }
    }

    /// A group was looked for, and this station answered. True if somebody wants to
    /// know.
    pub(crate) fn sighted(&mut self, group: GroupIndex, mac: Option<Mac>) -> bool {
        let mut wanted = false;
        for duty in self.duties.values_mut() {
            if duty.sought.set(group.0, false) {
                duty.seen.entry(mac).or_default().set(group.0, true);
                wanted = true;
            }
        }
        wanted
    }

    /// What to announce, as long as it is asked for.
    pub(crate) fn sections(&mut self, now: Instant) -> Vec<Section> {
        self.duties.retain(|_, duty| now < duty.until);
        let mut sections = Vec::new();
        for (holder, duty) in &self.duties {
            for (mac, groups) in &duty.seen {
                let slices = speaker::slices(groups).into_iter();
                sections.extend(slices.map(|(first, last, groups)| {
                    let (holder, number, mac) = (*holder, duty.number, *mac);
                    Section::Sighting(Sighting { holder, number, mac, first, last, groups })
                }));
            }
        }
        sections
    }

    /// Positions mean other groups and nodes from now on: whoever wants to know asks
    /// again.
    pub(crate) fn configure(&mut self) {
        *self = Lookout::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ASKER: (NodeIndex, BootId) = (NodeIndex(0), BootId(7));
    const INTERVAL: Duration = Duration::from_millis(500);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn look(number: u16, by: u16, groups: &[u32]) -> Look {
        let groups = groups.iter().copied().collect();
        Look { number, by: [Some(NodeIndex(by)), None], mac: MAC, first: 0, last: 99, groups }
    }

    fn told(lookout: &mut Lookout, now: Instant) -> Vec<(u16, Option<Mac>, Vec<u32>)> {
        let sighting = |section: Section| {
            let Section::Sighting(s) = section else { panic!("{section:?}") };
            (s.number, s.mac, s.groups.0.iter().collect())
        };
        lookout.sections(now).into_iter().map(sighting).collect()
    }

    /// Looks for everything that is ready at once; all of it is seen at `MAC`.
    fn see(lookout: &mut Lookout, groups: &[u32]) {
        for duty in lookout.duties.values_mut() {
            duty.sought.add(&std::mem::take(&mut duty.waiting));
        }
        groups.iter().for_each(|group| assert!(lookout.sighted(GroupIndex(*group), Some(MAC))));
    }

    #[test]
    fn an_answer_is_repeated_until_the_question_is_not() {
        let mut lookout = Lookout::default();
        lookout.asked(at(0), ASKER, NodeIndex(1), INTERVAL, &look(1, 1, &[3, 4]));
        assert!(lookout.is_stirred());
        see(&mut lookout, &[3, 4]);
        assert_eq!(told(&mut lookout, at(1_499)), [(1, Some(MAC), vec![3, 4])]);
        lookout.asked(at(1_400), ASKER, NodeIndex(1), INTERVAL, &look(1, 1, &[4]));
        assert_eq!(told(&mut lookout, at(2_899)), [(1, Some(MAC), vec![3, 4])]);
        assert_eq!(told(&mut lookout, at(2_900)), []);
    }

    #[test]
    fn a_new_question_or_one_to_others_replaces_the_last_one() {
        let mut lookout = Lookout::default();
        lookout.asked(at(0), ASKER, NodeIndex(1), INTERVAL, &look(1, 1, &[3]));
        see(&mut lookout, &[3]);
        lookout.asked(at(1), ASKER, NodeIndex(1), INTERVAL, &look(2, 1, &[3]));
        assert_eq!(told(&mut lookout, at(2)), []);
        see(&mut lookout, &[3]);
        lookout.asked(at(3), ASKER, NodeIndex(1), INTERVAL, &look(3, 2, &[3]));
        assert_eq!(told(&mut lookout, at(4)), []);
    }

    #[test]
    fn what_nobody_asked_for_is_not_told() {
        let mut lookout = Lookout::default();
        assert!(!lookout.sighted(GroupIndex(3), Some(MAC)));
        lookout.asked(at(0), ASKER, NodeIndex(1), INTERVAL, &look(1, 1, &[3]));
        assert!(!lookout.sighted(GroupIndex(3), Some(MAC)), "it was not looked for yet");
    }
}
