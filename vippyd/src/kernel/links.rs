//! The links of this machine as last seen. An absent interface is a state, not
//! an error (F3).

use std::collections::{BTreeMap, BTreeSet};

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The kernel's number; a recreated interface has another.
    pub(super) index: u32,
    /// Its name.
    pub(super) name: String,
    /// Somebody set it up.
    pub(super) up: bool,
    /// It has a carrier and may carry packets.
    pub(super) running: bool,
    /// Its `promote_secondaries` is set (F4).
    pub(super) promotes: bool,
}

impl Link {
    /// Whether packets can pass.
    pub(super) fn usable(&self) -> bool {
        self.up && self.running
    }
}

/// All links.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_index: BTreeMap<u32, Link>,
    by_name: BTreeMap<String, u32>,
    /// Links on which `promote_secondaries` was refused.
    stubborn: BTreeSet<u32>,
}

impl Links {
    /// Forgets everything and takes what a dump says.
    pub(super) fn replace(&mut self, links: Vec<Link>) {
        self.by_index.clear();
        self.by_name.clear();
        links.into_iter().for_each(|link| {
            self.put(link);
        });
        self.stubborn.retain(|index| self.by_index.contains_key(index));
    }

    /// Takes what the news say; true if it makes a difference to anybody.
    pub(super) fn put(&mut self, link: Link) -> bool {
        let old = self.by_index.insert(link.index, link.clone());
        if let Some(old) = &old
            && old.name != link.name
            && self.by_name.get(&old.name) == Some(&old.index)
        {
            self.by_name.remove(&old.name);
        }
        self.by_name.insert(link.name.clone(), link.index);
        old.as_ref() != Some(&link)
    }

    /// Forgets a link.
    pub(super) fn remove(&mut self, index: u32) {
        self.stubborn.remove(&index);
        // A successor of the same name may be known already.
        if let Some(old) = self.by_index.remove(&index)
            && self.by_name.get(&old.name) == Some(&index)
        {
            self.by_name.remove(&old.name);
        }
    }

    /// A link by name.
    pub(super) fn named(&self, name: &str) -> Option<&Link> {
        self.by_index.get(self.by_name.get(name)?)
    }

    /// A link by number.
    pub(super) fn get(&self, index: u32) -> Option<&Link> {
        self.by_index.get(&index)
    }

    /// The name of a link.
    pub(super) fn name(&self, index: u32) -> Option<&str> {
        self.get(index).map(|link| link.name.as_str())
    }

    /// Why an interface cannot carry addresses now, in words for an operator.
    pub(super) fn trouble(&self, name: &str) -> Option<String> {
        match self.named(name) {
            None => Some(format!("interface {name} does not exist")),
            Some(link) if !link.usable() => Some(format!("link of {name} is down")),
            Some(_) => None,
        }
    }

    /// Notes that `promote_secondaries` is set.
    pub(super) fn set_promotes(&mut self, index: u32) {
        if let Some(link) = self.by_index.get_mut(&index) {
            link.promotes = true;
        }
    }

    /// Notes that `promote_secondaries` was refused.
    pub(super) fn set_stubborn(&mut self, index: u32) {
        self.stubborn.insert(index);
    }

    /// Whether `promote_secondaries` was refused and is not set.
    pub(super) fn is_stubborn(&self, link: &Link) -> bool {
        !link.promotes && self.stubborn.contains(&link.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: name.into(), up: true, running: true, promotes: false }
    }

    #[test]
    fn an_unchanged_link_makes_no_difference() {
        let mut links = Links::default();
        assert!(links.put(link(2, "eth0")));
        assert!(!links.put(link(2, "eth0")));
        assert!(links.put(Link { running: false, ..link(2, "eth0") }));
        assert_eq!(links.trouble("eth0").unwrap(), "link of eth0 is down");
    }

    #[test]
    fn a_recreated_link_survives_the_late_news_of_its_predecessors_end() {
        let mut links = Links::default();
        links.put(link(2, "eth0"));
        links.put(link(7, "eth0"));
        links.remove(2);
        assert_eq!(links.named("eth0").unwrap().index, 7);
    }

    #[test]
    fn a_renamed_link_is_gone_under_its_old_name() {
        let mut links = Links::default();
        links.put(link(2, "eth0"));
        links.put(link(2, "lan0"));
        assert_eq!(links.trouble("eth0").unwrap(), "interface eth0 does not exist");
        assert_eq!(links.trouble("lan0"), None);
    }
}
