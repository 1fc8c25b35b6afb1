//! The log file of an instance: opened for a child, rotated while the child writes on.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate};

use crate::settings::policy::LogFilePolicy;
use crate::state::files::FileIdentity;

/// Bytes moved at one time when a file is copied away.
const COPY_BLOCK: usize = 64 * 1024;
/// How often a copy goes on with what was written meanwhile. What a flood writes after that is lost to the truncation.
const COPY_ROUNDS: usize = 4;
/// File systems cut whole blocks only; the usual size.
const BLOCK: u64 = 4096;

/// Opens a log for appending, as the child's standard output and error; its folder is made where it is missing.
///
/// Appending matters twice: generations follow one another in one file, and after a truncation the child goes on at the
/// new end, where a plain descriptor would leave a hole of the old size.
///
/// # Errors
/// The system's word; also when the path leads to a link or to anything but a plain file.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    open_plain(path, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)
}

/// Opens a log that is there already, as [`open`] does.
///
/// # Errors
/// As [`open`], and when it is another file than it was.
pub(super) fn open_same(path: &Path, before: FileIdentity) -> io::Result<File> {
    let file = open_plain(path, OFlags::RDWR | OFlags::APPEND)?;
    if identity(&file.metadata()?) != before {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "another file lies there now"));
    }
    Ok(file)
}

/// Which file it is, whatever its name.
pub(super) fn identity(facts: &std::fs::Metadata) -> FileIdentity {
    FileIdentity { device: facts.dev(), inode: facts.ino() }
}

/// Opens a log for reading.
///
/// # Errors
/// As [`open`].
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    open_plain(path, OFlags::RDONLY)
}

/// Never blocks (on a pipe somebody put there), follows no link, and takes plain files only.
fn open_plain(path: &Path, how: OFlags) -> io::Result<File> {
    let guard = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, how | guard, Mode::RUSR | Mode::WUSR)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    // the child must not find a non-blocking output
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// The `index`-th rotated file of a log; 1 is the youngest.
pub(super) fn rotated(path: &Path, index: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    PathBuf::from(name)
}

/// What came of a rotation.
#[derive(Debug)]
pub(super) struct Rotation {
    /// Bytes that are gone from the front of the log; 0 where it could not be shortened.
    pub removed: u64,
    /// Why no copy was kept.
    pub copy_failure: Option<io::Error>,
    /// Why the log is as long as before.
    pub failure: Option<io::Error>,
}

/// Moves what a log holds to its first rotated file.
///
/// A rename would not do: the child holds the file open and would go on writing into the renamed one. So the front is
/// copied, and then cut out of the file in one step of the file system, which loses nothing that is written meanwhile.
/// Where the file system cannot do that, or the log outgrows its bound faster than it is rotated, the whole log is copied
/// and emptied; what the child writes between these two is lost then.
pub(super) fn rotate(file: &File, path: &Path, policy: &LogFilePolicy, length: u64) -> Rotation {
    let mut archive = Archive::begin(path, policy, length);
    let outgrown = length > policy.max_bytes.saturating_mul(2);
    let whole_blocks = length.saturating_sub(1) / BLOCK * BLOCK;
    if !outgrown && whole_blocks > 0 {
        archive.take_up_to(file, whole_blocks);
        // written out now, the cut holds up the child no longer than it must
        if file.sync_data().is_ok()
            && fallocate(file, FallocateFlags::COLLAPSE_RANGE, 0, whole_blocks).is_ok()
        {
            return Rotation {
                removed: whole_blocks,
                copy_failure: archive.failure,
                failure: None,
            };
        }
    }
    let mut end = length;
    for _ in 0..COPY_ROUNDS {
        archive.take_up_to(file, end);
        // goes on with what came meanwhile, but never beyond the bound on the disk
        let now = file.metadata().map_or(end, |facts| facts.len());
        let now = now.min(length.saturating_add(policy.max_bytes));
        if now <= end {
            break;
        }
        end = now;
    }
    let emptied = file.metadata().and_then(|facts| file.set_len(0).map(|()| facts.len()));
    let (removed, failure) = match emptied {
        Ok(removed) => (removed, None),
        Err(error) => (0, Some(error)),
    };
    Rotation { removed, copy_failure: archive.failure, failure }
}

/// The first rotated file, while it is being written.
struct Archive {
    target: PathBuf,
    copy: Option<File>,
    taken_up_to: u64,
    failure: Option<io::Error>,
}

impl Archive {
    /// Makes room and begins a copy of the last [`LogFilePolicy::max_bytes`].
    fn begin(path: &Path, policy: &LogFilePolicy, length: u64) -> Self {
        let target = rotated(path, 1);
        let taken_up_to = length.saturating_sub(policy.max_bytes);
        let mut archive = Self { target, copy: None, taken_up_to, failure: None };
        if policy.keep > 0 {
            for index in (1..policy.keep).rev() {
                // a missing one is the usual case in young logs
                let _ = std::fs::rename(rotated(path, index), rotated(path, index + 1));
            }
            let how = OFlags::WRONLY
                | OFlags::CREATE
                | OFlags::TRUNC
                | OFlags::CLOEXEC
                | OFlags::NOFOLLOW;
            match rustix::fs::open(&archive.target, how, Mode::RUSR | Mode::WUSR) {
                Ok(copy) => archive.copy = Some(File::from(copy)),
                Err(errno) => archive.failure = Some(errno.into()),
            }
        }
        archive
    }

