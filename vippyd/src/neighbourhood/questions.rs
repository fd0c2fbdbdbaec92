//! Which question is put when, and what the answers are: pure.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vippy_core::identity::{GroupId, Mac};

/// A question is put at most so often.
const TIMES: u8 = 4;

/// Answers are waited for this long each time: a station that answers beside the
/// right one is heard as well.
const WINDOW: Duration = Duration::from_millis(50);

/// Questions put in a row, and the time between two rows: ten thousand a second.
/// What answers fits the buffer of a socket.
const ROW: usize = 100;
const GAP: Duration = Duration::from_millis(10);

/// Where is this address?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) group: GroupId,
    pub(super) interface: String,
    pub(super) ip: IpAddr,
    /// Where it should be.
    pub(super) expected: Mac,
}

/// A question under way.
#[derive(Debug)]
struct Inquiry {
    question: Question,
    /// Tells it from an earlier one about the same address.
    number: u64,
    times: u8,
    /// The station expected has answered since it was last put.
    confirmed: bool,
    /// Another one has.
    other: Option<Mac>,
}

/// What is known about a group in the end.
pub(super) type Outcome = (GroupId, Option<Mac>);

/// All questions.
#[derive(Debug, Default)]
pub(super) struct Questions {
    inquiries: BTreeMap<IpAddr, Inquiry>,
    /// Those not put yet, in their order.
    fresh: VecDeque<(IpAddr, u64)>,
    /// Those put, in the order in which their windows end.
    open: VecDeque<(Instant, IpAddr, u64)>,
    numbers: u64,
    /// When the next row may be put.
    next_row: Option<Instant>,
}

impl Questions {
    /// Adds a question, in place of one about the same address.
    pub(super) fn add(&mut self, now: Instant, question: Question) {
        self.numbers += 1;
        self.next_row.get_or_insert(now);
        let (ip, number) = (question.ip, self.numbers);
        self.fresh.push_back((ip, number));
        let inquiry = Inquiry { question, number, times: 0, confirmed: false, other: None };
        self.inquiries.insert(ip, inquiry);
    }

    /// It cannot be put: nothing comes of it.
    pub(super) fn drop(&mut self, ip: IpAddr) {
        self.inquiries.remove(&ip);
    }

    /// A station says where an address is.
    pub(super) fn answered(&mut self, ip: IpAddr, mac: Mac) {
        if let Some(inquiry) = self.inquiries.get_mut(&ip).filter(|it| it.times > 0) {
            match inquiry.question.expected == mac {
                true => inquiry.confirmed = true,
                false => inquiry.other = Some(mac),
            }
        }
    }

    /// Whether nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.inquiries.is_empty()
    }

    /// When [`Questions::turn`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        let window = self.open.front().map(|(end, _, _)| *end);
        let row = self.next_row.filter(|_| !self.fresh.is_empty());
        [window, row].into_iter().flatten().min()
    }

    /// Ends the windows that are over: what is to be put now, and what came out.
    pub(super) fn turn(&mut self, now: Instant) -> (Vec<Question>, Vec<Outcome>) {
        let outcomes = self.close(now);
        let mut row = Vec::new();
        if self.next_row.is_some_and(|at| now < at) {
            return (row, outcomes);
        }
        while row.len() < ROW
            && let Some((ip, number)) = self.fresh.pop_front()
        {
            let inquiry = self.inquiries.get_mut(&ip).filter(|it| it.number == number);
            let Some(inquiry) = inquiry else { continue };
            inquiry.times += 1;
            (inquiry.confirmed, inquiry.other) = (false, None);
            row.push(inquiry.question.clone());
            self.open.push_back((now + WINDOW, ip, number));
        }
        if !row.is_empty() {
            self.next_row = Some(now + GAP);
        }
        (row, outcomes)
    }

    fn close(&mut self, now: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some((_, ip, number)) = self.open.pop_front_if(|(end, _, _)| *end <= now) {
            let Some(inquiry) = self.inquiries.get(&ip).filter(|it| it.number == number) else {
                continue;
            };
            if inquiry.is_clear() || inquiry.times == TIMES {
                outcomes.push((inquiry.question.group.clone(), inquiry.outcome()));
                self.inquiries.remove(&ip);
            } else {
                self.fresh.push_back((ip, number));
            }
        }
        outcomes
    }
}

