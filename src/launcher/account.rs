//! The user that a backend runs as: who that is, whether this process may become it, and becoming it.
//!
//! Looking a user up may ask a server of the network. So the launcher does not: `config check` and the exec shim do.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};
use rustix::thread::CapabilitySet;

/// Why a backend cannot run as a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// No such user.
    #[error("there is no user '{0}'")]
    Unknown(String),
    /// Users cannot be looked up.
    #[error("cannot look up the user '{name}': {reason}")]
    Lookup {
        /// The user.
        name: String,
        /// The system's word.
        reason: String,
    },
    /// This process is neither root nor that user.
    #[error("cannot become user '{name}': this process runs as user {own} and may not change it")]
    Forbidden {
        /// The user.
        name: String,
        /// The id of this process's user.
        own: u32,
    },
    /// The system refused a step.
    #[error("cannot become user '{name}': {step}: {reason}")]
    Refused {
        /// The user.
        name: String,
        /// What was refused.
        step: &'static str,
        /// The system's word.
        reason: String,
    },
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    home: PathBuf,
}

impl Account {
    /// Looks a user up by name. May block.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::Lookup`].
    pub fn of(name: &str) -> Result<Self, AccountError> {
        match User::from_name(name) {
            Ok(Some(user)) => {
                Ok(Self { name: user.name, uid: user.uid, gid: user.gid, home: user.dir })
            }
            Ok(None) => Err(AccountError::Unknown(name.to_owned())),
            Err(reason) => {
                Err(AccountError::Lookup { name: name.to_owned(), reason: reason.desc().into() })
            }
        }
    }

    /// Variables that name the user and its home.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        let home = self.home.to_string_lossy().into_owned();
        [("HOME", home), ("USER", self.name.clone()), ("LOGNAME", self.name.clone())]
    }

    /// Makes this process the user's, with its groups, for good. Does nothing where it is so already.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`], [`AccountError::Refused`].
    pub fn become_it(&self) -> Result<(), AccountError> {
        if self.is_ours() {
            return Ok(());
        }
        self.may_be_become()?;
        let refused = |step| {
            move |reason: nix::Error| AccountError::Refused {
                name: self.name.clone(),
                step,
                reason: reason.desc().into(),
            }
        };
        let name = CString::new(self.name.as_str())
            .map_err(|_| AccountError::Unknown(self.name.clone()))?;
        // in this order: without its user, a process may not change its groups any more
        initgroups(&name, self.gid).map_err(refused("its groups"))?;
        setgid(self.gid).map_err(refused("its group"))?;
        setuid(self.uid).map_err(refused("its user"))
    }

    fn is_ours(&self) -> bool {
        Uid::current() == self.uid && Uid::effective() == self.uid
    }

    fn may_be_become(&self) -> Result<(), AccountError> {
        let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
        let may =
            rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed));
        if self.is_ours() || may {
            return Ok(());
        }
        let own = Uid::effective().as_raw();
        Err(AccountError::Forbidden { name: self.name.clone(), own })
    }
}

/// What keeps backends of this process from running as a user. May block; changes nothing.
pub fn obstacle(name: &str) -> Option<AccountError> {
    Account::of(name).and_then(|account| account.may_be_become()).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_does_not_exist_is_named() {
        let told = obstacle("no-such-user-anywhere").map(|error| error.to_string());
        assert_eq!(told.as_deref(), Some("there is no user 'no-such-user-anywhere'"));
    }

    #[test]
    fn ones_own_user_can_always_be_become() {
        let Some(user) = User::from_uid(Uid::current()).unwrap() else { return };
        let account = Account::of(&user.name).unwrap();
        assert_eq!(account.become_it(), Ok(()));
        assert_eq!(obstacle(&user.name), None);
        let [(_, home), (_, name), _] = account.variables();
        assert_eq!((home, name), (user.dir.display().to_string(), user.name));
    }
}
