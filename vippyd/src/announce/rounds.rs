//! When everybody is told: at once, twice again, and every five minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vippy_core::identity::GroupId;

use super::{OrderNumber, Place};

/// How often everything is said.
pub(super) const ROUNDS: u32 = 3;

/// Time between two rounds. Older Linux ignores a change of an ARP entry
/// within a second of the last one, so the gap must be longer than that.
pub(super) const GAP: Duration = Duration::from_millis(1_200);

/// Time between two times that everything held is said again, on average.
const REFRESH: Duration = Duration::from_secs(300);

/// By how much one may be earlier or later: nodes do not speak in step.
const JITTER: Duration = Duration::from_secs(30);

/// Groups whose frames leave before the first of them are reported told: a
/// thousand are not kept waiting for the last.
const BATCH: usize = 256;

/// What is still to be said, and when.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    telling: BTreeMap<GroupId, Telling>,
    /// Groups told about often enough; they are refreshed.
    told: BTreeMap<GroupId, Turn>,
    refresh_at: Option<Instant>,
}

#[derive(Debug)]
struct Telling {
    turn: Turn,
    rounds_left: u32,
    due: Instant,
}

/// What is said of a group at a time.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) order: OrderNumber,
    pub(super) places: Arc<[Place]>,
}

/// What is due of some groups.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) turns: Vec<Turn>,
    /// Whose first round this is.
    pub(super) firsts: Vec<First>,
}

/// A first round that is yet to be over.
#[derive(Debug)]
pub(super) struct First {
    pub(super) group: GroupId,
    pub(super) order: OrderNumber,
    /// The interface of its first address.
    pub(super) interface: Option<String>,
}

impl Schedule {
    /// Begins with the first round of a group.
    pub(super) fn begin(&mut self, group: GroupId, turn: Turn, now: Instant) {
        self.told.remove(&group);
        self.telling.insert(group, Telling { turn, rounds_left: ROUNDS, due: now });
    }

    /// Says nothing more of a group; the order because of which it was said.
    pub(super) fn silence(&mut self, group: &GroupId) -> Option<OrderNumber> {
        let telling = self.telling.remove(group).map(|telling| telling.turn);
        telling.or_else(|| self.told.remove(group)).map(|turn| turn.order)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let rounds = self.telling.values().map(|telling| telling.due).min();
        let refresh = self.refresh_at.filter(|_| !self.told.is_empty());
        rounds.into_iter().chain(refresh).min()
    }

    /// What is due of all groups, those never told about first; by groups and by
    /// how many rounds are left, this one included.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(u32, Due)> {
        let mut due: Vec<_> =
            self.telling.iter_mut().filter(|(_, telling)| telling.due <= now).collect();
        due.sort_by_key(|(_, telling)| std::cmp::Reverse(telling.rounds_left));
        let mut batches = Vec::new();
        for round in due.chunk_by_mut(|(_, one), (_, other)| one.rounds_left == other.rounds_left) {
            for batch in round.chunks_mut(BATCH) {
                let mut due = Due::default();
                let mut left = 0;
                for (group, telling) in batch {
                    left = telling.rounds_left;
                    due.add(group, telling);
                    telling.rounds_left -= 1;
                    telling.due = now + GAP;
                }
                batches.push((left, due));
            }
        }
        let over = |_: &GroupId, telling: &mut Telling| telling.rounds_left == 0;
        let over = self.telling.extract_if(.., over);
        self.told.extend(over.map(|(group, telling)| (group, telling.turn)));
        batches
    }

    /// Everything held, if it is time to say it again. `spread`, any number, makes
    /// the time to the next refresh an uneven one.
    pub(super) fn take_refresh(&mut self, now: Instant, spread: impl FnOnce() -> u64) -> Vec<Turn> {
        let due = self.refresh_at.is_some_and(|at| now >= at);
        if due || self.refresh_at.is_none() {
            self.refresh_at = Some(now + REFRESH - JITTER + jitter(spread()));
        }
        if due { self.told.values().cloned().collect() } else { Vec::new() }
    }
}

