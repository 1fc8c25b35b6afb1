//! `symphony start-service`.

use serde_json::json;

use super::serve::{self, Given};
use crate::cli::args::StartArgs;
use crate::cli::configuration;
use crate::cli::daemon::{self, Started};
use crate::cli::early_stop;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::telemetry::Destination;

/// Starts the service: in the background and returns when it is ready, or here until it ends.
pub fn run(args: &StartArgs, session: &Session) -> Result<(), CliError> {
    // a service in the background takes all of it itself
    let here = if args.daemonize { None } else { Some((Given::take(), early_stop::listen()?)) };
    serve::refuse_endpoint(session)?;
    let request = session.configuration(&args.service);
    let settings = configuration::load(&request)?;
    let owns_endpoint = here.as_ref().is_some_and(|(given, _)| given.owns_endpoint(&settings));
    if !owns_endpoint && serve::is_running(&settings)? {
        return serve::tell_already_running(session);
    }
    if let Some((given, stop_asked)) = here {
        return serve::serve(settings, request, Destination::Stderr, stop_asked, given);
    }
    match daemon::start(&settings, &request, session.daemon_patience())? {
        Started::Already => serve::tell_already_running(session),
        Started::Ready { pid } => {
            let message = format!("Management service started successfully (pid {pid})");
            if session.output.is_json() {
                session.output.line(json!({ "message": message, "pid": pid }))
            } else {
                session.output.line(message)
            }
        }
    }
}
