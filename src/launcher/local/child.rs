//! One child process from its start to its reaping.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid,
};

use super::cgroup::cell::Cell;
use super::{log_read, procfs, socket_file};
use crate::ids::ProcessKey;
use crate::launcher::exit_cause::{ExitCause, ExitFacts, exit_cause};
use crate::launcher::{ExitStatus, GroupSignal, ProcessIdentity};
use crate::settings::policy::{ResourceLimits, StopSignal};

/// A child that was not reaped yet: its pid and its group id belong to it alone, so signals cannot hit anybody else.
#[derive(Debug)]
pub(super) struct Child {
    /// Whose process.
    pub key: ProcessKey,
    /// Who it is to the system.
    pub identity: ProcessIdentity,
    /// Its pid and the id of its group.
    pub pid: Pid,
    /// Becomes readable at its exit.
    pub pidfd: OwnedFd,
    /// Its log.
    pub log_path: PathBuf,
    /// Length of the log when it began.
    pub log_start: u64,
    /// What rotation took from the log's front since.
    pub log_removed: Arc<AtomicU64>,
    /// What it was limited to.
    pub limits: ResourceLimits,
    /// Whether the exec shim was to become it.
    pub through_shim: bool,
    /// The largest address space that was seen of it, in bytes.
    pub peak_address_space: Arc<AtomicU64>,
    /// The file of its notify socket.
    pub notify_path: Option<PathBuf>,
    /// The cgroup it was started in.
    pub cell: Option<Cell>,
}

impl Child {
    /// Sends a signal to its group.
    ///
    /// # Errors
    /// When this process may not signal any of its members.
    pub(super) fn signal(&self, signal: GroupSignal) -> io::Result<()> {
        match signal {
            GroupSignal::Kill => self.send(Signal::KILL),
            GroupSignal::Stop(stop) => {
                let sent = self.send(number_of(stop));
                // a stopped process would not see the signal before
                sent.and(self.send(Signal::CONT))
            }
        }
    }

    /// Its members may all be gone already: no error.
    fn send(&self, signal: Signal) -> io::Result<()> {
        match kill_process_group(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => {
                tracing::warn!(
                    target: "symphony-mgmt", instance = %self.key.instance, generation = %self.key.generation,
                    pid = self.identity.pid, ?signal, error = %errno, "cannot signal a process group"
                );
                Err(errno.into())
            }
        }
    }

    /// How it ended; `None` while it runs. Its group gets its KILL: it stays unreaped, so the id is still its own.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        match waitid(
            self.wait_id(),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
        ) {
            Ok(status) => {
                let status = exit_status(&status?);
                // a refusal was written down, and its leader is gone all the same
                let _ = self.send(Signal::KILL);
                Some(status)
            }
            // somebody else reaped it (a foreign waitpid(-1)): nobody can tell how it ended, and its group id is no longer ours
            Err(_) => Some(ExitStatus::Unknown),
        }
    }

    /// Takes it out of the system's table of processes, after [`Child::ended`].
    pub(super) fn reap(&self) {
        self.collect(WaitIdOptions::NOHANG);
    }

    /// Kills its group and waits for its end: for a child that cannot be watched.
    pub(super) fn kill_and_wait(&self) {
        // it was started just now, as this very user
        let _ = self.send(Signal::KILL);
        self.collect(WaitIdOptions::empty());
    }

    fn collect(&self, how: WaitIdOptions) {
        let interrupted = Err(rustix::io::Errno::INTR);
        while waitid(self.wait_id(), WaitIdOptions::EXITED | how).map(drop) == interrupted {}
    }

    fn wait_id(&self) -> WaitId<'_> {
        WaitId::PidFd(self.pidfd.as_fd())
    }

    /// The last lines it wrote.
    pub(super) fn last_output(&self) -> Vec<String> {
        log_read::last_output(
            &self.log_path,
            self.log_start,
            self.log_removed.load(Ordering::Relaxed),
        )
    }

    /// What is known of its end beyond the status; to be asked before it is reaped.
    pub(super) fn exit_cause(&self, status: ExitStatus, output: &[String]) -> Option<ExitCause> {
        let facts = ExitFacts {
            through_shim: self.through_shim,
            cpu_time: procfs::own_cpu_time(self.identity.pid),
            peak_address_space: self.peak_address_space.load(Ordering::Relaxed),
            cgroup: self.cell.as_ref().map(Cell::counts),
        };
        exit_cause(status, &self.limits, &facts, output)
    }

    /// Removes what the launcher made for it.
    pub(super) fn clean_up(&self) {
        if let Some(path) = &self.notify_path {
            socket_file::remove(path);
        }
    }

    /// Lets `registry` tell its exit under `token`.
    pub(super) fn watch(&self, registry: &mio::Registry, token: mio::Token) -> io::Result<()> {
        let descriptor = self.pidfd.as_raw_fd();
        registry.register(&mut mio::unix::SourceFd(&descriptor), token, mio::Interest::READABLE)
    }

    /// Ends the watch.
    pub(super) fn unwatch(&self, registry: &mio::Registry) {
        let descriptor = self.pidfd.as_raw_fd();
        // closing the descriptor ends it anyway
        let _ = registry.deregister(&mut mio::unix::SourceFd(&descriptor));
    }
}

fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    if let Some(code) = status.exit_status() {
        ExitStatus::Code(code)
    } else if let Some(number) = status.terminating_signal() {
        ExitStatus::Signal { number, core_dumped: status.dumped() }
    } else {
        ExitStatus::Unknown
    }
}

fn number_of(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Hup => Signal::HUP,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
        StopSignal::Kill => Signal::KILL,
    }
}
