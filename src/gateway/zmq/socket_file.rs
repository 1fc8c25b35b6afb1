//! The file of an ipc socket: locked, never stolen, private from its first moment, removed only when it is ours.
//!
//! The socket is bound inside a fresh folder of mode 0700 and then moved to its place without replacing anything.
//! So it never lies open, whatever the umask is, and what appears at the place meanwhile is not overwritten.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::error::OpenError;
use super::lock_file::LockFile;
use crate::clock::{Clock, Moment};
use crate::limits;

/// Read and written by the owner alone.
const PRIVATE: u32 = 0o600;

/// A file, whatever name it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }

    /// What [`FileId`]'s `Display` wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (device, inode) = text.trim_end().split_once(':')?;
        Some(Self { device: device.parse().ok()?, inode: inode.parse().ok()? })
    }

    fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().map(|meta| Self::of(&meta))
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}

/// A socket path that is ours: locked, and with a socket once it was bound. Dropped, both files are removed.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    bound: Option<FileId>,
    /// The socket of a predecessor that lives on until ours stands in its place.
    replaces: Option<FileId>,
    /// `None` once it was left to a successor.
    lock: Option<LockFile>,
}

impl SocketFile {
    /// Locks the path and removes the socket of a dead service. One that its holder [left](Self::leave) stays until
    /// ours is bound.
    ///
    /// # Errors
    /// [`OpenError`] when somebody lives there or a file of another kind lies there: neither is touched.
    pub(super) fn claim(path: &Path, clock: Clock, deadline: Moment) -> Result<Self, OpenError> {
        let staged = staging_folder(path, uuid::Uuid::nil()).join(STAGED_NAME);
        for needed in [path, &staged] {
            if needed.as_os_str().len() > limits::SOCKET_PATH_BYTES {
                let limit = limits::SOCKET_PATH_BYTES;
                return Err(OpenError::PathTooLong { path: needed.to_owned(), limit });
            }
        }
        let parent = parent(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|error| OpenError::file("make the folder", parent, error))?;
        let mut lock = LockFile::take(path, clock, deadline)?;
        let replaces = make_way(path, lock.left())?;
        if replaces.is_none() {
            lock.forget_left();
        }
        Ok(Self { path: path.to_owned(), bound: None, replaces, lock: Some(lock) })
    }

    /// Has `bind` bind a socket at the path that it is given, and moves that to its place.
    ///
    /// # Errors
    /// What `bind` or the file system says; [`OpenError::InUse`] when somebody took the place since it was claimed.
    pub(super) fn bind_with(
        &mut self,
        bind: impl FnOnce(&Path) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let staging = Staging::make(&self.path)?;
        bind(&staging.socket)?;
        let fault = |error| OpenError::file("prepare the socket", &staging.socket, error);
        fs::set_permissions(&staging.socket, Permissions::from_mode(PRIVATE)).map_err(fault)?;
        let staged = fs::symlink_metadata(&staging.socket).map_err(fault)?;
        let moved = match self.replaces.take() {
            Some(old) => replace(&staging.socket, &self.path, old),
            None => move_without_replacing(&staging.socket, &self.path),
        };
        moved.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenError::InUse(self.path.clone()),
            _ => OpenError::file("move the socket to", &self.path, error),
        })?;
        self.bound = Some(FileId::of(&staged));
        if let Some(lock) = &mut self.lock {
            lock.forget_left();
        }
        self.verify()
    }

    /// Gives the path to whoever comes next, while the socket goes on to live there until it is replaced. `None` when it
    /// was never bound.
    pub(super) fn leave(&mut self) -> Option<LeftSocket> {
        let id = self.bound.take()?;
        self.lock.take()?.leave(id);
        Some(LeftSocket { path: self.path.clone(), id })
    }

    fn verify(&self) -> Result<(), OpenError> {
        let fault = |error| OpenError::file("look at", &self.path, error);
        let meta = fs::symlink_metadata(&self.path).map_err(fault)?;
        let private = meta.mode() & 0o777 == PRIVATE && meta.file_type().is_socket();
        if private && Some(FileId::of(&meta)) == self.bound {
            return Ok(());
        }
        Err(OpenError::file("protect", &self.path, "it did not keep mode 0600"))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // somebody may have removed our file and put another one there: that one stays
        if let Some(id) = self.bound {
            remove(&self.path, id);
        }
    }
}

/// A socket whose path was left to a successor. Dropped, it is removed if none came.
#[derive(Debug)]
pub(super) struct LeftSocket {
    path: PathBuf,
    id: FileId,
}

impl LeftSocket {
    /// Whether whoever connects reaches somebody else by now, or nobody.
    pub(super) fn is_replaced(&self) -> bool {
        FileId::at(&self.path) != Some(self.id)
    }

    /// Where the successor is reached.
    pub(super) fn endpoint(&self) -> String {
        format!("ipc://{}", self.path.display())
    }
}

