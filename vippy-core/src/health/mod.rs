//! Whether this node can serve, as its checks say (H1–H5).
//!
//! Fed with the outcome of every run of every check. A check that is bad makes this
//! node *rather not* hold the groups that it is about (O3); a group that another living
//! node would rather not hold is taken only after all of this node's own checks of it
//! have just been good. Who asks, and how, is the daemon's business.

mod state;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::state::{Change, State};
use crate::bits::Bits;
use crate::config::SharedPart;
use crate::event::Event;
use crate::identity::{CheckName, GroupId, GroupIndex, NodeName};
use crate::output::Output;
use crate::report::millis;
use crate::status::CheckStatus;
use crate::time::Instant;

/// What is thought of what a check is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Too little was learned; that is not bad.
    #[default]
    Unknown,
    /// It is as it should be.
    Good,
    /// It is not.
    Bad,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Unknown => "unknown",
            Verdict::Good => "good",
            Verdict::Bad => "bad",
        })
    }
}

/// What a run of a check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All is as it should be.
    Good,
    /// It is not, for this reason.
    Bad(String),
    /// There was no answer in time.
    TimedOut,
    /// Nobody could be asked, for this reason: it tells nothing about what was to be
    /// asked.
    NotStarted(String),
}

impl Outcome {
    /// Why it is not good, in words.
    pub fn why(&self) -> Option<&str> {
        match self {
            Outcome::Good => None,
            Outcome::Bad(why) | Outcome::NotStarted(why) => Some(why),
            Outcome::TimedOut => Some("no answer in time"),
        }
    }
}

/// A run of a check that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// What it came to.
    pub outcome: Outcome,
}

/// All checks of this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Health {
    checks: Vec<State>,
    /// The plugins that hold this node unfit for any group, and why.
    unfit: BTreeMap<String, String>,
    /// Groups with a bad check; all, while a plugin holds this node unfit.
    bad: Bits,
    /// Groups that this node could have taken from one that would rather not hold
    /// them, had its own checks not been anything but good just then (H4).
    doubted: BTreeSet<GroupIndex>,
    /// Groups to be taken from a living node that would rather not hold them, and when
    /// this node learned that (H4).
    asked: BTreeMap<GroupIndex, Instant>,
}

/// What a run led to.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) event: Option<Event>,
    /// Groups that this node had better not hold from now on, or may again.
    pub(crate) changed: Vec<GroupIndex>,
    /// Those that it may hold again because a check is good again.
    pub(crate) recovered: Vec<GroupIndex>,
    /// Groups that may be taken now.
    pub(crate) awaited: Vec<GroupIndex>,
}

impl Noted {
    /// It made no difference to anything but the status.
    pub(crate) fn is_quiet(&self) -> bool {
        self.event.is_none() && self.changed.is_empty() && self.awaited.is_empty()
    }
}

impl Health {
    pub(crate) fn new(now: Instant, shared: &SharedPart, node: &NodeName) -> Health {
        let mut health = Health {
            checks: Vec::new(),
            unfit: BTreeMap::new(),
            bad: Bits::new(),
            doubted: BTreeSet::new(),
            asked: BTreeMap::new(),
        };
        health.configure(now, shared, node);
        health
    }

    /// Goes on under another configuration: a check of which nothing changed but where
    /// its groups stand keeps what it has learned.
    pub(crate) fn configure(&mut self, now: Instant, shared: &SharedPart, node: &NodeName) {
        let positions: BTreeMap<&GroupId, GroupIndex> =
            shared.groups.iter().map(|group| &group.id).zip(shared.group_indexes()).collect();
        let former = std::mem::take(&mut self.checks);
        let mut former: BTreeMap<CheckName, State> =
            former.into_iter().map(|state| (state.check.name.clone(), state)).collect();
        let own = shared.checks.iter().filter(|check| check.is_for(node));
        self.checks = own
            .map(|check| {
                let groups = check.groups.iter().filter_map(|id| positions.get(id).copied());
                let groups = groups.collect();
                match former.remove(&check.name).filter(|state| *state.check == **check) {
                    Some(state) => state.about_others(groups),
                    None => State::new(now, Arc::clone(check), groups),
                }
            })
            .collect();
        self.doubted.clear();
        self.asked.clear();
        self.bad = shared.group_indexes().filter(|g| self.is_bad(*g)).map(|g| g.0).collect();
    }

    /// Takes note of a run.
    pub(crate) fn note(
        &mut self,
        shared: &SharedPart,
        now: Instant,
        name: &CheckName,
        run: Run,
    ) -> Noted {
        let Some(place) = self.checks.iter().position(|state| state.check.name == *name) else {
            // It left the configuration meanwhile.
            return Noted::default();
        };
        let state = &mut self.checks[place];
        let change = state.note(now, run);
        let mut noted =
            Noted { event: change.map(|change| change.event(state)), ..Noted::default() };
        if change.is_some_and(Change::matters) {
            self.reconsider(self.checks[place].about(shared), &mut noted);
        }
        self.note_doubts(place, &mut noted);
        noted.awaited.extend(self.asked.keys().filter(|g| self.checks[place].concerns(**g)));
        noted
    }

