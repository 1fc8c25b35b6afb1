//! A wish to stop that comes while the settings are still read.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::error::CliError;

/// Takes SIGTERM and SIGINT from now on: they no longer end the process, but set the flag. The service looks at it when
/// it listens itself, so that a stop is an orderly one, with exit code 0, from the first moment of a start on.
///
/// # Errors
/// When the system refuses.
pub fn listen() -> Result<Arc<AtomicBool>, CliError> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, Arc::clone(&asked))
            .map_err(|error| CliError::Failed(format!("cannot listen for signals: {error}")))?;
    }
    Ok(asked)
}
