//! A reader's place in the history.

use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::watch;
use vippy_client::events::{EventId, MISSED, Missed, Since, WhyMissed, unix_millis};

use super::entry::{Entry, message};
use super::{History, Newest, Ring};
use crate::clock;

/// A place in the history, and nothing that grows.
#[derive(Debug)]
pub struct Reader {
    history: History,
    newest: watch::Receiver<Newest>,
    /// The number of the next event to read.
    next: u64,
    /// Events before it are missing, nobody knows how many.
    gap: Option<WhyMissed>,
}

impl Reader {
    pub(super) fn new(history: History, since: Option<&Since>) -> Reader {
        let newest = history.0.newest.subscribe();
        let (next, gap) = match since {
            None => (1, None),
            Some(Since::After(id)) if id.process == history.0.process => {
                // An id that is yet to come would keep the reader waiting for it.
                (id.number.min(newest.borrow().number).saturating_add(1), None)
            }
            Some(Since::After(_)) => (1, Some(WhyMissed::Restarted)),
            Some(Since::Ago(span)) => {
                let at = monotonic_millis().saturating_sub(millis(*span));
                from_when(&history.ring(), |entry| entry.monotonic_ms >= at)
            }
            Some(Since::At(time)) => {
                let at = unix_millis(*time);
                from_when(&history.ring(), |entry| entry.unix_ms >= at)
            }
        };
        Reader { history, newest, next, gap }
    }

    /// At most `most` of the messages there are to read, without waiting.
    pub fn read(&mut self, most: usize) -> Vec<Bytes> {
        // Only marks it as seen: what comes now or later wakes the next wait.
        self.newest.borrow_and_update();
        let entries: Vec<(u64, Bytes)> = {
            let ring = self.history.ring();
            let entries = ring.from(self.next).take(most);
            entries.map(|entry| (entry.number, entry.message.clone())).collect()
        };
        let mut messages = Vec::new();
        if let Some(why) = self.gap.take() {
            messages.push(self.missed(self.next - 1, None, why));
        }
        for (number, message) in entries {
            if number > self.next {
                let missed = Some(number - self.next);
                messages.push(self.missed(number - 1, missed, WhyMissed::Overwritten));
            }
            self.next = number + 1;
            messages.push(message);
        }
        messages
    }

    /// Waits until there may be more to read; false when nothing will follow.
    pub async fn more(&mut self) -> bool {
        if self.newest.borrow().ended {
            return false;
        }
        self.newest.changed().await.is_ok()
    }

    fn missed(&self, last: u64, number: Option<u64>, why: WhyMissed) -> Bytes {
        let id = EventId { process: self.history.0.process, number: last };
        let missed = Missed {
            id,
            unix_ms: clock::wall_millis(),
            monotonic_ms: monotonic_millis(),
            identity: self.history.0.identity.clone(),
            number,
            why,
        };
        message(id, MISSED, &missed)
    }
}

/// The number of the first event that is late enough. If the last forgotten one is,
/// too, some of those before it are missing.
fn from_when(ring: &Ring, late_enough: impl Fn(&Entry) -> bool) -> (u64, Option<WhyMissed>) {
    let first = ring.entries.iter().find(|entry| late_enough(entry));
    let last = ring.entries.back().map_or(0, |entry| entry.number);
    let next = first.map_or(last + 1, |entry| entry.number);
    let gap = ring.forgotten.as_ref().filter(|entry| late_enough(entry));
    (next, gap.map(|_| WhyMissed::Overwritten))
}

