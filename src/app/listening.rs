//! The listening TCP sockets of the service: passed to it by whoever started it, kept by its heart from the core before, or
//! bound before anything else is started.

use std::net::TcpListener;

use super::{ServeError, ServeOptions};
use crate::gateway::zmq::listeners::{Listeners, name_of};
use crate::heart::link::HeartLink;
use crate::launcher::local::HeartAccess;
use crate::settings::model::Settings;

/// Opens them, where the program has the function that leads libzmq to them: others leave their endpoints to libzmq. The heart
/// gets a copy of each, and need not hold what is of no use any more.
///
/// # Errors
/// [`ServeError::Startup`] when an address cannot be had.
pub(super) fn open(
    settings: &Settings,
    options: &mut ServeOptions,
    mut heart: Option<&mut HeartAccess>,
) -> Result<Listeners, ServeError> {
    let mut passed = std::mem::take(&mut options.passed);
    if let Some(heart) = &mut heart {
        let kept = heart.held.extract_if(|name, _| name.starts_with(TCP));
        passed.extend(kept.map(|(_, socket)| TcpListener::from(socket)));
    }
    let heart = heart.map(|heart| &heart.link);
    let (listeners, left) = if options.is_symphony_program {
        let endpoints = &settings.endpoints;
        let endpoints = [endpoints.cli_management.as_str(), &endpoints.client_handshake];
        Listeners::open(&endpoints, passed)
            .map_err(|error| ServeError::Startup(error.to_string()))?
    } else {
        (Listeners::default(), passed)
    };
    for listener in &left {
        let name = name_of(listener);
        tracing::warn!(
            %name,
            "a socket that was opened for the service is closed: none of its endpoints has this address"
        );
        if let Some(heart) = heart {
            heart.release(&name);
        }
    }
    if let Some(heart) = heart {
        for listener in listeners.iter() {
            if let Err(error) = heart.hold(&name_of(listener), listener) {
                let name = name_of(listener);
                tracing::warn!(%name, %error, "clients are refused while a core is replaced");
            }
        }
    }
    Ok(listeners)
}

/// From now on clients are refused: the service ends, and nobody comes after it.
pub(super) fn close(listeners: Listeners, heart: Option<&HeartLink>) {
    if let Some(heart) = heart {
        listeners.iter().for_each(|listener| heart.release(&name_of(listener)));
    }
}

/// What the names of held sockets begin with.
const TCP: &str = "tcp://";
