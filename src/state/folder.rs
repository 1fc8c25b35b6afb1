//! The folder of state files. Every call works in the folder that was opened, whatever lies under its name by now.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::envelope::{self, Damage};
use super::files::{InstanceFile, ServiceFile};
use crate::ids::InstanceId;
use crate::limits;

/// The file of the service itself.
pub const SERVICE: &str = "service.json";
const ENDING: &str = ".json";
/// What a file is called while it is being written.
const UNFINISHED: &str = ".unfinished";
/// What a file is called that could not be used, so that a person may look at it.
const ASIDE: &str = ".damaged";

/// See the module.
#[derive(Debug)]
pub struct StateFolder {
    folder: OwnedFd,
    path: PathBuf,
}

/// What was found in a folder.
#[derive(Debug, Default)]
pub struct Contents {
    /// The service that wrote it; `None` where there is none, or none that can be read.
    pub service: Option<ServiceFile>,
    /// One for each instance.
    pub instances: Vec<InstanceFile>,
    /// Files that cannot be used.
    pub damaged: Vec<DamagedFile>,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// What it was called.
    pub name: String,
    /// What is wrong with it.
    pub damage: Damage,
}

impl StateFolder {
    /// Opens a folder; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be opened, or others than this user may write in it.
    pub fn find(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let facts = File::from(folder.try_clone()?).metadata()?;
        let ours = std::fs::metadata("/proc/self")?.uid();
        if facts.uid() != ours || facts.mode() & 0o022 != 0 {
            let text = "it belongs to another user, or others may write in it";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(Some(Self { folder, path: path.to_owned() }))
    }

    /// Opens a folder, which is made where there is none.
    ///
    /// # Errors
    /// As [`StateFolder::find`], and when it cannot be made.
    pub fn make(path: &Path) -> io::Result<Self> {
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Self::find(path)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder still lies where it was opened, and has not been removed or replaced.
    pub fn is_in_place(&self) -> bool {
        let open = rustix::fs::fstat(&self.folder).map(|facts| (facts.st_dev, facts.st_ino));
        let there = rustix::fs::lstat(&self.path).map(|facts| (facts.st_dev, facts.st_ino));
        open.is_ok() && open == there
    }

    /// Reads all state files, and tidies up: what cannot be used is set aside, and what was never finished is removed. What is
    /// not ours is left alone. Only for who has the folder to himself.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn read(&self) -> io::Result<Contents> {
        let contents = self.look()?;
        for name in self.names()?.iter().filter(|name| name.ends_with(UNFINISHED)) {
            // its writer ended in the middle of it; the file before it is whole
            let _ = self.remove_named(name);
        }
        for DamagedFile { name, .. } in &contents.damaged {
            self.set_aside(name);
        }
        Ok(contents)
    }

    /// Reads all state files and changes nothing: a service may be writing them.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn look(&self) -> io::Result<Contents> {
        let mut contents = Contents::default();
        let mut names = self.names()?;
        names.sort();
        for name in names {
            let read = if name == SERVICE {
                self.open_file(&name).map(|service| contents.service = Some(service))
            } else if let Some(instance) = name.strip_suffix(ENDING) {
                self.open_instance(&name, instance).map(|file| contents.instances.push(file))
            } else {
                continue;
            };
            match read {
                // removed since its name was read
                Err(Damage::Gone) | Ok(()) => {}
                Err(damage) => contents.damaged.push(DamagedFile { name, damage }),
            }
        }
        Ok(contents)
    }

