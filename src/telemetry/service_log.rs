//! The log file of a daemon: its stdout and stderr, kept below a bound.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::sink::RawStderr;
use crate::limits;

/// Opens the log file for appending; makes its folder, private to the user, where there is none.
///
/// # Errors
/// When folder or file cannot be made.
pub fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(NO_LINK).open(path)
}

/// A link may lead to any file of this user: it is nobody's log.
const NO_LINK: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// Where the older part of a log is kept.
pub fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Writes to stderr, which is the log file, and starts a new file when this one is full.
#[derive(Debug)]
pub struct ServiceLog {
    path: PathBuf,
    most: u64,
    written: u64,
    out: RawStderr,
}

impl ServiceLog {
    /// The log at `path`, which stdout and stderr already lead to.
    pub fn new(path: PathBuf) -> Self {
        let written = fs::metadata(&path).map_or(0, |file| file.len());
        Self { path, most: limits::SERVICE_LOG_BYTES, written, out: RawStderr }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let fresh = renew(&self.path)?;
        rustix::stdio::dup2_stdout(&fresh)?;
        rustix::stdio::dup2_stderr(&fresh)?;
        Ok(())
    }
}

/// Puts the full file aside and opens a new one. Where that fails the file is emptied: the bound comes first.
fn renew(path: &Path) -> io::Result<File> {
    if fs::rename(path, older(path)).is_err() {
        OpenOptions::new().write(true).truncate(true).custom_flags(NO_LINK).open(path)?;
    }
    open(path)
}

impl Write for ServiceLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written >= self.most {
            // counted from zero also when it fails: the next try comes after as many bytes again
            self.written = 0;
            let _ = self.rotate();
        }
        let count = self.out.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folder_and_file_are_private() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("state/service.log");
        open(&path).expect("opened");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("parent"))), (0o600, 0o700));
    }

    #[test]
    fn a_link_is_no_log() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, other) = (folder.path().join("service.log"), folder.path().join("other"));
        fs::write(&other, "precious").expect("written");
        std::os::unix::fs::symlink(&other, &path).expect("linked");
        open(&path).expect_err("refused");
        assert_eq!(fs::read_to_string(&other).expect("read"), "precious");
    }

    #[test]
    fn a_full_file_is_put_aside_and_only_one_is_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("service.log");
        for text in ["one", "two", "three"] {
            writeln!(open(&path).expect("opened"), "{text}").expect("written");
            renew(&path).expect("renewed");
        }
        assert_eq!(fs::read_to_string(older(&path)).expect("read"), "three\n");
        assert_eq!(fs::read_to_string(&path).expect("read"), "");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_is_emptied() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("service.log");
        writeln!(open(&path).expect("opened"), "full").expect("written");
        // a folder in the way: the rename must fail
        fs::create_dir(older(&path)).expect("made");
        renew(&path).expect("renewed");
        assert_eq!(fs::read_to_string(&path).expect("read"), "");
    }
}
