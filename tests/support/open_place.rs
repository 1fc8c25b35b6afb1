//! A folder in which every user may do everything, for what is tried as another user.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "tests only")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Removed when it is dropped.
pub struct OpenPlace(tempfile::TempDir);

impl OpenPlace {
    /// A new one, of a name that nobody else has. Not where `TMPDIR` leads, which may lie in somebody's private folder.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("symphony-").tempdir_in("/tmp");
        let folder = folder.expect("folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).expect("opened");
        Self(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A copy of a program that every user may execute.
    pub fn program(&self, program: impl AsRef<Path>) -> PathBuf {
        let copy = self.path().join("program");
        fs::copy(program, &copy).expect("copied");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("opened");
        copy
    }
}
