//! A configuration that goes unless somebody confirms it.
//!
//! Every node that came from the former one to it takes it back by itself: the
//! former content under the next version, which is the same on all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Digest, SharedPart};
use crate::identity::GroupId;
use crate::time::Instant;
use crate::wire::announcement::TrialNotice;

/// The trial of the configuration that this node runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Trial {
    digest: Digest,
    /// What comes back.
    pub(crate) former: Arc<SharedPart>,
    pub(crate) until: Instant,
    pub(crate) confirmed: bool,
    /// Groups that somebody held before it.
    held: BTreeSet<GroupId>,
    /// Since when one of them has nobody who could hold it.
    orphaned: Option<(GroupId, Instant)>,
}

/// What is known of groups during a trial.
pub(crate) struct Outlook<'a> {
    /// All live nodes run the configuration.
    pub(crate) united: bool,
    /// A group of the configuration has an owner; `None`: it is not in it.
    pub(crate) owned: &'a dyn Fn(&GroupId) -> Option<bool>,
    /// How long an owner may take to be found.
    pub(crate) patience: Duration,
}

impl Trial {
    pub(crate) fn new(
        now: Instant,
        digest: Digest,
        former: Arc<SharedPart>,
        held: BTreeSet<GroupId>,
        left: Duration,
    ) -> Trial {
        Trial { digest, former, until: now + left, confirmed: false, held, orphaned: None }
    }

    /// For this node's announcements.
    pub(crate) fn notice(&self, now: Instant) -> TrialNotice {
        TrialNotice {
            digest: self.digest,
            former: self.former.digest,
            left: self.until.since(now),
            confirmed: self.confirmed,
        }
    }

    /// A peer tells of the same trial. True when it is news.
    pub(crate) fn hear(&mut self, notice: &TrialNotice) -> bool {
        let news = notice.digest == self.digest && notice.confirmed && !self.confirmed;
        self.confirmed |= news;
        news
    }

    /// Why the configuration goes now, if it does.
    pub(crate) fn verdict(&mut self, now: Instant, outlook: &Outlook<'_>) -> Option<String> {
        if self.confirmed {
            return None;
        }
        if now >= self.until {
            return Some("nobody confirmed it in time".into());
        }
        let orphan = |group: &&GroupId| (outlook.owned)(group) == Some(false);
        let orphan = self.held.iter().find(orphan).filter(|_| outlook.united).cloned();
        self.orphaned = orphan.map(|group| {
            let since = self.orphaned.as_ref().map_or(now, |(_, since)| *since);
            (group, since)
        });
        let (group, since) = self.orphaned.as_ref()?;
        let lasting = now.since(*since) >= outlook.patience;
        lasting.then(|| format!("nobody can hold {group}, which had a holder before"))
    }

    /// When to look again.
    pub(crate) fn next_deadline(&self, patience: Duration) -> Option<Instant> {
        let orphaned = self.orphaned.as_ref().map(|(_, since)| *since + patience);
        (!self.confirmed).then(|| orphaned.map_or(self.until, |at| at.min(self.until)))
    }

    /// The former content as the successor of the configuration on trial.
    pub(crate) fn rolled_back(&self, running: &SharedPart) -> SharedPart {
        self.former.with_version(running.version + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> Trial {
        let text = "{chat: '224.1.1.1:5007', secret: 'a secret of some length', version: 4, \
                    nodes: ['n'], vips: [{name: 'web', vips: [{interface: 'lo', ip: '10.0.0.1/24'}]}]}";
        let former = Arc::new(crate::config::parse(text, "f").unwrap().config.shared);
        let held = BTreeSet::from([GroupId::from("web"), GroupId::from("gone")]);
        Trial::new(Instant::ZERO, Digest([5; 16]), former, held, Duration::from_secs(60))
    }

    fn outlook(united: bool, owned: &dyn Fn(&GroupId) -> Option<bool>) -> Outlook<'_> {
        Outlook { united, owned, patience: Duration::from_secs(1) }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_nobody_confirms_goes_when_its_time_is_over() {
        let mut trial = trial();
        let fine = |_: &GroupId| Some(true);
        assert_eq!(trial.verdict(at(59), &outlook(true, &fine)), None);
        assert!(trial.verdict(at(60), &outlook(true, &fine)).is_some());
        let notice = TrialNotice { confirmed: true, ..trial.notice(at(60)) };
        assert!(trial.hear(&notice));
        assert!(!trial.hear(&notice), "told once");
        assert_eq!(trial.verdict(at(61), &outlook(true, &fine)), None);
        assert_eq!(trial.next_deadline(Duration::from_secs(1)), None);
    }

    #[test]
    fn a_group_that_lost_its_owner_ends_it_once_all_nodes_are_there() {
        let mut trial = trial();
        let orphaned = |group: &GroupId| (group.as_str() == "web").then_some(false);
        assert_eq!(trial.verdict(at(5), &outlook(false, &orphaned)), None);
        assert_eq!(trial.verdict(at(9), &outlook(true, &orphaned)), None);
        assert_eq!(trial.next_deadline(Duration::from_secs(1)), Some(at(10)));
        let why = trial.verdict(at(10), &outlook(true, &orphaned)).unwrap();
        assert!(why.contains("web"), "{why}");
    }

    #[test]
    fn the_former_content_comes_back_under_the_next_version() {
        let trial = trial();
        let back = trial.rolled_back(&trial.former.with_version(5));
        assert_eq!(back.rank(), trial.former.with_version(6).rank());
        assert_eq!(back.groups, trial.former.groups);
    }
}
