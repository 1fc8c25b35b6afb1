//! Where the command line meets the heart: what it is told, and how it is started.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::configuration::Request;
use super::error::CliError;
use crate::heart::SMALL_PROGRAM;
use crate::heart::core::Rules;
use crate::heart::options::{HeartOptions, LogOptions, ServiceProgram};
use crate::heart::process::OWN_PROGRAM;
use crate::limits;
use crate::settings::model::{LogForm, Settings};

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
        service: None,
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
        + limits::STATE_END
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

/// The ways to start a heart, the best first: the small program beside this one, and this one itself.
pub fn commands(options: &HeartOptions) -> Vec<Command> {
    let own = (PathBuf::from(OWN_PROGRAM), options.clone());
    let small = small_program()
        .map(|(path, service)| (path, HeartOptions { service: Some(service), ..options.clone() }));
    let command = |(program, options): (PathBuf, HeartOptions)| {
        let mut command = Command::new(program);
        command.arg0("symphony").args(options.arguments());
        command
    };
    small.into_iter().chain([own]).map(command).collect()
}

/// A file with heart and guard alone takes a third of the memory. Where nobody installed it, this program does it, too.
fn small_program() -> Option<(PathBuf, ServiceProgram)> {
    let own = std::env::current_exe().ok()?;
    let small = own.with_file_name(SMALL_PROGRAM);
    let service = ServiceProgram { path: own, version: env!("CARGO_PKG_VERSION").to_owned() };
    (small.is_file() && service.path.is_file()).then_some((small, service))
}

/// Makes this process the heart of a service; comes back only when that fails.
pub fn become_one(options: &HeartOptions) -> CliError {
    let mut reason = String::new();
    for mut command in commands(options) {
        reason = command.exec().to_string();
    }
    CliError::Failed(format!("cannot start the service: {reason}"))
}
