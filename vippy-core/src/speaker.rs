//! When to announce, and how an announcement is cut into parts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bits::Bits;
use crate::identity::BootId;
use crate::time::Instant;
use crate::wire::announcement::{Announcement, GROUP_SLICE, GroupSet, HEARD_ENTRY, Heard, Section};
use crate::wire::frame::HEADER;
use crate::wire::{MAX_FRAME, auth::TAG};

/// Groups of a slice that are told anew one by one.
const MAX_INTERRUPTIONS: usize = 16;

/// The rhythm of announcements: every interval, and soon after a change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Speaker {
    last: Option<Instant>,
    changed: bool,
}

impl Speaker {
    pub(crate) fn new() -> Speaker {
        Speaker { last: None, changed: true }
    }

    /// Something worth telling at once has changed.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    /// When the next announcement is due, every `rhythm`. Changes are merged:
    /// never closer than max(1 ms, interval/20) to the last one.
    pub(crate) fn due(&self, interval: Duration, rhythm: Duration) -> Instant {
        let Some(last) = self.last else { return Instant::ZERO };
        let pause = if self.changed { merge_pause(interval).min(rhythm) } else { rhythm };
        last + pause
    }

    pub(crate) fn spoke(&mut self, now: Instant) {
        self.last = Some(now);
        self.changed = false;
    }
}

fn merge_pause(interval: Duration) -> Duration {
    (interval / 20).max(Duration::from_millis(1))
}

/// What there is to say about groups, all of them.
pub(crate) struct Groups<'a> {
    pub(crate) count: u32,
    pub(crate) holding: &'a Bits,
    /// Groups of which the neighbours are being told anew.
    pub(crate) retelling: &'a Bits,
    pub(crate) cannot: &'a Bits,
    pub(crate) rather_not: &'a Bits,
}

/// Cuts an announcement into parts that each fit one frame. `base` has no
/// sections; `name` is the length of the sender's name in bytes; what else there is
/// to say comes in blocks whose sections stay together.
pub(crate) fn parts(
    base: &Announcement,
    name: usize,
    heard: &[Heard],
    groups: &Groups<'_>,
    blocks: Vec<Vec<Section>>,
) -> Vec<Announcement> {
    let room = MAX_FRAME - HEADER - name - TAG - 1 - Announcement::fixed_size(&base.detail);
    // What is heard comes first: a part that shows a group held is then never
    // older than the echo beside it (O8).
    let heard = heard_sections(heard, room);
    let groups = group_sections(groups);
    let facts = heard.into_iter().chain(groups).map(|section| vec![section]);
    let mut parts = vec![base.clone()];
    let mut used = 0;
    for block in facts.chain(blocks) {
        let size: usize = block.iter().map(Section::size).sum();
        if used + size > room {
            parts.push(base.clone());
            used = 0;
        }
        used += size;
        if let Some(part) = parts.last_mut() {
            part.sections.extend(block);
        }
    }
    parts
}

/// The whole range of boots, in slices of as many entries as fit `room`.
fn heard_sections(heard: &[Heard], room: usize) -> Vec<Section> {
    let empty = Section::Heard { first: BootId(0), last: BootId(u64::MAX), entries: Vec::new() };
    let capacity = (room - empty.size()) / HEARD_ENTRY;
    let mut chunks = heard.chunks(capacity).peekable();
    let mut first = BootId(0);
    let mut sections = Vec::new();
    while let Some(entries) = chunks.next() {
        let last = match (chunks.peek(), entries.last()) {
            (Some(_), Some(entry)) => entry.boot,
            _ => BootId(u64::MAX),
        };
        sections.push(Section::Heard { first, last, entries: entries.to_vec() });
        first = BootId(last.0.wrapping_add(1));
    }
    if sections.is_empty() {
        sections.push(empty);
    }
    sections
}