/// Up to twice [`JITTER`].
fn jitter(spread: u64) -> Duration {
    let range = 2 * JITTER.as_millis() + 1;
    Duration::from_millis(u64::try_from(u128::from(spread) % range).unwrap_or(0))
}

impl Due {
    fn add(&mut self, group: &GroupId, telling: &Telling) {
        self.turns.push(telling.turn.clone());
        if telling.rounds_left == ROUNDS {
            let Turn { order, places } = &telling.turn;
            let interface = places.first().map(|(interface, _)| interface.clone());
            self.firsts.push(First { group: group.clone(), order: *order, interface });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(ip: &str) -> Turn {
        Turn { order: 1, places: Arc::new([("eth0".into(), format!("{ip}/24").parse().unwrap())]) }
    }

    fn said(due: &Due) -> Vec<String> {
        due.turns.iter().flat_map(|t| t.places.iter().map(|(_, net)| net.to_string())).collect()
    }

    #[test]
    fn everything_is_said_three_times_with_gaps_of_more_than_a_second() {
        let mut schedule = Schedule::default();
        let mut now = Instant::now();
        schedule.begin("a".into(), turn("10.0.0.1"), now);
        let mut times = Vec::new();
        while let Some(due) = schedule.next() {
            times.push(due);
            now = due;
            let left = u32::try_from(times.len()).unwrap();
            assert_eq!(schedule.take_due(now)[0].0, ROUNDS + 1 - left);
        }
        assert_eq!(times.len(), 3);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] > Duration::from_millis(1_100)));
    }

    #[test]
    fn a_silenced_group_is_not_mentioned_again_and_others_are() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.begin("a".into(), turn("10.0.0.1"), now);
        schedule.begin("b".into(), turn("10.0.0.2"), now);
        schedule.take_due(now);
        assert_eq!(schedule.silence(&"a".into()), Some(1));
        assert_eq!(said(&schedule.take_due(now + GAP)[0].1), ["10.0.0.2/24"]);
    }

    #[test]
    fn groups_never_told_about_come_first_and_are_reported_once() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.begin("a".into(), turn("10.0.0.1"), now);
        let first = schedule.take_due(now);
        assert_eq!(first[0].1.firsts[0].group, "a".into());
        (0..=BATCH)
            .for_each(|n| schedule.begin(format!("b{n}").as_str().into(), turn("10.0.0.2"), now));
        let batches = schedule.take_due(now + GAP);
        let sizes: Vec<_> = batches.iter().map(|(left, due)| (*left, due.turns.len())).collect();
        assert_eq!(sizes, [(3, BATCH), (3, 1), (2, 1)]);
        assert_eq!(batches[0].1.firsts.len(), BATCH);
        assert!(batches[2].1.firsts.is_empty());
        assert_eq!(said(&batches[2].1), ["10.0.0.1/24"]);
    }

    #[test]
    fn a_second_order_starts_over() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.begin("a".into(), turn("10.0.0.1"), now);
        schedule.take_due(now);
        schedule.begin("a".into(), turn("10.0.0.1"), now + GAP / 2);
        assert_eq!(schedule.next(), Some(now + GAP / 2));
    }

    #[test]
    fn what_is_held_is_said_again_every_five_minutes_or_so_until_it_is_let_go() {
        let mut schedule = Schedule::default();
        let mut now = Instant::now();
        schedule.begin("a".into(), turn("10.0.0.1"), now);
        for _ in 0..ROUNDS {
            schedule.take_due(now);
            assert!(schedule.take_refresh(now, || 0).is_empty());
            now += GAP;
        }
        let first = schedule.next().unwrap();
        assert!(schedule.take_due(first).is_empty());
        assert_eq!(schedule.take_refresh(first, || u64::MAX).len(), 1);
        let second = schedule.next().unwrap();
        assert!((first + REFRESH - JITTER..=first + REFRESH + JITTER).contains(&second));
        schedule.silence(&"a".into());
        assert_eq!(schedule.next(), None);
    }
}
