//! `service.pid`: who the service of a runtime folder is, and a lock that says whether it lives.
//!
//! The lock belongs to the open file, which heart and core share: it is free when both are gone, however they ended. What
//! the file says is for people; only the lock counts, so that a file of a dead service keeps nobody out.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use super::procfs;
use crate::clock::Clock;
use crate::limits;
use crate::state::ownership::refuse_foreign;

/// The name of the file below the runtime folder.
pub const NAME: &str = "service.pid";
/// What the file holds while a guard ends the processes of a dead service.
const GUARD: &str = "guard";

/// Who holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A service; its process where the file tells it.
    Service(Option<u32>),
    /// A guard, which ends what a dead service left. It takes seconds.
    Guard,
}

/// In which part somebody takes the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// As the service: the file tells the present process.
    Service,
    /// As a guard.
    Guard,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// A service of this folder lives.
    #[error("the folder {folder} is in use by a service{}", pid_words(*.pid))]
    Service {
        /// The folder.
        folder: PathBuf,
        /// Its process.
        pid: Option<u32>,
    },
    /// A guard is still ending what a dead service left.
    #[error(
        "processes of the service before are still being ended in {0}, start again in a moment"
    )]
    Guard(PathBuf),
    /// The file cannot be made.
    #[error("cannot use {path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        reason: io::Error,
    },
}

fn pid_words(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// The file with its lock.
#[derive(Debug)]
pub struct PidFile {
    file: File,
    path: PathBuf,
}

impl PidFile {
    /// Takes the lock; waits only where a guard holds it, `patience` at most. Makes the folder, private, where there is none.
    ///
    /// # Errors
    /// [`PidFileError`].
    pub fn take(folder: &Path, role: Role, patience: Duration) -> Result<Self, PidFileError> {
        let path = folder.join(NAME);
        let failed = |reason| PidFileError::Io { path: path.clone(), reason };
        let clock = Clock::start();
        loop {
            // each time: whoever had it before may just have removed it at its end
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
            // its owner could take the file, and with it the lock, away
            refuse_foreign(folder).map_err(failed)?;
            let taken = match try_take(&path, role) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Holder::Guard),
                other => other.map_err(failed)?,
            };
            match taken {
                Ok(file) => return Ok(Self { file, path }),
                // just ending, dying, or somebody only looked whether it is locked
                Err(Holder::Service(pid)) if clock.now().since_origin() < leaves_within(pid) => {
                    std::thread::park_timeout(limits::PID_FILE_RETRY);
                }
                Err(Holder::Service(pid)) => {
                    return Err(PidFileError::Service { folder: folder.to_owned(), pid });
                }
                Err(Holder::Guard) if clock.now().since_origin() >= patience => {
                    return Err(PidFileError::Guard(folder.to_owned()));
                }
                Err(Holder::Guard) => std::thread::park_timeout(limits::PID_FILE_RETRY),
            }
        }
    }

    /// The file as whoever shares the lock has it.
    pub fn inherited(descriptor: OwnedFd, folder: &Path) -> Self {
        Self { file: File::from(descriptor), path: folder.join(NAME) }
    }

    /// Removes the file. The lock stays with whoever has the file open.
    pub fn remove(&self) {
        // only ours: another one may stand there where a person removed it by hand
        if is_at(&self.file, &self.path).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How long whoever holds the lock may take to be gone, so that a start right after a stop is no fault.
fn leaves_within(holder: Option<u32>) -> Duration {
    if holder.is_some_and(runs) { limits::PID_FILE_LEAVES } else { limits::PID_FILE_SETTLES }
}

impl AsFd for PidFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Who the file of this folder tells, whether the lock is held or not.
pub fn told(folder: &Path) -> Option<Holder> {
    open_file(&folder.join(NAME), OFlags::RDONLY).ok().map(|mut file| told_by(&mut file))
}

/// Who holds the lock of this folder; `None` when nobody does.
pub fn holder(folder: &Path) -> Option<Holder> {
    let mut file = open_file(&folder.join(NAME), OFlags::RDONLY).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => None,
        Err(_) => Some(told_by(&mut file)),
    }
}

fn runs(pid: u32) -> bool {
    procfs::stat(pid).is_some_and(|stat| !stat.is_dead())
}

