//! A new binary is tried before anything is left to it.
//!
//! It must be a program, be Symphony, take the configuration that is in force, and read the state that it would take over.
//! Everything here only looks: the running service is as before when a binary is refused. It knows neither the tree nor
//! the heart.

pub mod outcome;
mod run;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Access, access};

use self::run::{Ran, RunError, run};
use crate::limits;

/// What a new binary must cope with.
#[derive(Debug, Clone, Default)]
pub struct Inheritance {
    /// The configuration file in force; `None`: the built-in configuration, or one in the usual places.
    pub config: Option<PathBuf>,
    /// The folder of scripts, where it was given beside the configuration.
    pub backend_path: Option<PathBuf>,
    /// The folder of state files; `None` where there are none.
    pub state: Option<PathBuf>,
}

/// A binary that may take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// An absolute path.
    pub binary: PathBuf,
    /// As it tells it.
    pub version: String,
}

/// Why a binary may not take over. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It would be looked for in the working directory of the service.
    #[error("the path of the new binary must be absolute: {}", .0.display())]
    Relative(PathBuf),
    /// No file, or none that may be run.
    #[error("{} cannot be run: {reason}", .binary.display())]
    NoProgram {
        /// Its path.
        binary: PathBuf,
        /// Why.
        reason: String,
    },
    /// It does not tell a version as Symphony does.
    #[error("{} is no symphony: {reason}", .binary.display())]
    NoSymphony {
        /// Its path.
        binary: PathBuf,
        /// What it did instead.
        reason: String,
    },
    /// It could not run with this configuration.
    #[error("{} does not accept the configuration: {reason}", .binary.display())]
    Configuration {
        /// Its path.
        binary: PathBuf,
        /// In its words.
        reason: String,
    },
    /// It would not know the models that run.
    #[error("{} cannot take over the models that run: {reason}", .binary.display())]
    State {
        /// Its path.
        binary: PathBuf,
        /// In its words.
        reason: String,
    },
}

/// Where this program was started from. Another one may lie there by now.
pub fn own_binary() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_default();
    // so the kernel calls a file that was replaced
    let replaced = path.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
    replaced.map_or_else(|| path.clone(), PathBuf::from)
}

/// Tries a binary. Blocks for as long as its answers take, [`limits::TRIAL`] each.
///
/// # Errors
/// [`Refused`].
pub fn try_binary(binary: &Path, inheritance: &Inheritance) -> Result<Candidate, Refused> {
    try_within(binary, inheritance, limits::TRIAL)
}

fn try_within(
    binary: &Path,
    inheritance: &Inheritance,
    limit: Duration,
) -> Result<Candidate, Refused> {
    is_program(binary)?;
    let version = version(binary, limit)?;
    let owned = || binary.to_owned();
    accepts_configuration(binary, inheritance, limit)
        .map_err(|reason| Refused::Configuration { binary: owned(), reason })?;
    if let Some(state) = &inheritance.state {
        reads_state(binary, state, limit)
            .map_err(|reason| Refused::State { binary: owned(), reason })?;
    }
    Ok(Candidate { binary: owned(), version })
}

fn is_program(binary: &Path) -> Result<(), Refused> {
    if !binary.is_absolute() {
        return Err(Refused::Relative(binary.to_owned()));
    }
    let refused = |reason: String| Refused::NoProgram { binary: binary.to_owned(), reason };
    let facts = fs::metadata(binary).map_err(|error| refused(error.to_string()))?;
    if !facts.is_file() {
        return Err(refused("it is no file".to_owned()));
    }
    access(binary, Access::EXEC_OK).map_err(|errno| refused(errno.to_string()))
}

fn version(binary: &Path, limit: Duration) -> Result<String, Refused> {
    let refused = |reason| Refused::NoSymphony { binary: binary.to_owned(), reason };
    let mut command = program(binary);
    command.arg("--version");
    let ran = run(command, limit).map_err(|error| match error {
        RunError::NotStarted(error) => {
            Refused::NoProgram { binary: binary.to_owned(), reason: error.to_string() }
        }
        error => refused(format!("asked for its version, {error}")),
    })?;
    let told = ran.stdout.strip_prefix("symphony ").map(str::trim_end);
    match told.filter(|version| is_version(version) && ran.status.success()) {
        Some(version) => Ok(version.to_owned()),
        None => Err(refused(format!("asked for its version, it answered {:?}", words(&ran)))),
    }
}

/// `1.2.3`, with what may follow it.
fn is_version(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(is_part)
}

fn accepts_configuration(
    binary: &Path,
    inheritance: &Inheritance,
    limit: Duration,
) -> Result<(), String> {
    let mut command = program(binary);
    command.args(["config", "check"]);
    if let Some(config) = &inheritance.config {
        command.arg("--config").arg(config);
    }
    if let Some(path) = &inheritance.backend_path {
        command.env("SYMPHONY__BACKEND_PATH", path);
    }
    accepts(command, limit)
}

fn reads_state(binary: &Path, state: &Path, limit: Duration) -> Result<(), String> {
    let mut command = program(binary);
    command.args(["state", "check"]).arg(state);
    accepts(command, limit)
}

/// Whether it ends well.
fn accepts(command: Command, limit: Duration) -> Result<(), String> {
    let ran = run(command, limit).map_err(|error| error.to_string())?;
    if ran.status.success() { Ok(()) } else { Err(words(&ran)) }
}

/// What it says of a fault; for a person, and bounded.
fn words(ran: &Ran) -> String {
    let told = if ran.stderr.trim().is_empty() { &ran.stdout } else { &ran.stderr };
    let told = told.trim();
    let cut = told.char_indices().nth(limits::TRIAL_WORDS).map_or(told.len(), |(end, _)| end);
    match told.get(..cut) {
        None | Some("") => ran.status.to_string(),
        Some(words) => words.to_owned(),
    }
}

/// The program with an environment in which it cannot be mistaken for a service.
fn program(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS"] {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
