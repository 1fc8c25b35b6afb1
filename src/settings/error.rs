//! Why there are no settings.

use std::fmt;
use std::path::{Path, PathBuf};

use super::fault::Fault;
use crate::limits;

/// A configuration that cannot be used. Nothing was changed or created.
///
/// The command line prints it as `Error: {text}`; the first two texts are part of the management contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is no file where one was named.
    #[error("Configuration file not found at {}", .path.display())]
    NotFound {
        /// As it was named.
        path: PathBuf,
    },
    /// The file is no JSON.
    #[error("Invalid JSON in configuration file: {detail}")]
    InvalidJson {
        /// The file, and what the parser says, with line and column.
        detail: String,
    },
    /// The file is no TOML.
    #[error("Invalid TOML in configuration file: {detail}")]
    InvalidToml {
        /// The file, and what the parser says, with the line.
        detail: String,
    },
    /// The file exists and cannot be read.
    #[error("Configuration file {} cannot be read: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// The file is larger than any honest one.
    #[error("Configuration file {} has more than {} bytes", .path.display(), limits::CONFIG_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It can be read, and is wrong in these places.
    #[error("{0}")]
    Faulty(FaultList),
}

impl SettingsError {
    /// The same with the name of the file in the detail of a text that cannot be parsed.
    pub(super) fn in_file(self, path: &Path) -> Self {
        let named = |detail: String| format!("{}: {detail}", path.display());
        match self {
            Self::InvalidJson { detail } => Self::InvalidJson { detail: named(detail) },
            Self::InvalidToml { detail } => Self::InvalidToml { detail: named(detail) },
            other => other,
        }
    }
}

/// All faults of one configuration; its text has one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultList {
    /// The file; `None` where there was none.
    pub source: Option<PathBuf>,
    /// The faults.
    pub faults: Vec<Fault>,
    /// How many more there are than are kept.
    pub not_kept: usize,
    /// `endpoints.cli_management`, where none of the faults touches it: enough to reach a service that runs already.
    pub cli_management: Option<String>,
}

impl FaultList {
    /// Whose faults these are, and how many: `Configuration config.json has 2 faults`.
    pub fn headline(&self) -> String {
        let count = self.faults.len() + self.not_kept;
        let noun = if count == 1 { "fault" } else { "faults" };
        match &self.source {
            Some(path) => format!("Configuration {} has {count} {noun}", path.display()),
            None => format!("Configuration has {count} {noun}"),
        }
    }
}

impl fmt::Display for FaultList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.headline())?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        if self.not_kept > 0 {
            write!(f, "\n  and {} more", self.not_kept)?;
        }
        Ok(())
    }
}
