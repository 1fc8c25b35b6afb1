//! A command with a service of its own that is interrupted: the service and its folder go before the command does.
//!
//! A thread of its own takes the signals: the command waits in many places, and none of them knows of signals. What the
//! command makes it makes in sections ([`Interruption::making`]), so that the thread never looks at half of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::error::CliError;
use crate::clock::Clock;
use crate::limits;

/// The way to what was made, for the command and for the thread that takes it away.
pub struct Interruption {
    made: Arc<Made>,
}

/// One total order of these flags: either the command sees that it is interrupted, or the thread sees what it makes.
#[derive(Debug)]
struct Made {
    folder: PathBuf,
    interrupted: AtomicBool,
    /// Something is just being made.
    busy: AtomicBool,
    /// The process of the service; 0: there is none.
    service: AtomicU32,
}

impl Interruption {
    /// From now on an interrupted process takes its service and this folder away before it ends. Called before the folder
    /// is made.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen(folder: &Path) -> Result<Self, CliError> {
        let failed =
            |error: std::io::Error| CliError::Failed(format!("cannot listen for signals: {error}"));
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
        let made = Arc::new(Made {
            folder: folder.to_owned(),
            interrupted: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            service: AtomicU32::new(0),
        });
        let seen = Arc::clone(&made);
        let wait = move || {
            let Some(signal) = signals.forever().next() else { return };
            seen.interrupted.store(true, SeqCst);
            seen.take_away();
            #[expect(
                clippy::disallowed_methods,
                reason = "a signal ends the process; nothing is left to drop"
            )]
            std::process::exit(128 + signal);
        };
        thread::Builder::new().name("interruption".to_owned()).spawn(wait).map_err(failed)?;
        Ok(Self { made })
    }

    /// Makes something that would have to be taken away. Nothing is begun any more once the process is interrupted.
    pub fn making<T>(&self, make: impl FnOnce() -> T) -> T {
        self.made.busy.store(true, SeqCst);
        if self.made.interrupted.load(SeqCst) {
            self.made.busy.store(false, SeqCst);
            self.give_way();
        }
        let made = make();
        self.made.busy.store(false, SeqCst);
        made
    }

    /// Tells which process the service is; called while it is being made.
    pub fn service_is(&self, pid: u32) {
        self.made.service.store(pid, SeqCst);
    }

    /// Leaves the end of an interrupted process to the thread that takes everything away; returns where there is none.
    pub fn give_way(&self) {
        while self.made.interrupted.load(SeqCst) {
            thread::park_timeout(limits::DEMO_CLEAN_UP);
        }
    }
}

impl Made {
    fn take_away(&self) {
        let clock = Clock::start();
        let in_time = || clock.now().since_origin() < limits::DEMO_CLEAN_UP;
        while self.busy.load(SeqCst) && in_time() {
            thread::park_timeout(limits::DAEMON_CHECK_EVERY);
        }
        if let Some(service) = self.service() {
            // at its first moments it just dies of it, and has started nothing; later it stops in order
            let _ = kill_process(service, Signal::TERM);
        }
        while self.service().is_some() && in_time() {
            thread::park_timeout(limits::DAEMON_CHECK_EVERY);
        }
        if let Some(service) = self.service() {
            let pid = service.as_raw_nonzero();
            let _ = writeln!(std::io::stderr(), "Error: the service does not end (pid {pid})");
        }
        // made by this process alone
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// The process of the service, while it lives: the one that has the folder in its arguments. One that ended has none,
    /// and another process under its number has others.
    fn service(&self) -> Option<Pid> {
        let pid = self.service.load(SeqCst);
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_ours = String::from_utf8_lossy(&arguments).contains(&*self.folder.to_string_lossy());
        is_ours.then(|| i32::try_from(pid).ok().and_then(Pid::from_raw)).flatten()
    }
}
