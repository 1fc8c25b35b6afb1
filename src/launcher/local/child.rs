//! One process of ours from its start, or from its adoption, to its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_send_signal,
    test_kill_process_group, waitid,
};

use super::cgroup::cell::Cell;
use super::{log_read, marks, procfs, socket_file};
use crate::clock::{Moment, Started};
use crate::ids::ProcessKey;
use crate::launcher::exit_cause::{ExitCause, ExitFacts, exit_cause};
use crate::launcher::{ExitStatus, GroupSignal, ProcessIdentity};
use crate::settings::policy::{LogFilePolicy, ResourceLimits, StopSignal};
use crate::state::files::FileIdentity;

/// A process that was not reaped yet: its pid and its group id belong to it alone, so signals cannot hit anybody else.
///
/// One that an earlier core started is no child of ours: somebody else reaps it, so it is signalled only while its pidfd
/// tells that it lives.
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
    /// Its status is ours to take.
    pub is_own: bool,
    /// It ended, and the heart was asked how; after this moment its answer is no longer waited for.
    pub collected_until: Option<Moment>,
    /// When it was started.
    pub started: Started,
    /// The model's name in log lines.
    pub label: String,
    /// How its log is rotated.
    pub log_policy: LogFilePolicy,
    /// Its log.
    pub log_path: PathBuf,
    /// Which file that is.
    pub log_file: FileIdentity,
    /// Length of the log when it began.
    pub log_start: u64,
    /// What rotation took from the log's front since.
    pub log_removed: Arc<AtomicU64>,
    /// The socket file that it may make.
    pub socket_path: Option<PathBuf>,
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
        let sent = match self.may_be_signalled() {
            true => kill_process_group(self.pid, signal),
            false => Ok(()),
        };
        match sent {
            Ok(()) => Ok(()),
            // it left the group that it led, which only what we did not start ourselves can have done
            Err(Errno::SRCH) if !self.is_own => match pidfd_send_signal(&self.pidfd, signal) {
                Ok(()) | Err(Errno::SRCH) => Ok(()),
                Err(errno) => Err(errno.into()),
            },
            Err(Errno::SRCH) => Ok(()),
            Err(errno) => {
                tracing::warn!(
                    target: "symphony-mgmt", instance = %self.key.instance, generation = %self.key.generation,
                    pid = self.identity.pid, ?signal, error = %errno, "cannot signal a process group"
                );
                Err(errno.into())
            }
        }
    }

    fn may_be_signalled(&self) -> bool {
        self.is_own || !has_ended(&self.pidfd)
    }

    /// How it ended; `None` while it runs. Its group gets its KILL: it stays unreaped, so the id is still its own.
    ///
    /// One that is not our own tells it only until it is reaped: its group is ended by whoever reaps it, or by
    /// [`Child::end_rest`].
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        if !self.is_own {
            return has_ended(&self.pidfd).then(|| self.status_of_zombie());
        }
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

    /// The parent may be a service that let go and only passes clients on: it reaps nobody.
    pub(super) fn status_of_zombie(&self) -> ExitStatus {
        let status = procfs::wait_status(self.identity.pid, self.identity.start_ticks);
        status.map_or(ExitStatus::Unknown, status_of_bits)
    }

    /// Takes it out of the system's table of processes, after [`Child::ended`].
    pub(super) fn reap(&self) {
        if self.is_own {
            self.collect(WaitIdOptions::NOHANG);
        }
    }

    /// Ends what is left of its group where it is not our own. Once somebody else reaped it its number may be another's, so
    /// that only who carries the marks of this start is ended.
    pub(super) fn end_rest(&self, service: &str) {
        if self.is_own || test_kill_process_group(self.pid).is_err() {
            return;
        }
        if procfs::is_unreaped(self.identity.pid, self.identity.start_ticks) {
            // nobody else can have the number yet; the zombie itself stays in the group, so that it never becomes empty
            let _ = kill_process_group(self.pid, Signal::KILL);
            return;
        }
        let group = self.identity.pid;
        for process in marks::find(service).unwrap_or_default() {
            if process.key == self.key && process.group == group {
                marks::end(process.pid, process.start_ticks, false);
            }
        }
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

/// A pidfd is readable from the end of its process on, reaped or not.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut watched = [PollFd::new(pidfd, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&at_once)).is_ok_and(|ready| ready > 0)
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

/// Signal, the bit of a dumped core, and the code: as in a status of `wait`.
fn status_of_bits(bits: u32) -> ExitStatus {
    match bits & 0x7f {
        0 => ExitStatus::Code((bits >> 8 & 0xff).cast_signed()),
        number => {
            ExitStatus::Signal { number: number.cast_signed(), core_dumped: bits & 0x80 != 0 }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_was_read_means_what_a_parent_is_told() {
        assert_eq!(status_of_bits(0), ExitStatus::Code(0));
        assert_eq!(status_of_bits(255 << 8), ExitStatus::Code(255));
        let killed = |core_dumped, number| ExitStatus::Signal { number, core_dumped };
        assert_eq!(status_of_bits(9), killed(false, 9));
        assert_eq!(status_of_bits(6 | 0x80), killed(true, 6));
    }
}
