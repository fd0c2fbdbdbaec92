//! How many may be served at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Peer;

/// A bounded number of places, some of which are for those who may act: so that a
/// monitor gone wild cannot lock the operator out. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    everybody: Arc<Semaphore>,
    operators: Arc<Semaphore>,
    all: usize,
}

impl Places {
    /// `all` places, of which `kept` are for operators alone.
    pub(super) fn new(all: usize, kept: usize) -> Places {
        Places {
            everybody: Arc::new(Semaphore::new(all - kept)),
            operators: Arc::new(Semaphore::new(kept)),
            all,
        }
    }

    /// A place, until it is dropped.
    pub(super) fn take(&self, peer: Peer) -> Option<OwnedSemaphorePermit> {
        let common = Arc::clone(&self.everybody).try_acquire_owned();
        match common {
            Ok(place) => Some(place),
            Err(_) if peer.may_act() => Arc::clone(&self.operators).try_acquire_owned().ok(),
            Err(_) => None,
        }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.all - self.everybody.available_permits() - self.operators.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_may_only_look_cannot_take_the_last_places() {
        let places = Places::new(32, 8);
        let (stranger, root) = (Peer { uid: 1000, own: 998 }, Peer { uid: 0, own: 998 });
        let mut taken: Vec<_> = std::iter::from_fn(|| places.take(stranger)).collect();
        assert_eq!(taken.len(), 24);
        taken.extend(std::iter::from_fn(|| places.take(root)));
        assert_eq!((taken.len(), places.taken()), (32, 32));
        drop(taken);
        assert_eq!(places.taken(), 0);
    }
}
