//! `symphony serve`: the service in this process.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use crate::app::{self, ServeError, ServeOptions, Served, SettingsLoader};
use crate::cli::args::ServeArgs;
use crate::cli::client::ClientError;
use crate::cli::configuration::{self, Request};
use crate::cli::daemon;
use crate::cli::early_stop;
use crate::cli::error::CliError;
use crate::cli::given::Given;
use crate::cli::session::{Session, is_stopping, live_service};
use crate::cli::surroundings::{Surroundings, meet_heart};
use crate::heart::link::Connection;
use crate::heart::protocol::LET_GO;
use crate::settings::model::Settings;
use crate::state;
use crate::telemetry::{Destination, LevelSwitch, Telemetry};
use crate::upgrade::Inheritance;

/// Runs the service until it is asked to stop.
pub fn run(args: &ServeArgs, session: &Session) -> Result<ExitCode, CliError> {
    let given = Given::take();
    if args.detached.is_some() && !args.under_heart {
        daemon::detach()?;
    }
    let stop_asked = early_stop::listen()?;
    let heart = args.under_heart.then(meet_heart).transpose()?;
    refuse_endpoint(session)?;
    let request = session.configuration(&args.service);
    let settings = configuration::load(&request)?;
    // whoever has a heart has the place, too; an end as wanted would be the end of the models of the core before
    if heart.is_none() && !given.owns_endpoint(&settings) && is_running(&settings)? {
        tell_already_running(session)?;
        return Ok(ExitCode::SUCCESS);
    }
    let destination = match &args.detached {
        Some(log) => Destination::ServiceLog(log.clone()),
        None => Destination::Stderr,
    };
    serve(settings, request, destination, stop_asked, heart, given)
}

/// Runs the service with settings that were found to be free of a running one. `stop_asked`: see [`early_stop`].
fn serve(
    settings: Settings,
    request: Request,
    destination: Destination,
    stop_asked: Arc<AtomicBool>,
    mut heart: Option<Connection>,
    given: Given,
) -> Result<ExitCode, CliError> {
    let surroundings = match &mut heart {
        Some(heart) => Surroundings::of_heart(&settings, heart),
        None => Surroundings::alone(&settings)?,
    };
    let telemetry = Telemetry::install(&settings.logging, destination)
        .map_err(|error| CliError::Failed(error.to_string()))?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    // a heart has told its own
    for fault in given.faults.iter().filter(|_| heart.is_none()) {
        tracing::warn!("{fault}");
    }
    let allow_chaos = request.flags.allow_chaos;
    if allow_chaos {
        tracing::warn!("chaos is allowed: whoever manages this service may make parts of it panic");
    }
    let inheritance = Inheritance {
        config: settings.source.clone().or_else(|| request.config.clone()),
        backend_path: request.flags.backend_path.clone(),
        state: Some(settings.service.runtime_dir.join(state::FOLDER)),
    };
    let loader = loader(pinned(request, &settings), telemetry.level_switch());
    let options = ServeOptions {
        loader: Some(loader),
        allow_chaos,
        stop_asked: Some(stop_asked),
        is_symphony_program: true,
        heart,
        notifier: Some(given.notifier),
        passed: given.passed,
        inheritance: Some(inheritance),
        ..ServeOptions::default()
    };
    let served = app::serve(settings, options);
    if let Ok(Served::LetGo(remnant)) = served {
        // lock and guard are the next core's business
        drop(surroundings);
        remnant.pass_clients_on();
        return Ok(ExitCode::from(LET_GO));
    }
    // whose models run on leaves the guard on its post until somebody takes over
    if !matches!(served, Err(ServeError::Orphaned)) {
        surroundings.end();
    }
    served?;
    Ok(ExitCode::SUCCESS)
}

/// The same request for the file that was found: one that is missing for a moment (an editor replaces it) must not
/// lead to other models.
fn pinned(request: Request, settings: &Settings) -> Request {
    Request { config: settings.source.clone().or(request.config), ..request }
}

/// Reads the configuration again for a reload; a good one changes the level of the log at once.
fn loader(request: Request, level: LevelSwitch) -> SettingsLoader {
    Box::new(move || {
        let settings = configuration::load(&request).map_err(|error| error.plain_text())?;
        level.set(settings.logging.level);
        Ok(settings)
    })
}

/// Whether a service answers on the endpoint of these settings.
///
/// # Errors
/// When something listens there that is no service, does not answer, or is a service that is just stopping.
pub fn is_running(settings: &Settings) -> Result<bool, CliError> {
    let endpoint = &settings.endpoints.cli_management;
    match live_service(endpoint) {
        Ok(None) => Ok(false),
        // to call it running would leave whoever starts one with none
        Ok(Some(_)) if is_stopping(endpoint) => Err(CliError::Failed(format!(
            "cannot start: the service on {endpoint} is stopping, start again when it is gone"
        ))),
        Ok(Some(_)) => Ok(true),
        Err(ClientError::Timeout) => Err(CliError::Failed(format!(
            "cannot start: something listens on {endpoint} and does not answer"
        ))),
        Err(error) => Err(CliError::Failed(format!("cannot start: {error}"))),
    }
}

/// Says that there is nothing to start.
pub fn tell_already_running(session: &Session) -> Result<(), CliError> {
    const MESSAGE: &str = "Management service is already running";
    if session.output.is_json() {
        session.output.line(json!({ "message": MESSAGE }))
    } else {
        session.output.line(MESSAGE)
    }
}

/// A service's endpoints and folders belong together, so they come from the configuration alone.
pub fn refuse_endpoint(session: &Session) -> Result<(), CliError> {
    match session.named_endpoint() {
        None => Ok(()),
        Some(_) => Err(CliError::Usage(
            "--endpoint is for commands that talk to a service; a service takes its endpoints from the \
             configuration (endpoints.cli_management, or SYMPHONY__ENDPOINTS__CLI_MANAGEMENT)"
                .into(),
        )),
    }
}
