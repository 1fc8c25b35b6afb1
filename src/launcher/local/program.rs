//! Finds the program of a command before anything is started.
//!
//! Two reasons: a lookup of our own names the fault exactly, also when the exec shim stands between; and the standard
//! library leaves its fast path of spawning when it has to look a name up in a changed environment.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::machine::own_program;
use crate::launcher::OWN_PROGRAM;

/// Where programs are looked for when there is no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The absolute path of `program`. A name without a slash is looked up in `search_path`; a relative path with one counts
/// from the working directory that the child will have.
///
/// # Errors
/// `NotFound`, or `PermissionDenied` where only files that cannot be executed were found.
pub(super) fn resolve(
    program: &Path,
    working_dir: Option<&Path>,
    search_path: Option<&OsStr>,
) -> io::Result<PathBuf> {
    if program.as_os_str().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the program's name is empty"));
    }
    if program == Path::new(OWN_PROGRAM) {
        return Ok(own_program());
    }
    if program.as_os_str().as_bytes().contains(&b'/') {
        let from_there = working_dir.map_or_else(|| program.to_owned(), |dir| dir.join(program));
        let absolute = std::path::absolute(from_there)?;
        executable(&absolute)?;
        return Ok(absolute);
    }
    let search_path = search_path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "No such file or directory in PATH");
    for folder in std::env::split_paths(search_path) {
        let candidate = std::path::absolute(folder.join(program))?;
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            // as execvp does: the search goes on, and this is told when nothing better comes
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => failure = error,
            Err(_) => {}
        }
    }
    Err(failure)
}

fn executable(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.is_dir() {
        return Err(rustix::io::Errno::ACCESS.into());
    }
    Ok(access(path, Access::EXEC_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn kind(result: io::Result<PathBuf>) -> io::ErrorKind {
        result.expect_err("must fail").kind()
    }

    #[test]
    fn names_are_looked_up_in_order() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = std::env::join_paths([first.path(), second.path()]).unwrap();
        assert_eq!(kind(resolve(Path::new("prog"), None, Some(&path))), io::ErrorKind::NotFound);

        std::fs::write(first.path().join("prog"), "").unwrap();
        assert_eq!(
            kind(resolve(Path::new("prog"), None, Some(&path))),
            io::ErrorKind::PermissionDenied
        );

        let good = second.path().join("prog");
        std::fs::write(&good, "").unwrap();
        std::fs::set_permissions(&good, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(resolve(Path::new("prog"), None, Some(&path)).unwrap(), good);
    }

    #[test]
    fn the_running_program_is_known_by_its_own_path() {
        let own = resolve(Path::new(OWN_PROGRAM), None, None).unwrap();
        assert_eq!(own, std::env::current_exe().unwrap());
    }

    #[test]
    fn relative_paths_count_from_the_childs_folder() {
        let folder = Path::new("/");
        assert_eq!(resolve(Path::new("bin/sh"), Some(folder), None).unwrap(), Path::new("/bin/sh"));
        assert_eq!(
            kind(resolve(Path::new("bin/none"), Some(folder), None)),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn folders_and_empty_names_are_no_programs() {
        assert_eq!(kind(resolve(Path::new("/tmp"), None, None)), io::ErrorKind::PermissionDenied);
        assert_eq!(kind(resolve(Path::new(""), None, None)), io::ErrorKind::InvalidInput);
    }
}
