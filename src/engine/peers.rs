//! Which clients have been greeted: a set of identities that forgets the one silent for longest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A bounded set of client identities, ordered by when they were last heard.
#[derive(Debug)]
pub struct PeerTable {
    last_heard: HashMap<Arc<[u8]>, u64>,
    by_age: BTreeMap<u64, Arc<[u8]>>,
    ticks: u64,
    capacity: usize,
}

impl PeerTable {
    /// An empty table that remembers at most `capacity` identities, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            last_heard: HashMap::new(),
            by_age: BTreeMap::new(),
            ticks: 0,
            capacity: capacity.max(1),
        }
    }

    /// Whether this client has been greeted; being asked about counts as being heard.
    pub fn is_greeted(&mut self, identity: &[u8]) -> bool {
        match self.last_heard.get_key_value(identity) {
            Some((identity, _)) => {
                let identity = identity.clone();
                self.hear(identity);
                true
            }
            None => false,
        }
    }

    /// Remembers a client; where the table is full the one silent for longest is forgotten.
    pub fn greet(&mut self, identity: &[u8]) {
        if self.is_greeted(identity) {
            return;
        }
        if self.last_heard.len() >= self.capacity
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.last_heard.remove(&oldest);
        }
        self.hear(identity.into());
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.last_heard.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.last_heard.is_empty()
    }

    fn hear(&mut self, identity: Arc<[u8]>) {
        self.ticks += 1;
        if let Some(before) = self.last_heard.insert(identity.clone(), self.ticks) {
            self.by_age.remove(&before);
        }
        self.by_age.insert(self.ticks, identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_silent_for_longest_is_forgotten_first() {
        let mut peers = PeerTable::new(2);
        peers.greet(b"a");
        peers.greet(b"b");
        assert!(peers.is_greeted(b"a"));
        peers.greet(b"c");
        assert!(!peers.is_greeted(b"b"), "b was silent for longest");
        assert!(peers.is_greeted(b"a") && peers.is_greeted(b"c"));
    }

    #[test]
    fn flood_of_identities_stays_within_the_bound() {
        let mut peers = PeerTable::new(100);
        for n in 0u32..10_000 {
            peers.greet(&n.to_le_bytes());
            peers.greet(b"regular");
        }
        assert_eq!((peers.len(), peers.by_age.len()), (100, 100));
        assert!(peers.is_greeted(b"regular"));
    }
}
