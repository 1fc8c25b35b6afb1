//! Where the command line meets the heart: what it is told, and how this very process becomes one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use super::configuration::Request;
use super::error::{self, CliError};
use crate::heart::core::Rules;
use crate::heart::options::{self, GuardOptions, HeartOptions, LogOptions, NotByHand};
use crate::heart::process::OWN_PROGRAM;
use crate::heart::{guard, run};
use crate::limits;
use crate::settings::model::{LogForm, Settings};

/// Does the work of a heart or a guard, where this process was started as one: before the command line is parsed, which
/// would take more memory than either of them.
pub fn run_if_one() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next()?;
    let outcome: Result<ExitCode, NotByHand> = if command == options::HEART {
        HeartOptions::parse(arguments).map(run::run)
    } else if command == options::GUARD {
        GuardOptions::parse(arguments).map(guard::run)
    } else {
        return None;
    };
    Some(outcome.unwrap_or_else(|error| {
        eprintln!("Error: {error}");
        ExitCode::from(error::USAGE)
    }))
}

/// What a heart is told that runs the service of these settings. `detached`: the log of a daemon.
pub fn options(settings: &Settings, request: &Request, detached: Option<&Path>) -> HeartOptions {
    let heart = settings.service.heart;
    HeartOptions {
        folder: settings.service.runtime_dir.clone(),
        rules: Rules {
            wedge_timeout: heart.wedge_timeout,
            start_timeout: limits::HEART_START.max(heart.wedge_timeout),
            restarts: heart.restarts,
            period: heart.period,
            end_timeout: end_timeout(settings),
        },
        stop_grace: settings.longest_stop() + limits::STOP_SLACK,
        adoption_grace: heart.adoption_grace,
        log: log_options(settings, detached),
        detach: detached.is_some(),
        core: core_arguments(settings, request, detached),
    }
}

/// Where heart and guard of these settings write. `file`: the log of a daemon.
pub fn log_options(settings: &Settings, file: Option<&Path>) -> LogOptions {
    let json = settings.logging.form == LogForm::Json;
    LogOptions { file: file.map(Path::to_owned), json }
}

/// How long an orderly end may take at most, apart from the grace of the models.
fn end_timeout(settings: &Settings) -> Duration {
    settings.service.drain_timeout
        + limits::KILL_ALL
        + limits::TREE_STOP
        + limits::SOCKETS_CLOSE
        + limits::LAUNCHER_END
        + limits::LAUNCHER_END_MARGIN
}

fn core_arguments(
    settings: &Settings,
    request: &Request,
    detached: Option<&Path>,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["serve".into(), "--under-heart".into()];
    let mut add = |name: &str, value: Option<OsString>| {
        arguments.extend(value.into_iter().flat_map(|value| [name.into(), value]));
    };
    // the file that was found: later cores must not find another one
    let config: Option<PathBuf> = settings.source.clone().or_else(|| request.config.clone());
    let flags = &request.flags;
    add("--detached", detached.map(Into::into));
    add("--config", config.map(Into::into));
    add("--backend-path", flags.backend_path.clone().map(Into::into));
    add("--log-level", flags.log_level.map(|level| level.to_string().into()));
    add("--log-format", flags.log_format.map(|form| form.to_string().into()));
    if flags.allow_chaos {
        arguments.push("--allow-chaos".into());
    }
    arguments
}

/// The command that starts a heart.
pub fn command(options: &HeartOptions) -> Command {
    let mut command = Command::new(OWN_PROGRAM);
    command.arg0("symphony").args(options.arguments());
    command
}

/// Makes this process the heart of a service; comes back only when that fails.
pub fn become_one(options: &HeartOptions) -> CliError {
    let error = command(options).exec();
    CliError::Failed(format!("cannot start the service: {error}"))
}
