//! What a process announced, put together from the parts of its announcements.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::config::Digest;
use crate::identity::{BootId, GroupIndex, Seq};
use crate::status::{NodeReason, NodeState};
use crate::wire::announcement::{Announcement, Heard, Section, Verdict};
use crate::wire::document::{DocumentKind, DocumentName};

/// A process's announced facts. Group positions are those of the configuration
/// it announces; see [`Facts::speaks`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) state: NodeState,
    pub(crate) reason: NodeReason,
    pub(crate) detail: String,
    pub(crate) version: u64,
    pub(crate) digest: Digest,
    pub(crate) heard: BTreeMap<BootId, Heard>,
    pub(crate) holding: Bits,
    pub(crate) cannot: Bits,
    pub(crate) rather_not: Bits,
    /// What it held when this node could last read it, in this node's terms; of
    /// use while it speaks of a configuration that this node cannot read (O5).
    pub(crate) last_held: Bits,
    /// The frame that first carried the present state and refusals.
    pub(crate) standing_since: Seq,
    /// Slices of *holding* as last shown, by first group: (last group, highest
    /// number of mine echoed at that moment). Rule O8 needs both of one moment.
    /// While the process tells the neighbours anew, it is as if it had echoed
    /// nothing (O9).
    shown: BTreeMap<u32, (u32, Seq)>,
    /// What it has to give.
    documents: Vec<DocumentName>,
    /// What it says to proposals.
    pub(crate) verdicts: Vec<Verdict>,
}

/// What a part of an announcement changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// State, reason, configuration or refusals.
    pub(crate) standing: bool,
    /// Groups whose holding changed.
    pub(crate) holding: Vec<GroupIndex>,
    /// The configuration it left, and what it held of that one's groups.
    pub(crate) left: Option<(Digest, Bits)>,
}

impl Facts {
    pub(crate) fn new(announcement: &Announcement, seq: Seq) -> Facts {
        Facts {
            state: announcement.state,
            reason: announcement.reason,
            detail: announcement.detail.clone(),
            version: announcement.version,
            digest: announcement.digest,
            heard: BTreeMap::new(),
            holding: Bits::new(),
            cannot: Bits::new(),
            rather_not: Bits::new(),
            last_held: Bits::new(),
            standing_since: seq,
            shown: BTreeMap::new(),
            documents: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    pub(crate) fn has_document(&self, digest: Digest) -> bool {
        self.documents.iter().any(|name| name.digest == digest)
    }

    /// The document of a kind that it has.
    pub(crate) fn document(&self, kind: DocumentKind) -> Option<DocumentName> {
        self.documents.iter().find(|name| name.kind == kind).copied()
    }

    /// Whether its group positions are those of the configuration `digest`.
    pub(crate) fn speaks(&self, digest: Digest) -> bool {
        self.digest == digest
    }

    /// Applies a part, which came in frame `seq`. `echoed` is the highest number
    /// of mine that the process has echoed, this part included.
    pub(crate) fn apply(&mut self, part: &Announcement, seq: Seq, echoed: Seq) -> Changes {
        let mut changes = Changes::default();
        if self.digest != part.digest {
            changes.left = Some((self.digest, self.holding.clone()));
            self.forget_groups();
            changes.standing = true;
        }
        changes.standing |= (self.state, self.reason) != (part.state, part.reason);
        self.state = part.state;
        self.reason = part.reason;
        self.detail.clone_from(&part.detail);
        self.version = part.version;
        self.digest = part.digest;
        for section in &part.sections {
            self.apply_section(section, echoed, &mut changes);
        }
        if changes.standing {
            self.standing_since = seq;
        }
        changes
    }

    fn apply_section(&mut self, section: &Section, echoed: Seq, changes: &mut Changes) {
        match section {
            Section::Heard { first, last, entries } => {
                self.heard.retain(|boot, _| !(first..=last).contains(&boot));
                self.heard.extend(entries.iter().map(|entry| (entry.boot, *entry)));
            }
            Section::Holding { first, last, held, told } => {
                let changed = self.holding.replace(*first, *last, &held.0);
                changes.holding.extend(changed.into_iter().map(GroupIndex));
                self.shown.retain(|from, (to, _)| *to < *first || *from > *last);
                let echoed = if *told { echoed } else { Seq(0) };
                self.shown.insert(*first, (*last, echoed));
            }
            Section::Refusing { first, last, cannot, rather_not } => {
                changes.standing |= !self.cannot.replace(*first, *last, &cannot.0).is_empty();
                changes.standing |=
                    !self.rather_not.replace(*first, *last, &rather_not.0).is_empty();
            }
            Section::Documents(names) => {
                self.documents.clone_from(names);
                // They stand beside it, or there are none.
                self.verdicts.clear();
            }
            Section::Verdicts(verdicts) => self.verdicts.clone_from(verdicts),
            Section::Moves(_)
            | Section::Trial(_)
            | Section::Look(_)
            | Section::Sighting(_)
            | Section::CleanUps(_) => {}
        }
    }

    /// Whether the process last showed this group held, and the highest number
    /// of mine that it had echoed by then; `None` when it showed neither.
    pub(crate) fn shown(&self, group: GroupIndex) -> Option<(bool, Seq)> {
        let (_, (last, echoed)) = self.shown.range(..=group.0).next_back()?;
        (group.0 <= *last).then(|| (self.holding.contains(group.0), *echoed))
    }

    /// This node has a new boot: what was echoed to the old one counts no more.
    pub(crate) fn forget_echoes(&mut self) {
        self.shown.values_mut().for_each(|(_, echoed)| *echoed = Seq(0));
    }

    /// Another configuration's positions mean nothing.
    fn forget_groups(&mut self) {
        self.holding = Bits::new();
        self.cannot = Bits::new();
        self.rather_not = Bits::new();
        self.shown.clear();
    }
}
