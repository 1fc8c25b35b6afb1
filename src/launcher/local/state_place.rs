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
use crate::state::envelope::{self, Damage};
use crate::state::files::ServiceFile;
use crate::state::folder::{Contents, DamagedFile, SERVICE, StateFolder};

/// Locks the runtime folder and reads the state files in it, if there are any.
///
/// # Errors
/// When another launcher uses it, it cannot be read, or a program of another version wrote it: what it tells of may live, and
/// must neither be doubled nor lost.
pub(super) fn open(runtime_dir: &Path) -> io::Result<(OwnedFd, Option<StateFolder>, Contents)> {
    let lock = lock(runtime_dir)?;
    let at = |error: io::Error| {
        let path = runtime_dir.join(state::FOLDER);
        io::Error::new(error.kind(), format!("state folder {}: {error}", path.display()))
    };
    let folder = StateFolder::find(&runtime_dir.join(state::FOLDER)).map_err(at)?;
    if let Some(folder) = &folder {
        refuse_other_version(folder).map_err(at)?;
    }
    let contents = folder.as_ref().map(StateFolder::read).transpose().map_err(at)?;
    Ok((lock, folder, contents.unwrap_or_default()))
}

/// One file of an instance alone is no reason: its process is known by its marks.
fn refuse_other_version(folder: &StateFolder) -> io::Result<()> {
    let foreign = folder.foreign()?;
    let other = |file: &&DamagedFile| {
        file.name == SERVICE && matches!(file.damage, Damage::OtherVersion(_))
    };
    let Some(DamagedFile { name, damage }) = foreign.iter().find(other) else { return Ok(()) };
    let text = format!(
        "{name}: {damage}; start a program that does, or remove the folder when nothing of that service runs any more"
    );
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

/// Begins the id of every service of this folder, so that its processes are known by their marks when all files are lost.
/// By path and by number: another folder may have this path for others, and may get this number later.
///
/// # Errors
/// When the folder is gone.
pub(super) fn sign(runtime_dir: &Path, lock: &OwnedFd) -> io::Result<String> {
    let facts = rustix::fs::fstat(lock)?;
    let path = runtime_dir.canonicalize()?;
    let place = format!("{} {} {}", facts.st_dev, facts.st_ino, path.display());
    Ok(envelope::digest(place.as_bytes()))
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
    fn what_another_version_wrote_is_refused_and_left_as_it_is() {
        let runtime = tempfile::tempdir().unwrap();
        let folder = StateFolder::make(&runtime.path().join(state::FOLDER)).unwrap();
        let newer = folder.path().join("service.json");
        std::fs::write(&newer, r#"{"version":99,"new":{}}"#).unwrap();
        let refused = open(runtime.path()).unwrap_err().to_string();
        assert!(refused.contains("service.json: it has version 99"), "{refused}");
        assert!(newer.exists());
    }

    #[test]
    fn a_sign_is_of_one_folder_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run");
        let sign_now = || sign(&path, &lock(&path).unwrap()).unwrap();
        std::fs::create_dir(&path).unwrap();
        let first = sign_now();
        assert_eq!(first, sign_now());
        // still there: its number cannot be used again
        std::fs::rename(&path, home.path().join("other")).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_ne!(first, sign_now());
    }

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
