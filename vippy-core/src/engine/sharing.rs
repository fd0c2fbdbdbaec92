//! How the nodes' neighbour caches come together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use crate::event::Event;
use crate::identity::NodeName;
use crate::neighbours::{self, Station};
use crate::output::Output;
use crate::wire::document::{DocumentKind, DocumentName};

impl Engine {
    /// This node's own cache, for the others. The next announcement tells of it.
    pub(super) fn share_neighbours(&mut self, cache: &Arc<str>) {
        self.documents.shelve(DocumentKind::NEIGHBOURS, cache);
    }

    /// What to fetch: nothing where neighbours are told by broadcast alone.
    pub(super) fn neighbours_sought(&self) -> BTreeSet<DocumentName> {
        match self.config.local.notify.is_empty() {
            true => BTreeSet::new(),
            false => self.collective.seek(&self.members, &self.config.shared),
        }
    }

    /// A cache came. It is served on to those who do not hear whose it is.
    pub(super) fn learn_neighbours(&mut self, name: DocumentName, document: Arc<str>) {
        let (stations, error) = match neighbours::parse(&document) {
            Ok(stations) => (stations.into(), None),
            Err(error) => (Arc::default(), Some(error)),
        };
        let stations: Arc<[Station]> = stations;
        let shared = &self.config.shared;
        let owners = self.collective.take(&self.members, shared, name.digest, stations.len());
        self.documents.lend(name, document);
        self.documents.keep_lent(|digest| self.collective.knows(digest));
        for node in owners {
            if let Some(error) = &error {
                let text = format!("the neighbour cache of {node} cannot be read: {error}");
                self.tell(Event::Warning { text });
            }
            self.know_neighbours(node, Arc::clone(&stations));
        }
    }

    /// Nodes that are configured no more have no neighbours.
    pub(super) fn forget_neighbours(&mut self) {
        for node in self.collective.configure(&self.config.shared) {
            self.know_neighbours(node, Arc::default());
        }
        self.documents.keep_lent(|digest| self.collective.knows(digest));
    }

    fn know_neighbours(&mut self, node: NodeName, stations: Arc<[Station]>) {
        self.outputs.push_back(Output::Neighbours { node, stations });
    }

    /// How many neighbours of each node are known, this one's own included.
    pub(crate) fn neighbours(&self) -> BTreeMap<NodeName, usize> {
        let own = self.documents.text_of(DocumentKind::NEIGHBOURS);
        let own = own.map(|text| (self.name.clone(), text.lines().count()));
        self.collective.sizes().chain(own).collect()
    }
}
