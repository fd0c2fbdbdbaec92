//! Live counters of the invariants: how long groups had two holders or none, as
//! this node sees it.
//!
//! Judged by what this node and its live peers announce, each time some group
//! was decided about, at the cost of the groups concerned. Nothing is counted
//! until this node has booted and has once seen everything in its place (or has
//! given it the time that invariant 1 allows): what it did not see begin it
//! cannot time. Nothing is decided from these counters.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::SharedPart;
use crate::identity::{GroupId, GroupIndex};
use crate::status::{Breach, Invariants};
use crate::time::Instant;

/// Both counters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Watch {
    counting: bool,
    two_holders: Tally,
    unheld: Tally,
}

/// One condition over all groups.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Tally {
    groups: Vec<Spell>,
    /// Groups in the condition now, and since when there is one.
    current: usize,
    since: Instant,
    /// Time with at least one, in spells that ended.
    total: Duration,
    /// Time of all groups together, of those that are no longer configured too.
    group_total: Duration,
}

/// One condition of one group.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Spell {
    since: Option<Instant>,
    total: Duration,
}

/// Who holds what, as far as this node may judge it.
pub(crate) struct Sight<'a> {
    /// What each live node, this one included, announces as held.
    pub(crate) holdings: Vec<&'a Bits>,
    /// Groups that somebody could hold.
    pub(crate) owned: &'a dyn Fn(GroupIndex) -> bool,
    /// When one who was just given up was last heard to hold a group.
    pub(crate) last_held: &'a dyn Fn(GroupIndex) -> Option<Instant>,
    /// Everything had its time to come to rest since booting ended.
    pub(crate) patience_over: bool,
}

/// Which groups to look at.
pub(crate) enum Scope<'a> {
    All,
    These(&'a [GroupIndex]),
}

/// A group in two counters' eyes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Once,
    Twice,
    Never,
}

impl Watch {
    pub(crate) fn new(shared: &SharedPart) -> Watch {
        let groups = shared.groups.len();
        Watch { counting: false, two_holders: Tally::new(groups), unheld: Tally::new(groups) }
    }

    pub(crate) fn is_counting(&self) -> bool {
        self.counting
    }

    /// This node cannot judge at the moment.
    pub(crate) fn pause(&mut self, now: Instant) {
        if std::mem::replace(&mut self.counting, false) {
            self.two_holders.end_all(now);
            self.unheld.end_all(now);
        }
    }

    /// Positions mean other groups from now on.
    pub(crate) fn configure(&mut self, now: Instant, old: &SharedPart, new: &SharedPart) {
        self.pause(now);
        for tally in [&mut self.two_holders, &mut self.unheld] {
            let mut former: std::collections::BTreeMap<&GroupId, Spell> =
                old.groups.iter().map(|group| &group.id).zip(tally.groups.drain(..)).collect();
            let carried = new.groups.iter().map(|g| former.remove(&g.id).unwrap_or_default());
            tally.groups = carried.collect();
        }
    }

    /// Looks at groups of which something may have changed.
    pub(crate) fn look(&mut self, now: Instant, scope: Scope<'_>, sight: &Sight<'_>) {
        if !self.counting {
            let groups = || indexes(self.unheld.groups.len());
            let at_rest = sight.patience_over || {
                let (once, twice) = sums(&sight.holdings);
                groups().all(|group| sight.held(group, &once, &twice) == Held::Once)
            };
            if !at_rest {
                return;
            }
            self.counting = true;
            return self.look(now, Scope::All, sight);
        }
        match scope {
            Scope::All => {
                let (once, twice) = sums(&sight.holdings);
                for group in indexes(self.unheld.groups.len()) {
                    self.note(now, group, sight.held(group, &once, &twice), sight);
                }
            }
            Scope::These(groups) => {
                for group in groups {
                    let holders = sight.holdings.iter().filter(|held| held.contains(group.0));
                    let held = sight.judge(*group, holders.count());
                    self.note(now, *group, held, sight);
                }
            }
        }
    }

    fn note(&mut self, now: Instant, group: GroupIndex, held: Held, sight: &Sight<'_>) {
        self.two_holders.set(now, group, held == Held::Twice, || now);
        let since = || (sight.last_held)(group).unwrap_or(now);
        self.unheld.set(now, group, held == Held::Never, since);
    }

    pub(crate) fn status(&self, now: Instant, shared: &SharedPart) -> Invariants {
        Invariants {
            counting: self.counting,
            two_holders: self.two_holders.breach(now, shared),
            unheld: self.unheld.breach(now, shared),
        }
    }
}

impl Sight<'_> {
    fn held(&self, group: GroupIndex, once: &Bits, twice: &Bits) -> Held {
        let holders = usize::from(once.contains(group.0)) + usize::from(twice.contains(group.0));
        self.judge(group, holders)
    }

    fn judge(&self, group: GroupIndex, holders: usize) -> Held {
        match holders {
            0 if (self.owned)(group) => Held::Never,
            0 | 1 => Held::Once,
            _ => Held::Twice,
        }
    }
}

/// Members of at least one of the sets, and of at least two.
fn sums(sets: &[&Bits]) -> (Bits, Bits) {
    let (mut once, mut twice) = (Bits::new(), Bits::new());
    for set in sets {
        twice.add_common(&once, set);
        once.add(set);
    }
    (once, twice)
}

fn indexes(groups: usize) -> impl Iterator<Item = GroupIndex> {
    (0..u32::try_from(groups).unwrap_or(u32::MAX)).map(GroupIndex)
}

impl Tally {
    fn new(groups: usize) -> Tally {
        Tally {
            groups: vec![Spell::default(); groups],
            current: 0,
            since: Instant::ZERO,
            total: Duration::ZERO,
            group_total: Duration::ZERO,
        }
    }

    /// `began` tells since when it is so, if that is news.
    fn set(&mut self, now: Instant, group: GroupIndex, on: bool, began: impl FnOnce() -> Instant) {
        let Some(spell) = self.groups.get_mut(group.get()) else { return };
        match spell.since {
            None if on => {
                let began = began();
                spell.since = Some(began);
                if self.current == 0 || began < self.since {
                    self.since = began;
                }
                self.current += 1;
            }
            Some(since) if !on => {
                spell.since = None;
                spell.total += now.since(since);
                self.group_total += now.since(since);
                self.current -= 1;
                if self.current == 0 {
                    self.total += now.since(self.since);
                }
            }
            Some(_) | None => {}
        }
    }

    fn end_all(&mut self, now: Instant) {
        for group in indexes(self.groups.len()) {
            self.set(now, group, false, || now);
        }
    }

    fn breach(&self, now: Instant, shared: &SharedPart) -> Breach {
        let running = |spell: &Spell| spell.since.map_or(Duration::ZERO, |at| now.since(at));
        let open: Duration = self.groups.iter().map(running).sum();
        let times = self.groups.iter().map(|spell| spell.total + running(spell));
        let worst = times.zip(&shared.groups).rev().max_by_key(|(time, _)| *time);
        let worst = worst.filter(|(time, _)| !time.is_zero());
        let cluster = if self.current == 0 { Duration::ZERO } else { now.since(self.since) };
        Breach {
            ms: millis(self.total + cluster),
            group_ms: millis(self.group_total + open),
            worst_ms: millis(worst.map_or(Duration::ZERO, |(time, _)| time)),
            worst_group: worst.map(|(_, group)| group.id.clone()),
        }
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
