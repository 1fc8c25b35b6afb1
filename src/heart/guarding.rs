//! The heart's side of its guard: started, replaced when it dies, dismissed at a good end.

use std::io::{self, PipeReader, PipeWriter, Write};
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

/// A guard, and the pipe by whose end it learns that everybody is gone who has the writing end of it. The heart keeps the
/// reading end, too: a guard that is replaced reads on where the one before ended.
#[derive(Debug)]
pub struct Guard {
    options: GuardOptions,
    reading: PipeReader,
    writing: PipeWriter,
    child: Option<Child>,
    /// When one may be started: a guard that dies at once must not keep the heart busy.
    next_start: Moment,
}

impl Guard {
    /// A pipe and no process yet.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new(folder: &Path, grace: Duration, log: LogOptions) -> io::Result<Self> {
        let (reading, writing) = io::pipe()?;
        let options = GuardOptions { folder: folder.to_owned(), grace, log };
        Ok(Self { options, reading, writing, child: None, next_start: Moment::default() })
    }

    /// A copy of the pipe's writing end, for whoever the guard is to outlive as well.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn pipe(&self) -> io::Result<OwnedFd> {
        Ok(self.writing.try_clone()?.into())
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it where it does not run.
    ///
    /// # Errors
    /// When no process or descriptor is left; it is tried again later.
    pub fn keep(&mut self, now: Moment) -> io::Result<()> {
        if let Some(child) = &mut self.child {
            if matches!(child.try_wait(), Ok(None)) {
                return Ok(());
            }
            self.child = None;
        }
        if now < self.next_start {
            return Ok(());
        }
        self.next_start = now + limits::GUARD_RETRY;
        let mut command = Command::new(OWN_PROGRAM);
        command.arg0("symphony").args(self.options.arguments());
        self.child = Some(command.stdin(Stdio::from(self.reading.try_clone()?)).spawn()?);
        Ok(())
    }

    /// Tells it that nothing is left to guard, and waits for its end.
    pub fn dismiss(mut self) {
        let told = self.writing.write_all(ALL_IS_WELL);
        let Some(mut child) = self.child else { return };
        let clock = Clock::start();
        while told.is_ok() && clock.now().since_origin() < limits::GUARD_DISMISSED {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::park_timeout(limits::GUARD_LOOK_EVERY);
        }
        // our own child and not reaped: it is no other process
        let _ = child.kill();
        let _ = child.wait();
    }
}
