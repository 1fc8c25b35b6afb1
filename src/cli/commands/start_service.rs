//! `symphony start-service`.

use serde_json::json;

use std::sync::atomic::Ordering;

use super::serve;
use crate::cli::args::StartArgs;
use crate::cli::configuration;
use crate::cli::daemon::{self, Started};
use crate::cli::early_stop;
use crate::cli::error::CliError;
use crate::cli::given::heart_will_own_endpoint;
use crate::cli::heart;
use crate::cli::session::Session;

/// Starts the service: in the background and returns when it is ready, or here until it ends.
pub fn run(args: &StartArgs, session: &Session) -> Result<(), CliError> {
    // a service of its own takes them itself
    let stop_asked = if args.daemonize { None } else { Some(early_stop::listen()?) };
    serve::refuse_endpoint(session)?;
    let request = session.configuration(&args.service);
    let settings = configuration::load(&request)?;
    let owns_endpoint = stop_asked.is_some() && heart_will_own_endpoint(&settings);
    if !owns_endpoint && serve::is_running(&settings)? {
        return serve::tell_already_running(session);
    }
    if let Some(stop_asked) = stop_asked {
        if stop_asked.load(Ordering::Acquire) {
            return Ok(());
        }
        // a small process: what this one has read so far is not kept
        return Err(heart::become_one(&heart::options(&settings, &request, None)));
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