    /// The files that this program cannot take over though they are whole: of another version, or of another form. Nothing is
    /// changed. A damaged file is no such one: nobody could use it.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn foreign(&self) -> io::Result<Vec<DamagedFile>> {
        let mut foreign = Vec::new();
        for name in self.names()? {
            let read = if name == SERVICE {
                self.open_file::<ServiceFile>(&name).map(drop)
            } else if let Some(instance) = name.strip_suffix(ENDING) {
                self.open_instance(&name, instance).map(drop)
            } else {
                continue;
            };
            if let Err(damage @ (Damage::OtherVersion(_) | Damage::Senseless(_))) = read {
                foreign.push(DamagedFile { name, damage });
            }
        }
        foreign.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(foreign)
    }

    fn open_instance(&self, name: &str, instance: &str) -> Result<InstanceFile, Damage> {
        let file: InstanceFile = self.open_file(name)?;
        if file.instance.as_str() != instance {
            return Err(Damage::Senseless(format!("it is about {}", file.instance)));
        }
        Ok(file)
    }

    fn open_file<B: serde::de::DeserializeOwned>(&self, name: &str) -> Result<B, Damage> {
        let unreadable = |error: io::Error| Damage::Unreadable(error.to_string());
        // never blocks on a pipe that somebody put there, and follows no link
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::LOOP | Errno::NXIO) => return Err(Damage::NoFile),
            Err(Errno::NOENT) => return Err(Damage::Gone),
            Err(errno) => return Err(unreadable(errno.into())),
        };
        let facts = file.metadata().map_err(unreadable)?;
        if !facts.is_file() {
            return Err(Damage::NoFile);
        }
        if facts.len() > limits::STATE_FILE_BYTES {
            return Err(Damage::TooLarge { bytes: facts.len() });
        }
        let mut bytes = Vec::new();
        // it may be growing under us
        file.take(limits::STATE_FILE_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
        envelope::open(&bytes)
    }

    fn set_aside(&self, name: &str) {
        let aside = format!("{name}{ASIDE}");
        // the one before has been looked at, or never will be
        let _ = self.remove_named(&aside);
        if let Err(errno) = renameat(&self.folder, name, &self.folder, &aside) {
            tracing::warn!(
                target: "symphony-mgmt", folder = %self.path.display(), name, error = %errno,
                "cannot set a damaged state file aside"
            );
        }
    }

    /// Writes the file of the service.
    ///
    /// # Errors
    /// As [`StateFolder::write_instance`].
    pub fn write_service(&self, file: &ServiceFile) -> io::Result<()> {
        self.write(SERVICE, &envelope::seal(file).map_err(io::Error::other)?)
    }

    /// Writes the file of an instance in place of the one before, whole or not at all.
    ///
    /// Nothing waits for a disk: what was written is there for every later process of this boot, and in another boot it means
    /// nothing.
    ///
    /// # Errors
    /// The system's word; the file before is still there then.
    pub fn write_instance(&self, file: &InstanceFile) -> io::Result<()> {
        let name = format!("{}{ENDING}", file.instance);
        self.write(&name, &envelope::seal(file).map_err(io::Error::other)?)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let unfinished = format!("{name}{UNFINISHED}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let open = || openat(&self.folder, &unfinished, flags, Mode::RUSR | Mode::WUSR);
        let file = match open() {
            // what a writer before us did not finish
            Err(Errno::EXIST) => {
                self.remove_named(&unfinished)?;
                open()?
            }
            opened => opened?,
        };
        let written = File::from(file)
            .write_all(bytes)
            .and_then(|()| Ok(renameat(&self.folder, &unfinished, &self.folder, name)?));
        if written.is_err() {
            let _ = self.remove_named(&unfinished);
        }
        written
    }

    /// Removes the file of an instance; one that is not there is no error.
    ///
    /// # Errors
    /// The system's word.
    pub fn remove_instance(&self, instance: &InstanceId) -> io::Result<()> {
        self.remove_named(&format!("{instance}{ENDING}"))
    }

    /// Removes everything that is ours but the files of `kept`, and the folder itself where nothing is left in it.
    ///
    /// # Errors
    /// The system's word.
    pub fn clear(&self, kept: &[InstanceId]) -> io::Result<()> {
        self.remove_all(kept, &[ENDING, UNFINISHED, ASIDE])
    }

    /// Removes what is of no use any more. What was set aside stays: somebody is just being told of it.
    ///
    /// # Errors
    /// The system's word.
    pub fn forget(&self) -> io::Result<()> {
        self.remove_all(&[], &[ENDING, UNFINISHED])
    }

    fn remove_all(&self, kept: &[InstanceId], endings: &[&str]) -> io::Result<()> {
        let is_kept = |name: &str| {
            let instance = name.strip_suffix(ENDING);
            instance.is_some_and(|instance| kept.iter().any(|kept| kept.as_str() == instance))
                || !kept.is_empty() && name == SERVICE
        };
        let mut failure = Ok(());
        for name in self.names()? {
            let ours = endings.iter().any(|ending| name.ends_with(ending));
            if ours
                && !is_kept(&name)
                && let Err(error) = self.remove_named(&name)
            {
                failure = Err(error);
            }
        }
        match std::fs::remove_dir(&self.path) {
            Err(error)
                if ![io::ErrorKind::NotFound, io::ErrorKind::DirectoryNotEmpty]
                    .contains(&error.kind()) =>
            {
                Err(error)
            }
            _ => failure,
        }
    }

    /// Removes a file or an empty folder.
    fn remove_named(&self, name: &str) -> io::Result<()> {
        let facts = match statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(facts) => facts,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let how = match FileType::from_raw_mode(facts.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        match unlinkat(&self.folder, name, how) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Names that are text; ours are.
    fn names(&self) -> io::Result<Vec<String>> {
        let text = |name: &CStr| name.to_str().ok().map(str::to_owned);
        let mut names = Vec::new();
        // of its own, since reading moves on in the open folder
        for entry in Dir::read_from(self.folder.as_fd())? {
            if names.len() >= limits::STATE_FILES {
                tracing::warn!(target: "symphony-mgmt", folder = %self.path.display(), "too many state files");
                break;
            }
            names.extend(text(entry?.file_name()).filter(|name| name != "." && name != ".."));
        }
        Ok(names)
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
