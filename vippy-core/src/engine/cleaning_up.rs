//! Cleaning up after processes that are gone: whose turn it is, and who has done it.

use std::time::Duration;

use super::Engine;
use crate::designation::{Relief, Scene};
use crate::event::Event;
use crate::identity::{BootId, NodeName};
use crate::output::Output;
use crate::status::NodeState;
use crate::time::Instant;
use crate::wire::announcement::Section;
use crate::wire::frame::Body;

impl Engine {
    /// Whether anything is to be done about a death.
    pub(super) fn cleans_up(&self) -> bool {
        self.config.shared.hooks.iter().any(|hook| hook.once)
    }

    /// A peer was given up.
    pub(super) fn died(&mut self, now: Instant, name: &NodeName, boot: BootId, silent: Duration) {
        if self.cleans_up() {
            self.designation.died(now, name.clone(), boot, now - silent);
        }
    }

    /// What a fresh frame of a peer tells of its cleaning up.
    pub(super) fn hear_of_clean_ups(&mut self, now: Instant, boot: BootId, body: &Body) {
        let Body::Announcement(announcement) = body else { return };
        for section in &announcement.sections {
            let Section::CleanUps(said) = section else { continue };
            let process = self.members.process(boot).filter(|_| self.members.counts(boot));
            let Some(by) = process.map(|process| process.name.clone()) else { return };
            for one in said {
                self.epochs.heard(one.epoch);
                if let Some(Relief { node, epoch }) = self.designation.heard(now, boot, one) {
                    let (life, by) = (one.boot.to_string(), by.clone());
                    self.tell(Event::CleanedUp { node, life, by, epoch });
                }
            }
        }
    }

    /// Everything has run here.
    pub(super) fn cleaned_up(&mut self, now: Instant, boot: BootId) {
        if let Some((node, epoch)) = self.designation.done(now, boot) {
            let (life, by) = (boot.to_string(), self.name.clone());
            self.tell(Event::CleanedUp { node, life, by, epoch });
            self.speaker.touch();
        }
    }

    pub(super) fn settle_clean_ups(&mut self, now: Instant) {
        if self.designation.is_idle() {
            return;
        }
        let takes_part = match self.standing.state() {
            NodeState::Active | NodeState::Standby | NodeState::Draining => true,
            NodeState::Booting | NodeState::Leaving => false,
        };
        let silent = self.asleep || self.burnt;
        let counted = self.members.is_counted(now, now.since(self.started));
        let scene = Scene {
            members: &self.members,
            shared: &self.config.shared,
            name: &self.name,
            may_act: takes_part && !silent && self.authority.may_take() && counted,
        };
        let Some(me) = self.me else { return };
        let epochs = &mut self.epochs;
        let ours = self.designation.settle(now, &scene, || epochs.raise(me));
        for (node, boot, epoch) in ours {
            let life = boot.to_string();
            self.tell(Event::CleaningUp { node, life, epoch });
            self.speaker.touch();
        }
    }

    /// An announcement left that tells of what this node is about to do.
    pub(super) fn begin_clean_ups(&mut self) {
        for (node, boot, epoch) in self.designation.announced(self.epochs.announced()) {
            self.outputs.push_back(Output::CleanUp { node, boot, epoch });
        }
    }
}
