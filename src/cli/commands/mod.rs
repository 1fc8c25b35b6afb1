//! One file per command.

mod chaos;
mod completions;
mod config;
mod demo;
mod events;
mod handshake;
mod library;
mod list_models;
mod load_model;
mod logs;
mod man;
mod reload;
mod restart_model;
mod serve;
mod start_service;
mod state;
mod status;
mod stop_service;
mod tree;
mod unload_model;
mod upgrade;

use std::process::ExitCode;

use super::args::Command;
use super::error::CliError;
use super::exec_shim;
use super::session::Session;
use crate::engine;

/// Carries out a command.
///
/// # Errors
/// [`CliError`], told by its caller.
pub fn run(command: Command, session: &Session) -> Result<ExitCode, CliError> {
    match command {
        // these two are other programs in the same file: nothing of the command line applies to them
        Command::Backend(args) => return Ok(engine::run(args)),
        Command::ExecShim(args) => return Ok(exec_shim::run(args)),
        Command::Chaos(args) => return chaos::run(&args, session),
        Command::Demo(args) => return demo::run(&args, session),
        Command::Serve(args) => return serve::run(&args, session),
        Command::StartService(args) => start_service::run(&args, session)?,
        Command::StopService(args) => stop_service::run(&args, session)?,
        Command::Status(args) => status::run(&args, session)?,
        Command::LoadModel(args) => load_model::run(&args, session)?,
        Command::UnloadModel(args) => unload_model::run(&args, session)?,
        Command::RestartModel(args) => restart_model::run(&args, session)?,
        Command::ListModels => list_models::run(session)?,
        Command::Logs(args) => logs::run(&args, session)?,
        Command::Tree => tree::run(session)?,
        Command::Events(args) => events::run(&args, session)?,
        Command::Handshake(args) => handshake::run(&args, session)?,
        Command::Reload => reload::run(session)?,
        Command::Upgrade(args) => upgrade::run(&args, session)?,
        Command::Config(command) => config::run(&command, session)?,
        Command::State(command) => state::run(&command, session)?,
        Command::InstallModel(_) => library::run("install-model")?,
        Command::UninstallModel(_) => library::run("uninstall-model")?,
        Command::Completions(args) => completions::run(&args, session)?,
        Command::Man(args) => man::run(&args, session)?,
    }
    Ok(ExitCode::SUCCESS)
}