fn group_sections(groups: &Groups<'_>) -> Vec<Section> {
    let slices = (0..groups.count)
        .step_by(GROUP_SLICE as usize)
        .map(|first| (first, (first + GROUP_SLICE).min(groups.count) - 1));
    let cut = |bits: &Bits, first, last| GroupSet(bits.cut(first, last));
    slices
        .flat_map(|(first, last)| {
            let cannot = cut(groups.cannot, first, last);
            let rather_not = cut(groups.rather_not, first, last);
            let holding = spans(groups.retelling, first, last).into_iter();
            let holding = holding.map(|(first, last, told)| {
                let held = cut(groups.holding, first, last);
                Section::Holding { first, last, held, told }
            });
            let refusing = Section::Refusing { first, last, cannot, rather_not };
            holding.chain([refusing]).collect::<Vec<Section>>()
        })
        .collect()
}

/// The slices in which some groups are, each from the first to the last of them.
pub(crate) fn slices(groups: &Bits) -> Vec<(u32, u32, GroupSet)> {
    let mut slices = Vec::new();
    let mut rest = groups.iter().peekable();
    while let Some(first) = rest.peek().copied() {
        let members = std::iter::from_fn(|| rest.next_if(|group| group - first < GROUP_SLICE));
        let members: Vec<u32> = members.collect();
        let last = members.last().copied().unwrap_or(first);
        slices.push((first, last, members.into_iter().collect()));
    }
    slices
}

