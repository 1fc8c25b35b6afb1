//! A wish to stop that comes while the settings are still read.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

use super::error::CliError;

/// Takes SIGTERM and SIGINT from now on: they no longer end the process, but set the flag. The service looks at it when
/// it listens itself, so that a stop is an orderly one, with exit code 0, from the first moment of a start on.
///
/// # Errors
/// When the system refuses.
pub fn listen() -> Result<Arc<AtomicBool>, CliError> {
    listen_to(&[SIGTERM, SIGINT])
}

/// The same for a command that has to undo what it did: it takes SIGQUIT, too, and SIGHUP, which comes when its terminal is
/// closed, unless it was started to live on then (`nohup`).
///
/// # Errors
/// When the system refuses.
pub fn listen_to_all() -> Result<Arc<AtomicBool>, CliError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let signals: &[i32] = if ignores(&status, SIGHUP) {
        &[SIGTERM, SIGINT, SIGQUIT]
    } else {
        &[SIGTERM, SIGINT, SIGQUIT, SIGHUP]
    };
    listen_to(signals)
}

fn listen_to(signals: &[i32]) -> Result<Arc<AtomicBool>, CliError> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in signals {
        flag::register(*signal, Arc::clone(&asked))
            .map_err(|error| CliError::Failed(format!("cannot listen for signals: {error}")))?;
    }
    Ok(asked)
}

/// Whether a process with this `/proc/PID/status` ignores a signal.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(ignores(status, SIGHUP));
        assert!(!ignores(status, SIGINT) && !ignores(status, SIGQUIT));
        assert!(!ignores("", SIGHUP));
    }
}
