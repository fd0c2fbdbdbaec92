//! What a probe saw, and the numbers that are read from it.
//!
//! Pure: no sockets and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::lan::Port;

/// Everything a probe saw.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// Per address, every question in the order it left.
    pub series: BTreeMap<IpAddr, Series>,
    /// Points of the pace left out because the prober itself came late.
    pub skipped: u64,
    /// How late the prober was at worst.
    pub latest: Duration,
}

impl ProbeReport {
    /// The longest outage of any address.
    pub fn outage(&self) -> Duration {
        self.series.values().map(Series::outage).max().unwrap_or_default()
    }

    /// Questions without an answer in time, all addresses together.
    pub fn lost(&self) -> usize {
        self.series.values().map(Series::lost).sum()
    }
}

/// The questions to one address.
#[derive(Clone, Debug)]
pub struct Series {
    /// Each question in the order it left.
    pub questions: Vec<Question>,
    /// Time between two questions.
    pub period: Duration,
    /// An answer that took longer counts as none.
    pub patience: Duration,
    /// What the times count from.
    pub started: Instant,
}

/// One datagram to the probed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// When it left, counted from the start of the probe.
    pub sent: Duration,
    /// Who answered, in order of arrival; late ones, too.
    pub answers: Vec<Answer>,
}

/// An answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The machine it came from.
    pub by: Port,
    /// Time between question and answer.
    pub rtt: Duration,
}

/// A run of questions without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When the last answered question before it left (the start of the probe,
    /// if there is none).
    pub after: Duration,
    /// When the first answered question behind it left; `None` if the probe
    /// ended first.
    pub until: Option<Duration>,
    /// How many questions were lost.
    pub lost: usize,
    /// Time between the answered questions, less the period between any two.
    pub length: Duration,
}

/// A run of questions answered by the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// The machine.
    pub by: Port,
    /// When the first question it answered left.
    pub from: Duration,
    /// When the last question it answered left.
    pub to: Duration,
    /// How many it answered.
    pub answered: usize,
}

impl Series {
    /// The answers to a question that came in time.
    fn in_time<'a>(&'a self, question: &'a Question) -> impl Iterator<Item = &'a Answer> + 'a {
        question.answers.iter().filter(|answer| answer.rtt <= self.patience)
    }

    fn answered(&self, question: &Question) -> bool {
        self.in_time(question).next().is_some()
    }

    /// Questions without an answer in time.
    pub fn lost(&self) -> usize {
        self.questions.iter().filter(|question| !self.answered(question)).count()
    }

    /// Questions that several answers came to, as when two machines hold the
    /// address.
    pub fn duplicates(&self) -> usize {
        self.questions.iter().filter(|question| self.in_time(question).count() > 1).count()
    }

    /// The longest outage; zero if nothing was lost. A pause of the prober in
    /// which nothing was lost is no outage.
    pub fn outage(&self) -> Duration {
        self.outages().iter().map(|outage| outage.length).max().unwrap_or_default()
    }

    /// Every run of lost questions.
    pub fn outages(&self) -> Vec<Outage> {
        let mut outages = Vec::new();
        let mut after = self.questions.first().map(|first| first.sent).unwrap_or_default();
        let mut lost = 0;
        for question in &self.questions {
            if !self.answered(question) {
                lost += 1;
                continue;
            }
            if lost > 0 {
                outages.push(self.outage_between(after, Some(question.sent), lost));
            }
            (after, lost) = (question.sent, 0);
        }
        if lost > 0 {
            outages.push(self.outage_between(after, None, lost));
        }
        outages
    }

    fn outage_between(&self, after: Duration, until: Option<Duration>, lost: usize) -> Outage {
        let end = until.or(self.questions.last().map(|last| last.sent)).unwrap_or(after);
        let length = end.saturating_sub(after).saturating_sub(self.period);
        Outage { after, until, lost, length }
    }

    /// Who answered, one after the other. Where several answered the same
    /// question, the first answer counts; see [`Series::duplicates`].
    pub fn reigns(&self) -> Vec<Reign> {
        let mut reigns: Vec<Reign> = Vec::new();
        for question in &self.questions {
            let Some(Answer { by, .. }) = self.in_time(question).next().copied() else { continue };
            match reigns.last_mut().filter(|reign| reign.by == by) {
                Some(reign) => (reign.to, reign.answered) = (question.sent, reign.answered + 1),
                None => {
                    reigns.push(Reign { by, from: question.sent, to: question.sent, answered: 1 })
                }
            }
        }
        reigns
    }

    /// Everybody who answered.
    pub fn machines(&self) -> BTreeSet<Port> {
        let answers = self.questions.iter().flat_map(|question| self.in_time(question));
        answers.map(|answer| answer.by).collect()
    }
}

impl fmt::Display for Series {
    /// One line for people: who answered when, what was lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.reigns().iter().map(|reign| reign.by.to_string()).collect();
        let by = if names.is_empty() { "nobody".into() } else { names.join(", then ") };
        write!(f, "answered by {by}; {} of {} lost", self.lost(), self.questions.len())?;
        if self.lost() > 0 {
            write!(f, ", longest outage {:.0} ms", self.outage().as_secs_f64() * 1e3)?;
        }
        match self.duplicates() {
            0 => Ok(()),
            duplicates => write!(f, "; {duplicates} answered twice"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A letter a question, one a millisecond: `1` and `2` are nodes, `b` both,
    /// `.` nobody, `l` node 1 too late.
    fn series(picture: &str) -> Series {
        let answer = |number, rtt| Answer { by: Port::Node(number), rtt };
        let question = |(at, letter)| Question {
            sent: MS * at,
            answers: match letter {
                '1' => vec![answer(1, MS)],
                '2' => vec![answer(2, MS)],
                'b' => vec![answer(1, MS), answer(2, MS)],
                'l' => vec![answer(1, MS * 300)],
                _ => vec![],
            },
        };
        let questions = (0..).zip(picture.chars()).map(question).collect();
        Series { questions, period: MS, patience: MS * 250, started: Instant::now() }
    }

    #[test]
    fn an_outage_lasts_from_answer_to_answer_less_a_period() {
        assert_eq!(series("111...22").outage(), MS * 3);
        assert_eq!(series("11.1...2").outages().len(), 2);
        assert_eq!(series("1122").outage(), Duration::ZERO);
    }

    #[test]
    fn an_outage_without_an_end_lasts_until_the_last_question() {
        let outage = series("11...").outages()[0];
        assert_eq!((outage.until, outage.lost, outage.length), (None, 3, MS * 2));
    }

    #[test]
    fn a_pause_of_the_prober_is_no_outage() {
        let mut series = series("1122");
        series.questions[2].sent += MS * 500;
        series.questions[3].sent += MS * 500;
        assert_eq!(series.outage(), Duration::ZERO);
    }

    #[test]
    fn a_late_answer_counts_as_lost() {
        assert_eq!(series("1l1").lost(), 1);
    }

    #[test]
    fn reigns_follow_each_other_and_duplicates_are_counted() {
        let series = series("11bb2.2");
        let reigns: Vec<_> = series.reigns().iter().map(|r| (r.by, r.answered)).collect();
        assert_eq!(reigns, [(Port::Node(1), 4), (Port::Node(2), 2)]);
        assert_eq!(series.duplicates(), 2);
        assert_eq!(
            series.to_string(),
            "answered by node1, then node2; 1 of 7 lost, longest outage 1 ms; 2 answered twice"
        );
    }
}