/// A slice by whether the neighbours have been told. Many interruptions are one:
/// each costs some bytes.
fn spans(retelling: &Bits, first: u32, last: u32) -> Vec<(u32, u32, bool)> {
    let mut untold: Vec<(u32, u32)> = retelling.range(first, last).map(|g| (g, g)).collect();
    if untold.len() > MAX_INTERRUPTIONS
        && let (Some((from, _)), Some((_, to))) = (untold.first(), untold.last())
    {
        untold = vec![(*from, *to)];
    }
    let mut spans = Vec::new();
    let mut next = first;
    for (from, to) in untold {
        if next < from {
            spans.push((next, from - 1, true));
        }
        spans.push((from, to, false));
        next = to + 1;
    }
    if next <= last {
        spans.push((next, last, true));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Digest;
    use crate::identity::Seq;
    use crate::status::{NodeReason, NodeState};
    use crate::timeline::{Belief, MoveCause};
    use crate::wire::announcement::Paths;
    use crate::wire::announcement::{MAX_OBJECTION, TrialNotice, Verdict};
    use crate::wire::document::{DocumentKind, DocumentName};
    use crate::wire::moves::{MAX_MOVES, MoveReport};

    fn base() -> Announcement {
        Announcement {
            state: NodeState::Active,
            reason: NodeReason::None,
            detail: "x".repeat(120),
            version: 1,
            digest: Digest::default(),
            sections: Vec::new(),
        }
    }

    fn heard(count: u64) -> Vec<Heard> {
        let paths = Paths { multicast: true, ..Paths::default() };
        (1..=count)
            .map(|n| Heard { boot: BootId(n * 1000), seq: Seq(n), paths, counts: true })
            .collect()
    }

    fn moves() -> Vec<MoveReport> {
        let report = |id: usize| MoveReport {
            id: u32::try_from(id).unwrap(),
            cause: MoveCause::Death,
            from: None,
            groups: 1,
            first: None,
            heard: None,
            found: None,
            decided: Duration::ZERO,
            plumbed: None,
            announced: None,
            released: None,
            believed: None,
            belief: Belief::default(),
        };
        (0..MAX_MOVES).map(report).collect()
    }

    fn cut(nodes: u64, groups: u32, every: usize) -> Vec<Announcement> {
        let bits: Bits = (0..groups).step_by(every).collect();
        let none = Bits::new();
        let groups = Groups {
            count: groups,
            holding: &bits,
            retelling: &none,
            cannot: &bits,
            rather_not: &none,
        };
        parts(&base(), 63, &heard(nodes), &groups, vec![rollout(), vec![Section::Moves(moves())]])
    }

    /// The longest there can be.
    fn rollout() -> Vec<Section> {
        let name = DocumentName { kind: DocumentKind(1), size: 7, digest: Digest::default() };
        let objection = Some("x".repeat(MAX_OBJECTION));
        let verdict = Verdict { document: Digest::default(), objection };
        let (digest, former) = (Digest::default(), Digest::default());
        let trial = TrialNotice { digest, former, left: Duration::ZERO, confirmed: false };
        let verdicts = Section::Verdicts(vec![verdict; 2]);
        vec![Section::Documents(vec![name; 2]), verdicts, Section::Trial(trial)]
    }

    #[test]
    fn a_small_cluster_fits_one_frame() {
        assert_eq!(cut(3, 250, 3).len(), 1);
    }

    #[test]
    fn every_part_fits_and_together_they_cover_everything() {
        for (nodes, groups, every) in [(0, 0, 1), (100, 10_000, 3), (1000, 65_536, 1), (49, 1, 1)] {
            let parts = cut(nodes, groups, every);
            let mut entries = 0;
            let mut next_boot = 0;
            let mut next_group = 0;
            let mut told = Vec::new();
            for part in &parts {
                let sections: usize = part.sections.iter().map(Section::size).sum();
                let size = HEADER + 63 + Announcement::fixed_size(&part.detail) + sections;
                assert!(size + TAG < MAX_FRAME, "{size}");
                for section in &part.sections {
                    match section {
                        Section::Heard { first, last, entries: some } => {
                            assert_eq!(first.0, next_boot);
                            next_boot = last.0.wrapping_add(1);
                            entries += some.len();
                        }
                        Section::Holding { first, last, .. } => {
                            assert_eq!(*first, next_group);
                            next_group = last + 1;
                        }
                        Section::Documents(_) => {
                            let together = part.sections.iter().filter(|s| rollout().contains(s));
                            assert_eq!(together.count(), 3);
                        }
                        Section::Refusing { .. }
                        | Section::Verdicts(_)
                        | Section::Trial(_)
                        | Section::Look(_)
                        | Section::Sighting(_)
                        | Section::CleanUps(_) => {}
                        Section::Moves(some) => told.extend(some.clone()),
                    }
                }
            }
            assert_eq!((entries as u64, next_boot, next_group), (nodes, 0, groups));
            assert_eq!(told, moves());
        }
    }

    #[test]
    fn what_is_told_anew_is_set_apart_and_much_of_it_together() {
        let bits = |groups: &[u32]| groups.iter().copied().collect::<Bits>();
        assert_eq!(spans(&bits(&[]), 0, 9), [(0, 9, true)]);
        let some = [(0, 0, false), (1, 3, true), (4, 4, false), (5, 9, true)];
        assert_eq!(spans(&bits(&[0, 4]), 0, 9), some);
        assert_eq!(spans(&bits(&[0]), 0, 0), [(0, 0, false)]);
        assert_eq!(spans(&bits(&[2, 30]), 10, 30), [(10, 29, true), (30, 30, false)]);
        let many: Bits = (100..200).step_by(2).collect();
        let together = [(0, 99, true), (100, 198, false), (199, 2047, true)];
        assert_eq!(spans(&many, 0, 2047), together);
    }

    #[test]
    fn some_groups_are_in_slices_no_longer_than_one_may_be() {
        assert_eq!(slices(&Bits::new()), []);
        let groups: Bits = [7, 9, 2054, 2055, 5000].into_iter().collect();
        let bounds = slices(&groups).into_iter().map(|(first, last, _)| (first, last));
        assert_eq!(bounds.collect::<Vec<_>>(), [(7, 2054), (2055, 2055), (5000, 5000)]);
        let all =
            slices(&groups).into_iter().flat_map(|(_, _, set)| set.0.iter().collect::<Vec<_>>());
        assert_eq!(all.collect::<Bits>(), groups);
    }

    #[test]
    fn changes_are_merged_but_never_wait_an_interval() {
        let mut speaker = Speaker::new();
        let now = Instant::from_micros(1_000_000);
        let interval = Duration::from_millis(500);
        speaker.spoke(now);
        assert_eq!(speaker.due(interval, interval), now + interval);
        speaker.touch();
        assert_eq!(speaker.due(interval, interval), now + Duration::from_millis(25));
    }
}
