//! The user that a backend runs as: who that is, whether this process may become it, and becoming it.
//!
//! Looking a user up may ask a server of the network. So the launcher does not: `config check` and the exec shim do.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::transience::is_transient;

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
    /// This process is not that user, and lacks what it takes to become it and to end its processes later.
    #[error("cannot become user '{name}': this process runs as user {own} without {lacking}")]
    Forbidden {
        /// The user.
        name: String,
        /// The id of this process's user.
        own: u32,
        /// The capabilities that are not there.
        lacking: String,
    },
    /// The system refused a step.
    #[error("cannot become user '{name}': {step}: {}", .reason.desc())]
    Refused {
        /// The user.
        name: String,
        /// What was refused.
        step: &'static str,
        /// The system's word.
        reason: nix::Error,
    },
}

impl AccountError {
    /// Whether another try may do: who tells about users may be out of reach just now.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lookup { .. } => true,
            Self::Refused { reason, .. } => is_transient(&(*reason).into()),
            Self::Unknown(_) | Self::Forbidden { .. } => false,
        }
    }
}

/// What it takes to run processes as another user: to become it, to take its groups, and to signal them afterwards.
const NEEDED: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::KILL, "CAP_KILL"),
];

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

    /// Makes this process the user's, with its groups, for good: no way back is left to it, and to nothing that it
    /// executes. Does nothing where it is so already.
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
                reason,
            }
        };
        let name = CString::new(self.name.as_str())
            .map_err(|_| AccountError::Unknown(self.name.clone()))?;
        // in this order: without its user, a process may not change its groups any more
        initgroups(&name, self.gid).map_err(refused("its groups"))?;
        setgid(self.gid).map_err(refused("its group"))?;
        setuid(self.uid).map_err(refused("its user"))?;
        if self.uid.is_root() {
            return Ok(());
        }
        give_up_capabilities().map_err(|errno| {
            refused("giving up capabilities")(nix::Error::from_raw(errno.raw_os_error()))
        })
    }

    fn is_ours(&self) -> bool {
        Uid::current() == self.uid && Uid::effective() == self.uid
    }

    fn may_be_become(&self) -> Result<(), AccountError> {
        if self.is_ours() {
            return Ok(());
        }
        let held = rustix::thread::capabilities(None).map(|sets| sets.effective);
        let held = held.unwrap_or(CapabilitySet::empty());
        let lacking: Vec<_> = NEEDED
            .into_iter()
            .filter_map(|(capability, name)| (!held.contains(capability)).then_some(name))
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let own = Uid::effective().as_raw();
        Err(AccountError::Forbidden { name: self.name.clone(), own, lacking: lacking.join(", ") })
    }
}

/// A change from root to another user takes the capabilities away, one from any other user does not; ambient ones live on
/// in the next program. A program of root's that sets its user by itself (`sudo`) could bring them back.
fn give_up_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
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
