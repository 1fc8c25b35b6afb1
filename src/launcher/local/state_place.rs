//! The place of the state files in the service's runtime folder, and the lock on it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::keeper::Place;
use crate::clock::Clock;
use crate::ids::ProcessKey;
use crate::limits;
use crate::state;
use crate::state::files::ServiceFile;
use crate::state::folder::{Contents, StateFolder};

/// Locks the runtime folder and reads the state files in it, if there are any.
///
/// # Errors
/// When another launcher uses it, or it cannot be read.
pub(super) fn open(runtime_dir: &Path) -> io::Result<(OwnedFd, Option<StateFolder>, Contents)> {
    let lock = lock(runtime_dir)?;
    let at = |error: io::Error| {
        let path = runtime_dir.join(state::FOLDER);
        io::Error::new(error.kind(), format!("state folder {}: {error}", path.display()))
    };
    let folder = StateFolder::find(&runtime_dir.join(state::FOLDER)).map_err(at)?;
    let contents = folder.as_ref().map(StateFolder::read).transpose().map_err(at)?;
    Ok((lock, folder, contents.unwrap_or_default()))
}

/// Makes the folder and writes down which service uses it from now on; `None` where that is not possible now, which is
/// tried again.
pub(super) fn begin(runtime_dir: &Path, service: &ServiceFile) -> Option<StateFolder> {
    let folder = StateFolder::make(&runtime_dir.join(state::FOLDER)).ok()?;
    folder.write_service(service).ok()?;
    Some(folder)
}

/// See [`Place`].
pub(super) fn place(
    runtime_dir: &Path,
    folder: Option<StateFolder>,
    lock: OwnedFd,
    service: ServiceFile,
    last_event: Arc<AtomicU64>,
) -> Place {
    Place { path: runtime_dir.join(state::FOLDER), folder, lock, service, last_event }
}

/// Where the readiness of a start is told by datagrams.
pub fn notify_path(runtime_dir: &Path, key: &ProcessKey) -> PathBuf {
    runtime_dir.join(format!("{}-{}.notify", key.instance, key.generation))
}

/// The kernel gives the lock back when its holder ends, however it does.
fn lock(runtime_dir: &Path) -> io::Result<OwnedFd> {
    let at = |error: io::Error| {
        io::Error::new(error.kind(), format!("runtime folder {}: {error}", runtime_dir.display()))
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(runtime_dir, flags, Mode::empty());
    let folder = folder.map_err(|errno| at(errno.into()))?;
    let clock = Clock::start();
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(errno) => return Err(at(errno.into())),
        }
        // one that was killed in the midst of a spawn holds it for a moment longer
        if clock.now().since_origin() >= limits::STATE_TAKEOVER {
            let text = "another service uses it: stop it, or configure another folder (service.runtime_dir)";
            return Err(at(io::Error::new(io::ErrorKind::ResourceBusy, text)));
        }
        std::thread::park_timeout(limits::STATE_TAKEOVER_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_launcher_at_a_time_uses_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        let refused = lock(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("another service uses it"), "{refused}");
        drop(first);
        lock(folder.path()).unwrap();
        assert!(lock(&folder.path().join("none")).is_err());
    }
}
