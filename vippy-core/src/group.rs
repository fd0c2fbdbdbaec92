//! One group on this node: the holding machine (O8, O9).
//!
//! | phase       | input                     | next        | order             |
//! |-------------|---------------------------|-------------|-------------------|
//! | `Idle`      | [`Verdict::Claim`]        | `Claiming`  |                   |
//! | `Idle`      | [`Verdict::Take`]         | `Taking`    | plumb             |
//! | `Claiming`  | [`Verdict::Take`]         | `Taking`    | plumb             |
//! | `Claiming`  | [`Verdict::LetGo`]        | `Idle`      |                   |
//! | `Taking`    | resources up              | `Telling`   | notify neighbours |
//! | `Telling`   | neighbours told           | `Held`      |                   |
//! | any on      | resources failed          | `Idle`      | (retried later)   |
//! | any on      | up with other addresses   | (the same)  | notify neighbours |
//! | any on      | [`Verdict::LetGo`]        | `LettingGo` | unplumb           |
//! | `LettingGo` | resources down            | `Idle`      |                   |
//!
//! *On* are `Taking`, `Telling` and `Held`. Everything else changes nothing.
//! Only an exclusive group is claimed before it is taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{Epoch, Seq};
use crate::time::Instant;

/// Number of a change that no announcement has carried yet: nobody can have
/// echoed it.
pub(crate) const UNANNOUNCED: Seq = Seq(u64::MAX);

/// First pause after a failure to plumb; doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What this node does with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Idle,
    /// An exclusive group is announced as held, and nothing is done until every
    /// live node has echoed that: should this node die with the addresses half
    /// on, everybody waits for its fence time (O8).
    Claiming,
    Taking,
    /// The addresses are on and the neighbours are being told. Until they are,
    /// nobody may rely on it: they still send to the former holder (O8).
    Telling {
        epoch: Epoch,
    },
    Held {
        epoch: Epoch,
    },
    LettingGo,
}

/// One group on this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) phase: Phase,
    /// Number of the frame that carried the last change of what this node
    /// announces about the group (O8).
    pub(crate) changed: Seq,
    /// Why the world does not allow it here.
    pub(crate) unavailable: Option<String>,
    /// Why the last attempt failed, and when the next may be made.
    pub(crate) failed: Option<Failure>,
    /// Addresses were ordered while it was on, others or what was found at the
    /// start: the neighbours are told when they are there, and not before.
    pub(crate) readdressed: bool,
    /// It is on, but another node is the owner: the neighbours are not told of
    /// this one any more.
    pub(crate) silenced: bool,
}

/// A failed attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) error: String,
    /// `None` once the pause is over: the group may be tried again.
    pub(crate) retry_at: Option<Instant>,
    pause: Duration,
}

/// What to do with a group now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Claim,
    Take,
    LetGo { why: &'static str },
}

/// Everything that decides about a group at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// This node is the owner.
    pub(crate) mine: bool,
    /// Another node is the owner.
    pub(crate) theirs: bool,
    /// The other node can be relied on: of an ordinary group it has shown it
    /// held, knowing all this node said of it; of an exclusive one everybody
    /// knows that it is the one who takes it next.
    pub(crate) relieved: bool,
    /// This node may take what it does not hold.
    pub(crate) may_take: bool,
    /// Nobody else may still hold it, or both may (ordinary groups). Of a claim:
    /// everybody has shown so knowing of the claim.
    pub(crate) clear: bool,
    pub(crate) exclusive: bool,
}

impl Slot {
    pub(crate) fn new() -> Slot {
        Slot {
            phase: Phase::Idle,
            changed: UNANNOUNCED,
            unavailable: None,
            failed: None,
            readdressed: false,
            silenced: false,
        }
    }

    /// Its addresses are ordered on: they are there, or soon will be.
    pub(crate) fn is_on(&self) -> bool {
        match self.phase {
            Phase::Taking | Phase::Telling { .. } | Phase::Held { .. } => true,
            Phase::Idle | Phase::Claiming | Phase::LettingGo => false,
        }
    }

    /// Its addresses are known to be there.
    pub(crate) fn is_up(&self) -> bool {
        match self.phase {
            Phase::Telling { .. } | Phase::Held { .. } => true,
            Phase::Idle | Phase::Claiming | Phase::Taking | Phase::LettingGo => false,
        }
    }

    /// Whether this node announces the group as held. An ordinary group is
    /// promised from the moment when the neighbours know of it until the decision
    /// to let go, so that two nodes can never each rely on the other. An exclusive
    /// one is announced from the moment of the decision to take it until its
    /// addresses are gone, so that two nodes can never each believe it free.
    pub(crate) fn announced(&self, exclusive: bool) -> bool {
        match self.phase {
            Phase::Held { .. } => true,
            Phase::Claiming | Phase::Taking | Phase::Telling { .. } | Phase::LettingGo => exclusive,
            Phase::Idle => false,
        }
    }

