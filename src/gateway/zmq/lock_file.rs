//! The lock beside a socket file: who holds it may bind the socket.
//!
//! libzmq unlinks whatever lies at the path that it binds, so a second service would silently steal the socket of a
//! live one. The lock ends with its process, so a killed service leaves nothing that has to be cleaned up by hand.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::error::OpenError;
use super::socket_file::FileId;
use crate::clock::{Clock, Moment};

/// First word of every lock file of ours: a file without it is somebody else's.
const MARK: &str = "symphony-lock ";
/// Times that a lock file may be removed under our hands by its last holder before we give up.
const ATTEMPTS: usize = 64;
/// How soon a lock that a predecessor in this process still holds is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// A lock that is held; removed and given back when dropped.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    file: File,
}

impl LockFile {
    /// Takes the lock of `socket`.
    ///
    /// Another process that holds it is an error at once. A predecessor in this process (a gateway that was just
    /// replaced and still sends its last replies) is waited for until `deadline`.
    ///
    /// # Errors
    /// [`OpenError::Locked`], [`OpenError::NotOurLock`], or what the file system says.
    pub(super) fn take(socket: &Path, clock: Clock, deadline: Moment) -> Result<Self, OpenError> {
        let path = path_of(socket);
        for _ in 0..ATTEMPTS {
            let file = open(&path)?;
            while let Err(error) = file.try_lock() {
                if let TryLockError::Error(error) = error {
                    return Err(OpenError::file("lock", &path, error));
                }
                let content = content(&file, &path)?;
                let holder = content.strip_prefix(MARK).and_then(|pid| pid.trim().parse().ok());
                if holder != Some(std::process::id()) || clock.now() >= deadline {
                    return Err(OpenError::Locked { path: socket.to_owned(), pid: holder });
                }
                std::thread::park_timeout(RETRY);
            }
            // the last holder unlinks the file and then lets go: what we locked may be a file without a name
            if is_same(&file, &path) {
                // judged only now: while another holds it, its mark may be half written
                let content = content(&file, &path)?;
                if !content.is_empty() && !content.starts_with(MARK) {
                    return Err(OpenError::NotOurLock(path));
                }
                write_mark(&file, &path)?;
                return Ok(Self { path, file });
            }
        }
        Err(OpenError::Locked { path: socket.to_owned(), pid: None })
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // unlinked while still locked: who opened it meanwhile sees that its name is gone
        if is_same(&self.file, &self.path)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "lock file could not be removed");
        }
    }
}

fn path_of(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

fn open(path: &Path) -> Result<File, OpenError> {
    // neither follow a link that somebody laid in a shared folder, nor wait for the other end of a pipe
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path);
    match file {
        Ok(file) => Ok(file),
        // a link, a folder, a socket
        Err(_) if path.symlink_metadata().is_ok_and(|meta| !meta.is_file()) => {
            Err(OpenError::NotOurLock(path.to_owned()))
        }
        Err(error) => Err(OpenError::file("open the lock file", path, error)),
    }
}

fn write_mark(mut file: &File, path: &Path) -> Result<(), OpenError> {
    let mark = format!("{MARK}{}\n", std::process::id());
    file.rewind()
        .and_then(|()| file.write_all(mark.as_bytes()))
        .and_then(|()| file.set_len(mark.len() as u64))
        .map_err(|error| OpenError::file("write", path, error))
}

/// The first bytes of the file: enough for any mark of ours.
fn content(mut file: &File, path: &Path) -> Result<String, OpenError> {
    const ENOUGH: u64 = MARK.len() as u64 + 16;
    let fault = |error| OpenError::file("read", path, error);
    if !file.metadata().map_err(fault)?.is_file() {
        return Err(OpenError::NotOurLock(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.rewind().map_err(fault)?;
    file.take(ENOUGH).read_to_end(&mut bytes).map_err(fault)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(ours), Ok(there)) => FileId::of(&ours) == FileId::of(&there) && there.nlink() > 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(socket: &Path) -> Result<LockFile, OpenError> {
        let clock = Clock::start();
        LockFile::take(socket, clock, clock.now())
    }

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("s");
        let held = take(&socket).expect("free");
        let pid = Some(std::process::id());
        assert_eq!(
            take(&socket).expect_err("held"),
            OpenError::Locked { path: socket.clone(), pid }
        );
        drop(held);
        assert!(!folder.path().join("s.lock").exists());
        drop(take(&socket).expect("free again"));
    }

    #[test]
    fn another_process_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("s");
        let held = take(&socket).expect("free");
        // the lock is held, and not by a gateway of this process, as far as its mark tells
        std::fs::write(path_of(&socket), "symphony-lock 1\n").expect("write");
        let clock = Clock::start();
        let in_an_hour = clock.now() + Duration::from_secs(3600);
        assert_eq!(
            LockFile::take(&socket, clock, in_an_hour).expect_err("held"),
            OpenError::Locked { path: socket.clone(), pid: Some(1) }
        );
        drop(held);
    }

    #[test]
    fn a_lock_of_a_dead_service_is_taken_over() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("s.lock"), "symphony-lock 4194304\n").expect("write");
        drop(take(&folder.path().join("s")).expect("nobody holds it"));
        assert!(!folder.path().join("s.lock").exists());
    }

    #[test]
    fn a_foreign_file_of_that_name_is_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let (socket, lock) = (folder.path().join("s"), folder.path().join("s.lock"));
        std::fs::write(&lock, "my thesis").expect("write");
        assert_eq!(take(&socket).expect_err("foreign"), OpenError::NotOurLock(lock.clone()));
        assert_eq!(std::fs::read_to_string(&lock).expect("still there"), "my thesis");

        std::fs::remove_file(&lock).expect("remove");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &lock).expect("link");
        assert_eq!(take(&socket).expect_err("link"), OpenError::NotOurLock(lock.clone()));
        assert!(!folder.path().join("elsewhere").exists());

        std::fs::remove_file(&lock).expect("remove");
        std::fs::create_dir(&lock).expect("folder");
        assert_eq!(take(&socket).expect_err("folder"), OpenError::NotOurLock(lock));
    }

    #[test]
    fn only_one_of_many_racing_takers_holds_it() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("s");
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Ok(lock) = take(&socket) {
                            use std::sync::atomic::Ordering::SeqCst;
                            assert_eq!(inside.fetch_add(1, SeqCst), 0, "two hold it");
                            inside.fetch_sub(1, SeqCst);
                            drop(lock);
                        }
                    }
                });
            }
        });
    }
}
