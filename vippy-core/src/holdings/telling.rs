//! Keeps the neighbours told, and what is announced true to it (O8, O9).
//!
//! A node that others may rely on has told the neighbours after whatever those
//! told them. Where that has to be done again, the announcements say so until it
//! is done: whoever waits to be relieved waits that long.

use std::collections::VecDeque;

use super::{Hands, Holdings};
use crate::authority::Hush;
use crate::config::{Group, SharedPart};
use crate::event::Event;
use crate::group::{Phase, UNANNOUNCED};
use crate::identity::GroupIndex;
use crate::output::Output;
use crate::surroundings::Surroundings;
use crate::time::Instant;

impl Holdings {
    /// The neighbours have been told of a group: whoever held it may rely on
    /// this node now (O8). When it was taken, if nobody was asked yet whether they
    /// believe it.
    pub(crate) fn told(
        &mut self,
        shared: &SharedPart,
        group: GroupIndex,
        hands: &mut Hands<'_>,
    ) -> Option<Instant> {
        match self.slots[group.get()].phase {
            Phase::Telling { epoch } => {
                self.hold(group, epoch);
                let group = shared.groups[group.get()].id.clone();
                hands.tell(Event::Announced { group });
            }
            Phase::Held { .. } if self.retelling.set(group.0, false) => self.news = true,
            Phase::Held { .. }
            | Phase::Idle
            | Phase::Claiming
            | Phase::Taking
            | Phase::LettingGo => {}
        }
        self.touched.insert(group);
        self.untried.remove(&group).filter(|_| self.slots[group.get()].is_up())
    }

    /// Has the neighbours told again that a group is here, if this node goes on
    /// telling them so at all; says whether it does.
    pub(crate) fn insist(
        &self,
        shared: &SharedPart,
        group: GroupIndex,
        hands: &mut Hands<'_>,
    ) -> bool {
        let Some(slot) = self.slots.get(group.get()) else { return false };
        let speaks = slot.is_up() && !slot.silenced && !slot.readdressed;
        if speaks {
            let group = shared.groups[group.get()].id.clone();
            hands.outputs.push_back(Output::Notify { group });
        }
        speaks
    }

    /// Notes what a peer's announcement changed, or a contact with a peer.
    pub(crate) fn contact(&mut self, groups: impl IntoIterator<Item = GroupIndex>) {
        self.contacts.extend(groups);
    }

    /// A peer came to life, or back. While it was not heard it may have held
    /// anything, told the neighbours so, and let go before its first fresh frame
    /// came: everything held here counts as a contact (O9).
    pub(crate) fn meet(&mut self) {
        for (index, slot) in (0u32..).zip(&self.slots) {
            if slot.is_up() {
                self.news = true;
                self.contacts.insert(GroupIndex(index));
            }
        }
    }

    /// The neighbours are told nothing more of what is held here (O7).
    pub(crate) fn hush(&mut self, hush: Hush, shared: &SharedPart, outputs: &mut VecDeque<Output>) {
        self.contacts.clear();
        let concerned = |phase: Phase| match phase {
            Phase::Held { .. } => true,
            Phase::Taking | Phase::Telling { .. } => hush == Hush::All,
            Phase::Idle | Phase::Claiming | Phase::LettingGo => false,
        };
        let groups = self.slots.iter().zip(&shared.groups);
        let silenced = groups.filter(|(slot, _)| concerned(slot.phase));
        outputs.extend(silenced.map(|(_, group)| Output::Silence { group: group.id.clone() }));
    }

    /// A holder that is no longer the owner falls silent: what it repeats could
    /// come after the owner's announcement. What it has begun to say may have come
    /// after it already: it shows the group held, so that the owner tells the
    /// neighbours anew before it goes (O9). One that is the owner again speaks.
    pub(super) fn mind_tongue(
        &mut self,
        group: GroupIndex,
        around: &Surroundings<'_>,
        hands: &mut Hands<'_>,
    ) {
        let owner = self.owners[group.get()];
        let slot = &mut self.slots[group.get()];
        if !slot.is_up() || owner.is_none() || slot.silenced == (owner != around.field.me) {
            return;
        }
        slot.silenced = !slot.silenced;
        let config = &around.field.shared.groups[group.get()];
        if slot.silenced {
            let begun = slot.epoch().filter(|_| matches!(slot.phase, Phase::Telling { .. }));
            if let Some(epoch) = begun {
                self.hold(group, epoch);
            }
            self.news |= self.retelling.set(group.0, begun.is_some());
            hands.outputs.push_back(Output::Silence { group: config.id.clone() });
        } else {
            self.tell_anew(group, config, hands);
        }
    }

    /// The rightful holder of a group re-announces it after every contact with
    /// another holder, and when that one has let go (O8, O9).
    pub(super) fn meet_rivals(
        &mut self,
        now: Instant,
        around: &Surroundings<'_>,
        hands: &mut Hands<'_>,
    ) {
        // What a process found at its start the neighbours were told of before, if
        // nobody took over meanwhile; if somebody did, they must not be led away.
        let Some(me) = around.field.me.filter(|_| !around.knows_nobody_yet()) else { return };
        for group in std::mem::take(&mut self.contacts) {
            let Some(slot) = self.slots.get_mut(group.get()).filter(|slot| slot.is_up()) else {
                continue;
            };
            if self.owners[group.get()] != Some(me) {
                continue;
            }
            if around.has_rival(group) {
                let epoch = hands.epochs.raise(me);
                slot.renumber(epoch);
                slot.changed = UNANNOUNCED;
                self.news = true;
                self.untried.insert(group, now);
                let group = around.field.shared.groups[group.get()].id.clone();
                hands.tell(Event::Kept { group, epoch });
            }
            self.tell_anew(group, &around.field.shared.groups[group.get()], hands);
        }
    }

    /// Has the neighbours told again of a group that is up, when its addresses are
    /// there.
    fn tell_anew(&mut self, group: GroupIndex, config: &Group, hands: &mut Hands<'_>) {
        let slot = &self.slots[group.get()];
        self.news |= self.retelling.set(group.0, matches!(slot.phase, Phase::Held { .. }));
        if !slot.readdressed {
            hands.outputs.push_back(Output::Notify { group: config.id.clone() });
        }
    }
}
