//! Other stations that say that an address of this node is theirs.
//!
//! A peer that takes over says so too, and its frame comes before its announcement:
//! so a claim is judged only some intervals later. Defending follows RFC 5227 2.4
//! (c): the address is never given up for it, and each [`PAUSE`] there is at most
//! one announcement in defence, repeated as every other one of this node.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::SharedPart;
use crate::identity::{GroupId, GroupIndex, Mac};
use crate::time::{Instant, earliest};

/// A claim is judged when so many intervals have passed.
const HEARING: u32 = 2;
/// `DEFEND_INTERVAL` of RFC 5227.
const PAUSE: Duration = Duration::from_secs(10);
/// A claimant that was silent for this long is news again.
const QUIET: Duration = Duration::from_secs(600);
/// Claimants remembered, and claims that are not judged yet: a station can make up
/// as many as it likes.
const MOST: usize = 256;
/// Claimants told of within [`PAUSE`].
const TELLINGS: u32 = 8;

/// All claims to groups held here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Claimants {
    /// Claims that may be a peer's.
    #[serde(with = "crate::recorder::pairs")]
    unjudged: BTreeMap<(GroupIndex, Mac), Unjudged>,
    #[serde(with = "crate::recorder::pairs")]
    known: BTreeMap<(GroupIndex, Mac), Claimant>,
    defences: BTreeMap<GroupIndex, Defence>,
    /// When what peers hold of a group held here last changed.
    moved: BTreeMap<GroupIndex, Instant>,
    /// Since when claimants are counted that were told of, and how many were.
    told: (Instant, u32),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Unjudged {
    since: Instant,
    times: u64,
}

/// A station that claims a group.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Claimant {
    times: u64,
    last: Instant,
}

/// How a group is defended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Defence {
    times: u32,
    last: Option<Instant>,
    due: Option<Instant>,
}

/// What is known of the last station that claimed a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) mac: Mac,
    /// How often, all stations together.
    pub(crate) times: u64,
    pub(crate) last: Instant,
    pub(crate) defended: u32,
}

/// What follows from claims.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Claimants that an operator should know of.
    pub(crate) news: Vec<(GroupIndex, Mac)>,
    /// Groups of which the neighbours are to be told again.
    pub(crate) defend: Vec<GroupIndex>,
}

impl Claimants {
    /// A station claims a group that is held here.
    pub(crate) fn claimed(&mut self, now: Instant, group: GroupIndex, mac: Mac, times: u64) {
        let key = (group, mac);
        if self.unjudged.len() >= MOST && !self.unjudged.contains_key(&key) {
            return;
        }
        let claim = self.unjudged.entry(key).or_insert(Unjudged { since: now, times: 0 });
        claim.times += times;
    }

    /// What a peer holds of a group that is held here has changed: it may have said
    /// so to the neighbours.
    pub(crate) fn moved(&mut self, now: Instant, group: GroupIndex) {
        self.moved.insert(group, now);
    }

