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
/// Before the socket of a former holder who left it, alive, to a successor.
const LEFT: &str = "left ";
/// Times that a lock file may be removed under our hands by its last holder before we give up.
const ATTEMPTS: usize = 64;
/// How soon a lock that a predecessor in this process still holds is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// A lock that is held; removed and given back when dropped.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    file: File,
    /// The socket that a holder before us left to whoever comes. Given back with the lock as long as it is there.
    left: Option<FileId>,
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
                let holder = Mark::read(&content).and_then(|mark| mark.pid);
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
                let left = Mark::read(&content).and_then(|mark| mark.left);
                Mark { pid: Some(std::process::id()), left }.write(&file, &path)?;
                return Ok(Self { path, file, left });
            }
        }
        Err(OpenError::Locked { path: socket.to_owned(), pid: None })
    }

    /// The socket that may be replaced though it is alive.
    pub(super) fn left(&self) -> Option<FileId> {
        self.left
    }

    /// That socket is gone, or another one stands in its place.
    pub(super) fn forget_left(&mut self) {
        if self.left.take().is_some() {
            self.tell(Mark { pid: Some(std::process::id()), left: None });
        }
    }

    /// Gives the lock back and tells whoever takes it next that this socket may be replaced though it is alive.
    pub(super) fn leave(mut self, socket: FileId) {
        self.left = Some(socket);
    }

    fn tell(&self, mark: Mark) {
        if let Err(error) = mark.write(&self.file, &self.path) {
            tracing::warn!(%error, "lock file could not be written");
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if !is_same(&self.file, &self.path) {
            return;
        }
        if self.left.is_some() {
            return self.tell(Mark { pid: None, left: self.left });
        }
        // unlinked while still locked: who opened it meanwhile sees that its name is gone
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "lock file could not be removed");
        }
    }
}

/// What a lock file tells: `symphony-lock [PID] [left DEVICE:INODE]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    pid: Option<u32>,
    left: Option<FileId>,
}

impl Mark {
    fn read(content: &str) -> Option<Self> {
        let told = content.strip_prefix(MARK)?;
        let (pid, left) = told.split_once(LEFT).unwrap_or((told, ""));
        Some(Self { pid: pid.trim().parse().ok(), left: FileId::parse(left) })
    }

    fn write(self, mut file: &File, path: &Path) -> Result<(), OpenError> {
        let pid = self.pid.map_or_else(String::new, |pid| format!("{pid} "));
        let left = self.left.map_or_else(String::new, |id| format!("{LEFT}{id}"));
        let mark = format!("{}\n", format!("{MARK}{pid}{left}").trim_end());
        file.rewind()
            .and_then(|()| file.write_all(mark.as_bytes()))
            .and_then(|()| file.set_len(mark.len() as u64))
            .map_err(|error| OpenError::file("write", path, error))
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

/// The first bytes of the file: enough for any mark of ours.
fn content(mut file: &File, path: &Path) -> Result<String, OpenError> {
    const ENOUGH: u64 = MARK.len() as u64 + 48;
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
    fn a_mark_reads_as_it_was_written() {
        let left = FileId::parse("2049:7").expect("an id");
        for (pid, left) in [(Some(7), None), (None, Some(left)), (Some(7), Some(left))] {
            let folder = tempfile::tempdir().expect("folder");
            let path = folder.path().join("s.lock");
            let file = open(&path).expect("open");
            let mark = Mark { pid, left };
            mark.write(&file, &path).expect("write");
            let read = Mark::read(&content(&file, &path).expect("read"));
            assert_eq!(read.map(|read| (read.pid, read.left)), Some((pid, left)));
        }
        assert_eq!(Mark::read("my thesis"), None);
        for hostile in
            ["left", "left :", "left 1:", "left 1:2:3", "left -1:2", "99999999999 left x"]
        {
            let mark = Mark::read(&format!("symphony-lock {hostile}\n")).expect("ours");
            assert_eq!(mark, Mark { pid: None, left: None }, "{hostile}");
        }
    }

    #[test]
    fn what_was_left_is_told_until_somebody_has_taken_its_place() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("s");
        let id = FileId::parse("2049:7");
        take(&socket).expect("free").leave(id.expect("an id"));
        // a successor that fails before it has bound leaves it to the next
        for _ in 0..2 {
            assert_eq!(take(&socket).expect("free").left(), id);
        }
        // and so does one that is killed
        let killed = take(&socket).expect("free");
        let told = std::fs::read_to_string(path_of(&socket)).expect("read");
        assert_eq!(told, format!("symphony-lock {} left 2049:7\n", std::process::id()));
        drop(killed);
        let mut last = take(&socket).expect("free");
        last.forget_left();
        drop(last);
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