    /// Takes note of what a plugin thinks of this node: why it is unfit for any group;
    /// `None`: it is not, or the plugin says nothing.
    pub(crate) fn opine(
        &mut self,
        shared: &SharedPart,
        plugin: &str,
        unfit: Option<String>,
    ) -> Noted {
        let before = match &unfit {
            Some(why) => self.unfit.insert(plugin.to_owned(), why.clone()),
            None => self.unfit.remove(plugin),
        };
        let mut noted = Noted::default();
        if before != unfit {
            let plugin = plugin.to_owned();
            noted.event = Some(Event::OpinionChanged { plugin, unfit });
            self.reconsider(shared.group_indexes(), &mut noted);
        }
        noted
    }

    fn reconsider(&mut self, groups: impl IntoIterator<Item = GroupIndex>, noted: &mut Noted) {
        for group in groups {
            let bad = self.is_bad(group);
            if self.bad.set(group.0, bad) {
                noted.changed.push(group);
                noted.recovered.extend((!bad).then_some(group));
            }
        }
    }

    fn is_bad(&self, group: GroupIndex) -> bool {
        !self.unfit.is_empty() || self.bad_check(group).is_some()
    }

    /// Why a plugin holds this node unfit, if one does.
    pub(crate) fn unfit(&self) -> Option<&str> {
        self.unfit.values().next().map(String::as_str)
    }

    /// A group that this node was about to take is left to others as long as its own
    /// checks do not all say yes: they need not wait for a verdict.
    fn note_doubts(&mut self, place: usize, noted: &mut Noted) {
        let state = &self.checks[place];
        if !state.is_well() {
            let fresh = |(group, learned): &(&GroupIndex, &Instant)| {
                state.concerns(**group) && state.began_after(**learned)
            };
            let doubted: Vec<GroupIndex> =
                self.asked.iter().filter(fresh).map(|(group, _)| *group).collect();
            noted.changed.extend(doubted.iter().filter(|group| self.doubted.insert(**group)));
            return;
        }
        let cleared = |group: &GroupIndex| self.of(*group).all(State::is_well);
        let cleared: Vec<GroupIndex> = self.doubted.iter().copied().filter(cleared).collect();
        for group in cleared {
            self.doubted.remove(&group);
            noted.changed.push(group);
        }
    }

    /// This node had better not hold a group.
    pub(crate) fn is_unwell(&self, group: GroupIndex) -> bool {
        self.bad.contains(group.0) || self.doubted.contains(&group)
    }

    /// Whether a group may be taken from a living node that would rather not hold it:
    /// once each of its checks here has been good in a run that began after this node
    /// learned of that. The first time all of them are ordered (H4).
    pub(crate) fn may_relieve(
        &mut self,
        now: Instant,
        group: GroupIndex,
        outputs: &mut VecDeque<Output>,
    ) -> bool {
        if self.of(group).next().is_none() {
            return true;
        }
        if let Some(learned) = self.asked.get(&group) {
            return self.of(group).all(|state| state.is_well() && state.began_after(*learned));
        }
        self.asked.insert(group, now);
        let checks = self.of(group).map(|state| state.check.name.clone()).collect();
        outputs.push_back(Output::Check { checks });
        false
    }

    /// A group is not to be taken from anybody who would rather not hold it.
    pub(crate) fn forget(&mut self, group: GroupIndex) {
        self.asked.remove(&group);
    }

    /// Why this node had better not hold a group, or waits before it takes it.
    pub(crate) fn reason(&self, group: GroupIndex) -> Option<String> {
        if let Some((plugin, why)) = self.unfit.first_key_value() {
            return Some(format!("plugin {plugin} holds this node unfit: {why}"));
        }
        if let Some(state) = self.bad_check(group) {
            return Some(format!("check {} is bad{}", state.check.name, state.because()));
        }
        let mut unwell = self.of(group).filter(|state| !state.is_well());
        let doubted = self.doubted.contains(&group);
        if let Some(state) = unwell.next().filter(|_| doubted) {
            let name = &state.check.name;
            return Some(format!(
                "check {name} was not good when it was to take over{}",
                state.because()
            ));
        }
        let waiting = self.asked.contains_key(&group);
        waiting.then(|| "waits for its own checks before it takes over".to_owned())
    }

    /// All checks for the status.
    pub(crate) fn status(&self, now: Instant) -> Vec<CheckStatus> {
        self.checks.iter().map(|state| state.status(now)).collect()
    }

    fn bad_check(&self, group: GroupIndex) -> Option<&State> {
        self.of(group).find(|state| state.verdict == Verdict::Bad)
    }

    /// The checks of a group.
    fn of(&self, group: GroupIndex) -> impl Iterator<Item = &State> {
        self.checks.iter().filter(move |state| state.concerns(group))
    }
}