    /// Judges claims that are old enough. `ours` tells whether this node holds a
    /// group and no peer does.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        interval: Duration,
        ours: impl Fn(GroupIndex) -> bool,
    ) -> Reply {
        let mut reply = Reply::default();
        let hearing = HEARING * interval;
        self.moved.retain(|_, at| now.since(*at) <= 2 * hearing);
        let due = |claim: &Unjudged| now >= claim.since + hearing;
        let judged: Vec<_> =
            self.unjudged.iter().filter(|(_, claim)| due(claim)).map(|(k, c)| (*k, *c)).collect();
        for (key, claim) in judged {
            self.unjudged.remove(&key);
            let moved = self.moved.get(&key.0).is_some_and(|at| *at + hearing >= claim.since);
            if !moved && ours(key.0) {
                self.convict(now, key, claim, &mut reply);
            }
        }
        for (group, defence) in &mut self.defences {
            if defence.due.is_some_and(|due| now >= due) {
                (defence.due, defence.last) = (None, Some(now));
                defence.times += 1;
                reply.defend.push(*group);
            }
        }
        reply
    }

    fn convict(
        &mut self,
        now: Instant,
        key: (GroupIndex, Mac),
        claim: Unjudged,
        reply: &mut Reply,
    ) {
        if self.known.len() >= MOST && !self.known.contains_key(&key) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.last).map(|(key, _)| *key);
            oldest.and_then(|key| self.known.remove(&key));
        }
        let known = self.known.get(&key).copied();
        let fresh = known.is_none_or(|known| claim.since.since(known.last) >= QUIET);
        let before = known.map_or(0, |known| known.times);
        let times = before.saturating_add(claim.times);
        self.known.insert(key, Claimant { times, last: now });
        if fresh && self.may_tell(now) {
            reply.news.push(key);
        }
        let defence = self.defences.entry(key.0).or_default();
        let earliest = defence.last.map_or(now, |last| last + PAUSE);
        defence.due.get_or_insert(earliest.max(now));
    }

    /// Whoever makes up stations does not fill the log.
    fn may_tell(&mut self, now: Instant) -> bool {
        if now.since(self.told.0) >= PAUSE {
            self.told = (now, 0);
        }
        self.told.1 += 1;
        self.told.1 <= TELLINGS
    }

    /// Whether [`Claimants::settle`] may have anything to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.unjudged.is_empty() && self.defences.values().all(|defence| defence.due.is_none())
    }

    pub(crate) fn next_deadline(&self, interval: Duration) -> Option<Instant> {
        let judged = self.unjudged.values().map(|claim| claim.since + HEARING * interval).min();
        let defended = self.defences.values().filter_map(|defence| defence.due).min();
        earliest(judged, defended)
    }

    /// What is known of a group.
    pub(crate) fn of(&self, group: GroupIndex) -> Option<Claimed> {
        let all = || self.known.range((group, Mac([0; 6]))..=(group, Mac([u8::MAX; 6])));
        let ((_, mac), claimant) = all().max_by_key(|(_, claimant)| claimant.last)?;
        Some(Claimed {
            mac: *mac,
            times: all().map(|(_, claimant)| claimant.times).sum(),
            last: claimant.last,
            defended: self.defences.get(&group).map_or(0, |defence| defence.times),
        })
    }

    /// Positions mean other groups from now on.
    pub(crate) fn configure(
        &mut self,
        old: &SharedPart,
        position: impl Fn(&GroupId) -> Option<GroupIndex>,
    ) {
        let group = |group: GroupIndex| position(&old.groups.get(group.get())?.id);
        let key = |(old, mac): (GroupIndex, Mac)| Some((group(old)?, mac));
        let former = std::mem::take(self);
        self.unjudged =
            former.unjudged.into_iter().filter_map(|(k, claim)| Some((key(k)?, claim))).collect();
        self.known = former.known.into_iter().filter_map(|(k, c)| Some((key(k)?, c))).collect();
        self.defences =
            former.defences.into_iter().filter_map(|(g, d)| Some((group(g)?, d))).collect();
        self.moved = former.moved.into_iter().filter_map(|(g, at)| Some((group(g)?, at))).collect();
        self.told = former.told;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(500);
    const STRANGER: Mac = Mac([2, 9, 9, 9, 9, 9]);
    const GROUP: GroupIndex = GroupIndex(3);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn judge(claimants: &mut Claimants, millis: u64) -> Reply {
        claimants.settle(at(millis), INTERVAL, |_| true)
    }

    #[test]
    fn a_claim_is_judged_after_two_intervals_told_of_and_defended() {
        let mut claimants = Claimants::default();
        claimants.claimed(at(1_000), GROUP, STRANGER, 1);
        claimants.claimed(at(1_200), GROUP, STRANGER, 2);
        assert_eq!(claimants.next_deadline(INTERVAL), Some(at(2_000)));
        assert_eq!(judge(&mut claimants, 1_999), Reply::default());
        let expected = Reply { news: vec![(GROUP, STRANGER)], defend: vec![GROUP] };
        assert_eq!(judge(&mut claimants, 2_000), expected);
        let claimed = Claimed { mac: STRANGER, times: 3, last: at(2_000), defended: 1 };
        assert_eq!(claimants.of(GROUP), Some(claimed));
        assert!(claimants.is_idle());
    }

    #[test]
    fn a_claim_of_a_peer_that_takes_or_gives_away_is_none() {
        for moved in [0, 400, 1_500] {
            let mut claimants = Claimants::default();
            claimants.moved(at(moved), GROUP);
            claimants.claimed(at(1_000), GROUP, STRANGER, 1);
            assert_eq!(judge(&mut claimants, 2_000), Reply::default(), "{moved}");
            assert_eq!(claimants.of(GROUP), None);
        }
        let mut claimants = Claimants::default();
        claimants.claimed(at(1_000), GROUP, STRANGER, 1);
        assert_eq!(claimants.settle(at(2_000), INTERVAL, |_| false), Reply::default());
    }

    #[test]
    fn defences_are_ten_seconds_apart_and_none_is_forgotten() {
        let mut claimants = Claimants::default();
        let mut defended = Vec::new();
        for millis in (0..40_000).step_by(100) {
            if millis < 13_000 {
                claimants.claimed(at(millis), GROUP, STRANGER, 1);
            }
            if !judge(&mut claimants, millis).defend.is_empty() {
                defended.push(millis);
            }
        }
        assert_eq!(defended, [1_000, 11_000, 21_000]);
    }

    #[test]
    fn a_claimant_is_told_of_once_until_it_was_quiet_for_long() {
        let mut claimants = Claimants::default();
        let mut told = Vec::new();
        for second in [0, 30, 500, 1_099, 1_800] {
            claimants.claimed(at(second * 1_000), GROUP, STRANGER, 1);
            let reply = judge(&mut claimants, second * 1_000 + 1_000);
            told.extend(reply.news.iter().map(|_| second));
        }
        assert_eq!(told, [0, 1_800]);
    }

    #[test]
    fn a_flood_of_made_up_stations_is_bounded_in_memory_and_in_the_log() {
        let mut claimants = Claimants::default();
        let mut told = 0;
        for round in 0..10_u64 {
            for station in 0..1_000_u16 {
                let [high, low] = station.to_be_bytes();
                let mac = Mac([2, 7, u8::try_from(round).unwrap(), 0, high, low]);
                claimants.claimed(at(round * 2_000), GROUP, mac, 1);
            }
            assert!(claimants.unjudged.len() <= MOST);
            told += judge(&mut claimants, round * 2_000 + 1_000).news.len();
            assert!(claimants.known.len() <= MOST);
        }
        assert!(told <= 3 * TELLINGS as usize, "{told}");
    }
}
