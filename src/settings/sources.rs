//! Everything the settings are made from, as plain data: a test needs no process of its own.

use std::path::{Path, PathBuf};

use super::model::{LogForm, LogLevel};

/// What flags of the command line say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--backend-path`.
    pub backend_path: Option<PathBuf>,
    /// `--log-level`.
    pub log_level: Option<LogLevel>,
    /// `--log-format`.
    pub log_format: Option<LogForm>,
}

/// What the settings are made from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Flags.
    pub overrides: Overrides,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// The working directory, an absolute path.
    pub working_dir: PathBuf,
    /// The folder of the running program, where it is known.
    pub binary_dir: Option<PathBuf>,
    /// The number of the user; it keeps users apart in shared temporary folders.
    pub user: u32,
}

impl Sources {
    /// What this process was given.
    ///
    /// # Errors
    /// When the working directory is gone.
    pub fn from_process(overrides: Overrides) -> std::io::Result<Self> {
        let program = std::env::current_exe().ok();
        Ok(Self {
            overrides,
            environment: std::env::vars_os()
                .map(|(name, value)| {
                    (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
                })
                .collect(),
            working_dir: std::env::current_dir()?,
            binary_dir: program.as_deref().and_then(Path::parent).map(Path::to_owned),
            user: rustix::process::getuid().as_raw(),
        })
    }

    /// The value of an environment variable; `None` where it is empty, too.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A folder named by a variable; relative ones do not count, as the XDG specification has it.
    pub(super) fn folder(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}
