//! A service whose core is just being replaced: nobody listens for a moment, and it runs all the same.

use std::path::Path;
use std::time::Duration;

use super::client::ClientError;
use super::client::listener::Listener;
use crate::clock::Clock;
use crate::heart::pid_file::{Holder, holder};
use crate::limits;

/// Waits until somebody listens on the endpoint, as long as a service holds the lock of this folder; `patience` at most.
/// What keeps it from listening is not told here: whoever connects finds out.
pub fn wait_for_core(endpoint: &str, folder: &Path, patience: Duration) {
    let listener = Listener::of(endpoint);
    let clock = Clock::start();
    while listener.check() == Err(ClientError::NoService)
        && is_held(folder)
        && clock.now().since_origin() < patience.min(limits::CLI_GAP)
    {
        std::thread::park_timeout(limits::DAEMON_CHECK_EVERY);
    }
}

/// Whether a service holds the lock of this folder: it lives, or is just ending.
pub fn is_held(folder: &Path) -> bool {
    matches!(holder(folder), Some(Holder::Service(_)))
}
