//! The program of a core.

use std::path::{Path, PathBuf};

/// Which program a core is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// The one that the heart runs, wherever its file is by now.
    Own,
    /// Another one.
    At {
        /// Where it lay when it was named.
        path: PathBuf,
        /// By which it is told from others that lay there.
        number: u64,
    },
}

impl Program {
    /// Where it lies; `None` for the program that the heart runs.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Own => None,
            Self::At { path, .. } => Some(path),
        }
    }
}
