//! The listening TCP sockets of the service: passed to it by whoever started it, or bound before anything else is started.

use std::net::TcpListener;

use super::{ServeError, ServeOptions};
use crate::gateway::zmq::listeners::Listeners;
use crate::settings::model::Settings;

/// Opens them, where the program has the function that leads libzmq to them: others leave their endpoints to libzmq.
///
/// # Errors
/// [`ServeError::Startup`] when an address cannot be had.
pub(super) fn open(
    settings: &Settings,
    options: &mut ServeOptions,
) -> Result<Listeners, ServeError> {
    let passed = std::mem::take(&mut options.passed);
    let (listeners, left) = if options.is_symphony_program {
        let endpoints = &settings.endpoints;
        let endpoints = [endpoints.cli_management.as_str(), &endpoints.client_handshake];
        Listeners::open(&endpoints, passed)
            .map_err(|error| ServeError::Startup(error.to_string()))?
    } else {
        (Listeners::default(), passed)
    };
    left.iter().for_each(tell_useless);
    Ok(listeners)
}

fn tell_useless(listener: &TcpListener) {
    let address = listener.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string());
    tracing::warn!(
        %address,
        "a socket that was opened for the service is closed: none of its endpoints has this address"
    );
}
