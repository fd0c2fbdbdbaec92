//! The *moves* section: what its sender took lately, so that every node can tell
//! the story of a failover. Nothing is decided from it.

use std::time::Duration;

use crate::identity::{GroupIndex, NodeIndex};
use crate::time::micros;
use crate::timeline::{Belief, MoveCause};
use crate::wire::codec::{Malformed, Reader};

/// Bytes of one entry.
pub(super) const ENTRY: usize = 45;
/// Most entries in one announcement.
pub const MAX_MOVES: usize = 5;
/// No node.
const NOBODY: u16 = u16::MAX;
/// No group, or not yet.
const NONE: u32 = u32::MAX;

/// One take of the sender. Positions are those of the configuration it
/// announces; times are ages when the frame was made, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveReport {
    /// Tells the sender's takes apart.
    pub id: u32,
    /// Why.
    pub cause: MoveCause,
    /// Whose groups they were.
    pub from: Option<NodeIndex>,
    /// How many groups.
    pub groups: u32,
    /// The first of them.
    pub first: Option<GroupIndex>,
    /// Since the former holder, now dead, was last heard.
    pub heard: Option<Duration>,
    /// Since it was found dead.
    pub found: Option<Duration>,
    /// Since the first decision to take.
    pub decided: Duration,
    /// Since all addresses are there.
    pub plumbed: Option<Duration>,
    /// Since the neighbours were told of all groups.
    pub announced: Option<Duration>,
    /// Since the former holder was heard to have let go of all groups.
    pub released: Option<Duration>,
    /// Since the last group was believed, or was given up.
    pub believed: Option<Duration>,
    /// By how many nodes, of how many that were asked; of the worst group.
    pub belief: Belief,
}

impl MoveReport {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let age = |age: Option<Duration>| age.map_or(NONE, short);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.push(code(self.cause));
        out.extend_from_slice(&self.from.map_or(NOBODY, |node| node.0).to_be_bytes());
        let numbers = [
            self.groups,
            self.first.map_or(NONE, |group| group.0),
            age(self.heard),
            age(self.found),
            short(self.decided),
            age(self.plumbed),
            age(self.announced),
            age(self.released),
            age(self.believed),
        ];
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        out.extend_from_slice(&[self.belief.believed, self.belief.of]);
    }

    /// `None` for a cause that only a later program knows.
    fn decode(reader: &mut Reader<'_>) -> Result<Option<MoveReport>, Malformed> {
        let id = reader.u32()?;
        let cause = cause_of(reader.u8()?);
        let from = Some(reader.u16()?).filter(|node| *node != NOBODY).map(NodeIndex);
        let mut number = || reader.u32();
        let some = |number: u32| Some(number).filter(|number| *number != NONE);
        let age = |number: u32| some(number).map(|micros| Duration::from_micros(micros.into()));
        let groups = number()?;
        let first = some(number()?).map(GroupIndex);
        let (heard, found) = (age(number()?), age(number()?));
        let decided = Duration::from_micros(number()?.into());
        let (plumbed, announced, released) = (age(number()?), age(number()?), age(number()?));
        let believed = age(number()?);
        let belief = Belief { believed: reader.u8()?, of: reader.u8()? };
        Ok(cause.map(|cause| MoveReport {
            id,
            cause,
            from,
            groups,
            first,
            heard,
            found,
            decided,
            plumbed,
            announced,
            released,
            believed,
            belief,
        }))
    }
}

pub(super) fn decode(content: &[u8]) -> Result<Vec<MoveReport>, Malformed> {
    let mut reader = Reader::new(content, "moves section");
    if content.len() > MAX_MOVES * ENTRY {
        return Err(reader.fail());
    }
    let mut reports = Vec::with_capacity(content.len() / ENTRY);
    while !reader.is_empty() {
        reports.extend(MoveReport::decode(&mut reader)?);
    }
    Ok(reports)
}

/// Microseconds in 32 bits; an age of more than 71 minutes stays at that.
fn short(age: Duration) -> u32 {
    u32::try_from(micros(age)).unwrap_or(NONE).min(NONE - 1)
}

const CAUSES: [MoveCause; 6] = [
    MoveCause::Death,
    MoveCause::Goodbye,
    MoveCause::Planned,
    MoveCause::Unavailable,
    MoveCause::Start,
    MoveCause::Rival,
];

fn code(cause: MoveCause) -> u8 {
    match cause {
        MoveCause::Death => 1,
        MoveCause::Goodbye => 2,
        MoveCause::Planned => 3,
        MoveCause::Unavailable => 4,
        MoveCause::Start => 5,
        MoveCause::Rival => 6,
    }
}

fn cause_of(number: u8) -> Option<MoveCause> {
    CAUSES.into_iter().find(|cause| code(*cause) == number)
}
