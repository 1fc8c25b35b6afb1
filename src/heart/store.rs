//! Descriptors that outlive a core: what it gave to be held, and what the heart itself has for every core.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::limits;

/// The lock of the pid file.
pub const LOCK: &str = "lock";
/// The writing end of the guard's pipe.
pub const GUARD: &str = "guard";

/// Names that are the heart's own: no core gives or releases them.
const OWN: [&str; 2] = [LOCK, GUARD];

/// See the module.
#[derive(Debug)]
pub struct Store {
    held: BTreeMap<String, OwnedFd>,
    /// How many it may be.
    room: usize,
}

impl Store {
    /// An empty one of a process that may have so many files open.
    pub fn new(open_files: usize) -> Self {
        let room = open_files.saturating_sub(limits::HEART_OWN_FILES).min(limits::HEART_HELD);
        Self { held: BTreeMap::new(), room }
    }

    /// Something of the heart's own, in place of what has that name.
    pub fn keep_own(&mut self, name: &'static str, descriptor: OwnedFd) {
        self.held.insert(name.to_owned(), descriptor);
    }

    /// A core gives a descriptor.
    ///
    /// # Errors
    /// Why it is not held.
    pub fn hold(&mut self, name: String, descriptor: Option<OwnedFd>) -> Result<(), String> {
        let descriptor = descriptor
            .ok_or_else(|| format!("no descriptor came with {name}: this process has none left"))?;
        if OWN.contains(&name.as_str()) {
            return Err(format!("{name} is the heart's own"));
        }
        if self.held.len() >= self.room && !self.held.contains_key(&name) {
            return Err(format!("{} descriptors are held already", self.room));
        }
        self.held.insert(name, descriptor);
        Ok(())
    }

    /// A core needs it no longer.
    pub fn release(&mut self, name: &str) {
        if !OWN.contains(&name) {
            self.held.remove(name);
        }
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.held.get(name).map(AsFd::as_fd)
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.held.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").expect("opened").into()
    }

    #[test]
    fn what_is_the_hearts_own_stays() {
        let mut store = Store::new(1024);
        store.keep_own(LOCK, null());
        assert!(store.hold(LOCK.into(), Some(null())).is_err());
        store.release(LOCK);
        assert_eq!(store.names(), [LOCK]);
    }

    #[test]
    fn a_high_limit_of_open_files_is_no_reason_to_hold_without_a_bound() {
        assert_eq!(Store::new(1024).room, 900);
        assert_eq!(Store::new(usize::MAX).room, limits::HEART_HELD);
        assert_eq!(Store::new(64).room, 0);
    }

    #[test]
    fn held_descriptors_are_replaced_released_and_bounded() {
        let mut store = Store::new(limits::HEART_OWN_FILES + 3);
        assert!(store.hold("ready/a/1".into(), None).is_err());
        store.hold("ready/a/1".into(), Some(null())).expect("held");
        store.hold("ready/a/1".into(), Some(null())).expect("held");
        assert_eq!(store.names().len(), 1);
        store.release("ready/a/1");
        store.release("ready/a/1");
        assert_eq!(store.names().len(), 0);
        let file = null();
        for n in 0..3 {
            let copy = file.try_clone().expect("copied");
            store.hold(n.to_string(), Some(copy)).expect("held");
        }
        assert!(store.hold("more".into(), Some(null())).is_err());
        store.hold("0".into(), Some(null())).expect("in place of the one before");
    }
}
