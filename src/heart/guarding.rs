//! The heart's side of its guard: started, replaced when it dies, dismissed at a good end.

use std::io::{self, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::guard::ALL_IS_WELL;
use super::options::{GuardOptions, LogOptions};
use super::process::OWN_PROGRAM;
use crate::clock::{Clock, Moment};
use crate::limits;

/// A guard that was started.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    pipe: PipeWriter,
}

impl Guard {
    /// Starts one. It learns of the end of everybody who has the pipe's writing end.
    ///
    /// # Errors
    /// When no process or descriptor is left.
    pub fn start(options: &GuardOptions) -> io::Result<Self> {
        let (reading, pipe) = io::pipe()?;
        let mut command = Command::new(OWN_PROGRAM);
        command.arg0("symphony").args(options.arguments());
        let child = command.stdin(Stdio::from(reading)).spawn()?;
        Ok(Self { child, pipe })
    }

    /// A copy of the pipe's writing end.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn pipe(&self) -> io::Result<OwnedFd> {
        Ok(self.pipe.try_clone()?.into())
    }

    /// Tells it that nothing is left to guard, and waits for its end.
    pub fn dismiss(mut self) {
        let told = self.pipe.write_all(ALL_IS_WELL);
        drop(self.pipe);
        let clock = Clock::start();
        while told.is_ok() && clock.now().since_origin() < limits::GUARD_DISMISSED {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::park_timeout(limits::GUARD_LOOK_EVERY);
        }
        // our own child and not reaped: it is no other process
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// See the module.
#[derive(Debug)]
pub struct Guarding {
    options: GuardOptions,
    guard: Option<Guard>,
    /// When one may be started: a guard that dies at once must not keep the heart busy.
    next_start: Moment,
}

impl Guarding {
    /// No guard yet.
    pub fn new(folder: &Path, grace: Duration, log: LogOptions) -> Self {
        let options = GuardOptions { folder: folder.to_owned(), grace, log };
        Self { options, guard: None, next_start: Moment::default() }
    }

    /// The guard's process.
    pub fn pid(&self) -> Option<u32> {
        self.guard.as_ref().map(|guard| guard.child.id())
    }

    /// Starts a guard where there is none, or it has died. Answers the end of a new pipe, which every core is to have.
    ///
    /// # Errors
    /// When none can be started; it is tried again later.
    pub fn look(&mut self, now: Moment) -> io::Result<Option<OwnedFd>> {
        if let Some(guard) = &mut self.guard {
            match guard.child.try_wait() {
                Ok(None) => return Ok(None),
                _ => self.guard = None,
            }
        }
        if now < self.next_start {
            return Ok(None);
        }
        self.next_start = now + limits::GUARD_RETRY;
        let guard = Guard::start(&self.options)?;
        let pipe = guard.pipe()?;
        self.guard = Some(guard);
        Ok(Some(pipe))
    }

    /// Nothing is left to guard.
    pub fn dismiss(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }
}