    /// The fencing number of this node's ownership, while its addresses are on.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Telling { epoch } | Phase::Held { epoch } => Some(epoch),
            Phase::Idle | Phase::Claiming | Phase::Taking | Phase::LettingGo => None,
        }
    }

    /// Puts another epoch on what is up (W7).
    pub(crate) fn renumber(&mut self, epoch: Epoch) {
        self.phase = match self.phase {
            Phase::Telling { .. } => Phase::Telling { epoch },
            Phase::Held { .. } => Phase::Held { epoch },
            other @ (Phase::Idle | Phase::Claiming | Phase::Taking | Phase::LettingGo) => other,
        };
    }

    /// Why the group cannot be held here, if so (O1).
    pub(crate) fn cannot(&self) -> Option<&str> {
        let pausing = self.failed.as_ref().filter(|failure| failure.retry_at.is_some());
        self.unavailable.as_deref().or(pausing.map(|failure| failure.error.as_str()))
    }

    /// Notes a failed attempt; says when the next may be made.
    pub(crate) fn fail(&mut self, now: Instant, error: String) -> Instant {
        let pause = match &self.failed {
            Some(failure) => (2 * failure.pause).min(LONGEST_RETRY),
            None => FIRST_RETRY,
        };
        let retry_at = now + pause;
        self.failed = Some(Failure { error, retry_at: Some(retry_at), pause });
        retry_at
    }

    /// The verdict on this group.
    pub(crate) fn judge(&self, situation: Situation) -> Verdict {
        match self.phase {
            Phase::Idle => self.judge_idle(situation),
            Phase::Claiming => self.judge_claim(situation),
            Phase::Taking | Phase::Telling { .. } | Phase::Held { .. } => {
                self.judge_held(situation)
            }
            Phase::LettingGo => Verdict::Keep,
        }
    }

    fn judge_idle(&self, situation: Situation) -> Verdict {
        if !self.may_be_taken(situation) || !situation.clear {
            Verdict::Keep
        } else if situation.exclusive {
            Verdict::Claim
        } else {
            Verdict::Take
        }
    }

    fn judge_claim(&self, situation: Situation) -> Verdict {
        if !self.may_be_taken(situation) {
            Verdict::LetGo { why: "the claim is given up" }
        } else if situation.clear {
            Verdict::Take
        } else {
            Verdict::Keep
        }
    }

    fn may_be_taken(&self, situation: Situation) -> bool {
        situation.mine && situation.may_take && self.cannot().is_none()
    }

    fn judge_held(&self, situation: Situation) -> Verdict {
        if self.cannot().is_some() {
            Verdict::LetGo { why: "it cannot be held here" }
        } else if situation.theirs && situation.relieved {
            let why =
                if situation.exclusive { "the owner awaits it" } else { "the owner holds it" };
            Verdict::LetGo { why }
        } else {
            Verdict::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Situation = Situation {
        mine: false,
        theirs: false,
        relieved: false,
        may_take: true,
        clear: true,
        exclusive: false,
    };

    fn held() -> Slot {
        Slot { phase: Phase::Held { epoch: Epoch(1) }, ..Slot::new() }
    }

    fn lets_go(slot: &Slot, situation: Situation) -> bool {
        matches!(slot.judge(situation), Verdict::LetGo { .. })
    }

    #[test]
    fn the_owner_takes_what_it_does_not_hold() {
        assert_eq!(Slot::new().judge(Situation { mine: true, ..CALM }), Verdict::Take);
        assert_eq!(Slot::new().judge(CALM), Verdict::Keep);
    }

    #[test]
    fn what_cannot_be_held_is_not_taken_and_not_kept() {
        let mut slot = Slot::new();
        slot.unavailable = Some("interface eth7 does not exist".into());
        assert_eq!(slot.judge(Situation { mine: true, ..CALM }), Verdict::Keep);
        slot.phase = Phase::Held { epoch: Epoch(1) };
        assert!(lets_go(&slot, CALM));
    }

    #[test]
    fn an_ordinary_group_is_kept_until_the_owner_has_shown_it_held() {
        let moving = Situation { theirs: true, ..CALM };
        assert!(!lets_go(&held(), moving));
        assert!(lets_go(&held(), Situation { relieved: true, ..moving }));
    }

    #[test]
    fn an_exclusive_group_is_not_taken_while_somebody_may_hold_it() {
        let situation = Situation { mine: true, clear: false, exclusive: true, ..CALM };
        assert_eq!(Slot::new().judge(situation), Verdict::Keep);
    }

    #[test]
    fn an_exclusive_group_is_claimed_first_and_taken_when_everybody_knows() {
        let mine = Situation { mine: true, exclusive: true, ..CALM };
        assert_eq!(Slot::new().judge(mine), Verdict::Claim);
        let claimed = Slot { phase: Phase::Claiming, ..Slot::new() };
        assert_eq!(claimed.judge(Situation { clear: false, ..mine }), Verdict::Keep);
        assert_eq!(claimed.judge(mine), Verdict::Take);
        assert!(lets_go(&claimed, Situation { mine: false, theirs: true, ..mine }));
    }

    #[test]
    fn a_group_that_nobody_else_can_have_is_kept() {
        assert!(!lets_go(&held(), Situation { relieved: true, ..CALM }));
    }

    #[test]
    fn an_exclusive_group_in_motion_is_announced_and_an_ordinary_one_is_not() {
        let telling = Phase::Telling { epoch: Epoch(1) };
        for phase in [Phase::Claiming, Phase::Taking, telling, Phase::LettingGo] {
            let slot = Slot { phase, ..Slot::new() };
            assert!(!slot.announced(false));
            assert!(slot.announced(true));
        }
    }

    #[test]
    fn failures_are_retried_after_growing_pauses() {
        let mut slot = Slot::new();
        let now = Instant::ZERO;
        let pauses: Vec<u64> =
            (0..8).map(|_| slot.fail(now, "netlink".into()).since(now).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