impl Drop for LeftSocket {
    fn drop(&mut self) {
        if self.is_replaced() {
            return;
        }
        // whoever holds the lock is about to replace it
        let clock = Clock::start();
        if let Ok(mut lock) = LockFile::take(&self.path, clock, clock.now()) {
            remove(&self.path, self.id);
            lock.forget_left();
        }
    }
}

/// Removes a file if it is still the one that is meant.
fn remove(path: &Path, id: FileId) {
    if FileId::at(path) == Some(id)
        && let Err(error) = fs::remove_file(path)
    {
        tracing::warn!(path = %path.display(), %error, "socket file could not be removed");
    }
}

/// What a socket file turned out to be.
#[derive(Debug, PartialEq, Eq)]
enum Resident {
    Live,
    Dead,
    Gone,
}

/// The answer is the socket that lives there and was left to us.
fn make_way(path: &Path, left: Option<FileId>) -> Result<Option<FileId>, OpenError> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::file("look at", path, error)),
    };
    if !meta.file_type().is_socket() {
        return Err(OpenError::NotASocket(path.to_owned()));
    }
    match ask_who_lives_at(path).map_err(|error| OpenError::file("connect to", path, error))? {
        Resident::Live if left == Some(FileId::of(&meta)) => Ok(left),
        Resident::Live => Err(OpenError::InUse(path.to_owned())),
        Resident::Gone => Ok(None),
        Resident::Dead => {
            tracing::info!(path = %path.display(), "removing the socket of a dead service");
            fs::remove_file(path).map_err(|error| {
                OpenError::file("remove the socket of a dead service", path, error)
            })?;
            Ok(None)
        }
    }
}

fn ask_who_lives_at(path: &Path) -> Result<Resident, Errno> {
    // non-blocking: a listener that is stuck with a full queue is alive, too
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        // a socket of another type is alive
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS | Errno::PROTOTYPE) => Ok(Resident::Live),
        Err(Errno::CONNREFUSED) => Ok(Resident::Dead),
        Err(Errno::NOENT) => Ok(Resident::Gone),
        Err(error) => Err(error),
    }
}

/// `rename` that fails where the target exists.
fn move_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // file systems that do not know the flag: a hard link does not replace either
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        Err(error) => Err(error.into()),
    }
}

/// Puts a socket in the place of the one that was left to us, so that there is no moment without one. What else has come
/// there stays.
fn replace(from: &Path, to: &Path, old: FileId) -> io::Result<()> {
    if FileId::at(to) != Some(old) {
        return move_without_replacing(from, to);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
        // what we got in exchange goes with the folder that it now lies in
        Ok(()) if FileId::at(from) == Some(old) => Ok(()),
        // it was not that one any more
        Ok(()) => {
            renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE)?;
            Err(io::ErrorKind::AlreadyExists.into())
        }
        // its owner removed it
        Err(Errno::NOENT) => move_without_replacing(from, to),
        // file systems that do not know the flag
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        Err(error) => Err(error.into()),
    }
}

/// The private folder in which a socket is bound; removed with what is left in it.
struct Staging {
    folder: PathBuf,
    socket: PathBuf,
}

const STAGED_NAME: &str = "s";

impl Staging {
    /// Its name follows from the socket's, so that whoever holds the lock after a service that was killed in between finds
    /// what that one left. Where somebody else took the name, it is a random one.
    fn make(path: &Path) -> Result<Self, OpenError> {
        let settled = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, path.as_os_str().as_bytes());
        let mut folder = staging_folder(path, settled);
        remove_ours(&folder);
        let make = |folder: &Path| DirBuilder::new().mode(0o700).create(folder);
        let mut made = make(&folder);
        if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            folder = staging_folder(path, uuid::Uuid::new_v4());
            made = make(&folder);
        }
        made.map_err(|error| OpenError::file("make the folder", &folder, error))?;
        let socket = folder.join(STAGED_NAME);
        Ok(Self { folder, socket })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let socket = match fs::remove_file(&self.socket) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        if let Err(error) = socket.and_then(|()| fs::remove_dir(&self.folder)) {
            tracing::warn!(path = %self.folder.display(), %error, "folder could not be removed");
        }
    }
}

/// What a service that was killed while it bound its socket left; nothing of others, and nothing unexpected.
fn remove_ours(folder: &Path) {
    let own = rustix::process::geteuid().as_raw();
    if fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.uid() == own) {
        // what cannot be removed is told by whoever wants the name
        let _ = fs::remove_file(folder.join(STAGED_NAME));
        let _ = fs::remove_dir(folder);
    }
}

fn staging_folder(path: &Path, unique: uuid::Uuid) -> PathBuf {
    let (unique, ..) = unique.as_fields();
    parent(path).join(format!(".{unique:08x}"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
#[path = "socket_file_tests.rs"]
mod tests;
