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
#[derive(Debug, Default)]
pub struct Store(BTreeMap<String, OwnedFd>);

impl Store {
    /// Something of the heart's own, in place of what has that name.
    pub fn keep_own(&mut self, name: &'static str, descriptor: OwnedFd) {
        self.0.insert(name.to_owned(), descriptor);
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
        if self.0.len() >= limits::HEART_HELD && !self.0.contains_key(&name) {
            return Err(format!("{} descriptors are held already", limits::HEART_HELD));
        }
        self.0.insert(name, descriptor);
        Ok(())
    }

    /// A core needs it no longer.
    pub fn release(&mut self, name: &str) {
        if !OWN.contains(&name) {
            self.0.remove(name);
        }
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.0.get(name).map(AsFd::as_fd)
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
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
        let mut store = Store::default();
        store.keep_own(LOCK, null());
        assert!(store.hold(LOCK.into(), Some(null())).is_err());
        store.release(LOCK);
        assert_eq!(store.names(), [LOCK]);
    }

    #[test]
    fn held_descriptors_are_replaced_released_and_bounded() {
        let mut store = Store::default();
        assert!(store.hold("ready/a/1".into(), None).is_err());
        store.hold("ready/a/1".into(), Some(null())).expect("held");
        store.hold("ready/a/1".into(), Some(null())).expect("held");
        assert_eq!(store.names().len(), 1);
        store.release("ready/a/1");
        store.release("ready/a/1");
        assert_eq!(store.names().len(), 0);
        let file = null();
        for n in 0..limits::HEART_HELD {
            let copy = file.try_clone().expect("copied");
            store.hold(n.to_string(), Some(copy)).expect("held");
        }
        assert!(store.hold("more".into(), Some(null())).is_err());
        store.hold("0".into(), Some(null())).expect("in place of the one before");
    }
}