fn monotonic_millis() -> u64 {
    clock::now().as_micros() / 1_000
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use vippy_client::events::{Record, Told};
    use vippy_client::{Arrival, Event};
    use vippy_core::identity::BootId;

    use super::super::{REMEMBERED, Scribe, Teller};
    use super::*;

    const PROCESS: BootId = BootId(7);

    fn history() -> (Teller, Scribe, History) {
        History::begin(PROCESS, "node1".into())
    }

    fn tell(history: &History, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            history.write(&Record {
                id: EventId { process: PROCESS, number },
                unix_ms: number * 10,
                monotonic_ms: number,
                identity: "node1".into(),
                event: Event::PeerUp { node: "node2".into() },
            });
        }
    }

    fn told(message: &Bytes) -> Told {
        let message = std::str::from_utf8(message).unwrap();
        Arrival::read(message).unwrap().told().unwrap()
    }

    /// Numbers of events; of a gap, minus the number of what is missing.
    fn numbers(messages: &[Bytes]) -> Vec<i64> {
        let number = |message: &Bytes| match told(message) {
            Told::Event(record) => record.id.number.cast_signed(),
            Told::Missed(missed) => -missed.number.unwrap_or(0).cast_signed(),
        };
        messages.iter().map(number).collect()
    }

    fn after(process: BootId, number: u64) -> Since {
        Since::After(EventId { process, number })
    }

    #[test]
    fn a_reader_begins_where_it_asks_to() {
        let (_teller, _scribe, history) = history();
        tell(&history, 1..=3);
        let read = |since: Option<Since>| numbers(&history.reader(since.as_ref()).read(99));
        assert_eq!(read(None), [1, 2, 3]);
        assert_eq!(read(Some(after(PROCESS, 2))), [3]);
        assert_eq!(read(Some(after(PROCESS, 3))), [] as [i64; 0]);
        assert_eq!(read(Some(after(PROCESS, u64::MAX))), [] as [i64; 0]);
        let at = |millis| Some(Since::At(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)));
        assert_eq!(read(at(15)), [2, 3]);
        assert_eq!(read(at(31)), [] as [i64; 0]);
        assert_eq!(read(Some(Since::Ago(Duration::ZERO))), [] as [i64; 0]);
        assert_eq!(read(Some(Since::Ago(Duration::MAX))), [1, 2, 3]);
    }

    #[test]
    fn a_reader_of_another_process_is_told_of_the_restart() {
        let (_teller, _scribe, history) = history();
        tell(&history, 1..=1);
        let read = history.reader(Some(&after(BootId(6), 40))).read(99);
        let Told::Missed(missed) = told(&read[0]) else { panic!("{read:?}") };
        assert_eq!((missed.number, missed.why), (None, WhyMissed::Restarted));
        assert_eq!(missed.id, EventId { process: PROCESS, number: 0 });
        assert_eq!(numbers(&read[1..]), [1]);
    }

    #[test]
    fn the_history_is_bounded_and_who_is_too_slow_is_told_what_it_missed() {
        let (_teller, _scribe, history) = history();
        tell(&history, 1..=2);
        let mut slow = history.reader(None);
        assert_eq!(numbers(&slow.read(1)), [1]);
        let remembered = REMEMBERED as u64;
        tell(&history, 3..=remembered + 10);
        assert_eq!(history.ring().entries.len(), REMEMBERED);
        let read = slow.read(2);
        // 2 to 10 are gone.
        assert_eq!(numbers(&read), [-9, 11, 12]);
        assert_eq!(told(&read[0]).id().number, 10);
        assert_eq!(numbers(&slow.read(1)), [13]);
        // Who asks for more than is left is told so, too.
        assert_eq!(numbers(&history.reader(Some(&Since::Ago(Duration::MAX))).read(1)), [0, 11]);
        let late = SystemTime::UNIX_EPOCH + Duration::from_millis(110);
        assert_eq!(numbers(&history.reader(Some(&Since::At(late))).read(1)), [11]);
    }

    #[test]
    fn what_never_arrived_is_missed_by_everybody() {
        let (_teller, _scribe, history) = history();
        tell(&history, 1..=1);
        tell(&history, 5..=5);
        assert_eq!(numbers(&history.reader(None).read(99)), [1, -3, 5]);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_and_told_of_the_end() {
        let (mut teller, scribe, history) = history();
        let mut reader = history.reader(None);
        assert_eq!(reader.read(99), [] as [Bytes; 0]);
        let writing = tokio::spawn(scribe.run());
        teller.tell(clock::now(), Event::PeerUp { node: "node2".into() });
        assert!(reader.more().await);
        assert_eq!(numbers(&reader.read(99)), [1]);
        teller.tell(clock::now(), Event::PeerLeft { node: "node2".into() });
        drop(teller);
        writing.await.unwrap();
        assert_eq!(numbers(&reader.read(99)), [2]);
        assert!(!reader.more().await);
    }
}
