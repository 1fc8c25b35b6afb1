//! The one place where the command line meets the settings.

use std::path::PathBuf;

use clap::Args;

use super::error::CliError;
use crate::app;
use crate::settings::model::{LogForm, LogLevel, Settings};
use crate::settings::{self, Effective, Loaded, Overrides, Sources};

/// Flags of a service; they count over environment and file.
#[derive(Debug, Clone, Default, Args)]
pub struct ServiceFlags {
    /// Folder of the backend scripts
    #[arg(long, value_name = "DIR")]
    pub backend_path: Option<PathBuf>,
    /// Least level that is logged: DEBUG, INFO, WARNING, ERROR
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Log lines as text or json
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<LogForm>,
    /// Let `symphony chaos` make parts of this service panic
    #[arg(long)]
    pub allow_chaos: bool,
}

/// Which configuration is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// A file named by the user; otherwise the usual places are looked at.
    pub config: Option<PathBuf>,
    /// Flags over it.
    pub flags: ServiceFlags,
}

/// Reads and validates the configuration.
///
/// # Errors
/// All faults at once.
pub fn load(request: &Request) -> Result<Settings, CliError> {
    Ok(read(request)?.settings)
}

/// Reads and validates the configuration and tells what takes effect and where each value comes from.
///
/// # Errors
/// As [`load`].
pub fn effective(request: &Request) -> Result<Effective, CliError> {
    Ok(read(request)?.effective)
}

/// The same with warnings of what would make the start of a model fail on this machine.
///
/// # Errors
/// As [`load`].
pub fn checked(request: &Request) -> Result<Effective, CliError> {
    let Loaded { settings, mut effective } = read(request)?;
    effective.warnings.extend(app::start_warnings(&settings));
    Ok(effective)
}

fn read(request: &Request) -> Result<Loaded, CliError> {
    let ServiceFlags { backend_path, log_level, log_format, allow_chaos: _ } =
        request.flags.clone();
    let overrides =
        Overrides { config: request.config.clone(), backend_path, log_level, log_format };
    let sources = Sources::from_process(overrides).map_err(|error| {
        CliError::Failed(format!("the working directory cannot be used: {error}"))
    })?;
    Ok(settings::load(&sources)?)
}
