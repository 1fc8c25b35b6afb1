//! The guard: a process that does nothing until heart and core are both dead, and then ends what they left.
//!
//! No setting of a process lets it die with another one that is not its parent, and backends are any program. So somebody
//! must be there who outlives both. It is in a session of its own, and waits at a pipe whose other end heart and core hold:
//! the pipe closes when the last of them is gone, however that came.

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::process::setsid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::hunt;
use super::leavings::Leavings;
use super::log::{Level, Log};
use super::options::GuardOptions;
use super::pid_file::{self, Holder, PidFile, PidFileError, Role};
use crate::clock::Clock;
use crate::limits;

/// What the pipe says when everything ended in order.
pub const ALL_IS_WELL: &[u8] = b"end\n";

/// Runs a guard.
pub fn run(options: GuardOptions) -> ExitCode {
    let log = Log::new("symphony-guard", options.log.clone());
    // it was started by a heart that leads no group; a typed one keeps its session
    let _ = setsid();
    // signals to everybody (the stop of a unit, a closed terminal) are not meant for who comes last
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    let guarded = pid_file::told(&options.folder);
    if !wait_for_end() {
        return ExitCode::SUCCESS;
    }
    let Some(lock) = inherit(&options, guarded) else { return ExitCode::SUCCESS };
    if let Some(leavings) = Leavings::read(&options.folder) {
        log.write(Level::Error, "the service is dead and nobody took over: ending its models");
        let left = hunt::end_all(&leavings, limits::GUARD_TERM);
        if left.is_empty() {
            leavings.clear();
        } else {
            // their files stay for the next start, which knows them by these
            let left = format!("processes that cannot be ended are left behind: {left:?}");
            log.write(Level::Error, &left);
        }
    }
    lock.remove();
    // what is not ours keeps it
    let _ = std::fs::remove_dir(&options.folder);
    ExitCode::SUCCESS
}

/// Whether the pipe closed without a good end.
fn wait_for_end() -> bool {
    let mut told = Vec::new();
    let mut bytes = [0; 256];
    loop {
        match std::io::stdin().lock().read(&mut bytes) {
            Ok(0) => return !told.ends_with(ALL_IS_WELL),
            Ok(count) => {
                told.extend_from_slice(&bytes[..count]);
                if told.ends_with(ALL_IS_WELL) {
                    return false;
                }
                told.drain(..told.len().saturating_sub(ALL_IS_WELL.len()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
}

/// Gives a new service the grace, and takes the lock of the dead one then; `None` where somebody took over.
///
/// `guarded` is the process that the pid file told while it lived. The pipe may close a moment before the lock is free.
fn inherit(options: &GuardOptions, guarded: Option<Holder>) -> Option<PidFile> {
    let clock = Clock::start();
    loop {
        let holder = pid_file::holder(&options.folder);
        if holder.is_some() && holder != guarded {
            return None;
        }
        let waited = clock.now().since_origin();
        if waited >= options.grace {
            match PidFile::take(&options.folder, Role::Guard, Duration::ZERO) {
                Ok(lock) => return Some(lock),
                Err(PidFileError::Service { .. })
                    if waited < options.grace + limits::GUARD_INHERITS => {}
                Err(_) => return None,
            }
        }
        let left = options.grace.saturating_sub(waited).max(limits::PID_FILE_RETRY);
        std::thread::park_timeout(limits::GUARD_LOOK_EVERY.min(left));
    }
}