impl Inquiry {
    /// Exactly the station that should answer does.
    fn is_clear(&self) -> bool {
        self.confirmed && self.other.is_none()
    }

    fn outcome(&self) -> Option<Mac> {
        self.other.or(self.confirmed.then_some(self.question.expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THERE: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn ip(host: usize) -> IpAddr {
        let [.., high, low] = host.to_be_bytes();
        [10, 0, high, low].into()
    }

    fn question(host: usize) -> Question {
        let group = format!("g{host}").as_str().into();
        Question { group, interface: "eth0".into(), ip: ip(host), expected: HERE }
    }

    /// Goes through the questions; `answer` says who answers the nth time one is
    /// put. How often it was put in all, and what came out after how long.
    fn play(answer: impl Fn(u32) -> Vec<Mac>) -> (u32, Option<Mac>, Duration) {
        let mut questions = Questions::default();
        let begun = Instant::now();
        questions.add(begun, question(1));
        let (mut now, mut times) = (begun, 0);
        loop {
            let (row, outcomes) = questions.turn(now);
            if let [(_, outcome)] = outcomes[..] {
                assert!(questions.is_empty() && questions.next().is_none());
                return (times, outcome, now - begun);
            }
            for question in row {
                times += 1;
                answer(times).into_iter().for_each(|mac| questions.answered(question.ip, mac));
            }
            now = questions.next().unwrap().max(now);
        }
    }

    #[test]
    fn one_answer_from_the_right_station_is_enough() {
        assert_eq!(play(|_| vec![HERE]), (1, Some(HERE), WINDOW));
        let (times, outcome, _) = play(|time| if time == 1 { vec![] } else { vec![HERE] });
        assert_eq!((times, outcome), (2, Some(HERE)));
    }

    #[test]
    fn a_former_holder_that_stops_answering_in_time_is_forgotten() {
        let (times, outcome, _) = play(|n| if n < 3 { vec![THERE, HERE] } else { vec![HERE] });
        assert_eq!((times, outcome), (3, Some(HERE)));
    }

    #[test]
    fn another_station_that_goes_on_answering_is_what_is_told() {
        assert_eq!(play(|_| vec![HERE, THERE]), (4, Some(THERE), 4 * WINDOW));
        assert_eq!(play(|_| vec![THERE]), (4, Some(THERE), 4 * WINDOW));
        assert_eq!(play(|_| vec![]), (4, None, 4 * WINDOW));
    }

    #[test]
    fn thousands_are_put_in_rows_with_gaps_and_all_come_out() {
        let mut questions = Questions::default();
        let begun = Instant::now();
        (0..5_000).for_each(|host| questions.add(begun, question(host)));
        let (mut now, mut outcomes) = (begun, 0);
        while !questions.is_empty() {
            let (row, ended) = questions.turn(now);
            assert!(row.len() <= ROW);
            row.iter().for_each(|question| questions.answered(question.ip, HERE));
            outcomes += ended.len();
            now = questions.next().map_or(now, |next| next.max(now));
        }
        assert_eq!(outcomes, 5_000);
        assert!(now - begun < Duration::from_millis(600), "{:?}", now - begun);
    }

    #[test]
    fn a_second_question_about_a_group_replaces_the_first_and_is_answered_once() {
        let mut questions = Questions::default();
        let now = Instant::now();
        questions.add(now, question(1));
        assert_eq!(questions.turn(now).0.len(), 1);
        questions.answered(ip(1), THERE);
        questions.add(now, question(1));
        assert_eq!(questions.turn(now + GAP).0.len(), 1);
        questions.answered(ip(1), HERE);
        assert_eq!(questions.turn(now + WINDOW).1, []);
        assert_eq!(questions.turn(now + GAP + WINDOW).1, [("g1".into(), Some(HERE))]);
        assert!(questions.is_empty());
    }
}
