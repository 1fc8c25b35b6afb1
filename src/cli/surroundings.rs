//! What stands around the process of a service: the lock of its runtime folder and a guard, its own or those of its heart.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::time::Duration;

use super::error::CliError;
use super::heart::log_options;
use crate::clock::Clock;
use crate::heart::guard::ALL_IS_WELL;
use crate::heart::guarding::Guard;
use crate::heart::hunt;
use crate::heart::leavings::Leavings;
use crate::heart::link::Connection;
use crate::heart::pid_file::{PidFile, Role};
use crate::heart::protocol::FromCore;
use crate::heart::store;
use crate::limits;
use crate::settings::model::Settings;
use crate::state;

/// See the module.
pub struct Surroundings {
    folder: PathBuf,
    lock: Option<PidFile>,
    around: Around,
}

enum Around {
    /// Nobody: the guard is this process's own, and gives no grace.
    Nothing(Guard),
    /// A heart, this process, with a pipe to its guard.
    Heart(u32, Option<OwnedFd>),
}

/// The first word to the heart that started this process.
///
/// # Errors
/// When no heart did.
pub fn meet_heart() -> Result<Connection, CliError> {
    let hello = FromCore::Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        state_version: state::VERSION,
    };
    Connection::open(&hello).map_err(|error| CliError::Failed(format!("cannot start: {error}")))
}

impl Surroundings {
    /// Those of a service without a heart: nobody else may use its folder, and its models end with it, however it ends.
    ///
    /// # Errors
    /// When another service uses the folder, or no guard can be had.
    pub fn alone(settings: &Settings) -> Result<Self, CliError> {
        let refused = |error: String| CliError::Failed(format!("cannot start: {error}"));
        let folder = settings.service.runtime_dir.clone();
        let lock = PidFile::take(&folder, Role::Service, limits::GUARD_PATIENCE)
            .map_err(|error| refused(error.to_string()))?;
        let guard = Guard::new(&folder, Duration::ZERO, log_options(settings, None));
        let kept = guard.and_then(|mut guard| guard.keep(Clock::start().now()).map(|()| guard));
        match kept {
            Ok(guard) => Ok(Self { folder, lock: Some(lock), around: Around::Nothing(guard) }),
            Err(error) => {
                lock.remove();
                Err(refused(format!("no guard can be started: {error}")))
            }
        }
    }

    /// Those that a heart gives. They are taken out of what it held.
    pub fn of_heart(settings: &Settings, heart: &mut Connection) -> Self {
        let folder = settings.service.runtime_dir.clone();
        let lock = heart.held.remove(store::LOCK);
        let lock = lock.map(|lock| PidFile::inherited(lock, &folder));
        let guard = heart.held.remove(store::GUARD);
        Self { folder, lock, around: Around::Heart(heart.welcome.heart_pid, guard) }
    }

    /// The service has ended. Where there is a heart, the rest is its business; where processes live that this service did
    /// not end (it could not start, or the kernel holds them), it is the guard's.
    pub fn end(self) {
        match &self.around {
            Around::Heart(heart, _) if parent_id() == *heart => return,
            // the end of this process is the guard's word to begin
            _ if Leavings::read(&self.folder).as_ref().is_some_and(hunt::finds_any) => return,
            _ => {}
        }
        match self.around {
            Around::Heart(_, None) => {}
            Around::Heart(_, Some(guard)) => {
                // one that is gone need not be told
                let _ = File::from(guard).write_all(ALL_IS_WELL);
            }
            Around::Nothing(guard) => guard.dismiss(),
        }
        if let Some(lock) = &self.lock {
            lock.remove();
        }
        // what is not ours keeps it
        let _ = fs::remove_dir(&self.folder);
    }
}