fn open_file(path: &Path, flags: OFlags) -> io::Result<File> {
    // a link, or a pipe that nobody writes to, is nothing of ours
    let safe = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(open(path, flags | safe, Mode::RUSR | Mode::WUSR)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(file)
}

fn try_take(path: &Path, role: Role) -> io::Result<Result<File, Holder>> {
    loop {
        let mut file = open_file(path, OFlags::RDWR | OFlags::CREATE)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Err(told_by(&mut file))),
            Err(errno) => return Err(errno.into()),
        }
        // removed by its holder between our open and our lock: then the lock is worth nothing
        if !is_at(&file, path)? {
            continue;
        }
        let text = match role {
            Role::Service => std::process::id().to_string(),
            Role::Guard => GUARD.to_owned(),
        };
        file.set_len(0)?;
        file.write_all(format!("{text}\n").as_bytes())?;
        return Ok(Ok(file));
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn told_by(file: &mut File) -> Holder {
    let mut text = String::new();
    // a holder that is just writing has nothing there yet
    let _ = file.seek(SeekFrom::Start(0));
    let _ = file.take(limits::PID_FILE_BYTES).read_to_string(&mut text);
    match text.trim() {
        GUARD => Holder::Guard,
        pid => Holder::Service(pid.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let home = tempfile::tempdir().expect("folder");
        let folder = home.path().join("run");
        let first = PidFile::take(&folder, Role::Service, NO_WAIT).expect("taken");
        let own = std::process::id();
        assert_eq!(fs::read_to_string(folder.join(NAME)).expect("read"), format!("{own}\n"));
        assert_eq!(fs::metadata(&folder).expect("there").permissions().mode() & 0o777, 0o700);
        let refused = PidFile::take(&folder, Role::Service, NO_WAIT).expect_err("refused");
        assert_eq!(
            refused.to_string(),
            format!("the folder {} is in use by a service (pid {own})", folder.display())
        );
        assert_eq!(holder(&folder), Some(Holder::Service(Some(own))));
        first.remove();
        drop(first);
        assert_eq!(holder(&folder), None);
        assert!(!folder.join(NAME).exists());
    }

    #[test]
    fn a_folder_that_every_user_may_write_in_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let open_to_all = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(folder.path(), open_to_all).expect("set");
        let refused = PidFile::take(folder.path(), Role::Service, NO_WAIT).expect_err("refused");
        assert!(refused.to_string().contains("every user"), "{refused}");
        assert!(!folder.path().join(NAME).exists());
    }

    #[test]
    fn a_file_that_a_dead_service_left_keeps_nobody_out() {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join(NAME), "1\n").expect("written");
        assert_eq!(holder(folder.path()), None);
        PidFile::take(folder.path(), Role::Service, NO_WAIT).expect("taken");
    }

    #[test]
    fn the_lock_lives_as_long_as_any_copy() {
        let folder = tempfile::tempdir().expect("folder");
        let heart = PidFile::take(folder.path(), Role::Service, NO_WAIT).expect("taken");
        let core = heart.as_fd().try_clone_to_owned().expect("copied");
        drop(heart);
        assert!(PidFile::take(folder.path(), Role::Service, NO_WAIT).is_err());
        drop(core);
        PidFile::take(folder.path(), Role::Service, NO_WAIT).expect("taken");
    }

    #[test]
    fn the_lock_of_a_process_that_is_just_gone_is_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let dying = PidFile::take(folder.path(), Role::Service, NO_WAIT).expect("taken");
        // no process has this number
        fs::write(folder.path().join(NAME), format!("{}\n", u32::MAX)).expect("written");
        assert_eq!(told(folder.path()), Some(Holder::Service(Some(u32::MAX))));
        let (begun, has_begun) = std::sync::mpsc::channel();
        let path = folder.path().to_owned();
        let starter = std::thread::spawn(move || {
            begun.send(()).expect("heard");
            PidFile::take(&path, Role::Service, NO_WAIT).is_ok()
        });
        has_begun.recv().expect("it runs");
        drop(dying);
        assert!(starter.join().expect("no panic"));
    }

    #[test]
    fn a_guard_is_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let guard = PidFile::take(folder.path(), Role::Guard, NO_WAIT).expect("taken");
        assert_eq!(holder(folder.path()), Some(Holder::Guard));
        assert!(matches!(
            PidFile::take(folder.path(), Role::Service, NO_WAIT),
            Err(PidFileError::Guard(_))
        ));
        let path = folder.path().to_owned();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let starter = std::thread::spawn(move || {
            begun.send(()).expect("heard");
            PidFile::take(&path, Role::Service, Duration::from_secs(20)).expect("taken").path
        });
        has_begun.recv().expect("it runs");
        guard.remove();
        drop(guard);
        assert!(starter.join().expect("no panic").exists());
    }

    #[test]
    fn links_and_folders_in_its_place_are_refused_and_stay() {
        let folder = tempfile::tempdir().expect("folder");
        let other = folder.path().join("diary");
        fs::write(&other, "mine").expect("written");
        std::os::unix::fs::symlink(&other, folder.path().join(NAME)).expect("linked");
        assert!(PidFile::take(folder.path(), Role::Service, NO_WAIT).is_err());
        assert_eq!(fs::read_to_string(&other).expect("read"), "mine");
        fs::remove_file(folder.path().join(NAME)).expect("removed");
        fs::create_dir(folder.path().join(NAME)).expect("made");
        assert!(PidFile::take(folder.path(), Role::Service, NO_WAIT).is_err());
    }
}