    /// Copies on, up to this offset of the log.
    fn take_up_to(&mut self, file: &File, end: u64) {
        let Some(copy) = &mut self.copy else { return };
        match copy_range(file, copy, self.taken_up_to, end) {
            Ok(taken_up_to) => self.taken_up_to = taken_up_to,
            Err(error) => {
                // half a copy would only keep a full disk full
                let _ = std::fs::remove_file(&self.target);
                self.copy = None;
                self.failure = Some(error);
            }
        }
    }
}

fn copy_range(file: &File, copy: &mut File, mut from: u64, end: u64) -> io::Result<u64> {
    let mut block = vec![0; COPY_BLOCK];
    while from < end {
        let wanted = usize::try_from(end - from).map_or(COPY_BLOCK, |left| left.min(COPY_BLOCK));
        let count = file.read_at(&mut block[..wanted], from)?;
        if count == 0 {
            break;
        }
        copy.write_all(&block[..count])?;
        from += count as u64;
    }
    Ok(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const POLICY: LogFilePolicy = LogFilePolicy { max_bytes: 10, keep: 2 };

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    fn rotate_now(file: &File, path: &Path, policy: &LogFilePolicy) -> Rotation {
        rotate(file, path, policy, file.metadata().unwrap().len())
    }

    #[test]
    fn log_and_its_folder_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs").join("a.log");
        open(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn links_folders_and_pipes_are_no_logs() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        std::fs::write(&target, "precious").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        for path in [&link, &pipe, &folder.path().to_owned()] {
            assert!(open(path).is_err(), "{}", path.display());
            assert!(open_to_read(path).is_err(), "{}", path.display());
        }
        assert_eq!(text(&target), "precious");
    }

    #[test]
    fn rotation_keeps_the_last_files_and_no_hole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = open(&path).unwrap();
        for round in ["one", "two", "three"] {
            file.write_all(round.as_bytes()).unwrap();
            assert!(rotate_now(&file, &path, &POLICY).copy_failure.is_none());
        }
        file.write_all(b"now").unwrap();
        assert_eq!(text(&path), "now", "appended at the new end");
        assert_eq!(text(&rotated(&path, 1)), "three");
        assert_eq!(text(&rotated(&path, 2)), "two");
        assert!(!rotated(&path, 3).exists());
    }

    #[test]
    fn overgrown_file_leaves_only_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = open(&path).unwrap();
        file.write_all(b"far too long for one file").unwrap();
        let rotation = rotate_now(&file, &path, &POLICY);
        assert_eq!(rotation.removed, 25);
        assert_eq!(text(&rotated(&path, 1)), "r one file");
    }

    #[test]
    fn nothing_is_lost_while_a_child_writes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let file = open(&path).unwrap();
        let policy = LogFilePolicy { max_bytes: 1 << 30, keep: 1 };
        let mut child_side = file.try_clone().unwrap();
        let child = std::thread::spawn(move || {
            for line in 0..20_000 {
                writeln!(child_side, "line {line}").unwrap();
            }
        });
        let (mut all, mut cut_out, mut over) = (String::new(), true, false);
        while !over {
            over = child.is_finished();
            let length = file.metadata().unwrap().len();
            if length > 2 * BLOCK {
                let rotation = rotate(&file, &path, &policy, length);
                assert!(rotation.failure.is_none() && rotation.copy_failure.is_none());
                // a file system without this step cannot promise it
                cut_out &= rotation.removed < length;
                all.push_str(&text(&rotated(&path, 1)));
            }
        }
        child.join().unwrap();
        all.push_str(&text(&path));
        let expected: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
        assert!(!cut_out || all == expected, "{} of {} bytes", all.len(), expected.len());
    }

    #[test]
    fn outgrown_log_is_emptied_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = open(&path).unwrap();
        let policy = LogFilePolicy { max_bytes: 5000, keep: 1 };
        file.write_all(&[b'x'; 20_000]).unwrap();
        assert_eq!(rotate_now(&file, &path, &policy).removed, 20_000);
        assert_eq!((text(&path).len(), text(&rotated(&path, 1)).len()), (0, 5000));
    }

    #[test]
    fn failed_copy_leaves_no_half_file_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = open(&path).unwrap();
        file.write_all(b"text").unwrap();
        std::fs::create_dir(rotated(&path, 1)).unwrap();
        let keep_one = LogFilePolicy { keep: 1, ..POLICY };
        let rotation = rotate_now(&file, &path, &keep_one);
        assert!(rotation.copy_failure.is_some());
        assert_eq!(text(&path), "");
    }
}
